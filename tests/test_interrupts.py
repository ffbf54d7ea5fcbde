"""Calls that nothing can stop: the program ends instead."""

from __future__ import annotations

import threading

import pytest

from framepace import interrupts


def test_a_call_that_does_not_return_in_time_ends_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what did not return, and for how long; one that returns ends nothing, and leaves no thread."""
    ended = threading.Event()
    reasons: list[str] = []

    def end(why: str) -> None:
        reasons.append(why)
        ended.set()

    monkeypatch.setattr(interrupts, "end", end)
    before = threading.active_count()
    with interrupts.ended_after(1e6, "loading m"):
        pass
    with pytest.raises(ValueError, match="its own error"), interrupts.ended_after(1e6, "loading m"):
        raise ValueError("its own error")
    with interrupts.ended_after(0.01, "loading m"):
        assert ended.wait(60)
    assert reasons[0].startswith("loading m does not return\n  got: no answer in 0.01 s\n  what to do: ")
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join()
    assert len(reasons) == 1
    assert threading.active_count() == before
