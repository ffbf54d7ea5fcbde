"""How many SMs a worker gets: a number, or a share of the device."""

from __future__ import annotations


def sm_count(sms: int | str | None, whole: int, step: int = 1) -> int | None:
    """The SMs that `sms` (a number, or '50%') stands for on a device with `whole` of them; None: all.

    A share is rounded down to a multiple of `step`, the smallest part that the device can be divided into.
    """
    match sms:
        case str():
            share = whole * int(sms.removesuffix("%")) // 100
            return max(step, share // step * step)
        case _:
            return sms
