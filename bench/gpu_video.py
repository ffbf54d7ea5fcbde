"""Decoding and preparing on a GPU: are the pictures the host's, how many streams, how many cameras, at what CPU time.

    python bench/gpu_video.py                 on a machine with a GPU: three to four minutes
    python bench/gpu_video.py --dry-run       anywhere: the same script, small, with the kernel compiled for the host

Each part runs in a process of its own and prints its rows as they come, so that one that fails takes nothing with it:

- `pictures`: what the GPU decodes and paints against what the host decodes and prepares, in levels of 255; then every
  pixel format, decoded on the host and painted on the GPU. Goal: one level at most, 0.25 on average.
- `streams`: 1080p H.264 with B-frames, decoded by as many threads as there are streams.
- `device`: the same files in real time at 30 frames/s through decode=gpu, prepare-place=device and a detector in FP16:
  how many cameras with a p99 of 100 ms, at what CPU time per frame. Goals: 50 cameras, 1.5 ms.
- `host`: the same with decode=thread and prepare-place=host. Goal: a third of the cameras, or five times the CPU time.

The detector is torchvision's ssdlite320 up to the best class of every anchor, random weights, exported with an open
batch; without torchvision it is framepace's own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gpu_video_pictures import pictures
from gpu_video_streams import encoded, streams
from msgspec.structs import replace

from framepace import api
from framepace.cases import make_case
from framepace.facts.settings import Case
from framepace.facts.trace import Outcome, Trace
from framepace.facts.workload import Stop, Warmup
from framepace.recording.machine import probe
from framepace.reporting.views.machine import machine_line

Row = dict[str, Any]
FPS = 30.0
LIMIT_MS = 100.0
DELIVERED = 0.99  # of the frames that were due
CAMERAS, CPU_MS, TIMES_CAMERAS, TIMES_CPU = 50, 1.5, 3.0, 5.0
NORMALISED: Row = {"mean": "0.5+0.5+0.5", "std": "0.5+0.5+0.5"}
ON_DEVICE: Row = {"decode": "gpu", "prepare-place": "device"}
ON_HOST: Row = {"decode": "thread", "prepare-place": "host"}
COUNTS: dict[str, tuple[int, ...]] = {"device": (50, 64, 96, 128), "host": (8, 16, 24, 32)}
FEWER: dict[str, tuple[int, ...]] = {"device": (32, 16, 8, 4), "host": (4, 2, 1)}
SIDE = 320
WARMUP_S = 2.0


def main() -> None:
    """Run the parts, each in a process of its own, or one of them here."""
    args = _arguments()
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.part is not None:
        for row in PARTS[args.part](args):
            _print(args, {"part": args.part, **row})
        return
    began = time.monotonic()
    _print(args, {"part": "machine", "what": machine_line(probe()), **_versions()})
    for part in args.only:
        left = args.limit - (time.monotonic() - began)
        if left < 1:
            _print(args, {"part": part, "what": "not begun: no time left"})
            continue
        _apart(args, part, left)
    _verdict(args)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--part", choices=list(PARTS), help="run this one here")
    parser.add_argument("--dry-run", action="store_true", help="no GPU: everything small")
    parser.add_argument("--backend", default="torch", help="library that runs the detector")
    parser.add_argument("--set", nargs="*", default=[], help="more settings of both plans, NAME=VALUE")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of a run, without its warm-up")
    parser.add_argument("--counts", type=int, nargs="+", help="numbers of cameras to try, instead of each part's own")
    parser.add_argument("--limit", type=float, default=240.0, help="seconds for all parts together")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "framepace-gpu-video")
    parser.add_argument("--out", type=Path, help="file that the rows are appended to, one JSON object a line")
    return parser.parse_args()


def _versions() -> Row:
    import av

    return {"av": av.__version__, **probe().libraries}


def _print(args: argparse.Namespace, row: Row) -> None:
    line = json.dumps(row)
    print(line, flush=True)
    for path in filter(None, (args.folder / "rows.jsonl", args.out)):
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def _apart(args: argparse.Namespace, part: str, left: float) -> None:
    """Run a part in a process of its own, which prints its rows."""
    known = [argument for argument in sys.argv[1:] if argument not in ("--only", *PARTS)]
    command = [sys.executable, __file__, *known, "--part", part]
    began = time.monotonic()
    how = ""
    try:
        code = subprocess.run(command, timeout=left, check=False).returncode
        if code:
            how = f"ended with {code}"
    except subprocess.TimeoutExpired:
        how = "stopped: no time left"
    _print(args, {"part": part, "what": "done", "seconds": round(time.monotonic() - began, 1), "how": how})


def _pictures(args: argparse.Namespace) -> Iterator[Row]:
    return pictures(args.folder, args.dry_run)


def _streams(args: argparse.Namespace) -> Iterator[Row]:
    return streams(args.folder, args.dry_run)


def _device(args: argparse.Namespace) -> Iterator[Row]:
    return _cameras(args, "device")


def _host(args: argparse.Namespace) -> Iterator[Row]:
    return _cameras(args, "host")


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[Row]]] = {
    "pictures": _pictures,
    "streams": _streams,
    "host": _host,
    "device": _device,
}


def _cameras(args: argparse.Namespace, place: str) -> Iterator[Row]:
    """Runs with more cameras until one does not hold; with fewer where the first does not."""
    video = encoded(args.folder, args.dry_run)
    model = detector(args.folder, args.backend)
    counts, fewer = COUNTS[place], FEWER[place]
    if args.counts:
        counts, fewer = tuple(args.counts), ()
    if args.dry_run:
        counts, fewer = (1, 2), ()
    held = False
    for count in counts:
        row = _row(args, place, count, video, model)
        yield row
        if not row.get("holds"):
            break
        held = True
    for count in () if held else fewer:
        row = _row(args, place, count, video, model)
        yield row
        if row.get("holds"):
            break


def _row(args: argparse.Namespace, place: str, count: int, video: Path, model: str) -> Row:
    """One run. What goes wrong is its row."""
    head: Row = {"cameras": count, "model": Path(model).name}
    began = time.monotonic()
    try:
        trace = api.bench(_case(args, place, count, video, model))
    except Exception as error:  # the next count may be possible
        return {**head, "error": " / ".join(str(error).split("\n"))[:400]}
    return {**head, **numbers(trace, count), "run_s": round(time.monotonic() - began, 1)}


def _case(args: argparse.Namespace, place: str, count: int, video: Path, model: str) -> Case:
    settings: Row = {"cameras": count, "backend": args.backend, **NORMALISED}
    if args.dry_run:
        settings |= {"threads": 1}
    else:
        settings |= {"device": "cuda", "precision": "fp16", "graph": True, "batch": 16, "batch-policy": "deadline"}
        settings |= {"workers": 2, "slots": 2, "spinning": False, **(ON_DEVICE if place == "device" else ON_HOST)}
    settings |= dict(setting.split("=", 1) for setting in args.set)
    if settings["backend"] == "onnxruntime" and not args.dry_run:
        settings.setdefault("option.algorithms", "heuristic")
    case = make_case(
        model,
        videos=[str(video)],
        fps=FPS,
        p99_ms=LIMIT_MS,
        stop=Stop(seconds=args.seconds),
        settings=settings,
    )
    return replace(case, workload=replace(case.workload, warmup=Warmup(seconds_max=WARMUP_S)))


def numbers(trace: Trace, count: int) -> Row:
    """What a run says: frames/s, latency from when a frame was due, CPU time per frame, where the time went."""
    measured = trace.measured()
    latency = np.sort(measured.latency) / 1e6
    if not len(latency):
        failure = trace.meta.failure
        return {"error": f"no frame was delivered: {failure.reason if failure else trace.meta.stopped}"[:400]}
    found = api.summary(trace)
    due = measured.requests["due"]
    wanted = count * FPS * (due.max() - due.min()) / 1e9
    p99 = float(latency[int(0.99 * (len(latency) - 1))])
    lost = int((trace.requests["outcome"] != Outcome.OK).sum())
    return {
        "holds": p99 <= LIMIT_MS and len(latency) >= DELIVERED * wanted and lost == 0,
        "frames_s": round(found.throughput, 1),
        "p50_ms": round(float(np.median(latency)), 2),
        "p99_ms": round(p99, 2),
        "cpu_ms_frame": None if found.process_cpu is None else round(found.process_cpu / 1e6, 3),
        "batch": round(float(np.mean(measured.requests["batch_size"])), 2),
        "lost": lost,
        **_stages(measured),
        **_telemetry(trace),
        "notes": list(trace.meta.notes)[:6],
    }


def _stages(measured: Trace) -> Row:
    """Median durations in us of what a frame goes through, and of the device's parts of an inference."""
    r = measured.requests
    spans = {
        "decode_us": r["decoded"] - r["captured"],
        "prepare_us": r["started"] - r["batched"],
        "infer_us": r["finished"] - r["started"],
    }
    columns = {f"{name}_device_us": r[name] for name in ("h2d", "paint", "compute", "d2h")}
    known = {name: values[values >= 0] for name, values in (spans | columns).items()}
    return {name: round(float(np.median(values)) / 1e3, 1) for name, values in known.items() if len(values)}


def _telemetry(trace: Trace) -> Row:
    """Means over the run of what the GPU says of itself."""
    names = ("utilisation", "decoder_utilisation", "pcie_rx_bytes_s", "pcie_tx_bytes_s", "sm_activity")
    rows = {name: trace.telemetry[name] for name in names}
    means = {name: values[values >= 0] for name, values in rows.items()}
    row: Row = {name: round(float(values.mean()), 1) for name, values in means.items() if len(values)}
    if "pcie_rx_bytes_s" in row:
        row["pcie_in_mb_s"] = round(row.pop("pcie_rx_bytes_s") / 1e6, 1)
    if "pcie_tx_bytes_s" in row:
        row["pcie_out_mb_s"] = round(row.pop("pcie_tx_bytes_s") / 1e6, 1)
    return row


def detector(folder: Path, backend: str) -> str:
    """The path of the detector for that library, exported on first use; framepace's own where it cannot be."""
    own = f"builtin:detector@{SIDE}x{SIDE}"
    path = folder / f"ssdlite{'.pt2' if backend == 'torch' else '.onnx'}"
    if path.is_file():
        return str(path)
    try:
        _export(path)
    except Exception as error:  # no torchvision, or an exporter that cannot
        print(json.dumps({"what": f"{own} instead of ssdlite320: {error}"[:300]}), file=sys.stderr, flush=True)
        return own
    return str(path)


def _export(path: Path) -> None:
    import torch
    from network_makers import torchvision

    network = torchvision("ssdlite320_mobilenet_v3_large").eval()

    class Anchors(torch.nn.Module):  # type: ignore[misc]
        """Box offsets, and the surest class of each anchor with its score."""

        def __init__(self) -> None:
            super().__init__()
            self.backbone = network.backbone
            self.head = network.head

        def forward(self, images: Any) -> Any:
            answers = self.head(list(self.backbone(images).values()))
            scores, classes = answers["cls_logits"].softmax(-1).max(-1)
            return answers["bbox_regression"], scores, classes.float()

    made, example = Anchors().eval(), torch.zeros(2, 3, SIDE, SIDE)
    with torch.no_grad():
        if path.suffix == ".pt2":
            batch = torch.export.Dim("batch", min=1, max=64)
            torch.export.save(torch.export.export(made, (example,), dynamic_shapes=({0: batch},)), path)
            return
        axes = {name: {0: "batch"} for name in ("images", "boxes", "scores", "classes")}
        names = list(axes)
        torch.onnx.export(
            made, (example,), str(path), opset_version=17, dynamo=False, dynamic_axes=axes, input_names=names[:1],
            output_names=names[1:],
        )  # fmt: skip


def _verdict(args: argparse.Namespace) -> None:
    """The goals, against the rows of this run."""
    rows = [json.loads(line) for line in (args.folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    last = max((place for place, row in enumerate(rows) if row["part"] == "machine"), default=0)
    best = {part: _best(rows[last:], part) for part in ("device", "host")}
    _print(args, {"part": "verdict", **_goals(best["device"], best["host"])})


def _best(rows: list[Row], part: str) -> Row:
    holding = [row for row in rows if row["part"] == part and row.get("holds")]
    return max(holding, key=lambda row: int(row["cameras"]), default={})


def _goals(device: Row, host: Row) -> Row:
    cameras, cpu = device.get("cameras", 0), device.get("cpu_ms_frame")
    more = cameras / host["cameras"] if host else None
    less = host["cpu_ms_frame"] / cpu if host.get("cpu_ms_frame") and cpu else None
    return {
        "cameras": cameras,
        "cameras_met": cameras >= CAMERAS,
        "cpu_ms_frame": cpu,
        "cpu_met": cpu is not None and cpu <= CPU_MS,
        "host_cameras": host.get("cameras", 0),
        "host_cpu_ms_frame": host.get("cpu_ms_frame"),
        "times_the_cameras": more,
        "times_less_cpu": less,
        "pcie_kb_frame": _per_frame(device),
        "host_pcie_kb_frame": _per_frame(host),
        "against_host_met": bool((more or 0) >= TIMES_CAMERAS or (less or 0) >= TIMES_CPU),
    }


def _per_frame(row: Row) -> float | None:
    """What crossed the link to the device for each frame, kB."""
    if not row.get("frames_s") or "pcie_in_mb_s" not in row:
        return None
    return round(float(row["pcie_in_mb_s"] / row["frames_s"] * 1e3), 1)


if __name__ == "__main__":
    main()
