"""Figures of style: how dense the source is, and what its names are. `make check` holds them to the limits.

    python tools/style.py            the figures against their limits; exit code 1 when one is over
    python tools/style.py PATH ...   the same for some files or folders, with every place that counts

Only the standard library is needed. Tokens are those of Python's tokenizer, without comments, docstrings and layout.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "framepace"

FUNCTION_TOKENS = 150
FUNCTION_LINES = 60
FILE_LINES = 400
VAGUE = frozenset(
    [
        "found",
        "known",
        "told",
        "given",
        "what",
        "own",
        "said",
        "seen",
        "rest",
        "each",
        "left",
        "here",
        "there",
        "many",
        "most",
    ],
)
LIMITS = {
    "functions over 150 tokens": 0.03,
    "functions over 60 lines": 0.0,
    "files over 400 lines": 0.0,
    "packed assignments": 0.01,
    "ternaries per code line": 0.025,
    "vague names": 0.005,
    "generic named tuples": 0.0,  # Python 3.10 does not take them, and no checker says so
}
_LAYOUT = frozenset(
    (
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.COMMENT,
        tokenize.ENCODING,
        tokenize.ENDMARKER,
    )
)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Count:
    """How many of `total` things are of one kind, and where."""

    total: int = 0
    places: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        """The share of the total, 0 to 1."""
        return len(self.places) / max(1, self.total)


class Counts:
    """All figures of some files."""

    def __init__(self) -> None:
        self.by_name = {name: Count() for name in LIMITS}

    def add(self, path: Path) -> None:
        """Count in one file."""
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        tokens = _tokens(text, _docstrings(tree))
        self._lines(path, text, tokens)
        self._functions(path, tree, tokens)
        self._assignments(path, tree)
        self._names(path, tree)
        self._classes(path, tree)

    def _lines(self, path: Path, text: str, tokens: Sequence[int]) -> None:
        files = self.by_name["files over 400 lines"]
        files.total += 1
        if text.count("\n") > FILE_LINES:
            files.places.append(f"{path}: {text.count(chr(10))} lines")
        self.by_name["ternaries per code line"].total += len(set(tokens))

    def _functions(self, path: Path, tree: ast.AST, tokens: Sequence[int]) -> None:
        for function in _functions_of(tree):
            end = function.end_lineno or function.lineno
            size = sum(function.lineno <= line <= end for line in tokens)
            place = f"{path}:{function.lineno} {function.name}"
            self._note("functions over 150 tokens", size > FUNCTION_TOKENS, f"{place}: {size} tokens")
            length = end - function.lineno + 1
            self._note("functions over 60 lines", length > FUNCTION_LINES, f"{place}: {length} lines")

    def _assignments(self, path: Path, tree: ast.AST) -> None:
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign):
                packed = isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple)
                self._note("packed assignments", packed, f"{path}:{node.lineno} {ast.unparse(node)[:80]}")
            elif isinstance(node, ast.AnnAssign | ast.AugAssign):
                self._note("packed assignments", False, "")
            elif isinstance(node, ast.IfExp):
                place = f"{path}:{node.lineno} {ast.unparse(node)[:80]}"
                self.by_name["ternaries per code line"].places.append(place)

    def _names(self, path: Path, tree: ast.AST) -> None:
        for name, line in _bindings(tree):
            self._note("vague names", name.strip("_") in VAGUE, f"{path}:{line} {name}")

    def _classes(self, path: Path, tree: ast.AST) -> None:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases = [ast.unparse(base) for base in node.bases]
                generic = "NamedTuple" in bases and len(bases) > 1
                self._note("generic named tuples", generic, f"{path}:{node.lineno} {node.name}")

    def _note(self, name: str, counts: bool, place: str) -> None:
        count = self.by_name[name]
        count.total += 1
        if counts:
            count.places.append(place)


def _functions_of(tree: ast.AST) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield node


def _bindings(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Variables, arguments and attributes that are assigned, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno


def _docstrings(tree: ast.AST) -> frozenset[int]:
    """Lines that belong to docstrings."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return frozenset(lines)


def _tokens(text: str, docstrings: frozenset[int]) -> list[int]:
    """The line of every token that is code."""
    stream = tokenize.generate_tokens(io.StringIO(text).readline)
    return [t.start[0] for t in stream if t.type not in _LAYOUT and t.start[0] not in docstrings]


def count(paths: Sequence[Path]) -> Counts:
    """The figures of all Python files in or below `paths`."""
    counts = Counts()
    for path in paths:
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            counts.add(file)
    return counts


def main(arguments: Sequence[str]) -> int:
    """Print the figures; 1 when one is over its limit."""
    counts = count([Path(text) for text in arguments] or [SOURCE])
    over = False
    for name, figure in counts.by_name.items():
        limit = LIMITS[name]
        bad = figure.share > limit
        over |= bad
        verdict = "OVER" if bad else "ok"
        print(
            f"{name:28} {len(figure.places):5} of {figure.total:6}  {figure.share:7.2%}  limit {limit:.1%}  {verdict}"
        )
        if arguments or limit == 0.0:
            print("".join(f"    {place}\n" for place in figure.places), end="")
    return int(over)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
