"""Transformers of the usual sizes on a GPU: latency by library and precision, and what cannot be had.

ViT-B/16 (torchvision), an encoder of BERT base's size (128 tokens) and one step of a decoder of GPT-2's size with its
caches (512 tokens), random weights, batch 1, one input again and again. Run it with the Python that has the library;
`--export FOLDER` writes the files (PyTorch needed), `--networks FOLDER` measures them. `--small` is a dry run.
"""

from __future__ import annotations

import argparse
import json
from importlib import import_module
from pathlib import Path
from typing import Any

from common import show
from gpu_tables import TENSORRT_OPTIONS, Row, numbers, usable

from framepace import api
from framepace.backends.base import get_backend
from framepace.cases import make_case
from framepace.facts.workload import Stop
from framepace.recording.machine import probe
from framepace.reporting.views.machine import machine_line

PRECISIONS = {"onnxruntime": ("fp32", "fp16", "int8"), "tensorrt": ("fp32", "fp16", "int8"), "torch": ("fp32", "fp16")}
WIDTH, LAYERS, HEADS, VOCABULARY = 768, 12, 12, 30_000
TOKENS, PAST = 128, 512


def main() -> None:
    """Export, or measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--export", type=Path, help="write the networks into this folder and stop")
    parser.add_argument("--networks", type=Path, help="folder of the networks")
    parser.add_argument("--backends", nargs="+", default=list(PRECISIONS))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--small", action="store_true", help="export two layers of width 64")
    parser.add_argument("--out", type=Path, help="file for the rows as JSON")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.export is not None:
        export(args.export, args.small)
        return
    rows = [row for backend in usable(args.backends) for row in measured(backend, args)]
    if args.out is not None:
        args.out.write_text(json.dumps(rows))
    if args.json:
        show("transformers", args, rows)
        return
    print(machine_line(probe()))
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()))


def measured(backend: str, args: argparse.Namespace) -> list[Row]:
    """The rows of one library: each file that it takes, in each precision."""
    suffix = ".pt2" if backend == "torch" else ".onnx"
    rows = []
    for file in sorted(args.networks.glob(f"*{suffix}")):
        for precision in PRECISIONS[backend]:
            head = {"backend": backend, "network": file.stem, "precision": precision}
            rows.append({**head, **_row(backend, file, precision, args)})
            print(rows[-1], flush=True)
    return rows


def _row(backend: str, file: Path, precision: str, args: argparse.Namespace) -> Row:
    settings: dict[str, Any] = {"backend": backend, "device": args.device, "precision": precision, "transfer": "device"}
    if precision == "int8":
        settings["calibration"] = "synthetic"
    if backend == "tensorrt" and get_backend(backend).versions()["tensorrt"] < "9":
        settings |= {f"option.{name}": value for name, value in TENSORRT_OPTIONS.items()}
    case = make_case(str(file), fps=None, scope="model", stop=Stop(seconds=args.seconds), settings=settings)
    try:
        found = api.summary(api.bench(case))
    except Exception as error:  # a table of what runs goes on
        return {"error": " / ".join(str(error).split("\n"))[:160]}
    return numbers(found)


def export(folder: Path, small: bool) -> None:
    """Each network as ONNX (opset 17, fixed sizes) and as an exported program."""
    torch = import_module("torch")
    torch.backends.mha.set_fastpath_enabled(False)  # no exporter knows the fused layer
    folder.mkdir(parents=True, exist_ok=True)
    for name, (network, inputs) in _networks(small).items():
        network.eval()
        with torch.no_grad():
            names = [f"in{number}" for number in range(len(inputs))]
            path = str(folder / f"{name}.onnx")
            torch.onnx.export(network, inputs, path, opset_version=17, input_names=names, dynamo=False)
            torch.export.save(torch.export.export(network, inputs), folder / f"{name}.pt2")
        print(name, flush=True)


def _networks(small: bool) -> dict[str, tuple[Any, tuple[Any, ...]]]:
    torch = import_module("torch")
    width, layers, heads = (64, 2, 4) if small else (WIDTH, LAYERS, HEADS)
    tokens = torch.randint(0, 1000, (1, TOKENS))
    caches = [torch.randn(1, heads, PAST, width // heads) for _ in range(2 * layers)]
    networks = {
        "encoder": (_encoder(width, layers, heads), (tokens,)),
        "decoder": (_decoder(width, layers, heads), (tokens[:, :1], *caches)),
    }
    if not small:
        vit = import_module("torchvision.models").get_model("vit_b_16", weights=None)
        networks["vit_b_16"] = (vit, (torch.randn(1, 3, 224, 224),))
    return networks


def _encoder(width: int, layers: int, heads: int) -> Any:
    nn = import_module("torch").nn
    layer = nn.TransformerEncoderLayer(width, heads, 4 * width, activation="gelu", batch_first=True)
    return nn.Sequential(
        nn.Embedding(VOCABULARY, width), nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
    )


def _decoder(width: int, layers: int, heads: int) -> Any:
    """One step: a token, and the keys and values of those before it."""
    torch = import_module("torch")
    nn = torch.nn

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
            self.project, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x: Any, keys: Any, values: Any) -> Any:
            parts = self.project(self.before(x)).reshape(1, 1, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
            keys, values = torch.cat([keys, parts[1]], 2), torch.cat([values, parts[2]], 2)
            weights = torch.softmax(parts[0] @ keys.transpose(2, 3) * (width // heads) ** -0.5, -1)
            x = x + self.join((weights @ values).permute(0, 2, 1, 3).reshape(1, 1, width))
            x = x + self.narrow(nn.functional.gelu(self.widen(self.after(x))))
            return x, keys, values

    class Decoder(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(VOCABULARY, width)
            self.blocks = nn.ModuleList(Block() for _ in range(layers))
            self.head = nn.Linear(width, VOCABULARY)

        def forward(self, ids: Any, *caches: Any) -> Any:
            x, grown = self.words(ids), []
            for block, keys, values in zip(self.blocks, caches[::2], caches[1::2], strict=True):
                x, keys, values = block(x, keys, values)
                grown += [keys, values]
            return (self.head(x), *grown)

    return Decoder()


if __name__ == "__main__":
    main()
