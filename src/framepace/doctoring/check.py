"""Short ways to make a Check: `text` is what was found."""

from __future__ import annotations

from framepace.facts.check import Check


def info(name: str, text: str, why: str = "") -> Check:
    """A check that needs no action."""
    return Check(name=name, state="info", found=text, why=why)


def ok(name: str, text: str) -> Check:
    """A check of something that is as it should be."""
    return Check(name=name, state="ok", found=text)


def warn(name: str, text: str, why: str, fix: str | None = None, undo: str | None = None) -> Check:
    """A check of something that costs time or makes numbers doubtful."""
    return Check(name=name, state="warn", found=text, why=why, fix=fix, undo=undo)


def bad(name: str, text: str, why: str, fix: str | None = None, undo: str | None = None) -> Check:
    """A check of something that must be fixed before anything is measured."""
    return Check(name=name, state="bad", found=text, why=why, fix=fix, undo=undo)


def warn_if(problem: bool, name: str, text: str, why: str, fix: str | None = None, undo: str | None = None) -> Check:
    """`warn` where there is a problem, else `ok`."""
    if problem:
        return warn(name, text, why, fix, undo)
    return ok(name, text)
