"""The exact ground truth of the rule packs for a simulated journey, from what happened and what was told of it.

It shares no code with the monitor: where a replay of the simulated feed and this truth differ, one of them is wrong.
What a case is, and its verdicts, are the contract's; the truth is that of one instant, the end of the log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from monitor.simulation.course import Journey, Seconds
from monitor.simulation.known import Where, known
from monitor.simulation.standards import SHARES, STANDARDS, Share, Standard

_encode: Final = msgspec.json.Encoder().encode


class Case(NamedTuple):
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
    journey: Journey, end: Seconds, where: Where, standards: Mapping[str, Standard] = STANDARDS
) -> Iterator[Case]:
    """Every case of one person's journey at the end of the log, from all that has been delivered by then.

    `where` says which microsystem owns a raw location, and its kind.
    """
    for each in known(journey, end, where):
        for rule, standard in standards.items():
            if standard.types.isdisjoint(each.of_type):
                continue
            triggers = [fact for fact in each.each(*standard.types) if standard.opens(fact)]
            for found in standard.read(each, triggers):
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
    """A case as one line of truth.jsonl, with the keys of a replay's verdicts."""
    at = datetime.fromtimestamp(case.trigger_at, UTC)
    return _encode(
        {
            "rule": case.rule,
            "step": None,
            "patient": case.patient,
            "encounter": case.encounter,
            "trigger": case.trigger,
            "trigger_at": f"{at:%Y-%m-%dT%H:%M:%S}.000000Z",
            "verdict": case.verdict,
            "overdue": case.overdue,
            "delay_seconds": case.delay_seconds,
        }
    ).decode()


def order(case: Case) -> tuple[Seconds, str, str, str]:
    """The order of truth.jsonl: by instant, rule, patient and trigger; no pack has steps."""
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
