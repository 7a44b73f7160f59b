"""A live service without its surroundings: a test moves its clock, hands it messages, and pulls its plug."""

from datetime import timedelta
from functools import partial

import msgspec

from monitor.core.change import AlertChange
from monitor.core.engine import Engine
from monitor.ingest.intake import Message
from monitor.notify.notice import Notice
from monitor.notify.routing import Router
from monitor.runtime.clock import LiveClock
from monitor.runtime.deliveries import Deliveries
from monitor.runtime.live import Live, Loaded
from monitor.runtime.reader import Reader
from monitor.runtime.recorded import recorded
from monitor.runtime.store import Store
from monitor.settings import Settings


class Silent:
    """Counts nothing, but keeps what failed."""

    def __init__(self):
        self.failures = []

    def took(self, events, rejects, at): ...
    def judged(self, change, told): ...
    def alerted(self, told): ...
    def wrote(self, seconds): ...
    def mended(self, what): ...

    def failed(self, what, error):
        self.failures.append((what, error))


class Service:
    """A live service in a directory, with a clock that a test sets."""

    def __init__(self, folder, rules, registry, start):
        self.folder, self.now, self.loaded = folder, start, Loaded(rules, registry, "first")
        self.wrong_by = timedelta(0)
        self.watcher = Silent()
        self.store = None
        self.start()

    def start(self):
        self.store = Store.open(self.folder)
        wall = lambda: self.now + self.wrong_by  # noqa: E731 - `now` is another each time
        self.clock = LiveClock(wall, lambda: self.now.timestamp())  # noqa: PLW0108 - likewise
        self.live = Live(self.store, self.clock, self.loaded, partial(Router, Settings()), self.watcher)
        read_all(self.live)

    def pull_the_plug(self):
        """End without writing anything more."""
        self.store._connection.close()
        self.store._lock.release()

    def take(self, *events):
        self.write(*events)
        self.live.judge()

    def write(self, *events):
        """Make events durable, but draw no conclusions yet."""
        self.live.write([Message(origin="http", content=b"", events=list(events))], [])

    def settle(self):
        """Let the time pass until the present, and write what comes of it."""
        self.live.judge()
        while self.live.has_news():
            self.live.write([], [])
            self.live.judge()

    def wait(self, **time):
        self.now += timedelta(**time)
        self.settle()

    def verdicts(self):
        reader = Reader(self.folder)
        try:
            return sorted((shown(each.verdict) for each in pages(reader.verdicts)), key=str)
        finally:
            reader.close()

    def told(self):
        """All that was to be told, in order."""
        return [word(each) for each in self.notices()]

    def deliver(self):
        outbox = Deliveries(self.folder)
        while due := outbox.due("log", 100):
            outbox.delivered([each.id for each in due])
        outbox.close()

    def notices(self):
        rows = self.store._connection.execute("SELECT body FROM outbox ORDER BY number").fetchall()
        return [msgspec.json.decode(body, type=Notice) for (body,) in rows]

    def replayed(self):
        """The verdicts and the alerts of a replay of all that was recorded, until now."""
        rules, registry, _ = self.loaded
        listened = [name for name, each in registry.sources.items() if each.silent_after is not None]
        engine = Engine(rules, registry, listened=listened)
        changes = []
        for event in recorded(self.store.events(), self.store.heard()):
            changes += engine.observe(event)
        changes += engine.advance(self.live._engine.now[0])
        alerts = [word(change) for change in changes if isinstance(change, AlertChange)]
        return sorted(map(shown, engine.verdicts()), key=str), alerts


def read_all(live):
    """Let it read all that is known, in one go."""
    for _ in live.begin():
        pass


def pages(ask):
    """All rows of a reader's pages."""
    before = None
    while rows := ask(before=before, limit=200):
        yield from rows
        before = rows[-1].number


def shown(case):
    return (
        case.case,
        case.rule,
        case.patient,
        case.verdict,
        case.overdue,
        case.reason,
        case.due_at,
        case.decided_at,
    )


def word(change):
    """What makes a change of an alert what it is; the same for the engine's and for what is told of it."""
    assert isinstance(change, AlertChange) or change.sequence
    return (change.at, change.rule, change.alert, change.state, change.level, change.reason, change.severity)
