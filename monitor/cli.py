"""The command line: `handoff COMMAND ...`.

Results go to stdout, progress and what was noticed to stderr. Exit codes: 0 fine, 1 problems found, 2 wrong usage,
3 could not do the work, 130 interrupted.
"""

from __future__ import annotations

import argparse
import errno
import gc
import io
import json
import os
import shutil
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, NoReturn, TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from monitor.core.event import EARLIEST, HEARTBEAT, LATEST, Event
from monitor.core.place import Registry
from monitor.core.rule import CaseRule, Rule
from monitor.formats import canonical
from monitor.formats.reject import Reject
from monitor.formats.table import Mapping
from monitor.ingest.files import (
    NOT_XML,
    REGISTRY_FILE,
    STDIN,
    UNKNOWN_FORMAT,
    Unreadable,
    read,
    rule_files,
    whole,
)
from monitor.rulefile.load import load_registry, load_rules
from monitor.rulefile.mapping import load_mapping
from monitor.rulefile.problem import Problem, as_github, as_json, as_text
from monitor.rulefile.schema import registry_schema, schema
from monitor.runtime import output
from monitor.runtime.population import evaluate
from monitor.runtime.replay import Input, Killed, Outcome, arrange, replay, stays, when

FINE: Final = 0
PROBLEMS: Final = 1
USAGE: Final = 2
UNABLE: Final = 3
INTERRUPTED: Final = 130

_LONG: Final = 20_000
"""Events from which on a progress bar is worth its line."""
_AT_ONCE: Final = 500
"""Lines that are written together."""
_SHOW = {"text": as_text, "json": as_json, "github": as_github}


class Streams(NamedTuple):
    """Where a command reads and writes."""

    stdin: BinaryIO
    stdout: TextIO
    stderr: TextIO

    def say(self, text: str) -> None:
        """Tell the user something that is no result."""
        self.note(f"handoff: {text}\n")

    def note(self, text: str) -> None:
        """Write to stderr; what cannot be written there is lost, and nothing else is."""
        with suppress(OSError):
            self.stderr.write(text)

    def print(self, text: str) -> None:
        """Write a part of the result."""
        with _writing("to stdout"):
            self.stdout.write(text)

    def flush(self) -> None:
        """Have the result written so far leave the process."""
        with _writing("to stdout"):
            self.stdout.flush()

    def print_all(self, lines: Iterable[str]) -> None:
        """Write lines of the result, many at a time; those before an error are written too."""
        held: list[str] = []
        try:
            for line in lines:
                held.append(line)
                if len(held) >= _AT_ONCE:
                    text = "".join(held)
                    held.clear()
                    self.print(text)
        finally:
            self.print("".join(held))


@contextmanager
def _writing(where: str) -> Iterator[None]:
    """Names what could not be written; that a reader of ours has gone is told by `BrokenPipeError`."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Failed(UNABLE, f"cannot write {where}: {error.strerror}") from error


class Failed(Exception):  # noqa: N818 - a command that ends early, with its exit code
    """The command cannot go on; `code` is its exit code, and what is to be said has a text."""

    def __init__(self, code: int, text: str | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def main(argv: Sequence[str], stdin: BinaryIO, stdout: TextIO, stderr: TextIO) -> int:
    """Run one command; returns its exit code and raises nothing but what ends the process."""
    streams = Streams(stdin, stdout, stderr)
    try:
        code = _run(argv, streams)
        streams.flush()
    except Failed as failed:
        if failed.text is not None:
            streams.say(failed.text)
        return failed.code
    except Unreadable as unreadable:
        streams.say(str(unreadable))
        return UNABLE
    except Killed as killed:
        streams.say(f"{killed}; try fewer --jobs")
        return UNABLE
    except BrokenPipeError:  # the reader of our output has seen enough
        return FINE
    except KeyboardInterrupt:
        streams.say("interrupted")
        return INTERRUPTED
    except OSError as error:
        streams.say(error.strerror or type(error).__name__)
        return UNABLE
    except Exception as error:  # noqa: BLE001 - a fault of ours is told without the data that led to it
        streams.say(f"internal error: {_place_of(error)}; please report it")
        return UNABLE
    return code


def _run(argv: Sequence[str], streams: Streams) -> int:
    help_, complaint = io.StringIO(), io.StringIO()  # argparse would pass over that it cannot write
    try:
        with redirect_stdout(help_), redirect_stderr(complaint):
            args = _parser().parse_args(argv)
    except SystemExit as exit_:
        streams.note(complaint.getvalue())
        streams.print(help_.getvalue())
        return exit_.code if isinstance(exit_.code, int) else USAGE
    code: int = args.command(args, streams)
    return code


def entry() -> NoReturn:
    """The `handoff` program."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    stdin = sys.stdin.buffer if sys.stdin else cast("BinaryIO", _Closed())
    stderr = sys.stderr or io.StringIO()
    # Hardly anything that a command makes becomes garbage, and nothing in cycles: looking for it took a fifth of the time.
    gc.set_threshold(200_000, 50, 1_000)
    if sys.stdout:
        code = main(sys.argv[1:], stdin, sys.stdout, stderr)
    else:  # as after `>&-`
        Streams(stdin, io.StringIO(), stderr).say("cannot write to stdout: it is closed")
        code = UNABLE
    for stream in (sys.stdout, sys.stderr):
        _let_go(stream)
    sys.exit(code)


class _Closed(io.RawIOBase):
    """Stands for a standard input that was closed before we began."""

    def read(self, _size: int = -1) -> bytes:
        raise OSError(errno.EBADF, "it is closed")

    read1 = read


def _let_go(stream: TextIO | None) -> None:
    """Flush a standard stream; what it cannot take is dropped (it has been told), lest the interpreter complain at its end."""
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _place_of(error: Exception) -> str:
    """The kind of an error and where it was raised; its text may hold what a patient's message said."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return type(error).__name__ + where


# What commands share


def _registry(args: argparse.Namespace, streams: Streams) -> Registry:
    if args.microsystems is None:
        return Registry()
    registry, problems = load_registry(args.microsystems, whole(args.microsystems, streams.stdin))
    _tell(problems, streams)
    if registry is None:
        raise Failed(PROBLEMS)
    return registry


def _mapping(args: argparse.Namespace, streams: Streams) -> Mapping | None:
    if args.mapping is None:
        return None
    mapping, problems = load_mapping(args.mapping, whole(args.mapping, streams.stdin))
    _tell(problems, streams)
    if mapping is None:
        raise Failed(PROBLEMS)
    return mapping


def _rule_files(paths: Sequence[str], streams: Streams) -> list[tuple[str, bytes]]:
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


def _rules(files: Sequence[tuple[str, bytes]], registry: Registry | None, streams: Streams) -> list[Rule]:
    rules, problems = load_rules(files, registry)
    _tell(problems, streams)
    if any(problem.severity == "error" for problem in problems):
        raise Failed(PROBLEMS)
    return rules


def _tell(problems: Sequence[Problem], streams: Streams) -> None:
    streams.note("".join(as_text(problem) + "\n" for problem in problems))


class _Read(NamedTuple):
    """What could be read of the input."""

    events: list[Event]
    rejects: Counter[str]
    unreadable: list[str]
    """Why the rest could not, a line for each file."""


def _read(args: argparse.Namespace, registry: Registry, streams: Streams) -> _Read:
    """All events of the input; a file that breaks off ends it, and what stands before that counts."""
    events: list[Event] = []
    rejects: Counter[str] = Counter()
    unreadable: list[str] = []
    try:
        for file, _, found in read(args.files, registry, _mapping(args, streams), streams.stdin):
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
    return _Read(events, rejects, unreadable)


def _noticed(was: _Read, taken: Input, registry: Registry, counts: dict[str, int], streams: Streams) -> int:
    """Say what was read and what was odd about it, a line each; returns the exit code."""
    streams.flush()
    patients = len({event.patient for event in was.events if event.type != HEARTBEAT})
    streams.say(f"events: {len(was.events):,} of {patients:,} patients")
    _say_rejects(was.rejects, streams)
    if taken.left_out:
        streams.say(f"left out, for they arrive later: {taken.left_out:,}")
    unmapped = _unmapped(was.events, registry)
    if unmapped:
        streams.say(f"unmapped locations: {len(unmapped):,}, in {_counted(unmapped.total(), 'event')}")
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


def _unmapped(events: Sequence[Event], registry: Registry) -> Counter[str]:
    """Locations that belong to no microsystem, by how many events name them; nothing where there is no registry."""
    if not registry.microsystems:
        return Counter()
    named = Counter(place for event in events for place in {event.from_, event.to} if place is not None)
    return Counter({place: count for place, count in named.items() if not registry.is_mapped(place)})


def _arranged(args: argparse.Namespace, was: _Read) -> Input:
    now = datetime.now(UTC)  # noqa: TID251 - the edge: without --until, what lies in the future is left out
    return arrange(list(was.events), until=args.until, now=now, as_received=args.as_received)


@contextmanager
def _progress(total: int, streams: Streams) -> Iterator[Callable[[int], None]]:
    """A bar on stderr for a long input, where that is a terminal."""
    if total < _LONG or not streams.stderr.isatty():
        yield lambda _events: None
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(file=streams.stderr)
    with Progress(
        *columns, console=console, transient=True, auto_refresh=False
    ) as bar:  # no thread beside a fork
        task = bar.add_task("events", total=total)
        yield lambda events: bar.update(task, advance=events, refresh=True)


# The commands


def _decode(args: argparse.Namespace, streams: Streams) -> int:
    registry, mapping = _registry(args, streams), _mapping(args, streams)
    rejected = False

    def lines() -> Iterator[str]:
        nonlocal rejected
        for file, number, found in read(args.files, registry, mapping, streams.stdin):
            if isinstance(found, Reject):
                rejected = True
                streams.note(output.reject_line(file, number, found))
            else:
                for event in found:
                    yield canonical.encode(event).decode() + "\n"

    streams.print_all(lines())
    return PROBLEMS if rejected else FINE


def _journeys(args: argparse.Namespace, streams: Streams) -> int:
    registry = _registry(args, streams)
    was = _read(args, registry, streams)
    taken = _arranged(args, was)
    streams.print_all(output.stay_line(stay) for stay in stays(registry, taken))
    return _noticed(was, taken, registry, {}, streams)


def _check(args: argparse.Namespace, streams: Streams) -> int:
    """A path that is named `microsystems.yaml` is checked as a registry."""
    registries = [path for path in args.paths if Path(path).name == REGISTRY_FILE]
    files = _rule_files([path for path in args.paths if path not in registries], streams)
    registry: Registry | None = None
    problems: list[Problem] = []
    for name in dict.fromkeys([*registries, *([args.microsystems] if args.microsystems else [])]):
        registry, wrong = load_registry(name, whole(name, streams.stdin))
        problems += wrong
    rules, wrong = load_rules(files, registry if args.microsystems else None)
    problems += wrong
    streams.print_all(_SHOW[args.format](problem) + "\n" for problem in problems)
    if problems:
        return PROBLEMS
    if args.format == "text":
        checked = _counted(len(files) + len(registries), "file")
        streams.print(f"{checked}, {_counted(len(rules), 'rule')}: no problems\n")
    return FINE


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def _schema(args: argparse.Namespace, streams: Streams) -> int:
    document = registry_schema() if args.registry else schema()
    streams.print(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return FINE


def _replay(args: argparse.Namespace, streams: Streams) -> int:
    rules_paths, args.files = _rules_and_files(args)
    if not args.files:
        raise Failed(USAGE, "replay: which FILE? (`-` is stdin)")
    registry = _registry(args, streams)
    files = _rule_files(rules_paths, streams)
    if args.alerts is not None:
        _check_can_write(args.alerts, [*args.files, *_settings(args), *(name for name, _ in files)], streams)
    rules = _rules(files, registry if args.microsystems else None, streams)
    if not rules:
        raise Failed(USAGE, f"replay: there is no rule in {', '.join(rules_paths)}")
    cases = [rule for rule in rules if isinstance(rule, CaseRule)]
    was = _read(args, registry, streams)
    taken = _arranged(args, was)
    with _progress(len(taken.events), streams) as progress:
        outcome = replay(
            cases, registry, taken, jobs=args.jobs, alerts=args.alerts is not None, progress=progress
        )
    populations = evaluate(rules, registry, taken, outcome)
    if args.alerts is not None:
        changes = sorted([*outcome.alerts, *populations.alerts], key=when)
        _write_file(args.alerts, map(output.alert_line, changes), streams)
    _show(args, cases, outcome, streams)
    if args.format == "text":
        streams.print(output.populations_text(populations))
    return _noticed(was, taken, registry, outcome.counts, streams)


def _show(args: argparse.Namespace, rules: Sequence[CaseRule], outcome: Outcome, streams: Streams) -> None:
    if args.format == "json":
        streams.print_all(map(output.verdict_line, outcome.verdicts))
        return
    streams.print(output.rule_table(rules, outcome.verdicts))
    if args.worst:
        streams.print(output.worst_tables(rules, outcome.verdicts, args.worst))


def _rules_and_files(args: argparse.Namespace) -> tuple[list[str], list[str]]:
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


def _settings(args: argparse.Namespace) -> list[str]:
    return [path for path in (args.microsystems, args.mapping) if path is not None]


def _check_can_write(path: str, inputs: Iterable[str], streams: Streams) -> None:
    """Ends a command before its work where a file could not be written after it, or is one that it reads."""
    target = Path(path).resolve()
    why = None
    if target.is_dir():
        why = os.strerror(errno.EISDIR)
    elif not target.parent.is_dir():
        why = os.strerror(errno.ENOENT)
    elif not os.access(target if target.exists() else target.parent, os.W_OK):
        why = os.strerror(errno.EACCES)
    if why is not None:
        raise Failed(UNABLE, f"cannot write {path}: {why}")
    if not target.is_file():
        return
    for each in inputs:
        with suppress(OSError):  # it is missing, which is said when it is read, or it is no file
            read_from = os.fstat(streams.stdin.fileno()) if each == STDIN else Path(each).stat()
            if os.path.samestat(target.stat(), read_from):
                raise Failed(USAGE, f"replay: --alerts {path} would overwrite what is read from {each}")


def _write_file(path: str, lines: Iterable[str], streams: Streams) -> None:
    """Write a file, which takes the place of an older one when all is in it; devices and pipes are written as they are."""
    if _is_stdout(path, streams):
        streams.print_all(lines)
        return
    with _writing(path):
        if not _is_device(path):
            _replace(Path(path).resolve(), lines)
            return
        with Path(path).open("a", encoding="utf-8") as device:
            device.writelines(lines)


def _is_stdout(path: str, streams: Streams) -> bool:
    try:
        return os.path.samestat(Path(path).stat(), os.fstat(streams.stdout.fileno()))
    except OSError:
        return False


def _is_device(path: str) -> bool:
    """Also `/dev/stderr` and its like, which may lead to a file that others write."""
    return path.startswith("/dev/") or (Path(path).exists() and not Path(path).is_file())


def _replace(target: Path, lines: Iterable[str]) -> None:
    part = target.with_name(f".handoff-{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.writelines(lines)
        if target.exists():
            shutil.copymode(target, part)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


# Arguments


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None and EARLIEST <= moment < LATEST:
            return moment.astimezone(UTC)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"`{text}` is not a time with an offset, such as 2024-05-01T00:00:00Z")


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= 99_999:
        raise argparse.ArgumentTypeError(f"`{text}` is not a whole number from 1 on")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("handoff", description="Watches handoffs between clinical microsystems.")
    parser.add_argument(
        "--version", action="version", version=f"handoff {metadata.version('handoff-monitor')}"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    decode = _command(commands, "decode", _decode, "show the events in files, one JSON object a line")
    _takes_input(decode)

    journeys = _command(commands, "journeys", _journeys, "show where each patient was, one stay a line")
    _takes_input(journeys)
    _takes_clock(journeys)

    check = _command(commands, "check", _check, "find what is wrong with rule files")
    check.add_argument("paths", nargs="+", metavar="PATH", help="rule files, directories or pack:NAME")
    check.add_argument(
        "--microsystems", metavar="FILE", help="look up the places that rules name in this registry"
    )
    check.add_argument("--format", choices=sorted(_SHOW), default="text")

    schema_ = _command(commands, "schema", _schema, "print the JSON Schema of rule files")
    schema_.add_argument("--registry", action="store_true", help="that of microsystems.yaml instead")

    replay_ = _command(commands, "replay", _replay, "run rules over a finished history")
    replay_.add_argument(
        "--rules",
        nargs="+",
        action="append",
        required=True,
        metavar="PATH",
        help="rule files, directories or pack:NAME",
    )
    _takes_input(replay_, files="*")
    _takes_clock(replay_)
    replay_.add_argument(
        "--format", choices=("text", "json"), default="text", help="a table, or one verdict a line"
    )
    replay_.add_argument("--alerts", metavar="FILE", help="write each change of an alert here, one a line")
    replay_.add_argument(
        "--jobs", type=_positive, default=1, metavar="N", help="processes to share the patients among"
    )
    replay_.add_argument(
        "--worst", type=_positive, metavar="N", help="also list the N latest and N missing handoffs"
    )
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace, Streams], int],
    summary: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
    parser.set_defaults(command=run)
    return parser


def _takes_input(parser: argparse.ArgumentParser, files: str = "+") -> None:
    parser.add_argument(
        "files", nargs=files, metavar="FILE", help="JSON lines, HL7 v2, XES, CSV; `-` is stdin; .gz too"
    )
    parser.add_argument(
        "--microsystems", metavar="FILE", help="the registry: microsystems, their locations, sources"
    )
    parser.add_argument("--mapping", metavar="FILE", help="what the columns of CSV or XES mean")


def _takes_clock(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--until", type=_moment, metavar="T", help="where the clock stands at the end; default: last arrival"
    )
    parser.add_argument("--as-received", action="store_true", help="events arrive in the order of the files")
