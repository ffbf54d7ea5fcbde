"""Small letters as dots: three columns and five rows each, capitals only, for labels in pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# The rows of each letter from above, a digit from 0 to 7 each: its three bits are the dots of the row.
_ROWS = {
    "0": "75557", "1": "26227", "2": "71747", "3": "71717", "4": "55711", "5": "74717", "6": "74757", "7": "71122",
    "8": "75757", "9": "75717", "A": "25755", "B": "65656", "C": "34443", "D": "65556", "E": "74647", "F": "74644",
    "G": "34553", "H": "55755", "I": "72227", "J": "11152", "K": "55655", "L": "44447", "M": "57755", "N": "57775",
    "O": "25552", "P": "75744", "Q": "25563", "R": "65655", "S": "34216", "T": "72222", "U": "55557", "V": "55552",
    "W": "55775", "X": "55255", "Y": "55222", "Z": "71247", ".": "00002", "-": "00700", "_": "00007", ":": "02020",
    "%": "51245", "/": "11244", "#": "57575", "+": "02720", "(": "12221", ")": "42224", ",": "00024", " ": "00000",
}  # fmt: skip
_UNKNOWN = "71202"  # a question mark
_LONGEST = 40  # letters of a label


def letters(text: str, scale: int) -> NDArray[np.bool_]:
    """Which dots of a line of text are set: bool [7 * scale, (4 * letters + 1) * scale], with a margin."""
    text = text.upper()[:_LONGEST]
    dots = np.zeros((7, 4 * len(text) + 1), dtype=bool)
    for place, letter in enumerate(text):
        dots[1:6, 4 * place + 1 : 4 * place + 4] = _dots(letter)
    return np.kron(dots, np.ones((scale, scale), dtype=bool))


def _dots(letter: str) -> NDArray[np.bool_]:
    rows = np.array([int(row) for row in _ROWS.get(letter, _UNKNOWN)])
    return np.asarray((rows[:, None] & np.array((4, 2, 1))) > 0)
