"""What is wrong with a file, where, and how it is shown."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Final, Literal

import msgspec

_LINE_END = re.compile(r"\r\n|\n|\r")
_WIDEST: Final = 120
"""Characters of a line that are shown; of a longer one the part around the problem."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong at one place of one file. Lines and columns count from 1, in characters."""

    file: str
    line: int
    column: int
    end_column: int
    """The column just after the last one meant."""
    severity: Literal["error", "warning"]
    code: str
    """What kind of problem it is: a slug that never changes."""
    message: str
    hint: str | None
    excerpt: str | None
    """The line as it stands in the file; None where it must not be shown."""


class SourceText:
    """A file's name and text, and its lines."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self._starts = [0, *(end.end() for end in _LINE_END.finditer(text))]
        self._ends = [*(end.start() for end in _LINE_END.finditer(text)), len(text)]

    def position(self, index: int) -> tuple[int, int]:
        """Line and column, from 1, of the character at `index`."""
        line = bisect_right(self._starts, index)
        return line, index - self._starts[line - 1] + 1

    def problem(
        self,
        start: int,
        end: int,
        code: str,
        message: str,
        hint: str | None = None,
        *,
        severity: Literal["error", "warning"] = "error",
    ) -> Problem:
        """A problem with the characters from `start` to `end`, of which those on the first line are shown."""
        line, column = self.position(start)
        line_start, line_end = self._starts[line - 1], self._ends[line - 1]
        shown = self.text[start : min(end, line_end)].rstrip()
        return Problem(
            file=self.name,
            line=line,
            column=column,
            end_column=column + max(len(shown), 1),
            severity=severity,
            code=code,
            message=_printable(message),
            hint=None if hint is None else _printable(hint),
            excerpt=self.text[line_start:line_end],
        )


def in_order(problems: list[Problem]) -> list[Problem]:
    """Each problem once, by file, line and column."""
    return sorted(
        set(problems), key=lambda each: (each.file, each.line, each.column, each.code, each.message)
    )


def as_text(problem: Problem) -> str:
    """The problem as a person reads it: place, what is wrong, the line with the part that is meant, one hint."""
    number = str(problem.line)
    gutter = " " * len(number)
    lines = [
        f"{problem.file}:{problem.line}:{problem.column}: {problem.severity}[{problem.code}]: {problem.message}"
    ]
    if problem.excerpt is not None:
        excerpt, before = _clipped(problem.excerpt, problem.column - 1)
        width = max(1, min(problem.end_column - problem.column, len(excerpt) - before))
        lines += [
            f"{gutter} |",
            f"{number} | {excerpt}".rstrip(),
            f"{gutter} | {' ' * before}{'^' * width}",
        ]
    if problem.hint is not None:
        lines.append(f"{gutter} = hint: {problem.hint}")
    return "\n".join(lines)


def as_json(problem: Problem) -> str:
    """The problem as one line of JSON."""
    return msgspec.json.encode(problem).decode()


def as_github(problem: Problem) -> str:
    """The problem as a workflow command of GitHub Actions, which marks the line in a review."""
    place = {
        "file": problem.file,
        "line": problem.line,
        "col": problem.column,
        "endColumn": problem.end_column,
        "title": problem.code,
    }
    properties = ",".join(f"{name}={_escaped(str(value), ':,')}" for name, value in place.items())
    message = problem.message if problem.hint is None else f"{problem.message} ({problem.hint})"
    return f"::{problem.severity} {properties}::{_escaped(message)}"


def _clipped(excerpt: str, before: int) -> tuple[str, int]:
    """The line, or its part around the problem, and the number of characters before the problem in it."""
    line = "".join(char if char.isprintable() else " " for char in excerpt)
    if len(line) <= _WIDEST:
        return line, before
    start = max(0, min(before - _WIDEST // 2, len(line) - _WIDEST))
    part = line[start : start + _WIDEST]
    if start + _WIDEST < len(line):
        part += "..."
    return (f"...{part}", before - start + 3) if start else (part, before)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _escaped(text: str, also: str = "") -> str:
    return "".join(f"%{ord(char):02X}" if char in "%\r\n" + also else char for char in text)
