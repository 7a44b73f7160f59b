"""`handoff report`: what a hospital would learn from its own history, on a screen or two."""

from __future__ import annotations

import argparse
import io
import locale
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from monitor.commands.loading import arranged, asked, noticed, read_events
from monitor.commands.streams import USAGE, Failed, Streams, progress_bar, write_file
from monitor.core.place import Registry
from monitor.core.rule import CaseRule, ReliabilityRule, Rule, SilenceRule
from monitor.report.learn import History, Report, learn
from monitor.report.line import ASCII, UNICODE, Glyphs, Line, plain, safe
from monitor.report.show import SECTIONS, lines_of
from monitor.report.suggest import Invocation
from monitor.rulefile.what_if import with_changes
from monitor.runtime.replay import Input, replay, stays

_NARROWEST: Final = 60
_WIDEST: Final = 120
"""On a wider terminal lines would only be harder to follow."""
_PIPED: Final = 100
"""The width where there is no terminal."""

# Blue, orange and vermilion are told apart by the colour-blind (Okabe and Ito); they can be read on black and on
# white, and no colour says anything that words or shapes do not.
_STYLES: Final = {
    "title": "bold",
    "head": "bold",
    "strong": "bold",
    "quiet": "dim",
    "met": "#2a8fcf",
    "late": "#d08700",
    "bad": "bold #d55e00",
    "overrun": "#d55e00 on #d55e00",
    "overrun name": "bold white on #d55e00",
    "charting": "#d08700",
    "charting name": "bold #d08700",
    "warning": "#d08700",
    "alarm": "bold #d55e00",
    "command": "#2a8fcf",
    "place0": "#2f6f9f on #2f6f9f",
    "place0 name": "bold white on #2f6f9f",
    "place1": "#5b6470 on #5b6470",
    "place1 name": "bold white on #5b6470",
}
_STYLES_16: Final = _STYLES | {
    "met": "blue",
    "late": "yellow",
    "bad": "bold red",
    "overrun": "red on red",
    "overrun name": "bold white on red",
    "charting": "yellow",
    "charting name": "bold yellow",
    "warning": "yellow",
    "alarm": "bold red",
    "command": "blue",
    "place0": "blue on blue",
    "place0 name": "bold white on blue",
    "place1": "bright_black on bright_black",
    "place1 name": "bold white on bright_black",
}
"""For terminals that have no more colours; the nearest to those above would be the wrong ones."""
_THEME: Final = TerminalTheme(
    (16, 20, 26),
    (222, 226, 230),
    [(16, 20, 26)] + [(222, 226, 230)] * 7,
)


_FONT_FACE: Final = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
"""What would fetch a font from the internet when a hospital opens its picture."""
_FONTS: Final = "Fira Code, DejaVu Sans Mono, Menlo, Consolas, monospace"


def report(args: argparse.Namespace, streams: Streams) -> int:
    """Replay the history as it would have been lived through, and show what is to be learned from it."""
    rules_paths, registry, packs = asked(args, streams, "report", ("--svg", args.svg))
    packs = _changed(packs, args.set)
    was = read_events(args, registry, streams)
    taken = arranged(args, was)
    found, counts = _learned(packs, registry, taken, args, rules_paths, streams)
    _show(found, args, streams)
    return noticed(was, taken, registry, counts, streams)


def _changed(packs: Sequence[tuple[str, list[Rule]]], changes: Sequence[str]) -> list[tuple[str, list[Rule]]]:
    try:
        after = iter(with_changes([rule for _, rules in packs for rule in rules], changes))
    except ValueError as error:
        raise Failed(USAGE, f"report: --set: {error}") from error
    return [(name, [next(after) for _ in rules]) for name, rules in packs]


def _invocation(args: argparse.Namespace, rules_paths: Sequence[str]) -> Invocation:
    """The words with which this report was asked for, without what only concerns how it looks."""
    until = args.until and f"{args.until:%Y-%m-%dT%H:%M:%SZ}"
    source = _words(("--microsystems", args.microsystems), ("--mapping", args.mapping))
    clock = [*_words(("--until", until)), *(["--as-received"] if args.as_received else [])]
    sets = _words(*(("--set", change) for change in args.set))
    return Invocation(
        rules=shlex.join([*rules_paths, *sets]),
        input=shlex.join([*source, *clock, *args.files]),
        source=shlex.join([*source, *args.files]),
    )


def _words(*options: tuple[str, str | None]) -> list[str]:
    return [word for option, value in options if value is not None for word in (option, value)]


def _learned(
    packs: Sequence[tuple[str, Sequence[Rule]]],
    registry: Registry,
    taken: Input,
    args: argparse.Namespace,
    rules_paths: Sequence[str],
    streams: Streams,
) -> tuple[Report | None, dict[str, int]]:
    """None where there was no event."""
    if not taken.events or taken.until is None:
        return None, {}
    of_cases = [
        (_pack_name(name), [rule for rule in rules if isinstance(rule, CaseRule)]) for name, rules in packs
    ]
    as_if_live = [rule.model_copy(update={"mode": "live"}) for _, rules in of_cases for rule in rules]
    with progress_bar(len(taken.events), streams) as progress:
        outcome = replay(as_if_live, registry, taken, jobs=args.jobs, alerts=True, progress=progress)
    history = History(
        of_cases,
        [rule for _, rules in packs for rule in rules if isinstance(rule, ReliabilityRule | SilenceRule)],
        registry,
        taken.events,
        taken.until,
        outcome.verdicts,
        outcome.alerts,
        list(stays(registry, taken)),
        _invocation(args, rules_paths),
    )
    return learn(history, identifiers=args.identifiers == "full"), outcome.counts


def _pack_name(name: str) -> str:
    return name.removeprefix("pack:") if name.startswith("pack:") else Path(name).stem


def _show(found: Report | None, args: argparse.Namespace, streams: Streams) -> None:
    if args.format == "json":
        streams.print((msgspec.json.encode(found or {"events": 0})).decode() + "\n")
    elif found is None:
        streams.print("There is no event to report on.\n")
    else:
        _print(found, args, streams)
    if args.svg is not None and found is not None:
        width = args.width or _PIPED
        write_file(args.svg, [_svg(_lines(found, width, UNICODE, args), width)], streams)


def _print(found: Report, args: argparse.Namespace, streams: Streams) -> None:
    console = Console(file=streams.stdout, highlight=False)
    width = args.width or (min(max(console.width, _NARROWEST), _WIDEST) if console.is_terminal else _PIPED)
    glyphs = ASCII if args.ascii or not _can_draw(streams) else UNICODE
    lines = _lines(found, width, glyphs, args)
    if not console.is_terminal:
        streams.print_all(plain(line) + "\n" for line in lines)
        return
    console.width = width
    with console.capture() as painted:
        _paint(console, lines)
    streams.print(painted.get())


def _lines(found: Report, width: int, glyphs: Glyphs, args: argparse.Namespace) -> Iterator[Line]:
    return map(safe, lines_of(found, width, glyphs, args.only or SECTIONS))


def _can_draw(streams: Streams) -> bool:
    """Whether what shows our output has the characters of drawings; what we write in is UTF-8 wherever that leads."""
    try:
        streams.stdout.fileno()
    except OSError:  # it stays in this process
        return True
    return locale.getencoding().lower().replace("-", "") == "utf8"


def _paint(console: Console, lines: Iterable[Line]) -> None:
    styles = _STYLES_16 if console.color_system == "standard" else _STYLES
    for line in lines:
        text = Text(no_wrap=True, overflow="crop")
        for part, style in line:
            text.append(part, styles.get(style, style))
        console.print(text, crop=False)


def _svg(lines: Iterable[Line], width: int) -> str:
    console = Console(
        file=io.StringIO(),
        record=True,
        width=width,
        force_terminal=True,
        color_system="truecolor",
        no_color=False,
    )
    _paint(console, lines)
    svg = console.export_svg(title="handoff report", theme=_THEME, unique_id="handoff")
    return _FONT_FACE.sub("", svg).replace("Fira Code, monospace", _FONTS)
