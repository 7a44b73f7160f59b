"""`handoff demo`: the live service beside a hospital that does not exist, and what it says of it.

The hospital and the service share a process and nothing else: HL7 goes in over MLLP, milestones over HTTP, alerts come
out by a webhook. A night is told as fast as it can be, so that there is something to see; from then on the hospital's
clock, which is the service's, runs faster than life.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from http.client import HTTPConnection, HTTPException
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from monitor.commands.demo_screen import Screen, webhook
from monitor.commands.run import loaded_of, serve
from monitor.commands.streams import FINE, UNABLE, USAGE, Failed, Streams
from monitor.ingest.mllp_client import Target, Unanswered, send
from monitor.log import logged_to
from monitor.report.names import counted
from monitor.runtime.clock import LiveClock, steady
from monitor.runtime.service import Service
from monitor.settings import Http, Mllp, Receiver, Settings, WebhookSink
from monitor.simulation.hl7 import DIALECTS, is_adt, is_sent, message
from monitor.simulation.hl7_telling import as_told
from monitor.simulation.hospital import Options
from monitor.simulation.journey import Journey, Seconds
from monitor.simulation.log import in_order, journeys, json_line, tellings
from monitor.simulation.registry import registry_text

_SEED: Final = 10
_WARDS: Final = 3
"""A hospital of a size whose alerts can be read as they come."""
_MONDAY: Final = date(2026, 1, 5)
_BEGINS: Final = datetime(2026, 1, 6, 6, tzinfo=UTC)
"""Where one begins to watch, on the second day; what comes before is told quickly."""
_DAYS: Final = 4
"""At least so many are simulated, that a shorter demo be the beginning of the usual one."""
_DIALECT: Final = DIALECTS["standard"]
_PACKS: Final = (
    *("ambulance", "ed", "sepsis", "icu", "flow"),
    *("discharge", "return", "transit", "notify", "data-quality"),
)
"""But for that of strokes: a hospital so small has no unit for them."""
_LONGEST: Final = timedelta(days=60)
_SHOWN_FIRST: Final = 4
_PATIENCE_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.5
_LOOKS: Final = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be said after `handoff demo`."""
    parser.add_argument(
        "--minutes", type=_positive, default=3.0, metavar="N", help="of yours, until it ends; default: 3"
    )
    parser.add_argument(
        "--speed",
        type=_positive,
        default=600.0,
        metavar="N",
        help="how many times faster than life the hospital is; default: 600",
    )
    parser.add_argument("--data", metavar="DIR", help="keep the data here; default: they are deleted")


def run(args: argparse.Namespace, streams: Streams) -> int:
    """Run until the time is over, or until it is interrupted; either is fine."""
    lasts = timedelta(minutes=args.minutes * args.speed)
    if lasts > _LONGEST:
        raise Failed(USAGE, f"demo: that would be more than {_LONGEST.days} days of the hospital")
    try:
        _demo(args, lasts, streams)
    except KeyboardInterrupt:
        streams.say("the demo ended before it began")
    return FINE


def _demo(args: argparse.Namespace, lasts: timedelta, streams: Streams) -> None:
    until = _BEGINS + lasts
    options = Options(
        seed=_SEED, start=_MONDAY, wards=_WARDS, days=max(_DAYS, ceil(lasts / timedelta(days=1)) + 2)
    )
    screen = Screen(streams)
    with ExitStack() as stack:
        folder = _folder(args.data, stack)
        screen.print(_WELCOME)
        port = stack.enter_context(webhook(screen))
        settings = _settings(folder, options, port)
        pace = _Pace(args.speed)
        clock = LiveClock.faster(args.speed, pace.begins, pace.seconds)
        hospital = _Hospital(options, pace, clock, until, screen)
        stack.enter_context(logged_to(streams.stderr, level="error"))
        serve(settings, loaded_of(settings, streams), clock, open_to_loopback=True, beside=hospital.live)
    if hospital.trouble is not None:
        raise Failed(UNABLE, f"demo: {hospital.trouble}")
    screen.print(hospital.summary(args.data))


def _folder(given: str | None, stack: ExitStack) -> Path:
    """Where the data go: a directory of the user's, or one that is gone afterwards."""
    if given is None:
        return Path(stack.enter_context(TemporaryDirectory(prefix="handoff-demo-")))
    folder = Path(given)
    if folder.exists() and any(folder.iterdir()):
        raise Failed(USAGE, f"demo: {given} is not empty; name another directory in --data")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _settings(folder: Path, options: Options, webhook_port: int) -> Settings:
    registry = folder / "microsystems.yaml"
    registry.write_text(registry_text(options, _DIALECT.profile), encoding="utf-8")
    return Settings(
        data=str(folder / "data"),
        rules=[f"pack:{name}" for name in _PACKS],
        microsystems=str(registry),
        mllp=Mllp(port=_free(2575)),
        http=Http(port=_free(8080)),
        sinks={"screen": WebhookSink(webhook=f"http://127.0.0.1:{webhook_port}/")},
        receivers={"default": Receiver(sinks=["screen"])},
    )


class _Pace:
    """The seconds by which the demo's clock goes: the night passes as fast as it is told, then they are the machine's."""

    def __init__(self, speed: float) -> None:
        self.begins = datetime.combine(_MONDAY, datetime.min.time(), UTC)
        self._speed = speed
        self._passed = 0.0
        self._since: float | None = None

    def seconds(self) -> float:
        """Seconds, of which the hospital has `speed` times as many."""
        return self._passed + (0.0 if self._since is None else steady() - self._since)

    def go_to(self, moment: datetime) -> None:
        """Have the hospital's time be this, if it is later."""
        self._passed = max(self._passed, (moment - self.begins).total_seconds() / self._speed)

    def run(self) -> None:
        """From now on it goes by itself."""
        self._since = steady()


class _Telling(NamedTuple):
    """Something that the hospital tells."""

    at: datetime
    content: bytes | str
    """An HL7 message, or a JSON line."""


class _Hospital:
    """Tells what happens in it, each thing at its time, over one connection of each kind."""

    def __init__(
        self, options: Options, pace: _Pace, clock: LiveClock, until: datetime, screen: Screen
    ) -> None:
        self._feed = _feed(options)
        self._pace = pace
        self._clock = clock
        self._until = until
        self._screen = screen
        self._is_live = False
        self._messages = self._events = 0
        self._next_hour = _BEGINS
        self.trouble: str | None = None

    async def live(self, service: Service, port: int) -> None:
        """Tell all of it; to run beside the service."""
        try:
            await service.until_begun()
            await send(self._messages_of(service, port), Target("127.0.0.1", service.mllp_port))
        except (Unanswered, OSError, HTTPException) as error:
            self.trouble = str(error) or type(error).__name__

    async def _messages_of(self, service: Service, port: int) -> AsyncIterator[bytes]:
        """The HL7 messages, each when its time has come; what else is told meanwhile goes over HTTP."""
        connection = HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_SECONDS)
        try:
            for told in self._feed:
                if told.at > self._until or self._screen.is_gone:
                    break
                await self._wait_for(told.at, service, port)
                if isinstance(told.content, bytes):
                    yield told.content
                    self._messages += 1
                else:
                    await asyncio.to_thread(_post, connection, told.content)
                    self._events += 1
            await self._wait_for(self._until, service, port)
        finally:
            connection.close()

    async def _wait_for(self, moment: datetime, service: Service, port: int) -> None:
        if not self._is_live and moment < _BEGINS:
            self._pace.go_to(moment)
            return
        if not self._is_live:
            self._is_live = True
            self._pace.go_to(_BEGINS)
            await _told(service)
            self._screen.print(self._opening(service.mllp_port, port))
            self._screen.go_live(_SHOWN_FIRST)
            self._pace.run()
        while (left := self._clock.seconds_until(moment)) > 0 and not self._screen.is_gone:
            await asyncio.sleep(min(left, _LOOK_SECONDS))
            self._tell_time()

    def _tell_time(self) -> None:
        """What the clock on the wall says, every three hours."""
        if self._clock.now() < self._next_hour:
            return
        if self._next_hour > _BEGINS:
            self._screen.aside(f"{self._next_hour:%a %H:%M}  {self._so_far()}")
        self._next_hour += timedelta(hours=3)

    def _so_far(self) -> str:
        return (
            f"{counted(self._messages, 'HL7 message')}, {counted(self._events, 'other event')}, "
            f"{counted(self._screen.alerts, 'alert')}, going on: {self._screen.firing}"
        )

    def _opening(self, mllp_port: int, port: int) -> str:
        url, journey = f"http://127.0.0.1:{port}", self._screen.a_journey()
        return f"""\
It is {_BEGINS:%A %H:%M}. Monday and the night were told in a few seconds: {self._so_far()}.
From here the hospital's clock runs, until {self._until:%A %H:%M}; Ctrl-C ends it. While it runs, ask it:

  curl -s '{url}/api/alerts?state=firing'
  curl -s {url}/api/journeys/{journey}
  curl -s {url}/metrics
  curl -s {url}/readyz
  handoff send --to mllp://127.0.0.1:{mllp_port} FILE.hl7

"""

    def summary(self, kept: str | None) -> str:
        """What happened, once it is over."""
        time = min(self._clock.now(), self._until)
        where = (
            "The data are deleted; `handoff demo --data DIR` keeps them."
            if kept is None
            else f"The data are in {kept}/data; `handoff export --data {kept}/data` gives them to `handoff replay`."
        )
        return f"""
It is {time:%A %H:%M}, and the demo is over. Since Monday 00:00 the hospital told
{self._messages:,} HL7 messages over MLLP and {self._events:,} events over HTTP; each was on disk before it was acknowledged.
{self._screen.summary()}
{where}
Next: `make report` shows what two weeks of this hospital teach; docs/guides/running.md says how to run the service
for a real one; docs/start/first-rule.md how to write a rule of your own.
"""


_WELCOME: Final = """\
A hospital that does not exist, watched live: its systems send HL7 over MLLP, and events over HTTP; rules for England's
hospitals say what is late. Nobody in it is real, and no figure is of a real hospital.

"""


async def _told(service: Service) -> None:
    """Wait until the alerts of the past have been shown to the screen; not for ever, on a slow machine."""
    for _ in range(_LOOKS):
        await asyncio.sleep(_LOOK_SECONDS / 5)
        if not any(each.count for each in await asyncio.to_thread(service.reader.waiting)):
            return


def _feed(options: Options) -> Iterator[_Telling]:
    """All that the systems of the hospital tell, in order of delivery."""

    def told(journey: Journey) -> Iterator[tuple[Seconds, _Telling]]:
        for fact, telling, delivered_at in tellings(as_told(journey, _DIALECT), options.end):
            at = datetime.fromtimestamp(delivered_at, UTC)
            if not is_adt(fact):
                yield delivered_at, _Telling(at, json_line(fact, telling, delivered_at))
            elif is_sent(fact):
                yield delivered_at, _Telling(at, message(fact, telling, _DIALECT))

    return in_order(journeys(options), told)


def _post(connection: HTTPConnection, line: str) -> None:
    """Send an event, and wait until it is taken. Raises `OSError`, `HTTPException`."""
    connection.request("POST", "/events", line, {"Content-Type": "application/x-ndjson"})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status >= 400:
        raise HTTPException(f"an event was refused: {json.loads(body).get('detail', answer.status)}")


def _free(port: int) -> int:
    """A port on which to listen: this one, or any if it is taken."""
    try:
        with socket.create_server(("127.0.0.1", port)):
            return port
    except OSError:
        return 0


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0.001 <= number <= 100_000:
        raise argparse.ArgumentTypeError(f"`{text}` is not a number from 0.001 to 100000")
    return number
