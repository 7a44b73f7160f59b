"""`handoff simulate`: the events of a hospital that does not exist, and the truth about them."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from shlex import quote
from typing import IO, Final

from monitor.commands.streams import FINE, UNABLE, USAGE, Failed, Streams
from monitor.simulation.hl7 import DIALECTS, Dialect, feed, is_adt, is_sent, message
from monitor.simulation.hl7_telling import as_told
from monitor.simulation.hospital import Options
from monitor.simulation.journey import Journey, Seconds
from monitor.simulation.known import finder
from monitor.simulation.log import in_order, journeys, json_line, json_lines, tellings
from monitor.simulation.registry import SIGNATURE, owners, registry_text
from monitor.simulation.text import moment
from monitor.simulation.truth import Case, cases, line, order

_STDOUT: Final = "-"
_EVENTS: Final = "events.jsonl"
_ADT: Final = "adt.hl7"
_MILESTONES: Final = "milestones.jsonl"
_REGISTRY: Final = "microsystems.yaml"
_TRUTH: Final = "truth.jsonl"
_FILES: Final = (_REGISTRY, _EVENTS, _ADT, _MILESTONES, _TRUTH)
_PACKS: Final = (
    "ambulance",
    "ed",
    "sepsis",
    "icu",
    "stroke",
    "flow",
    "discharge",
    "return",
    "transit",
    "notify",
)


def simulate(args: argparse.Namespace, streams: Streams) -> int:
    """Write the log of the simulated hospitals, their registry and the truth; print how to replay it."""
    if args.dialect is not None and args.format != "hl7":
        raise Failed(USAGE, "simulate: a --dialect is one of HL7; say --format hl7")
    if not args.out:
        raise Failed(USAGE, "simulate: --out names no directory")
    options = Options(**{name: getattr(args, name) for name in Options._fields})
    if args.out != _STDOUT:
        _write_all(args, options)
        streams.print(_replay(args, options))
        return FINE
    if args.format == "hl7":
        raise Failed(USAGE, "simulate: HL7 is two files; name a directory in --out")
    end = options.end
    streams.print_all(in_order(journeys(options), lambda journey: json_lines(journey, end)))
    return FINE


def _write_all(args: argparse.Namespace, options: Options) -> None:
    folder = Path(args.out)
    dialect = DIALECTS[args.dialect or "standard"] if args.format == "hl7" else None
    found: list[Case] | None = None if args.no_truth else []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _clear(folder)
        (folder / _REGISTRY).write_text(
            registry_text(options, dialect.profile if dialect else ()), encoding="utf-8", newline="\n"
        )
        if dialect is None:
            _write_jsonl(folder, options, found)
        else:
            _write_hl7(folder, options, dialect, found)
        if found is not None:
            found.sort(key=order)
            with (folder / _TRUTH).open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(line(case) + "\n" for case in found)
    except OSError as error:
        raise Failed(UNABLE, f"cannot write {error.filename or folder}: {error.strerror}") from error


def _clear(folder: Path) -> None:
    """Remove what an earlier simulation wrote, lest its truth stand beside other events; files of any other origin stay."""
    there = [name for name in _FILES if (folder / name).exists()]
    if there and not _is_simulated(folder / _REGISTRY):
        raise Failed(
            USAGE, f"simulate: {folder / there[0]} is no simulation's; name another directory in --out"
        )
    for name in there:
        (folder / name).unlink()


def _is_simulated(registry: Path) -> bool:
    return registry.is_file() and registry.read_bytes().startswith(SIGNATURE.encode())


def _write_jsonl(folder: Path, options: Options, found: list[Case] | None) -> None:
    end, where = options.end, finder(owners(options))

    def written(journey: Journey) -> Iterator[tuple[Seconds, str]]:
        if found is not None:
            found.extend(cases(journey, end, where))
        return json_lines(journey, end)

    with (folder / _EVENTS).open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(in_order(journeys(options), written))


def _write_hl7(folder: Path, options: Options, dialect: Dialect, found: list[Case] | None) -> None:
    """What the dialect can say is what the truth is about; milestones are told beside it, as JSON lines."""
    end, where = options.end, finder(owners(options))

    def written(journey: Journey) -> Iterator[tuple[Seconds, bytes | str]]:
        told = as_told(journey, dialect)
        if found is not None:
            found.extend(cases(told, end, where))
        for fact, telling, delivered_at in tellings(told, end):
            if not is_adt(fact):
                yield delivered_at, json_line(fact, telling, delivered_at)
            elif is_sent(fact):
                yield delivered_at, message(fact, telling, dialect)

    with (
        (folder / _ADT).open("wb") as adt,
        (folder / _MILESTONES).open("w", encoding="utf-8", newline="\n") as milestones,
    ):
        adt.writelines(feed(_aside(in_order(journeys(options), written), milestones), dialect))


def _aside(log: Iterable[bytes | str], milestones: IO[str]) -> Iterator[bytes]:
    """The messages of the log; its JSON lines go to a file of their own."""
    for told in log:
        if isinstance(told, bytes):
            yield told
        else:
            milestones.write(told)


def _replay(args: argparse.Namespace, options: Options) -> str:
    folder = Path(args.out)
    names = (_EVENTS,) if args.format == "jsonl" else (_ADT, _MILESTONES)
    parts = (
        "handoff replay --rules",
        *(f"pack:{name}" for name in _PACKS),
        f"--microsystems {quote(str(folder / _REGISTRY))}",
        f"--until {moment(options.end)}",
        *(() if args.no_truth else (f"--truth {quote(str(folder / _TRUTH))}",)),
        *(quote(str(folder / name)) for name in names),
    )
    return " ".join(parts) + "\n"
