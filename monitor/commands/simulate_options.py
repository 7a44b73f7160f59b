"""The options of `handoff simulate`; apart from the command, since every command reads them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import date
from typing import Final

from monitor.simulation.hospital import WARDS, Options

DIALECTS: Final = ("standard", "no-evn6", "epic", "zbe")
_MOST: Final = {"cancels": 0.5, "disorder": 1.0, "duplicates": 1.0, "updates": 0.99}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command; those of what is simulated have the names of `Options`."""
    usual = Options()
    parser.add_argument("--out", required=True, metavar="DIR", help="where to write; `-`: events to stdout")
    parser.add_argument(
        "--seed", type=int, default=usual.seed, metavar="N", help="another seed, other patients"
    )
    parser.add_argument(
        "--start",
        type=_date,
        default=usual.start,
        metavar="DATE",
        help=f"the first day; default: {usual.start}",
    )
    parser.add_argument(
        "--days", type=_within(1, 366), default=usual.days, metavar="N", help=f"default: {usual.days}"
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--hospitals", type=_within(1, 100), default=1, metavar="N", help="a network of so many"
    )
    size.add_argument(
        "--wards", type=_within(1, len(WARDS)), default=usual.wards, metavar="N", help="a smaller hospital"
    )
    parser.add_argument(
        "--format", choices=("jsonl", "hl7"), default="jsonl", help="of the administrative feed"
    )
    parser.add_argument("--dialect", choices=DIALECTS, help="of HL7; default: standard")
    for name, what in (
        ("cancels", "mistakes that are charted and cancelled"),
        ("disorder", "messages that are delivered late, out of order"),
        ("duplicates", "messages that are sent again"),
        ("updates", "demographic updates among the messages"),
    ):
        default = getattr(usual, name)
        parser.add_argument(
            f"--{name}",
            type=_share(_MOST[name]),
            default=default,
            metavar="SHARE",
            help=f"{what}; default: {default}",
        )
    parser.add_argument("--no-truth", action="store_true", help="leave out truth.jsonl")


def _date(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = date.min
    if not 1971 <= day.year <= 2099:
        raise argparse.ArgumentTypeError(f"`{text}` is not a date from 1971 to 2099, such as 2026-01-05")
    return day


def _within(low: int, high: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not (text.isascii() and text.isdigit() and low <= int(text[:6]) <= high):
            raise argparse.ArgumentTypeError(f"`{text}` is not a whole number from {low} to {high}")
        return int(text)

    return number


def _share(most: float) -> Callable[[str], float]:
    def share(text: str) -> float:
        try:
            found = float(text)
        except ValueError:
            found = -1
        if not 0 <= found <= most:
            raise argparse.ArgumentTypeError(f"`{text}` is not a share from 0 to {most}")
        return found

    return share
