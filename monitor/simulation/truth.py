"""The exact ground truth of the rule packs for a simulated journey, from what happened and what was told of it.

It shares no code with the monitor: where a replay of the simulated feed and this truth differ, one of them is wrong.
What a case is, and its verdicts, are the contract's; the truth is that of one instant, the end of the log.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from monitor.simulation.journey import Journey, Seconds
from monitor.simulation.known import Where, known
from monitor.simulation.standards import SHARES, STANDARDS, Opening, Reading
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


def cases(journey: Journey, end: Seconds, where: Where) -> Iterator[Case]:
    """Every case of one person's journey at the end of the log, from all that has been delivered by then.

    `where` says which microsystem owns a raw location, and its kind.
    """
    for each in known(journey, end, where):
        for opening, readings in _BY_OPENING.items():
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
        f'"trigger":"{case.trigger}","trigger_at":"{moment(case.trigger_at)[:-1]}.000000Z","verdict":"{case.verdict}",'
        f'"overdue":{"true" if case.overdue else "false"},'
        f'"delay_seconds":{"null" if delay is None else delay}}}'
    )


def order(case: Case) -> tuple[Seconds, str, str, str]:
    """The order of truth.jsonl: by instant, rule, patient and trigger."""
    return case.trigger_at, case.rule, case.patient, case.trigger


def shares(found: Sequence[Case], end: Seconds) -> dict[str, float | None]:
    """For each rule about many journeys what share was met at the end; None where too few cases were decided."""
    return {
        rule: _share([case for case in found if case.rule == share.of], end - share.over, share.least)
        for rule, share in SHARES.items()
    }


def _share(found: Sequence[Case], since: Seconds, least: int) -> float | None:
    decided = [
        case.verdict == "met"
        for case in found
        if case.verdict != "void" and case.decided_at is not None and case.decided_at > since
    ]
    return sum(decided) / len(decided) if len(decided) >= max(least, 1) else None
