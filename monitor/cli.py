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
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module, metadata
from pathlib import Path
from typing import BinaryIO, NoReturn, TextIO, cast

from monitor.commands import check, simulate_options
from monitor.commands.arguments import moment
from monitor.commands.loading import (
    arranged,
    asked,
    mapping_of,
    noticed,
    read_events,
    registry_of,
)
from monitor.commands.streams import (
    FINE,
    INTERRUPTED,
    PROBLEMS,
    UNABLE,
    USAGE,
    Failed,
    Streams,
    progress_bar,
    write_file,
)
from monitor.commands.truth import read_truth, say_truth
from monitor.core.rule import CaseRule
from monitor.formats import canonical
from monitor.formats.reject import Reject
from monitor.ingest.files import Unreadable, read
from monitor.rulefile.schema import registry_schema, schema
from monitor.runtime import output
from monitor.runtime.population import evaluate
from monitor.runtime.replay import Killed, Outcome, replay, stays, when

_APART = {
    "demo": "watch a hospital that does not exist",
    "run": "watch a hospital while it works",
    "send": "send HL7 messages over MLLP",
    "rejects": "see what could not be used, and have it tried again",
    "backup": "copy the data of a service, also while it runs",
    "export": "print what a service has recorded, as events for a replay",
    "plan": "say what other rules would do to open cases",
    "ingest": "take messages over into Kafka, for workers to judge",
    "worker": "judge what was taken over into Kafka",
    "notify": "tell the alerts that workers put into Kafka",
    "topics": "make the topics of a Kafka cluster, or check them",
}
"""Commands of modules of their own, which the others need not wait for."""


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
            args = _parser(argv).parse_args(argv)
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
    gc.set_threshold(20_000_000, 50, 1_000)
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


# The commands


def _decode(args: argparse.Namespace, streams: Streams) -> int:
    registry, mapping = registry_of(args, streams), mapping_of(args, streams)
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
    registry = registry_of(args, streams)
    was = read_events(args, registry, streams)
    taken = arranged(args, was)
    streams.print_all(output.stay_line(stay) for stay in stays(registry, taken))
    return noticed(was, taken, registry, {}, streams)


def _schema(args: argparse.Namespace, streams: Streams) -> int:
    if args.settings:
        from monitor.settings import settings_schema  # noqa: PLC0415 - the other commands need none of it

        document = settings_schema()
    else:
        document = registry_schema() if args.registry else schema()
    streams.print(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return FINE


def _replay(args: argparse.Namespace, streams: Streams) -> int:
    _, registry, packs = asked(args, streams, "replay", ("--alerts", args.alerts), args.truth)
    rules = [rule for _, of_pack in packs for rule in of_pack]
    cases = [rule for rule in rules if isinstance(rule, CaseRule)]
    truth = None if args.truth is None else read_truth(args.truth, streams.stdin)
    was = read_events(args, registry, streams)
    taken = arranged(args, was)
    with progress_bar(len(taken.events), streams) as progress:
        outcome = replay(
            cases,
            registry,
            taken,
            jobs=args.jobs,
            alerts=args.alerts is not None,
            in_order=args.format == "json" or args.worst is not None,
            progress=progress,
        )
    populations = evaluate(rules, registry, taken, outcome)
    if args.alerts is not None:
        changes = sorted([*outcome.alerts, *populations.alerts], key=when)
        write_file(args.alerts, map(output.alert_line, changes), streams)
    _show(args, cases, outcome, streams)
    if args.format == "text":
        streams.print(output.populations_text(populations))
    code = noticed(was, taken, registry, outcome.counts, streams)
    if truth is None:
        return code
    return max(code, say_truth(truth, {rule.id for rule in cases}, outcome.verdicts, streams))


def _report(args: argparse.Namespace, streams: Streams) -> int:
    from monitor.commands.report import report  # noqa: PLC0415 - the other commands need none of it

    return report(args, streams)


def _simulate(args: argparse.Namespace, streams: Streams) -> int:
    from monitor.commands.simulate import simulate  # noqa: PLC0415 - the other commands need none of it

    return simulate(args, streams)


def _run_apart(name: str) -> Callable[[argparse.Namespace, Streams], int]:
    def run(args: argparse.Namespace, streams: Streams) -> int:
        code: int = import_module(f"monitor.commands.{name}").run(args, streams)
        return code

    return run


def _show(args: argparse.Namespace, rules: Sequence[CaseRule], outcome: Outcome, streams: Streams) -> None:
    if args.format == "json":
        streams.print_all(map(output.verdict_line, outcome.verdicts))
        return
    streams.print(output.rule_table(rules, outcome.verdicts))
    if args.worst:
        streams.print(output.worst_tables(rules, outcome.verdicts, args.worst))


# Arguments


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= 99_999:
        raise argparse.ArgumentTypeError(f"`{text}` is not a whole number from 1 on")
    return int(text)


def _width(text: str) -> int:
    number = _positive(text)
    if not 60 <= number <= 500:
        raise argparse.ArgumentTypeError(f"`{text}` is not a width from 60 to 500")
    return number


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
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

    check.add_arguments(
        _command(commands, "check", check.run, "find what is wrong with rule files, a registry, settings")
    )

    schema_ = _command(commands, "schema", _schema, "print the JSON Schema of rule files")
    which = schema_.add_mutually_exclusive_group()
    which.add_argument("--registry", action="store_true", help="that of microsystems.yaml instead")
    which.add_argument("--settings", action="store_true", help="that of handoff.yaml instead")

    replay_ = _command(commands, "replay", _replay, "run rules over a finished history")
    _takes_rules(replay_)
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
    replay_.add_argument(
        "--truth",
        metavar="FILE",
        help="compare the verdicts with those of this file, as `simulate` writes it; exit code 1 if they differ",
    )
    report_ = _command(commands, "report", _report, "show what a finished history teaches")
    _takes_rules(report_)
    _takes_input(report_, files="*")
    _takes_clock(report_)
    report_.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        help="for people, or the data as one JSON object",
    )
    report_.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="RULE.KEY=VALUE",
        help="what if this key of a rule were different? May be repeated; the rule files stay as they are",
    )
    report_.add_argument(
        "--only",
        action="append",
        choices=("rules", "handoffs", "cases", "load", "next"),
        help="show this part; may be repeated",
    )
    report_.add_argument("--svg", metavar="FILE", help="also write it as a picture")
    report_.add_argument(
        "--width", type=_width, metavar="N", help="columns, from 60 on; default: the terminal's, else 100"
    )
    report_.add_argument("--ascii", action="store_true", help="draw with ASCII characters alone")
    report_.add_argument(
        "--identifiers",
        choices=("pseudonym", "full"),
        default="pseudonym",
        help="how patients are named; default: pseudonym",
    )
    report_.add_argument(
        "--jobs", type=_positive, default=1, metavar="N", help="processes to share the patients among"
    )
    simulate_options.add_arguments(
        _command(commands, "simulate", _simulate, "write the events of a simulated hospital, and the truth")
    )
    for name, summary in _APART.items():
        apart = _command(commands, name, _run_apart(name), summary)
        if name in argv[:1]:
            import_module(f"monitor.commands.{name}").add_arguments(apart)
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


def _takes_rules(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rules",
        nargs="+",
        action="append",
        required=True,
        metavar="PATH",
        help="rule files, directories or pack:NAME",
    )


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
        "--until", type=moment, metavar="T", help="where the clock stands at the end; default: last arrival"
    )
    parser.add_argument("--as-received", action="store_true", help="events arrive in the order of the files")
