"""What has come of facts and time and is not on disk yet: verdicts, alerts, and to whom their changes go."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from monitor.core.change import AlertChange, CaseVerdict, Change, VerdictChange, id_of
from monitor.core.engine import Engine
from monitor.core.place import Registry
from monitor.core.rule import Rule
from monitor.core.verdict import Case
from monitor.notify.notice import Notice
from monitor.notify.routing import Route, Router, notify_roles
from monitor.notify.tell import is_as_told, notice, reads_as_told
from monitor.runtime.batch import Batch, Folded
from monitor.runtime.shelf import DiskShelf
from monitor.runtime.store import Store


class Watcher(Protocol):
    """What is counted of it; nothing in it may name a patient."""

    def judged(self, change: VerdictChange, told: CaseVerdict | None) -> None: ...
    def alerted(self, told: Notice) -> None: ...


class Outage(NamedTuple):
    """When the service did not run, before it was started."""

    since: datetime
    until: datetime


class News:
    """Gathers what one engine tells, until it is written."""

    def __init__(
        self,
        engine: Engine,
        shelf: DiskShelf,
        store: Store,
        rules: Iterable[Rule],
        registry: Registry,
        router: Router,
        watcher: Watcher,
        *,
        link: str | None,
        outage: Outage,
    ) -> None:
        self._engine = engine
        self._shelf = shelf
        self._store = store
        self._rules = {rule.id: rule for rule in rules}
        self._registry = registry
        self._router = router
        self._watcher = watcher
        self._link = link
        self._outage = outage
        self.told: dict[str, Notice] = {}
        """At the start: alerts as they were told before, until they have been compared."""
        self.clear()

    def clear(self) -> None:
        """All of it has been written."""
        self._verdicts: dict[Case, CaseVerdict] = {}
        self._gone: dict[str, None] = {}
        self._notices: list[Notice] = []
        self.deliveries: list[tuple[str, str, Notice]] = []
        self._routes: dict[str, list[Route]] = {}
        """To whom the changes of each alert are to be sent."""
        self.folded: list[Folded] = []
        self.read_again: set[str] = set()
        """Patients of whose cases more may have changed than verdicts: all that stands of them is written."""

    def __bool__(self) -> bool:
        return bool(self._verdicts or self._gone or self._notices or self.folded or self.read_again)

    def put_into(self, batch: Batch) -> None:
        """Let a batch write it, too."""
        batch.verdicts += self._verdicts.values()
        again = self.read_again.difference(batch.anew)
        batch.anew += again
        for verdicts, _ in self.stands(again):
            batch.verdicts += verdicts
        batch.gone += self._gone
        batch.notices += self._notices
        batch.deliveries += self.deliveries
        batch.folded += self.folded

    def stands(self, patients: Collection[str]) -> Iterator[tuple[list[CaseVerdict], list[AlertChange]]]:
        """What stands of patients, once for all of them whom merges link; not of those on the shelf."""
        seen: set[str] = set()
        for patient in patients:
            if patient not in seen and patient not in self._shelf:
                keys, verdicts, alerts = self._engine.stands(patient)
                seen |= keys
                yield verdicts, alerts

    def tell(self, changes: Sequence[Change]) -> None:
        """Take over what the engine told."""
        if self._engine.read_again:
            self.read_again |= self._engine.read_again
            self._engine.read_again.clear()
        for change in changes:
            if isinstance(change, VerdictChange):
                self._verdict(change)
            else:
                self._alert(change)

    def compare(self, change: AlertChange) -> None:
        """Tell how an alert stands, if that has not been told; one that is over and was never told is no news."""
        if change.alert in self.told or change.state == "firing":
            self._alert(change)

    def end(self, left: Iterable[Notice], reason: str) -> None:
        """Tell of alerts that were told, and of which the rules and the facts now know nothing."""
        for each in left:
            if each.state == "firing":
                now = self._engine.now[0]
                each.state, each.reason, each.at = "resolved", reason, now
                # before all that the engine may yet tell of it at this instant
                each.sequence = max(each.sequence, (self._engine.generation, now, -2))
                each.sequence = (*each.sequence[:2], each.sequence[2] + 1)
                self._send(each, ())

    def _verdict(self, change: VerdictChange) -> None:
        case, told = change.of, self._engine.verdict(change.of)
        if told is None:
            self._verdicts.pop(case, None)
            self._gone[id_of(case)] = None
        else:
            self._verdicts[case] = told
            if self._gone:
                self._gone.pop(told.case, None)
        self._watcher.judged(change, told)

    def _alert(self, change: AlertChange) -> None:
        was = self.told.pop(change.alert, None) if self.told else None
        is_known = was is not None and is_as_told(was, change)
        if is_known and change.state != "firing":
            return
        rule = self._rules.get(change.rule)
        told = notice(
            change,
            rule,
            self._registry,
            pseudonym=self._store.pseudonym(change.patient) if change.patient else "",
            link=self._link,
            after_outage=self._outage.since <= change.at < self._outage.until,
        )
        if not is_known:
            self._send(told, notify_roles(rule, change.level) if rule is not None else ())
        elif was is not None and not reads_as_told(was, told):
            self._notices.append(told)  # it is shown as it now reads; nobody is called for that

    def _send(self, told: Notice, roles: Sequence[str]) -> None:
        routes = self._routes.setdefault(told.alert, [])
        already = [*self._store.receivers_of(told.alert), *routes]
        self._watcher.alerted(told)
        self._notices.append(told)
        routes += (found := self._router.route(told, roles, already))
        self.deliveries += [(*route, told) for route in found]
