"""`handoff send`: the messages of HL7 files over MLLP, as an interface engine sends them."""

from __future__ import annotations

import argparse
import asyncio
import gzip
import math
import ssl
import zlib
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from monitor.commands.streams import FINE, PROBLEMS, UNABLE, USAGE, Failed, Streams
from monitor.formats import mllp
from monitor.ingest.files import Unreadable, whole
from monitor.ingest.mllp_client import Patience, Tally, Target, Unanswered, client_tls, send
from monitor.report.names import counted

_GZIP: Final = b"\x1f\x8b"
_TOLD: Final = 10
"""Refusals that are told one by one."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be said after `handoff send`."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="HL7 v2 messages; `-` is stdin")
    parser.add_argument(
        "--to",
        required=True,
        type=_address,
        metavar="mllp://HOST:PORT",
        help="the receiver",
    )
    parser.add_argument("--tls", action="store_true", help="over TLS")
    parser.add_argument(
        "--ca", metavar="FILE", help="trust who is signed by these (PEM), not whom the system trusts"
    )
    parser.add_argument("--cert", metavar="FILE", help="the certificate to show (PEM)")
    parser.add_argument("--key", metavar="FILE", help="its private key (PEM), if it is not in the same file")
    parser.add_argument(
        "--speed",
        type=_positive,
        metavar="N",
        help="keep the times of MSH-7, N times faster than life (default: as fast as messages are answered)",
    )
    parser.add_argument(
        "--connections", type=_count, default=1, metavar="N", help="send over N connections, in no order"
    )
    parser.add_argument(
        "--give-up",
        type=_positive,
        default=60.0,
        metavar="SECONDS",
        help="how long a message is sent again until it is accepted or refused (default: 60)",
    )


def run(args: argparse.Namespace, streams: Streams) -> int:
    """Send all messages and say what became of them."""
    host, port = args.to
    target = Target(host, port, _tls(args))
    patience = Patience(message_seconds=args.give_up)
    tally = Tally()

    def tell(number: int, answer: mllp.Answered) -> None:
        if tally.refused <= _TOLD:
            streams.say(f"message {number}: {answer.code or 'an answer without MSA'} {answer.text}".rstrip())

    troubles: set[str] = set()

    def tell_once(why: str) -> None:
        if why not in troubles and len(troubles) < _TOLD:
            troubles.add(why)
            streams.say(f"trying again: {why}")

    messages = _messages(args.files, streams)
    try:
        asyncio.run(
            send(
                messages,
                target,
                connections=args.connections,
                speed=args.speed,
                patience=patience,
                tally=tally,
                on_refused=tell,
                on_trouble=tell_once,
            )
        )
    except Unanswered as unanswered:
        raise Failed(UNABLE, str(unanswered)) from None
    finally:
        streams.say(_summary(tally))
    return PROBLEMS if tally.refused or not tally.sent else FINE


def _messages(paths: list[str], streams: Streams) -> Iterator[bytes]:
    for path in paths:
        left_out = 0
        data = whole(path, streams.stdin)
        for message in mllp.messages(_uncompressed(path, data)):
            if message[:3].upper() == b"MSH":
                yield message
            else:
                left_out += 1
        if left_out:
            streams.say(f"{path}: left out {counted(left_out, 'piece')}, not HL7")


def _uncompressed(path: str, data: bytes) -> bytes:
    if not data.startswith(_GZIP):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise Unreadable(path, f"the gzip data is broken ({error})") from error


def _summary(tally: Tally) -> str:
    codes = ", ".join(f"{number:,} {code or '?'}" for code, number in sorted(tally.codes.items()))
    rate = f" ({tally.sent / tally.seconds:,.0f} a second)" if tally.seconds else ""
    resent = f"; {tally.resent:,} resent" if tally.resent else ""
    sent = counted(tally.sent, "message")
    return f"{sent} sent in {tally.seconds:.1f} s{rate}: {codes or 'no answers'}{resent}"


def _tls(args: argparse.Namespace) -> ssl.SSLContext | None:
    if not args.tls:
        if args.ca or args.cert or args.key:
            raise Failed(USAGE, "send: --ca, --cert and --key need --tls")
        return None
    if args.key and not args.cert:
        raise Failed(USAGE, "send: --key needs --cert")
    try:
        return client_tls(args.ca, args.cert, args.key)
    except OSError as error:  # a broken PEM file, too
        raise Failed(UNABLE, f"cannot use the certificates: {error.strerror or error}") from error


def _address(text: str) -> tuple[str, int]:
    try:
        found = urlsplit(text)
        host, port = found.hostname, found.port
    except ValueError:
        host, port = None, None
    if host is None or not port or found.scheme != "mllp" or text.rstrip("/") != f"mllp://{found.netloc}":
        raise argparse.ArgumentTypeError(f"`{text}` is not an address such as mllp://127.0.0.1:2575")
    return host, port


def _positive(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise argparse.ArgumentTypeError(f"`{text}` is not a number above 0")
    return found


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 1000):
        raise argparse.ArgumentTypeError(f"`{text}` is not a whole number from 1 to 1000")
    return int(text)
