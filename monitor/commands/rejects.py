"""`handoff rejects`: what was received and could not be used, and having it tried again."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from monitor.commands.auditing import note
from monitor.commands.streams import FINE, PROBLEMS, UNABLE, USAGE, Failed, Streams
from monitor.core.event import moment_text
from monitor.report.line import printable
from monitor.report.names import counted
from monitor.runtime.database import StoreError
from monitor.runtime.ledger import Ledger
from monitor.runtime.output import aligned, json_line
from monitor.runtime.reader import PAGE, KnownReject, Reader

_COLUMNS: Final = ("id", "state", "arrived at", "by", "source", "reason", "field", "tried", "detail")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    list_ = _action(actions, "list", _list, "list rejects, the last ones first")
    list_.add_argument("--reason", metavar="R", help="only those rejected for this reason")
    list_.add_argument(
        "--all", action="store_true", help="also those that were taken when they were tried again"
    )
    list_.add_argument("--limit", type=_number, metavar="N", help="at most so many")
    list_.add_argument(
        "--format", choices=("text", "json"), default="text", help="a table, or one JSON object a line"
    )

    show = _action(actions, "show", _show, "show one reject: why, and where it came from")
    show.add_argument("id", type=_number, metavar="ID")
    show.add_argument(
        "--content",
        action="store_true",
        help="print its bytes as they were received, which is noted in the audit log",
    )

    retry = _action(
        actions, "retry", _retry, "have rejects tried again, by the service that runs or by the next one"
    )
    retry.add_argument("ids", nargs="*", type=_number, metavar="ID")
    retry.add_argument("--reason", metavar="R", help="all that were rejected for this reason")
    retry.add_argument("--all", action="store_true", help="all of them")


def run(args: argparse.Namespace, streams: Streams) -> int:
    """List, show or retry."""
    try:
        code: int = args.action(args, streams)
    except StoreError as error:
        raise Failed(UNABLE, str(error)) from error
    return code


def _action(actions: Any, name: str, action: object, summary: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=summary, description=summary, allow_abbrev=False
    )
    parser.set_defaults(action=action)
    parser.add_argument("--data", required=True, metavar="DIR", help="the data directory of the service")
    return parser


def _number(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,17}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"`{text}` is not a whole number from 1 on")
    return int(text)


# Listing


def _list(args: argparse.Namespace, streams: Streams) -> int:
    with closing(Reader(Path(args.data))) as reader:
        rejects = _wanted(reader, args)
        if args.format == "json":
            streams.print_all(json_line(_fields(each)) for each in rejects)
            return FINE
        rows = [_cells(each) for each in rejects]
    if rows:
        streams.print(aligned([_COLUMNS, *rows], texts=len(_COLUMNS)))
    streams.say(f"{counted(len(rows), 'reject')}" if rows else "no rejects")
    return FINE


def _wanted(reader: Reader, args: argparse.Namespace) -> Iterator[KnownReject]:
    """Page by page, as far as they are asked for."""
    left, before = args.limit, None
    while page := reader.rejects(reason=args.reason, before=before):
        before = page[-1].id
        for each in page:
            if each.state == "taken" and not args.all:
                continue
            if left == 0:
                return
            left = None if left is None else left - 1
            yield each
        if len(page) < PAGE:
            return


def _fields(reject: KnownReject) -> dict[str, Any]:
    return {
        "id": reject.id,
        "state": reject.state,
        "arrived_at": moment_text(reject.arrived_at),
        "origin": reject.origin,
        "where": reject.where,
        "source": reject.source,
        "segment": reject.segment,
        "field": reject.field,
        "reason": reject.reason,
        "detail": reject.detail,
        "attempts": reject.attempts,
        "bytes": reject.size,
    }


def _cells(reject: KnownReject) -> tuple[str, ...]:
    cells = (
        str(reject.id),
        reject.state,
        f"{reject.arrived_at:%Y-%m-%d %H:%M:%SZ}",
        reject.origin,
        reject.source or "-",
        reject.reason,
        reject.field or reject.segment or "-",
        str(reject.attempts),
        reject.detail,
    )
    return tuple(map(printable, cells))


# Showing


def _show(args: argparse.Namespace, streams: Streams) -> int:
    folder = Path(args.data)
    with closing(Reader(folder)) as reader:
        found = reader.reject(args.id)
    if found is None:
        raise Failed(PROBLEMS, f"there is no reject {args.id}; it may have been deleted for its age")
    reject, content = found
    if not args.content:
        fields = {name: "-" if value in (None, "") else str(value) for name, value in _fields(reject).items()}
        streams.print(aligned([(name, printable(value)) for name, value in fields.items()], texts=2))
        return FINE
    note(folder, "reject-content", str(reject.id))
    _print_bytes(content, streams)
    return FINE


def _print_bytes(content: bytes, streams: Streams) -> None:
    """As they are into a file or pipe; made harmless, segment by segment, on a terminal."""
    out = getattr(streams.stdout, "buffer", None)
    if out is not None and not streams.stdout.isatty():
        streams.flush()
        out.write(content)
        return
    lines = content.decode("utf-8", "backslashreplace").splitlines()
    streams.print("".join(printable(line) + "\n" for line in lines))


# Trying again


def _retry(args: argparse.Namespace, streams: Streams) -> int:
    if [bool(args.ids), args.reason is not None, args.all].count(True) != 1:
        raise Failed(USAGE, "rejects retry: name rejects by their ID, or all of a --reason, or --all")
    with closing(Ledger(Path(args.data))) as ledger:
        if not args.ids:
            asked = ledger.ask_retry_of(args.reason)
            unknown: list[int] = []
        else:
            found = ledger.ask_retry(args.ids)
            asked, unknown = len(found), [each for each in args.ids if each not in found]
    streams.print(
        f"{counted(asked, 'reject')} will be tried again: `handoff rejects list` tells what came of it\n"
    )
    if unknown:
        raise Failed(PROBLEMS, f"there is no reject {', '.join(map(str, unknown))} that was not taken")
    return FINE
