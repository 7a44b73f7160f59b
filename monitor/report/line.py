"""Lines of text whose parts know what they mean (`late`, `quiet`, ...): what paints them decides how that looks."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import Final, NamedTuple

Span = tuple[str, str]
"""A text, and what it means: one of the styles of the command, or nothing."""
Line = list[Span]


class Glyphs(NamedTuple):
    """The characters of drawings, each one column wide."""

    bars: tuple[str, str]
    """Places, by turns, so that neighbours differ."""
    start: str
    came: str
    deadline: str
    nothing: str
    allowed: str
    late: str
    spare: str
    charting: str
    charted: str
    warning: str
    warned: str
    alarm: str
    alarmed: str
    ends: str
    down: str
    corner: str
    tee: str
    corner_left: str
    tee_left: str
    guide: str
    tick: str
    rule: str
    arrow: str
    dash: str
    dot: str
    more: str
    low: str
    high: str
    point: str
    between: str
    levels: str


UNICODE: Final = Glyphs(
    bars=("█", "▓"),
    start="●",
    came="◆",
    deadline="┃",
    nothing="✗",
    allowed="━",
    late="▒",
    spare="┄",
    charting="┄",
    charted="○",
    warning="△",
    warned="─",
    alarm="▲",
    alarmed="━",
    ends="■",
    down="│",
    corner="╰",
    tee="├",
    corner_left="╯",
    tee_left="┤",
    guide="┊",
    tick="╷",
    rule="─",
    arrow="→",
    dash="–",
    dot="·",
    more="…",
    low="├",
    high="┤",
    point="●",
    between="─",
    levels="▁▂▃▄▅▆▇█",
)
ASCII: Final = Glyphs(
    bars=("=", "#"),
    start="o",
    came="*",
    deadline="|",
    nothing="x",
    allowed="-",
    late="!",
    spare=".",
    charting=".",
    charted="c",
    warning="w",
    warned="-",
    alarm="A",
    alarmed="=",
    ends="]",
    down="|",
    corner="`",
    tee="+",
    corner_left="'",
    tee_left="+",
    guide=":",
    tick="'",
    rule="-",
    arrow="->",
    dash="-",
    dot="-",
    more="~",
    low="[",
    high="]",
    point="*",
    between="-",
    levels="_.-=+*%#",
)


def safe(line: Line) -> Line:
    """The line with its texts made printable: what came with the data is shown, and never obeyed."""
    return [(printable(text), style) for text, style in line]


def printable(text: str) -> str:
    """A text with a `?` for each character that would command a terminal or break a picture."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)


def plain(line: Line) -> str:
    """The text alone, without what it means."""
    return "".join(text for text, _ in line).rstrip()


def clipped(text: str, width: int, glyphs: Glyphs) -> str:
    """The text, cut where it is too long, and marked as such."""
    return text if len(text) <= width else text[: max(width - 1, 0)].rstrip() + glyphs.more[: max(width, 0)]


def paragraph(text: str, width: int, style: str = "", indent: str = "") -> list[Line]:
    """A text on as many lines as it needs."""
    return [
        [(indent, ""), (line, style)]
        for line in wrap(text, max(width - len(indent), 20), break_on_hyphens=False)
    ]


class Row:
    """A line that is drawn on, column by column."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.chars = [" "] * width
        self.styles = [""] * width

    def put(self, column: int, text: str, style: str = "") -> None:
        """Write a text; what lies outside is lost."""
        for place, char in enumerate(text, column):
            if 0 <= place < self.width:
                self.chars[place], self.styles[place] = char, style

    def fill(self, start: int, end: int, char: str, style: str = "") -> None:
        """Write one character from a column up to, and without, another."""
        self.put(max(start, 0), char * (min(end, self.width) - max(start, 0)), style)

    def is_free(self, start: int, end: int) -> bool:
        """Whether the columns from one up to, and without, another are empty."""
        return all(char == " " for char in self.chars[max(start, 0) : max(end, 0)])

    def line(self) -> Line:
        """Neighbours of one style as one span."""
        spans: Line = []
        for char, style in zip(self.chars, self.styles, strict=True):
            if spans and spans[-1][1] == style:
                spans[-1] = (spans[-1][0] + char, style)
            else:
                spans.append((char, style))
        return spans


class Column(NamedTuple):
    """A column of a table; without `weight` it stays, else the lightest go first where there is no room."""

    title: str
    cells: Sequence[Span]
    left: bool = False
    weight: int | None = None


def table(columns: Sequence[Column], width: int, glyphs: Glyphs, *, least: int = 24) -> list[Line]:
    """Columns side by side, two spaces apart, or one where that is what it takes; headings first.

    Where they do not fit, the first column is cut, down to `least`; then the lightest columns are left out.
    """
    shown = list(columns)
    while True:
        widths = [max(len(column.title), *(len(text) for text, _ in column.cells)) for column in shown]
        gap = 2 if sum(widths) + 2 * (len(shown) - 1) <= width else 1
        over = max(sum(widths) + gap * (len(shown) - 1) - width, 0)
        light = [column for column in shown if column.weight is not None]
        if over == 0 or widths[0] - over >= least or not light:
            widths[0] = max(widths[0] - over, 1)
            return [_headings(shown, widths, gap), *_rows(shown, widths, gap, glyphs)]
        shown.remove(min(light, key=lambda column: column.weight or 0))


def _headings(columns: Sequence[Column], widths: Sequence[int], gap: int) -> Line:
    line: Line = []
    for column, width in zip(columns, widths, strict=True):
        title = column.title.ljust(width) if column.left else column.title.rjust(width)
        line += [(" " * gap, ""), (title, "head")]
    return line[1:]


def _rows(columns: Sequence[Column], widths: Sequence[int], gap: int, glyphs: Glyphs) -> list[Line]:
    lines: list[Line] = []
    for cells in zip(*(column.cells for column in columns), strict=True):
        line: Line = []
        for column, (text, style), width in zip(columns, cells, widths, strict=True):
            cut = clipped(text, width, glyphs)
            line += [(" " * gap, ""), (cut.ljust(width) if column.left else cut.rjust(width), style)]
        lines.append(line[1:])
    return lines
