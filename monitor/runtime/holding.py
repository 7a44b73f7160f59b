"""The facts of one partition, in its table and its engine, and what has come of them since the last time that all was told.

The table (`cell` says what is in it) holds all that must outlive a worker; the engine beside it follows from it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, MutableMapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Protocol

import msgspec

from monitor.core.change import AlertChange, CaseVerdict, Change, VerdictChange, id_of
from monitor.core.engine import Engine
from monitor.core.event import Event
from monitor.core.feed import SHORT
from monitor.core.rule import CaseRule
from monitor.formats.envelope import Envelope, partition_of, patient_key
from monitor.notify.notice import Notice
from monitor.notify.tell import notice
from monitor.runtime import cell
from monitor.runtime.live import Loaded
from monitor.runtime.shelf import TableShelf
from monitor.runtime.telling import Moment, Telling
from monitor.runtime.waiting import Waiting

_FEED: Final = "feed"
"""What stands for a rule in the alerts of feeds."""


class Watcher(Protocol):
    """What is counted and logged; nothing in it may name a patient."""

    def judged(self, change: VerdictChange, told: CaseVerdict | None) -> None: ...
    def alerted(self, told: Notice) -> None: ...
    def failed(self, what: str, error: Exception) -> None: ...


class Outcome(msgspec.Struct):
    """What has come of records and time."""

    sends: list[tuple[bytes, Envelope]] = []
    """Records for the topic of events, by key."""
    notices: list[Notice] = []
    verdicts: dict[str, CaseVerdict | None] = {}
    """By case; None: there is no such case any more."""
    cells: dict[bytes, bytes | None] = {}
    """What to write into the table, in this order; None: the key goes."""

    def __bool__(self) -> bool:
        return bool(self.sends or self.notices or self.verdicts or self.cells)


class Way(NamedTuple):
    """What a partition needs to know of the world."""

    number: int
    """Its own, from 0 on."""
    of: int
    """How many partitions there are."""
    loaded: Loaded
    pseudonym: Callable[[str], str]
    link: str | None = None
    horizon: timedelta = timedelta(days=45)
    most_in_memory: int = 5_000
    """With more journeys unfolded, some are folded even while messages come."""


class Holding:
    """What a partition holds, and what comes of it."""

    def __init__(self, table: MutableMapping[bytes, bytes], way: Way, watcher: Watcher) -> None:
        self.table = table
        self.way = way
        self.watcher = watcher
        self.outcome = Outcome()
        self.telling = Telling(self._worded, way.number, way.of)
        self.touched: dict[str, None] = {}
        """Patients whose facts may differ from those in the table."""
        self.left_out: set[str] = set()
        """Patients whose journeys could not be read; what is known of them stays in the table."""
        self.linked: set[str] = set()
        """Patients whom merges link with others, as far as that was seen."""
        self.over: dict[str, datetime] = {}
        """Folded journeys in which nothing will happen any more, and since when."""
        self.waiting = Waiting()
        """The cases that are open; all of them once it is warm."""
        self._rules = {rule.id: rule for rule in way.loaded.rules}
        found = table.get(cell.STATE)
        self.before = cell.unpack_state(found) if found is not None else None
        """How far earlier owners were."""
        self.is_new = self.before is None or self.before.digest != way.loaded.digest
        """Whether the rules in use have not been written into the table yet, for not all has been looked at by them."""
        self.has_other_rules = self.before is not None and self.is_new
        """Whether there may be verdicts by other rules."""
        self.shelf = TableShelf(table)
        generation = 0 if self.before is None else self.before.generation + self.is_new
        self.engine = self.make_engine(generation, self.shelf)
        if self.before is not None:
            self.engine.resume(self.before.clock, ())
        told_until = self.before.told_until if self.before is not None else None
        self.began = told_until or self.engine.now[0]
        """Until when earlier owners have told all that time alone brings."""
        self._has_heard = False
        self._runs = cell.unpack_runs(table[cell.FEEDS]) if cell.FEEDS in table else {}
        for source, runs in self._runs.items():
            self.engine.heard(source, runs)

    def make_engine(self, generation: int, shelf: MutableMapping[str, bytes]) -> Engine:
        loaded = self.way.loaded
        return Engine(
            [rule for rule in loaded.rules if isinstance(rule, CaseRule)],
            loaded.registry,
            generation=generation,
            listened=[
                name for name, each in loaded.registry.sources.items() if each.silent_after is not None
            ],
            shelf=shelf,
        )

    @property
    def now(self) -> datetime:
        return self.engine.now[0]

    @property
    def moment(self) -> Moment:
        return self.engine.generation, self.engine.now[0]

    # Whose is what

    def is_native(self, patient: str) -> bool:
        """Whether the patient's key belongs to this partition."""
        return partition_of(patient_key(patient), self.way.of) == self.way.number

    def is_mine(self, patient: str) -> bool:
        """Whether all that is known of the patient is here. The feeds belong to the first partition."""
        if patient == "":
            return self.way.number == 0
        if patient in self.touched:
            return True  # they have just come
        found = self.table.get(cell.journey_key(patient))
        if found is None:
            return self.is_native(patient)
        return patient not in self.left_out and cell.home_of(found) is None

    def has_facts(self, patient: str) -> bool:
        return patient in self.touched or cell.journey_key(patient) in self.table

    def moved_to(self, patient: str) -> str | None:
        """To whom the patient's facts have moved from here, if they have."""
        found = self.table.get(cell.journey_key(patient))
        return None if found is None else cell.home_of(found)

    def home(self, patient: str) -> str | None:
        """Where they are to be sought now, if not here: those to whom they moved may have moved on from here."""
        home = next_ = self.moved_to(patient)
        while next_ is not None:
            home, next_ = next_, self.moved_to(next_)
        return home

    # Facts and time

    def observe(self, event: Event) -> None:
        """Take an event that arrives now, and has come to its home."""
        assert event.arrived_at is not None
        if event.source in self.engine.feeds:
            self._hear(event.source, event.arrived_at)
        self.tell(self.engine.observe(event))
        if self.engine.keeps(event):
            self.touched[event.patient] = None

    def _hear(self, source: str, at: datetime) -> None:
        self._has_heard = True
        runs = self._runs.setdefault(source, [])
        if runs and at - runs[-1][1] <= SHORT:
            runs[-1] = (runs[-1][0], at)
        else:
            runs.append((at, at))

    def write_heard(self) -> None:
        """When sources were heard, if they were."""
        if self._has_heard:
            self.put(cell.FEEDS, cell.pack_runs(self._runs))
            self._has_heard = False

    def advance(self, now: datetime) -> None:
        """Move the clock, if it is not further already: nothing will come that arrived before, and nothing more of this instant."""
        self.tell(self.engine.advance(max(now, self.now)))
        come: defaultdict[str, set[str]] = defaultdict(set)
        for each in self.telling.come(self.now):
            come[each.patient].add(each.alert)
        for patient, alerts in come.items():
            _, _, standing = self.engine.stands(patient)
            self.compare(each for each in standing if each.alert in alerts)
            if self.is_mine(patient):
                self.withdraw(alerts - {each.alert for each in standing}, even_resolved=True)

    def load(self, patient: str, packed: bytes) -> None:
        """Live again what facts of the past concern. What comes of them is to be asked for; what time brings to others meanwhile, for facts that moved may have arrived later than all that did here, is told."""
        self.tell(self.engine.load(patient, packed))

    # What comes of it

    def put(self, key: bytes, value: bytes | None) -> None:
        self.outcome.cells.pop(key, None)
        self.outcome.cells[key] = value
        if value is None:
            self.table.pop(key, None)
        else:
            self.table[key] = value

    def send(self, patient: str, envelope: Envelope) -> None:
        self.outcome.sends.append((patient_key(patient), envelope))

    def tell(self, changes: Iterable[Change]) -> None:
        """What has changed in the facts' own course."""
        for change in changes:
            if isinstance(change, VerdictChange):
                told = self.engine.verdict(change.of)
                self.outcome.verdicts[id_of(change.of)] = told
                self.watcher.judged(change, told)
            elif change.rule != _FEED or self.way.number == 0:  # all partitions hear the same
                self._say(self.telling.changed(change, self.moment))

    def compare(self, alerts: Iterable[AlertChange]) -> None:
        """Tell how alerts stand where that differs from what was told."""
        for each in alerts:
            self._say(self.telling.compared(each, self.moment))

    def withdraw(self, alerts: Collection[str], *, even_resolved: bool = False) -> None:
        """Tell that there are no such alerts any more."""
        for each in sorted(alerts):
            self._say(self.telling.withdraw(each, self.moment, even_resolved=even_resolved))

    def _say(self, told: Notice | None) -> None:
        if told is not None:
            self.engine.generation = max(self.engine.generation, told.sequence[0])
            self.outcome.notices.append(told)
            self.watcher.alerted(told)

    def _worded(self, change: AlertChange) -> Notice:
        way, rule = self.way, self._rules.get(change.rule)
        return notice(
            change,
            rule,
            way.loaded.registry,
            pseudonym=way.pseudonym(change.patient) if change.patient else "",
            link=way.link,
            after_outage=change.at < self.began,
        )
