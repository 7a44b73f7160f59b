"""What the demo shows: alerts as lines for people, as a program learns of them that is sent them by a webhook."""

from __future__ import annotations

import os
import shutil
import textwrap
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from statistics import median
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from monitor.commands.streams import Failed, Streams
from monitor.notify.text import duration
from monitor.report.names import counted

Alert = Mapping[str, Any]
"""The body of one webhook."""

_COLOURS: Final = {"critical": "1;31", "warning": "33", "info": "36", "resolved": "32", "aside": "2"}
_ENDS: Final = {
    "late": "were done late",
    "met": "came right after a warning",
    "charted_late": "had been done in time, and were charted late",
    "withdrawn": "were withdrawn, for what they rested on was corrected",
    "void": "were no longer owed",
    "missed": "were never done",
    "expired": "had happened, and stand in the record",
    "heard": "were of a place that was silent for a while",
}
_GRAVEST: Final = ("critical", "warning", "info")
_MOST_LATE: Final = 3
_INDENT: Final = " " * 11
_NARROWEST: Final = 40
_NEVER: Final = 10_000
"""A width at which no line is broken."""


class Screen:
    """Keeps what it is told, and shows it once it is `live`. May be told from any thread."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._alone = threading.RLock()
        self._has_colours = _has_colours(streams)
        self._newest: dict[str, list[Any]] = {}
        """The sequence of the last change of each alert that was told."""
        self._firing: dict[str, Alert] = {}
        self._over: dict[str, Alert] = {}
        self.live = False
        self.is_gone = False
        """Nobody reads it any more."""

    def told(self, alert: Alert) -> None:
        """Take one change of an alert; what is known, or older, changes nothing."""
        of = alert["alert"]
        with self._alone:
            if self._newest.get(of["alert"], [-1]) >= of["sequence"]:  # their times are as long as each other
                return
            self._newest[of["alert"]] = of["sequence"]
            now, before = (self._firing, self._over) if _is_firing(alert) else (self._over, self._firing)
            before.pop(of["alert"], None)
            now[of["alert"]] = alert
            if self.live:
                self.print(self._lines(alert))

    def print(self, text: str) -> None:
        """Show lines at once; when nobody reads them, that is remembered, and nothing else happens."""
        with self._alone:
            try:
                self._streams.print(text)
                self._streams.flush()
            except (BrokenPipeError, Failed):
                self.is_gone = True

    def aside(self, text: str) -> None:
        """Show a line that is less than an alert."""
        self.print(self._painted("aside", text) + "\n")

    def go_live(self, most: int) -> None:
        """Show the gravest of the alerts that go on, and from now on each change."""
        with self._alone:
            gravest = sorted(self._firing.values(), key=_gravity)[:most]
            self.print("".join(map(self._lines, reversed(gravest))))
            self.live = True

    def a_journey(self) -> str:
        """The pseudonym of a patient of whom there is an alert."""
        with self._alone:
            return next((each["alert"]["pseudonym"] for each in sorted(self._firing.values(), key=_gravity)), "")  # fmt: skip

    @property
    def firing(self) -> int:
        return len(self._firing)

    @property
    def alerts(self) -> int:
        return len(self._newest)

    def summary(self) -> str:
        """What became of all alerts, and what was late most."""
        with self._alone:
            over = [each["alert"] for each in self._over.values()]
            ends = Counter(of["reason"] for of in over)
            lines = [f"{counted(self.alerts, 'alert')}, of which {self.firing} go on:"]
            lines += [f"  {number:>4} {_ENDS.get(why, why)}" for why, number in ends.most_common()]
            late: defaultdict[str, list[float]] = defaultdict(list)
            for of in over:
                if of["reason"] == "late":
                    late[of["summary"]].append(of["delay_seconds"])
            most = sorted(late.items(), key=lambda each: -len(each[1]))[:_MOST_LATE]
            lines += ["Late most often, with the median delay:"] if most else []
            lines += [f"  {len(each):>4} {what}: {duration(median(each))}" for what, each in most]
            return "".join(line + "\n" for line in lines)

    def _lines(self, alert: Alert) -> str:
        """An alert in two lines: when, how grave and what; where, who, and what to do or how it ended."""
        of = alert["alert"]
        state = alert["title"][1:].partition("]")[0]
        if _is_firing(alert):
            colour, then = of["severity"], of["action"]
        else:
            colour, state = "resolved", state.partition(",")[0]
            then = alert["text"].rpartition("; ")[2]
        first = f"{clock_time(of['at'], of['timezone'])}  {self._painted(colour, f'{state:<16}')}  {of['summary']}"
        where = ", ".join(part for part in (of["place_name"] or of["place"], of["pseudonym"]) if part)
        second = " -> ".join(part for part in (where, then) if part)
        return f"{first}\n{self._painted('aside', self._indented(second))}\n"

    def _indented(self, text: str) -> str:
        """Below what stands in the line before; broken where a terminal would break it."""
        width = shutil.get_terminal_size().columns if self._streams.stdout.isatty() else _NEVER
        return textwrap.fill(
            text, max(width, _NARROWEST), initial_indent=_INDENT, subsequent_indent=_INDENT + "   "
        )

    def _painted(self, colour: str, text: str) -> str:
        return f"\x1b[{_COLOURS.get(colour, '0')}m{text}\x1b[0m" if self._has_colours else text


def _is_firing(alert: Alert) -> bool:
    return bool(alert["alert"]["state"] == "firing")


def clock_time(at: str, timezone: str) -> str:
    """An instant as a clock on the wall of a ward shows it: `Tue 06:14`."""
    return f"{datetime.fromisoformat(at).astimezone(ZoneInfo(timezone)):%a %H:%M}"


@contextmanager
def webhook(screen: Screen) -> Iterator[int]:
    """Listen for webhooks on this machine, within it; gives the port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            screen.told(msgspec.json.decode(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """No word of it: what was told is shown."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: object) -> None:
            """A connection that broke; the sender tries again."""

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="webhook")
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def _gravity(alert: Alert) -> tuple[int, int, str]:
    """The gravest first; of these those that are about a patient, the newest first."""
    of = alert["alert"]
    return _GRAVEST.index(of["severity"]), not of["pseudonym"], "".join(chr(255 - ord(each)) for each in of["at"])  # fmt: skip


def _has_colours(streams: Streams) -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or streams.stdout.isatty()
