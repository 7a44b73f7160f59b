"""Merges: the facts of all patients whom they ever linked come together in one partition, the *home*: that of the smallest key.

Facts only ever move to a smaller key, so nothing runs in circles. Whence they moved, an entry in the table sends on what comes
later; it is never written but with a record that the facts have moved, be there any or not, so whoever gets what is sent on has had that record before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

import msgspec

from monitor.core.chart import linked_keys
from monitor.core.event import Event
from monitor.formats.envelope import Linked, Moved
from monitor.notify.notice import Notice
from monitor.runtime import cell
from monitor.runtime.holding import Holding
from monitor.runtime.warming import Warming

_NOTHING: Final = cell.pack(b"[]")


class Moving:
    """What comes to a partition from others, and goes to them."""

    def __init__(self, holding: Holding, warming: Warming) -> None:
        self._holding = holding
        self._warming = warming
        self.gone: list[str] = []
        """Cases that are another partition's since its user emptied this."""

    def merge(self, merge: Event) -> None:
        """Take a merge in, if this is the home of all whom it links; else all goes to their home, and the merge with it."""
        holding = self._holding
        named = linked_keys([merge]) | {merge.patient}
        keys = self._together(key for key in named if holding.home(key) is None) | named
        first = min(keys)
        if (home := self._elsewhere(first)) is not None:
            self._move(keys - {home}, home, merge.patient, [merge])
            return
        if merge.arrived_at is not None and merge.arrived_at < holding.now:
            self.take_past(merge.patient, [merge])
        else:
            holding.observe(merge)
        self._summon(keys, first)

    def link(self, patient: str, other: str) -> None:
        """A merge at the home of another links it with a patient: whoever is not the first goes to the first."""
        home = self._holding.moved_to(patient)
        if home is not None:
            self._send_link(patient, home, other)
            return
        keys = self._together([patient]) | {patient}
        first = min(keys)
        if first < other:
            self._holding.send(other, Linked(other, first))
        elif first != other and (further := self._elsewhere(other)) is not None:
            self._move(keys - {further}, further, patient, [])

    def receive(self, moved: Moved) -> None:
        """Facts from another partition: they belong here, or have to go further."""
        holding = self._holding
        home = holding.home(moved.home)
        if home is not None:
            moved.home = home
            holding.send(home, moved)
            if holding.has_facts(moved.patient) or len(self._together([moved.patient])) > 1:
                self.link(moved.patient, home)  # some of the facts that move with it have been taken in here
            else:  # what comes later for the patient comes this way, too
                holding.put(cell.journey_key(moved.patient), cell.pack_moved(home))
            return
        known = holding.moved_to(moved.patient)
        if known is not None or not holding.has_facts(moved.patient):
            holding.put(cell.journey_key(moved.patient), _NOTHING)
        self.take_past(moved.patient, moved.facts, moved)
        keys = self._together([moved.home, moved.patient])
        first = min(keys)
        further = self._elsewhere(first)
        if known is not None and known < (further or first):
            further = known
        if further is not None:
            self._move(keys - {further}, further, moved.home, [])
            return
        if known is not None:
            self._send_link(moved.patient, known, first)
        self._summon(keys, first)

    def take_past(self, patient: str, facts: list[Event], moved: Moved | None = None) -> None:
        """Take facts that arrived before this instant, and live again what they concern; tell what then differs from what was told.

        `moved`: with which they came, if so. When all has come that moved together, this partition speaks of the alerts.
        """
        holding, engine, telling = self._holding, self._holding.engine, self._holding.telling
        holding.advance(holding.now)
        gone = dict.fromkeys(moved.cases if moved is not None else ())
        named = sorted({patient, *linked_keys(facts)})
        self._warming.look_at(sorted(self._together(named)))
        held: set[str] = set()
        for key in named:
            _, verdicts, alerts = engine.stands(key)
            held |= telling.hold(alerts)
            gone |= dict.fromkeys(each.case for each in verdicts)
        words = [msgspec.json.decode(raw, type=Notice) for raw in moved.alerts] if moved is not None else []
        is_whole = moved is not None and not moved.goes_on
        if not is_whole:
            telling.leave(each for each in words if each.alert not in held)
            words = []
        holding.load(patient, cell.pack_facts([each for each in facts if engine.keeps(each)]))
        _, verdicts, alerts = engine.stands(patient)
        standing = {each.alert for each in alerts}
        holding.outcome.verdicts |= gone | {each.case: each for each in verdicts}
        if is_whole:
            words += telling.theirs(standing - {each.alert for each in words})
        taken = [each for each in words if telling.take_over(each, holding.now)]
        said = len(holding.outcome.notices)
        holding.compare(alerts)
        holding.withdraw((held | {each.alert for each in words}) - standing, even_resolved=True)
        news = {each.alert for each in holding.outcome.notices[said:]}
        # told again here in any case: whoever told it last says what becomes of it
        holding.outcome.notices += [each for each in taken if each.alert not in news]
        holding.touched[patient] = None

    def _move(self, keys: Collection[str], home: str, last: str, more: list[Event]) -> None:
        """Send all that is known of patients to their home; what comes of them later is sent after it.

        The entry of the patient about whom the record was is written last, and before it of those whom merges link with it, the
        farthest first: should the worker die before, the record finds all who are left.
        """
        holding, engine = self._holding, self._holding.engine
        holding.advance(holding.now)
        facts_of = {
            key: cell.facts_of(engine.dump(key)) for key in sorted(keys) if holding.moved_to(key) is None
        }
        here = _farthest_first(last, {key: linked_keys(facts) for key, facts in facts_of.items()})
        if not here:
            return
        self._warming.look_at(here)
        stand = [engine.stands(key) for key in here]
        alerts = holding.telling.give({*keys, home}, [each for _, _, some in stand for each in some])
        told = [msgspec.Raw(msgspec.json.encode(each)) for each in alerts]
        cases = list(dict.fromkeys(each.case for _, verdicts, _ in stand for each in verdicts))
        for key in here:
            is_last = key == here[-1]
            facts = facts_of[key] + (more if key == last else [])
            holding.send(home, Moved(key, home, facts, told, cases if is_last else [], not is_last))
        self.gone += cases
        for key in here:
            engine.forget(key)
            holding.touched.pop(key, None)
            holding.put(cell.journey_key(key), cell.pack_moved(home))

    def _together(self, patients: Iterable[str]) -> set[str]:
        """All whom merges link with these, as far as it is known here; and they themselves."""
        return set[str]().union(*({key} | self._holding.engine.stands(key)[0] for key in patients))

    def _elsewhere(self, first: str) -> str | None:
        """Whose home is the home of a group, whose first key is given; None: it is here."""
        holding = self._holding
        home = holding.home(first)
        if home is None and not holding.is_native(first) and not holding.has_facts(first):
            return first
        return home

    def _summon(self, keys: Collection[str], first: str) -> None:
        """Tell whoever's facts are not here that they belong here, to the first."""
        holding = self._holding
        holding.linked |= set(keys)
        for key in sorted(keys):
            if key == first:
                continue
            home = holding.moved_to(key)
            if home is not None:
                self._send_link(key, home, first)
            elif not holding.is_native(key) and not holding.has_facts(key):
                holding.send(key, Linked(key, first))

    def _send_link(self, patient: str, home: str, first: str) -> None:
        """Tell those to whom a patient's facts have moved, and the facts themselves if nothing there links them with it yet."""
        if home != first:
            self._holding.send(home, Linked(home, first))
            self._holding.send(home, Linked(patient, first))


def _farthest_first(last: str, links: Mapping[str, Collection[str]]) -> list[str]:
    """The keys, each with those whom its own facts link with it, so that whoever is left of them hangs together with the last at any time."""
    nearest = [last]
    for near in nearest:
        around = {near, *links.get(near, ())}
        nearest += [
            key for key, named in links.items() if key not in nearest and not around.isdisjoint({key, *named})
        ]
    nearest += [key for key in links if key not in nearest]
    return [key for key in reversed(nearest) if key in links]
