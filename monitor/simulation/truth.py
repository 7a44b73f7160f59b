"""The exact ground truth of the rule packs for a simulated journey, from what happened and what was told of it.

It shares no code with the monitor: where a replay of the simulated feed and this truth differ, one of them is wrong.
What a case is, and its verdicts, are the contract's; the truth is that of one instant, the end of the log.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

from monitor.simulation.course import Journey, Seconds
from monitor.simulation.known import Where, known
from monitor.simulation.standards import SHARES, STANDARDS, Opening, Reading, Share
from monitor.simulation.text import moment

_BY_OPENING: Final[defaultdict[Opening, list[tuple[str, Reading]]]] = defaultdict(list)
for _rule, (_opening, _read) in STANDARDS.items():
    _BY_OPENING[_opening].append((_rule, _read))


class Case(Struct, frozen=True, gc=False):
    """One case as it stands at the end; `trigger` is the id of the fact that opened it."""

    trigger_at: Seconds
    rule: str
    patient: str
    trigger: str
    encounter: str | None
    verdict: str
    decided_at: Seconds | None
    overdue: bool
    delay_seconds: Seconds | None


def cases(
    journey: Journey,
    end: Seconds,
    where: Where,
    standards: Mapping[Opening, Sequence[tuple[str, Reading]]] = _BY_OPENING,
) -> Iterator[Case]:
    """Every case of one person's journey at the end of the log, from all that has been delivered by then.

    `where` says which microsystem owns a raw location, and its kind.
    """
    for each in known(journey, end, where):
        for opening, readings in standards.items():
            types, test = opening
            if types.isdisjoint(each.types):
                continue
            triggers = [fact for fact in each.each(types) if test(fact)]
            if not triggers:
                continue
            for rule, read in readings:
                for found in read(each, triggers):
                    fact = found.of
                    yield Case(
                        fact.at,
                        rule,
                        each.patient,
                        fact.id,
                        fact.visit,
                        found.verdict,
                        found.decided_at,
                        found.overdue,
                        found.delay_seconds,
                    )


def line(case: Case) -> str:
    """A case as one line of truth.jsonl, with the keys of a replay's verdicts; no pack has steps."""
    visit, delay = case.encounter, case.delay_seconds
    encounter = "null" if visit is None else f'"{visit}"'  # ids and keys of the simulation need no escapes
    return (
        f'{{"rule":"{case.rule}","step":null,"patient":"{case.patient}","encounter":{encounter},'
        f'"trigger":"{case.trigger}","trigger_at":"{moment(case.trigger_at)}","verdict":"{case.verdict}",'
        f'"overdue":{"true" if case.overdue else "false"},'
        f'"delay_seconds":{"null" if delay is None else delay}}}'
    )


def order(case: Case) -> tuple[Seconds, str, str, str]:
    """The order of truth.jsonl: by instant, rule, patient and trigger."""
    return case.trigger_at, case.rule, case.patient, case.trigger


def shares(
    found: Iterable[Case], end: Seconds, wanted: Mapping[str, Share] = SHARES
) -> dict[str, float | None]:
    """Of the rules about many journeys, what share was met at the end; None where too few cases were decided."""
    counts = {rule: Counter[str]() for rule in wanted}
    for case in found:
        for rule, share in wanted.items():
            if (
                case.rule == share.of
                and case.decided_at is not None
                and case.decided_at > end - share.over
                and case.verdict != "void"
            ):
                counts[rule][case.verdict] += 1
    return {
        rule: None
        if counts[rule].total() < max(share.least, 1)
        else counts[rule]["met"] / counts[rule].total()
        for rule, share in wanted.items()
    }
