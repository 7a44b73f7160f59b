"""What was told of the alerts of a partition, and what is to be told of them now. It knows no facts and reads no clock.

An alert that is not remembered here was told by us as the facts have it, or was never heard of. All else is a word, of which each
alert has at most one. Before facts change in another way than by time and events in order, `hold` remembers how their alerts were
told; afterwards `compared` says what differs, and `withdraw` what is no more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from enum import Enum, auto
from heapq import heappop, heappush
from typing import Final, NamedTuple

import msgspec

from monitor.core.change import AlertChange
from monitor.notify.notice import Notice
from monitor.notify.tell import is_as_told

_OUT_OF_TURN: Final = 1_000
"""From this number on, in a sequence, are those that do not follow from the facts: more than can change in an instant."""

Moment = tuple[int, datetime]
"""The generation of the rules, and an instant."""
Sequence = tuple[int, datetime, int]
"""As of a notice."""


class Whose(Enum):
    """Who says what becomes of an alert."""

    OURS = auto()
    """We do."""
    UNSEEN = auto()
    """We do; but since the beginning nobody has looked how it stands."""
    SEEN = auto()
    """We do; the facts say the same, so it is kept only until all is compared."""
    AHEAD = auto()
    """Nobody before the instant of which it was told has come here."""
    THEIRS = auto()
    """Another partition: it has the facts that it comes of, though some may be here still, or already."""


class Word(NamedTuple):
    """The last that was told of an alert."""

    told: Notice | None
    """By whomever; None: it was over before anybody was told of it."""
    at: datetime
    whose: Whose

    @property
    def is_ours(self) -> bool:
        return self.whose not in (Whose.AHEAD, Whose.THEIRS)


class Telling:
    """The words about alerts. Whatever is returned as a notice is to be told."""

    def __init__(self, worded: Callable[[AlertChange], Notice], number: int = 0, of: int = 1) -> None:
        """`worded`: the notice of a change. `number`: of this partition, of so many."""
        self._worded = worded
        self._number, self._of = number, of
        self._words: dict[str, Word] = {}
        self._coming: list[tuple[datetime, str]] = []
        """A heap: when an alert of which was told ahead is ours."""
        self.is_compared = False
        """Whether all is compared with what was told before the beginning."""

    # The beginning

    def begin(self, ours: Iterable[Notice], theirs: Iterable[Notice], now: datetime) -> None:
        """What was told before."""
        for each in theirs:
            self._note(each, Whose.THEIRS)
        for each in ours:
            self._note(each, Whose.UNSEEN if each.sequence[1] <= now else Whose.AHEAD)

    def unseen(self) -> list[Notice]:
        """The words with which nothing has been compared."""
        return [each.told for each in self._words.values() if each.whose is Whose.UNSEEN and each.told]

    def let_go(self, alert: str) -> None:
        """It stands as it was told, and no later, and need not be compared again: the facts say all."""
        del self._words[alert]

    def never_told(self, alert: str, at: datetime) -> None:
        """It was over, since an instant, when it became known; unless it was told."""
        self._words.setdefault(alert, Word(None, at, Whose.OURS))

    def end_of_comparing(self) -> None:
        """All has been looked at: of the alerts that were not seen the facts know nothing."""
        for each in self.unseen():
            self._note(each, Whose.OURS)
        for alert in [alert for alert, each in self._words.items() if each.whose is Whose.SEEN]:
            del self._words[alert]
        self.is_compared = True

    # What is told

    def changed(self, change: AlertChange, moment: Moment) -> Notice | None:
        """An alert, told as the facts had it if no word says otherwise, has changed with them."""
        word = self._words.get(change.alert)
        if word is None:
            return self._tell(self._worded(change), None, moment)
        return self._differing(change, word, moment)

    def compared(self, change: AlertChange, moment: Moment) -> Notice | None:
        """An alert, told only if a word says so, stands like this; one that is over and was never told is no news."""
        word = self._words.get(change.alert)
        if word is not None:
            return self._differing(change, word, moment)
        if change.state == "firing":
            return self._tell(self._worded(change), None, moment)
        self.never_told(change.alert, change.at)
        return None

    def _differing(self, change: AlertChange, word: Word, moment: Moment) -> Notice | None:
        if not word.is_ours or (word.told is None and change.state != "firing"):
            return None
        if word.told is not None and is_as_told(word.told, change):
            self._keep(word.told, change.sequence)
            return None
        return self._tell(self._worded(change), word.told, moment)

    def withdraw(self, alert: str, moment: Moment, *, even_resolved: bool = False) -> Notice | None:
        """Nothing is known of an alert any more; whoever was told that it fires is told. `even_resolved`: for there was nothing to resolve."""
        word = self._words.get(alert)
        if word is None or word.told is None or not word.is_ours:
            return None
        was = word.told
        if was.state != "firing" and (not even_resolved or was.reason == "withdrawn"):
            return None
        now = msgspec.structs.replace(
            was, state="resolved", reason="withdrawn", at=moment[1], sequence=was.sequence
        )
        self._tell(now, was, moment)
        self._note(now, Whose.OURS)  # the facts do not know of it
        return now

    def _tell(self, now: Notice, was: Notice | None, moment: Moment) -> Notice:
        """A notice, later in sequence than the one before it, though the facts put it earlier."""
        by_facts = now.sequence
        if was is not None and by_facts <= was.sequence:
            now.sequence = self._out_of_turn(was.sequence, moment)
        self._keep(now, by_facts)
        return now

    def _out_of_turn(self, last: Sequence, moment: Moment) -> Sequence:
        """A sequence later than the last that follows from no facts; no other partition has it."""
        generation, at, number = last
        present = (max(generation, moment[0]), moment[1])
        after = number if (generation, at) >= present else 0
        first = max(after + 1, _OUT_OF_TURN)
        return (*max(last[:2], present), first + (self._number - first) % self._of)

    def _keep(self, told: Notice, by_facts: Sequence) -> None:
        """Remember what was told, unless the facts say just that."""
        if told.sequence > by_facts:
            self._note(told, Whose.OURS)
        elif not self.is_compared:
            self._note(told, Whose.SEEN)
        else:
            self._words.pop(told.alert, None)

    # What time, and facts that move, change of it

    def come(self, now: datetime) -> list[Notice]:
        """The words of which the instant has come; they are ours now."""
        found: list[Notice] = []
        while self._coming and self._coming[0][0] <= now:
            _, alert = heappop(self._coming)
            word = self._words.get(alert)
            if word is not None and word.whose is Whose.AHEAD and word.told is not None and word.at <= now:
                self._note(word.told, Whose.OURS)
                found.append(word.told)
        return found

    def hold(self, alerts: Iterable[AlertChange]) -> set[str]:
        """Remember how alerts were told that stand like this, for their facts change; returns those that we told."""
        held: set[str] = set()
        for each in alerts:
            word = self._words.get(each.alert)
            if word is None:
                self._note(self._worded(each), Whose.OURS)
            if word is None or (word.is_ours and word.told is not None):
                held.add(each.alert)
        return held

    def give(self, patients: Collection[str], alerts: Collection[AlertChange]) -> list[Notice]:
        """The last words about alerts that go to another partition: those that stand like this, and whatever was told of the patients; they are forgotten here."""
        self.hold(alerts)
        standing = {each.alert for each in alerts}
        given = [
            each.told
            for alert, each in self._words.items()
            if each.told is not None and each.whose is not Whose.THEIRS
            if alert in standing or each.told.patient in patients
        ]
        for notice in given:
            del self._words[notice.alert]
        return given

    def leave(self, words: Iterable[Notice]) -> None:
        """Leave alerts to others, who told them last, until all has come that moves together."""
        for each in words:
            self._note(self._later(each), Whose.THEIRS)

    def theirs(self, alerts: Iterable[str]) -> list[Notice]:
        """What others told last of those of the alerts that are left to them."""
        words = [self._words[alert] for alert in alerts if alert in self._words]
        return [each.told for each in words if each.whose is Whose.THEIRS and each.told]

    def take_over(self, was: Notice, now: datetime) -> bool:
        """From now on we say what becomes of an alert; returns whether nothing later was told than this."""
        last = self._later(was)
        self._note(last, Whose.OURS if last.sequence[1] <= now else Whose.AHEAD)
        return last is was

    def _later(self, told: Notice) -> Notice:
        """What was told last of an alert, if not this."""
        word = self._words.get(told.alert)
        known = word.told if word is not None else None
        return known if known is not None and known.sequence > told.sequence else told

    # The end

    def forget(self, before: datetime) -> None:
        """Let go of what is ours and was told before an instant."""
        for alert in [
            alert for alert, each in self._words.items() if each.at < before and each.whose is Whose.OURS
        ]:
            del self._words[alert]

    def _note(self, told: Notice, whose: Whose) -> None:
        at = told.sequence[1]
        self._words[told.alert] = Word(told, at, whose)
        if whose is Whose.AHEAD:
            heappush(self._coming, (at, told.alert))
