"""The exact ground truth of the rule packs for a simulated journey, from what happened and what was told of it.

It shares no code with the monitor: where a replay of the simulated feed and this truth differ, one of them is wrong.
What a case is, and its verdicts, are the contract's; the truth is that of one instant, the end of the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from monitor.simulation.course import Journey, Seconds
from monitor.simulation.known import Where, known
from monitor.simulation.standards import STANDARDS, Standard

_encode: Final = msgspec.json.Encoder().encode


class Case(NamedTuple):
    """One case as it stands at the end; `trigger` is the id of the fact that opened it."""

    trigger_at: Seconds
    rule: str
    step: str | None
    patient: str
    trigger: str
    encounter: str | None
    verdict: str
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
            for found in standard(each):
                fact = found.of
                yield Case(
                    fact.at,
                    rule,
                    found.step,
                    each.patient,
                    fact.id,
                    fact.visit,
                    found.verdict,
                    found.overdue,
                    found.delay_seconds,
                )


def line(case: Case) -> str:
    """A case as one line of truth.jsonl, with the keys of a replay's verdicts."""
    at = datetime.fromtimestamp(case.trigger_at, UTC)
    return _encode(
        {
            "rule": case.rule,
            "step": case.step,
            "patient": case.patient,
            "encounter": case.encounter,
            "trigger": case.trigger,
            "trigger_at": f"{at:%Y-%m-%dT%H:%M:%S}.000000Z",
            "verdict": case.verdict,
            "overdue": case.overdue,
            "delay_seconds": case.delay_seconds,
        }
    ).decode()


def order(case: Case) -> tuple[Seconds, str, str, str, str]:
    """The order of truth.jsonl: by instant, rule, step, patient and trigger."""
    return case.trigger_at, case.rule, case.step or "", case.patient, case.trigger
