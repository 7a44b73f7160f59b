"""`handoff plan`: what a reload would do to open cases and alerts, before it is done."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

from monitor.commands.loading import arranged, read_events, tell
from monitor.commands.streams import FINE, PROBLEMS, UNABLE, Failed, Streams, progress_bar
from monitor.core.event import Event, moment_text
from monitor.report.line import printable
from monitor.report.names import counted
from monitor.runtime.database import StoreError
from monitor.runtime.live import Loaded
from monitor.runtime.output import aligned, json_line
from monitor.runtime.plan import History, Moved, Plan, RulePlan, plan
from monitor.runtime.reader import Reader
from monitor.runtime.rules import load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    rules = "rule files, directories or pack:NAME, apart by commas"
    parser.add_argument("old", metavar="OLD", help=f"the rules in use: {rules}")
    parser.add_argument("new", metavar="NEW", help="the rules that would take their place, likewise")
    journeys = parser.add_mutually_exclusive_group(required=True)
    journeys.add_argument(
        "--data", metavar="DIR", help="the data directory of the service, which may be running"
    )
    journeys.add_argument("--events", nargs="+", metavar="FILE", help="or files of events, as of `replay`")
    parser.add_argument(
        "--microsystems",
        metavar="FILE",
        help="the registry; the new one if it changes; default: with --data that of the service",
    )
    parser.add_argument(
        "--microsystems-old", metavar="FILE", help="the registry in use, where it is another one"
    )
    parser.add_argument("--mapping", metavar="FILE", help="what the columns of CSV or XES mean")
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(args: argparse.Namespace, streams: Streams) -> int:
    """Show what would change. Nothing is changed, and nothing is told to anybody."""
    try:
        registry = args.microsystems or (_registry_of_service(args.data, streams) if args.data else None)
        old = _loaded(args.old, args.microsystems_old or registry, streams)
        new = _loaded(args.new, registry, streams)
        found = _of_store(args, old, new, streams) if args.data else _of_files(args, old, new, streams)
    except StoreError as error:
        raise Failed(UNABLE, str(error)) from error
    streams.print(json_line(_fields(found)) if args.format == "json" else _text(found))
    return FINE


def _registry_of_service(data: str, streams: Streams) -> str | None:
    """The file in which the service found its registry: without it places mean something else, and all is counted wrongly."""
    with closing(Reader(Path(data))) as reader:
        registry = reader.registry()
    if not registry:
        return None
    if not Path(registry).is_file():
        raise Failed(
            UNABLE,
            f"the service has its registry in {registry}, which is not here: name it with --microsystems",
        )
    streams.say(f"with the registry of the service: {registry}")
    return registry


def _loaded(paths: str, microsystems: str | None, streams: Streams) -> Loaded:
    loaded, problems = load(paths.split(","), microsystems)
    tell(problems, streams)
    if loaded is None:
        raise Failed(PROBLEMS)
    return loaded


def _of_store(args: argparse.Namespace, old: Loaded, new: Loaded, streams: Streams) -> Plan:
    with closing(Reader(Path(args.data))) as reader:
        clock = reader.clock()
        if clock is None:
            raise Failed(UNABLE, f"{args.data} holds no events yet")
        history = History(reader.events(), reader.events, clock, reader.heard())
        return _planned(history, old, new, streams)


def _of_files(args: argparse.Namespace, old: Loaded, new: Loaded, streams: Streams) -> Plan:
    args.files, args.until, args.as_received = args.events, None, False
    taken = arranged(args, read_events(args, old.registry, streams))
    if taken.until is None:
        raise Failed(UNABLE, "there are no events in the files")
    of_patient: dict[str, list[Event]] = {}
    for event in taken.events:
        of_patient.setdefault(event.patient, []).append(event)

    def events_of(patients: Sequence[str]) -> Iterable[Event]:
        return chain.from_iterable(of_patient.get(each, ()) for each in patients)

    return _planned(History(taken.events, events_of, taken.until, {}), old, new, streams)


def _planned(history: History, old: Loaded, new: Loaded, streams: Streams) -> Plan:
    with progress_bar(history.events, streams) as progress:
        return plan(history, old, new, progress)


# For people


def _text(found: Plan) -> str:
    told = [each for each in found.rules if each.fate != "same" or not each.is_idle]
    same = len(found.rules) - len(told)
    lines = [
        f"as of {moment_text(found.clock)}: {counted(found.patients, 'patient')}, {counted(found.events, 'event')}\n"
    ]
    lines += [f"\n{_rule(each)}" for each in told]
    if found.locations:
        lines.append("\nlocations that go elsewhere\n" + aligned(list(map(_location, found.locations)), 3))
    if same:
        lines.append(f"\n{'nothing changes for' if told else 'nothing changes:'} {counted(same, 'rule')}\n")
    fire = sum(each.fire for each in found.rules)
    resolve = sum(each.resolve.total() for each in found.rules)
    stay = sum(each.stay for each in found.rules)
    lines.append(f"\nalerts: {fire:,} would fire, {resolve:,} would be resolved, {stay:,} stay as they are\n")
    return "".join(lines)


def _rule(each: RulePlan) -> str:
    keys = f": {', '.join(each.keys)}" if each.keys else ""
    lines = [f"{printable(each.rule)} ({each.fate}{keys})\n"]
    lines.append(f"  cases     {each.cases_before:,} before, {each.cases_after:,} after\n")
    changes = [f"{count:,} {_change(*verdicts)}" for verdicts, count in sorted(each.verdicts.items())]
    if changes:
        lines.append(f"  verdicts  {', '.join(changes)}\n")
    alerts = [f"{each.fire:,} would fire"] if each.fire else []
    alerts += [f"{count:,} would be resolved ({reason})" for reason, count in sorted(each.resolve.items())]
    alerts += [f"{each.climb:,} would change their level or severity"] if each.climb else []
    alerts += [f"{each.stay:,} stay"] if each.stay else []
    if alerts:
        lines.append(f"  alerts    {', '.join(alerts)}\n")
    return "".join(lines)


def _change(before: str, after: str) -> str:
    if before == "none":
        return f"new and {after}"
    return f"gone that were {before}" if after == "none" else f"{before} to {after}"


def _location(moved: Moved) -> list[str]:
    before, after = (each or "no microsystem" for each in (moved.before, moved.after))
    return [
        f"  {printable(moved.location)}",
        printable(before),
        f"to {printable(after)}",
        counted(moved.events, "event"),
    ]


# For programs


def _fields(found: Plan) -> dict[str, Any]:
    return {
        "clock": moment_text(found.clock),
        "patients": found.patients,
        "events": found.events,
        "changes": bool(found.locations)
        or any(each.fate != "same" or not each.is_idle for each in found.rules),
        "rules": [_rule_fields(each) for each in found.rules],
        "locations": [
            {"location": each.location, "from": each.before, "to": each.after, "events": each.events}
            for each in found.locations
        ],
    }


def _rule_fields(each: RulePlan) -> dict[str, Any]:
    return {
        "rule": each.rule,
        "fate": each.fate,
        "keys": each.keys,
        "cases": {"before": each.cases_before, "after": each.cases_after},
        "verdicts": [
            {"from": before, "to": after, "cases": count}
            for (before, after), count in sorted(each.verdicts.items())
        ],
        "alerts": {"fire": each.fire, "resolve": dict(each.resolve), "change": each.climb, "stay": each.stay},
    }
