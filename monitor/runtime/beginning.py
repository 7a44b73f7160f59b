"""How the live service goes on from what is on disk: at the start, and when rules or the registry have changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Final

from monitor.core.alert import case_id
from monitor.core.change import CaseVerdict
from monitor.core.engine import Engine
from monitor.core.place import Registry
from monitor.core.rule import CaseRule
from monitor.runtime.batch import Batch, Folded
from monitor.runtime.database import StoreError
from monitor.runtime.news import News
from monitor.runtime.shelf import DiskShelf
from monitor.runtime.store import Store

_DIGEST: Final = "rules-digest"
_GENERATION: Final = "rules-generation"
_FEED: Final = "feed"
"""What stands for a rule in the alerts of feeds."""
_RELIVED_AT_ONCE: Final = 500


def note_rules(store: Store, digest: str) -> None:
    """Begin another generation if the rules are not those that the store knows."""
    if store.recall(_DIGEST) != digest:
        generation = int(store.recall(_GENERATION) or -1) + 1
        store.begin_generation({_DIGEST: digest, _GENERATION: str(generation)})


def asleep(store: Store, known: datetime, links: Collection[str]) -> list[Folded]:
    """The journeys of which nothing has to be lived again: folded, nothing due until `known`, and linked to none."""
    return [
        each
        for each in store.folded()
        if (each.due_at is None or each.due_at > known) and each.patient not in links
    ]


def resumed(
    store: Store, rules: Sequence[CaseRule], registry: Registry, now: datetime, folded: Sequence[Folded]
) -> tuple[Engine, DiskShelf]:
    """An engine at an instant that knows of the journeys that are folded, and of what was heard of sources."""
    shelf = DiskShelf(store.facts, (each.patient for each in folded))
    engine = Engine(
        rules,
        registry,
        generation=int(store.recall(_GENERATION) or 0),
        listened=[name for name, each in registry.sources.items() if each.silent_after is not None],
        shelf=shelf,
    )
    dues = ((each.due_at, each.phase) if each.due_at else None for each in folded)
    engine.resume(now, zip((each.patient for each in folded), dues, strict=True))
    for source, runs in store.heard().items():
        engine.heard(source, runs)
    return engine, shelf


class Beginning:
    """Lives all journeys again that are not folded, and compares their alerts with what was told."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        shelf: DiskShelf,
        news: News,
        write: Callable[[Batch], None],
        failed: Callable[[str, Exception], None],
    ) -> None:
        """`write` writes a batch together with the news; `failed` is told of a journey that cannot be read."""
        self._store = store
        self._engine = engine
        self._shelf = shelf
        self._news = news
        self._write = write
        self._failed = failed
        news.told = {each.alert: each for each in store.alerts_known()}
        self.awake = [patient for patient in store.patients() if patient not in shelf]
        self.left_out: set[str] = set()
        """Patients whose journeys could not be read."""

    def steps(self, links: Mapping[str, Collection[str]]) -> Iterator[int]:
        """Live journeys again, those that merges link together, and write how they stand; how many after each step."""
        known, told = self._news.told, defaultdict[str, list[str]](list)
        for each in known.values():
            told[each.patient].append(each.alert)
        groups = _groups(self.awake, links)
        while some := list(islice(groups, _RELIVED_AT_ONCE)):
            patients = self._relive(some)
            alerts = [alert for patient in patients for alert in told.get(patient, ())]
            self._news.end([known.pop(alert) for alert in alerts if alert in known], "withdrawn")
            yield len(patients)

    def end(self) -> None:
        """Tell of feeds that fell silent, and were heard again before that was told, or are not listened to any more."""
        listened = {case_id(_FEED, None, source, "", None) for source in self._engine.feeds}
        left = [each for each in self._news.told.values() if each.rule == _FEED]
        self._news.end((each for each in left if each.alert in listened), "heard")
        self._news.end((each for each in left if each.alert not in listened), "withdrawn")
        self._news.told = {}

    def _relive(self, groups: Iterable[Collection[str]]) -> list[str]:
        """Live the journeys of some groups of patients again; of one that cannot be read all stays as it was told."""
        patients: list[str] = []
        verdicts: list[CaseVerdict] = []
        for group in groups:
            try:
                self._news.tell(self._engine.load(min(group), self._facts_of(group)))
                for of_chart, alerts in self._news.stands(group):
                    verdicts += of_chart
                    for change in alerts:
                        self._news.compare(change)
                patients += group
            except StoreError:
                raise
            except Exception as error:  # noqa: BLE001 - one journey that cannot be read must not silence all others
                self._failed("journey", error)
                self.left_out |= set(group)
        self._write(Batch(clock=self._engine.now[0], anew=patients, verdicts=verdicts))
        return patients

    def _facts_of(self, patients: Iterable[str]) -> bytes:
        """The facts of all of them, packed as those of one."""
        packed = [self._store.facts(patient, self._shelf.before)[1:-1] for patient in patients]
        return b"[" + b",".join(filter(None, packed)) + b"]"


def _groups(patients: Iterable[str], links: Mapping[str, Collection[str]]) -> Iterator[list[str]]:
    """Each patient together with all whom merges link with it, once."""
    seen: set[str] = set()
    for patient in patients:
        if patient not in seen:
            group = _linked(patient, links)
            seen |= group
            yield sorted(group)


def _linked(patient: str, links: Mapping[str, Collection[str]]) -> set[str]:
    """A patient, and all whom merges link with it."""
    found, left = {patient}, [patient]
    while left:
        more = set(links.get(left.pop(), ())) - found
        found |= more
        left += more
    return found
