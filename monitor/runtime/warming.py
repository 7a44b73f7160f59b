"""How a partition begins from its table: what was told before is compared with how journeys stand, by and by.

A journey that stands as its head says is left asleep; the others are cold until somebody has looked at them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import islice

import msgspec

from monitor.core.change import AlertChange, CaseVerdict, VerdictChange
from monitor.core.chart import linked_keys
from monitor.core.event import EARLIEST
from monitor.notify.notice import Notice
from monitor.runtime import cell
from monitor.runtime.holding import Holding


class Warming:
    """The journeys that have not been looked at since the beginning."""

    def __init__(self, holding: Holding) -> None:
        self._holding = holding
        self._looks_at_all = False
        self.cold: dict[str, None] = {}
        """Patients whose journeys have not been looked at, nor stand as their heads say."""
        self._judged: defaultdict[str, set[str]] = defaultdict(set)
        """Cases of which verdicts were told, by patient, until they have been compared."""

    # The beginning

    def begin(
        self, told: Iterable[Notice], cases: Iterable[tuple[str, str]], theirs: Iterable[Notice], *, looks_at_all: bool
    ) -> None:  # fmt: skip
        """As `Partition.begin`."""
        holding = self._holding
        self._looks_at_all = looks_at_all
        holding.telling.begin(told, theirs, holding.now)
        for case, about in cases:
            self._judged[about].add(case)
        heads = self._read_heads()
        holding.shelf.patients = (heads.keys() | self.cold.keys()) - holding.linked
        self.cold |= self._rest(heads)
        self._load_linked()
        holding.advance(holding.now)
        if not self.cold and not self._judged and not holding.telling.unseen():
            self._end()

    def _read_heads(self) -> dict[str, cell.Head]:
        """The heads of journeys that stand as they say; all others are cold."""
        heads: dict[str, cell.Head] = {}
        for key, value in self._holding.table.items():
            patient = cell.patient_of(key)
            if patient is None or cell.home_of(value) is not None:
                continue
            try:
                head = cell.head_of(value)
                if head is not None and self._holds(head):
                    heads[patient] = head
                    continue
                packed = cell.unpack(value)
                if b'"merge"' in packed:
                    self._holding.linked |= {patient, *linked_keys(cell.facts_of(packed))}
                self.cold[patient] = None
            except Exception as error:  # noqa: BLE001 - one journey that cannot be read must not silence all others
                self._leave_out(patient, error)
        return heads

    def _holds(self, head: cell.Head) -> bool:
        """Whether a journey stands as its head says: by these rules, and nothing was due since; whatever came of it until then was told."""
        holding = self._holding
        return (
            not self._looks_at_all
            and not holding.is_new
            and head.is_by(holding.way.loaded.digest)
            and head.clock <= holding.now
            and (head.due is None or head.due[0] > holding.now)
        )

    def _rest(self, heads: Mapping[str, cell.Head]) -> dict[str, None]:
        """Leave journeys asleep until the clock or an event wakes them; returns those of which something else was told."""
        holding = self._holding
        told = _by_patient(holding.telling.unseen())
        others: dict[str, None] = {}
        due = {}
        for patient, head in heads.items():
            known = told.get(patient, ())
            if patient in holding.linked or not self._is_as_told(head, known):
                others[patient] = None
                continue
            due[patient] = head.due
            for each in known:
                holding.telling.let_go(each.alert)
            heard_of = {each.alert for each in known}
            for alert, _, _, _, at, _ in head.alerts:
                if alert not in heard_of:
                    holding.telling.never_told(alert, at)
            for case, rule, due_at in head.waiting:
                holding.waiting.add(case, rule, due_at)
            if head.due is None and not head.in_place:
                holding.over[patient] = head.clock
        holding.engine.resume(holding.now, due.items())
        return others

    def _is_as_told(self, head: cell.Head, told: Iterable[Notice]) -> bool:
        """Whether the alerts of a journey are as they were told; one that is over may have been forgotten."""
        alerts = {alert: stands for alert, *stands in head.alerts}
        for was in told:
            found = alerts.pop(was.alert, None)
            if found is None:
                return False
            state, level, reason, at, number = found
            if (was.state, was.level, was.reason) != (state, level, reason):
                return False
            if was.sequence > (self._holding.engine.generation, at, number):
                return False
        return all(state == "resolved" for state, *_ in alerts.values())

    def _load_linked(self) -> None:
        """Live again the journeys that merges link; their alerts are compared when all of them are there.

        Facts may be of an instant later than the table's clock, if a worker died while it wrote: what wakes others until then is told.
        """
        holding = self._holding
        woken: set[str] = set()
        for patient in sorted(self.cold.keys() & holding.linked):
            try:
                changes = holding.engine.load(patient, holding.shelf.packed(patient))
            except Exception as error:  # noqa: BLE001 - as above
                self._leave_out(patient, error)
                continue
            holding.tell(each for each in changes if isinstance(each, VerdictChange))
            woken |= {each.patient for each in changes if isinstance(each, AlertChange)}
        for patient in sorted(woken - self.cold.keys()):
            holding.compare(holding.engine.stands(patient)[2])

    def _leave_out(self, patient: str, error: Exception) -> None:
        self._holding.shelf.patients.discard(patient)
        self._holding.left_out.add(patient)
        self._holding.watcher.failed("journey", error)

    # By and by

    @property
    def is_warm(self) -> bool:
        """Whether every journey has been looked at, so that all is known that will fall due."""
        return self._holding.telling.is_compared

    def warm(self, most: int) -> None:
        """Look at so many of the cold journeys: how they stand, what was told of them, when they are due."""
        tells_all = self._tells_all()
        for patient in list(islice(self.cold, most)):
            try:
                self._look_at(patient, tells_all)
            except Exception as error:  # noqa: BLE001 - as above
                self._leave_out(patient, error)
        if not self.cold and not self.is_warm:
            self._end()

    def look_at(self, patients: Iterable[str]) -> None:
        """Look now at those who are cold. What is raised is about one of them."""
        cold = [patient for patient in patients if patient in self.cold]
        tells_all = bool(cold) and self._tells_all()
        for patient in cold:
            self._look_at(patient, tells_all)

    def _look_at(self, patient: str, tells_all: bool) -> None:
        """Compare how a journey stands with what was told of it, unless that was done with those with whom it is linked."""
        if patient not in self.cold:
            return
        holding = self._holding
        del self.cold[patient]
        may_come = self._had_future(patient)
        before = self._cases_then(patient) if may_come else set()
        keys, verdicts, alerts = holding.engine.stands(patient)
        for key in keys & self.cold.keys():
            del self.cold[key]
        for key in keys & self._judged.keys():
            before |= self._judged.pop(key)
        holding.outcome.verdicts |= dict.fromkeys(before - {each.case for each in verdicts})
        holding.linked |= keys if len(keys) > 1 else set()
        for verdict in verdicts:
            if verdict.verdict == "open":
                holding.waiting.note(verdict.case, verdict)
            if tells_all or may_come or _came_after(verdict, holding.began):
                holding.outcome.verdicts[verdict.case] = verdict
        holding.compare(alerts)

    def _end(self) -> None:
        """What was told, and of which nothing is known now, is told to be no more."""
        holding = self._holding
        told = _by_patient(holding.telling.unseen())
        holding.telling.end_of_comparing()
        for patient in sorted(told.keys() | self._judged.keys()):
            if not holding.is_mine(patient):
                continue
            _, verdicts, alerts = holding.engine.stands(patient)
            left = {each.alert for each in told.get(patient, ())}
            holding.withdraw(left - {each.alert for each in alerts})
            gone = self._judged[patient] - {each.case for each in verdicts}
            holding.outcome.verdicts |= dict.fromkeys(gone)
        self._judged.clear()

    # What time may have changed since the table was written

    def _tells_all(self) -> bool:
        """Whether any verdict may differ from what was told."""
        return self._holding.has_other_rules or self._feeds_turned()

    def _feeds_turned(self) -> bool:
        """Whether a feed fell silent or came back since the table was written: that may change any verdict."""
        began, now = self._holding.began, self._holding.now
        feeds = self._holding.engine.feeds.values()
        return any(began <= at <= now for feed in feeds for at, _ in feed.turns())

    def _had_future(self, patient: str) -> bool:
        """Whether there were facts of a time to come when the table was written: with them time may open and end any case."""
        if patient in self._holding.linked:  # it tells what changes
            return False
        facts = cell.facts_of(self._holding.shelf.packed(patient))
        return any(each.occurred_at > self._holding.began for each in facts)

    def _cases_then(self, patient: str) -> set[str]:
        """The cases that there were when the table was written."""
        holding = self._holding
        if holding.began == EARLIEST:
            return set()
        then = holding.make_engine(holding.engine.generation, {patient: holding.shelf.packed(patient)})
        then.resume(holding.began, ())
        return {each.case for each in then.stands(patient)[1]}

    def state(self) -> cell.State:
        """How far all is told; as it was, until every journey has been looked at: another owner may have to begin that anew."""
        holding = self._holding
        present = cell.State(holding.now, holding.way.loaded.digest, holding.engine.generation)
        if self.is_warm:
            return present
        before = holding.before or present
        return msgspec.structs.replace(before, clock=present.clock, told_until=holding.began)


def _by_patient(told: Iterable[Notice]) -> dict[str, list[Notice]]:
    found: defaultdict[str, list[Notice]] = defaultdict(list)
    for each in told:
        found[each.patient].append(each)
    return found


def _came_after(verdict: CaseVerdict, clock: datetime) -> bool:
    """Whether a verdict may have come by time alone after a clock; none that came by a record did, for that was told."""
    if verdict.verdict == "open" and not verdict.overdue:
        return False
    since = verdict.due_at if verdict.overdue else verdict.decided_at
    return since is None or since >= clock
