"""Tables as text and as HTML, and how times stand in them."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Sequence

Row = Sequence[str]


def text_table(heading: Row, rows: Sequence[Row]) -> str:
    """Columns divided by │.

    >>> print(text_table(["node", "value"], [["x", "2"], ["x²", "4"]]))
    node │ value
    ─────┼──────
    x    │ 2
    x²   │ 4
    """
    widths = [max(_width(row[i]) for row in [heading, *rows]) for i in range(len(heading))]
    padded = [[_padded(cell, w) for cell, w in zip(row, widths, strict=True)] for row in [heading, *rows]]
    lines = [" │ ".join(row).rstrip() for row in padded]
    return "\n".join([lines[0], "─┼─".join("─" * w for w in widths), *lines[1:]])


def html_table(heading: Row, rows: Sequence[Row]) -> str:
    """A plain HTML table; cells are escaped."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in heading)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _width(text: str) -> int:
    """Columns on a terminal: combining marks take none."""
    return sum(not unicodedata.combining(c) for c in text)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def duration(seconds: float) -> str:
    """Seconds with a unit.

    >>> duration(2.5e-8), duration(0.0012)
    ('25 ns', '1.2 ms')
    """
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
