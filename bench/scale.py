"""Beyond one machine: a sweep over the places of a Ray cluster against the same sweep without Ray.

    python bench/scale.py                  64 cells over 4 places of this machine; needs the extra 'ray'
    python bench/scale.py --cells 16 --places 2

A simulated device sleeps for as long as it takes, so that more places than cores can measure at once.
"""

from __future__ import annotations

from common import options, show
from scale_sweep import sweep_rows

if __name__ == "__main__":
    args = options(__doc__ or "", cells=64, places=4)
    show("scale", args, sweep_rows(args.cells, args.places))
