"""Which batch sizes suit tensor cores: matrix products in FP16 and INT8 at every batch from 1 to 65.

    python bench/tensorcores.py                   on the first GPU, under a minute: a table, and bench/tensorcores.json
    python bench/tensorcores.py --device cpu --features 64 --batches 1,8,9    tiny, to try the script

A product is (batch x features) by (features x features), as a fully connected layer has it, with the weights on the
device. FP16 is torch.matmul; INT8 is torch._int_mm, which takes some sizes only: the others are padded to the next that
it takes, as a library has to. Each time is the median of several replays of one CUDA graph of many products (FP16) or
of a loop of them (INT8, CPU), so that launches do not count. Beside every batch stands what padding it to the next
multiple of 8 (FP16) or 16 (INT8) would bring.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

_MULTIPLES = {"fp16": 8, "int8": 16}
_PRODUCTS = 50  # of one measurement
_ROUNDS = 7
_INT_MM_ROWS = 17  # torch._int_mm takes more than 16 rows on a GPU
_CLEARLY = 1.02


def main() -> None:
    """Measure, print, and write JSON."""
    arguments = parsed()
    table = {
        precision: times(precision, arguments.device, arguments.features, arguments.batches)
        for precision in arguments.precisions
    }
    for precision, by_batch in table.items():
        show(precision, by_batch)
    arguments.out.write_text(json.dumps(document(arguments, table), indent=1) + "\n")
    print(f"\n{arguments.out}")


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--features", type=int, default=4096)
    parser.add_argument("--batches", type=numbers, default=list(range(1, 66)))
    parser.add_argument("--precisions", type=lambda text: text.split(","), default=["fp16", "int8"])
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    return parser.parse_args()


def numbers(text: str) -> list[int]:
    """'1,8,9' as numbers."""
    return [int(part) for part in text.split(",")]


def times(precision: str, device: str, features: int, batches: Sequence[int]) -> dict[int, float]:
    """us of one product by batch."""
    made = {}
    for batch in batches:
        with torch.inference_mode():
            made[batch] = median_us(product(precision, device, features, batch), device)
    return made


def product(precision: str, device: str, features: int, batch: int) -> Callable[[], Any]:
    """One product of a batch."""
    if precision == "fp16":
        kind = torch.float16 if device != "cpu" else torch.float32
        rows = torch.randn(batch, features, device=device, dtype=kind)
        weights = torch.randn(features, features, device=device, dtype=kind)
        return lambda: torch.matmul(rows, weights)
    taken = int_mm_rows(batch, device)
    rows = torch.randint(-128, 127, (taken, features), device=device, dtype=torch.int8)
    columns = torch.randint(-128, 127, (features, features), device=device, dtype=torch.int8).t()
    return lambda: torch._int_mm(rows, columns)


def int_mm_rows(batch: int, device: str) -> int:
    """The rows that torch._int_mm takes for a batch: more than 16 on a GPU."""
    if device == "cpu":
        return batch
    return max(batch, _INT_MM_ROWS)


def median_us(run: Callable[[], Any], device: str) -> float:
    """Median time of one product, us."""
    if device == "cpu":
        return statistics.median(timed_on_cpu(run) for _ in range(_ROUNDS))
    repeat = repeated(run)
    return statistics.median(timed_on_gpu(repeat) for _ in range(_ROUNDS))


def timed_on_cpu(run: Callable[[], Any]) -> float:
    """us of one product, of a few in a loop."""
    began = time.perf_counter()
    for _ in range(5):
        run()
    return (time.perf_counter() - began) / 5 * 1e6


def repeated(run: Callable[[], Any]) -> Callable[[], Any]:
    """Many products as one CUDA graph; as a loop where they cannot be captured."""
    run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            for _ in range(_PRODUCTS):
                run()
    except RuntimeError:  # a library that allocates or waits while it computes
        torch.cuda.synchronize()
        return lambda: [run() for _ in range(_PRODUCTS)]
    return lambda: graph.replay()


def timed_on_gpu(repeat: Callable[[], Any]) -> float:
    """us of one product, by events around many."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    repeat()
    start.record()
    repeat()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / _PRODUCTS * 1e3


def padding_gain(by_batch: Mapping[int, float], batch: int, multiple: int) -> float | None:
    """How many times faster the next multiple is than this batch; None where it was not measured."""
    padded = -(-batch // multiple) * multiple
    if padded not in by_batch or padded == batch:
        return None
    return by_batch[batch] / by_batch[padded]


def show(precision: str, by_batch: Mapping[int, float]) -> None:
    """Batches where a multiple begins or ends, and all for which padding pays."""
    multiple = _MULTIPLES[precision]
    gains = {batch: padding_gain(by_batch, batch, multiple) for batch in by_batch}
    pays = [batch for batch, gain in gains.items() if gain is not None and gain > _CLEARLY]
    print(f"\n{precision}: {'batch':>6} {'us':>8} {'us per row':>11} {'padded to a multiple of':>24} {multiple}")
    for batch, us in by_batch.items():
        if batch % multiple in (0, 1, multiple - 1) or batch == 1:
            gain = gains[batch]
            words = "" if gain is None else f"{gain:.2f}x"
            print(f"{'':>6}{batch:>6} {us:>8.2f} {us / batch:>11.3f} {words:>24}")
    print(f"padding pays for {len(pays)} of {len(by_batch)} batches: {', '.join(map(str, pays)) or 'none'}")


def document(arguments: argparse.Namespace, table: Mapping[str, Mapping[int, float]]) -> dict[str, Any]:
    """What was measured, with the device and the versions."""
    name = arguments.device
    if name != "cpu":
        name = torch.cuda.get_device_name(name)
    return {
        "device": name,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "features": arguments.features,
        "us_by_batch": {precision: dict(by_batch) for precision, by_batch in table.items()},
    }


if __name__ == "__main__":
    main()
