"""Beyond one machine: a sweep over the places of a Ray cluster against the same sweep without Ray.

    python bench/scale.py                  64 cells over 4 places of this machine; needs the extra 'ray'
    python bench/scale.py --cells 16 --places 2
    python bench/scale.py --gpu 1          16 cells of a real network over all GPUs of this machine

A simulated device sleeps for as long as it takes, so that more places than cores can measure at once.
"""

from __future__ import annotations

from common import options, show
from scale_sweep import gpu_rows, sweep_rows

if __name__ == "__main__":
    args = options(__doc__ or "", cells=64, places=4, gpu=0)
    show("scale", args, gpu_rows() if args.gpu else sweep_rows(args.cells, args.places))
