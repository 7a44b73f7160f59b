"""The results as a table: absolute figures, what they are beside something bare in the same run, and what was aimed at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

COLUMNS = ("what", "measured", "beside", "aim", "held")


class Row(NamedTuple):
    """What was measured, as texts; whether the aim is met."""

    what: str
    measured: str
    beside: str = ""
    aim: str = ""
    is_held: bool | None = None

    @property
    def cells(self) -> tuple[str, ...]:
        held = "" if self.is_held is None else "yes" if self.is_held else "**no**"
        return self.what, self.measured, self.beside, self.aim, held


class Section(NamedTuple):
    title: str
    rows: list[Row]


def text(sections: Iterable[Section]) -> str:
    """For a terminal."""
    sections = list(sections)
    cells = [COLUMNS, *(row.cells for section in sections for row in section.rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(COLUMNS))]
    lines = [_aligned(COLUMNS, widths)]
    for section in sections:
        lines += ["", section.title, *(_aligned(row.cells, widths) for row in section.rows)]
    return "\n".join(lines).replace("**", "") + "\n"


def _aligned(cells: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(["", *(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))]).rstrip()


def markdown(sections: Iterable[Section]) -> str:
    """For the reference: one table for each section."""
    parts = []
    for section in sections:
        heading = (section.title, *COLUMNS[1:])
        rows = [heading, ("---",) * len(heading), *(row.cells for row in section.rows)]
        parts.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
    return "\n\n".join(parts) + "\n"
