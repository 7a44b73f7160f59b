"""What commands read before they can work: a registry, rules, a mapping, events; and what was noticed about them."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from monitor.commands.streams import FINE, PROBLEMS, UNABLE, USAGE, Failed, Streams, check_can_write
from monitor.core.event import HEARTBEAT, Event
from monitor.core.place import Registry
from monitor.core.rule import Rule
from monitor.formats.reject import Reject
from monitor.formats.table import Mapping
from monitor.ingest.files import NOT_XML, UNKNOWN_FORMAT, Unreadable, read, rule_files, whole
from monitor.report.names import counted, unmapped
from monitor.report.rules import places_text, registry_places
from monitor.rulefile.load import load_packs, load_registry
from monitor.rulefile.mapping import load_mapping
from monitor.rulefile.problem import Problem, as_text
from monitor.runtime.replay import Input, arrange


def registry_of(args: argparse.Namespace, streams: Streams) -> Registry:
    if args.microsystems is None:
        return Registry()
    registry, problems = load_registry(args.microsystems, whole(args.microsystems, streams.stdin))
    tell(problems, streams)
    if registry is None:
        raise Failed(PROBLEMS)
    return registry


def mapping_of(args: argparse.Namespace, streams: Streams) -> Mapping | None:
    if args.mapping is None:
        return None
    mapping, problems = load_mapping(args.mapping, whole(args.mapping, streams.stdin))
    tell(problems, streams)
    if mapping is None:
        raise Failed(PROBLEMS)
    return mapping


def rule_files_of(paths: Sequence[str], streams: Streams) -> list[tuple[str, bytes]]:
    """The rule files that paths name, some for each."""
    files = []
    for path in paths:
        of_path = rule_files([path], streams.stdin) if path else []
        if not of_path:
            raise Failed(
                USAGE, f"no rule files in `{path}`: name a YAML file, a directory of them or pack:NAME"
            )
        files += of_path
    return files


def packs_of(
    files: Sequence[tuple[str, bytes]], registry: Registry | None, streams: Streams
) -> list[tuple[str, list[Rule]]]:
    """The rules of each file beside its name; what is wrong with them is told, and with an error nothing goes on."""
    packs, problems = load_packs(files, registry)
    tell(problems, streams)
    if any(problem.severity == "error" for problem in problems):
        raise Failed(PROBLEMS)
    if registry is None:
        _say_without_registry([rule for _, rules in packs for rule in rules], streams)
    return packs


def _say_without_registry(rules: Sequence[Rule], streams: Streams) -> None:
    """Rules that name places of a registry judge wrongly without one, and look as if they judged."""
    places = registry_places(rules)
    if places:
        streams.say(
            f"no registry was given: {places_text(places)} match nothing, so do not trust these rules; "
            "name it with --microsystems FILE"
        )


def tell(problems: Sequence[Problem], streams: Streams) -> None:
    streams.note("".join(as_text(problem) + "\n" for problem in problems))


class Read(NamedTuple):
    """What could be read of the input."""

    events: list[Event]
    rejects: Counter[str]
    unreadable: list[str]
    """Why the rest could not, a line for each file."""


def read_events(args: argparse.Namespace, registry: Registry, streams: Streams) -> Read:
    """All events of the input; a file that breaks off ends it, and what stands before that counts."""
    events: list[Event] = []
    rejects: Counter[str] = Counter()
    unreadable: list[str] = []
    try:
        for file, _, found in read(args.files, registry, mapping_of(args, streams), streams.stdin):
            if not isinstance(found, Reject):
                events += found
            elif found.reason in {UNKNOWN_FORMAT, NOT_XML}:
                unreadable.append(str(Unreadable(file, found.detail)))
            else:
                rejects[found.reason] += 1
    except Unreadable as error:
        unreadable.append(str(error))
    if (unreadable or rejects) and not events:
        _say_rejects(rejects, streams)
        raise Failed(UNABLE, "\nhandoff: ".join(unreadable) or "no message of the input could be used")
    return Read(events, rejects, unreadable)


def noticed(was: Read, taken: Input, registry: Registry, counts: dict[str, int], streams: Streams) -> int:
    """Say what was read and what was odd about it, a line each; returns the exit code."""
    streams.flush()
    patients = len({event.patient for event in was.events if event.type != HEARTBEAT})
    streams.say(f"events: {len(was.events):,} of {counted(patients, 'patient')}")
    _say_rejects(was.rejects, streams)
    if taken.left_out:
        streams.say(f"left out, for they arrive later: {taken.left_out:,}")
    strange = unmapped(was.events, registry)
    if strange:
        streams.say(f"unmapped locations: {len(strange):,}, in {counted(strange.total(), 'event')}")
    for name, count in sorted(counts.items()):
        if count:
            streams.say(f"{name}: {count:,}")
    for why in was.unreadable:
        streams.say(why)
    return UNABLE if was.unreadable else FINE


def _say_rejects(rejects: Counter[str], streams: Streams) -> None:
    if rejects:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(rejects.items()))
        streams.say(f"rejects: {rejects.total():,} ({reasons})")


def arranged(args: argparse.Namespace, was: Read) -> Input:
    now = datetime.now(UTC)  # noqa: TID251 - the edge: without --until, what lies in the future is left out
    return arrange(was.events, until=args.until, now=now, as_received=args.as_received)


class Asked(NamedTuple):
    """What `replay` and `report` are asked to run over their input, `args.files`."""

    rules_paths: list[str]
    registry: Registry
    packs: list[tuple[str, list[Rule]]]


def asked(
    args: argparse.Namespace,
    streams: Streams,
    command: str,
    written: tuple[str, str | None],
    *also_read: str | None,
) -> Asked:
    """The rules and the registry of a command; its arguments are complete then, and its work can begin.

    `written` is the option that names a file to write, with the file. None of those that are read may be that.
    """
    rules_paths, args.files = rules_and_files(args)
    if not args.files:
        raise Failed(USAGE, f"{command}: which FILE? (`-` is stdin)")
    registry = registry_of(args, streams)
    files = rule_files_of(rules_paths, streams)
    option, target = written
    if target is not None:
        given = [path for path in (args.microsystems, args.mapping, *also_read) if path is not None]
        inputs = [*args.files, *given, *(name for name, _ in files)]
        check_can_write(f"{command}: {option}", target, inputs, streams)
    packs = packs_of(files, registry if args.microsystems else None, streams)
    if not any(rules for _, rules in packs):
        raise Failed(USAGE, f"{command}: there is no rule in {', '.join(rules_paths)}")
    return Asked(rules_paths, registry, packs)


def rules_and_files(args: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Rule paths and input files: `--rules` takes several, and the input may stand right behind them.

    The first path after a `--rules` is of rules; of the others those that are packs, YAML files or directories.
    """
    rules: list[str] = []
    files: list[str] = []
    for first, *more in args.rules:
        rules.append(first)
        for path in more:
            of_rules = path.startswith("pack:") or path.endswith((".yaml", ".yml")) or Path(path).is_dir()
            (rules if of_rules else files).append(path)
    return rules, files + args.files
