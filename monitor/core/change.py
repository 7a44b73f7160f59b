"""What the engine tells: the state of a case, and changes of verdicts and alerts."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from monitor.core.alert import case_id

if TYPE_CHECKING:
    from monitor.core.alert import Judgement
    from monitor.core.verdict import Case


class CaseVerdict(msgspec.Struct, gc=False):
    """The state of one case at the engine's clock."""

    rule: str
    patient: str
    encounter: str | None
    trigger: str
    trigger_at: datetime
    verdict: str
    overdue: bool
    reason: str | None
    due_at: datetime | None
    decided_at: datetime | None
    delay_seconds: float | None
    from_: str | None
    to: str | None
    step: str | None
    evidence: list[str]
    case: str


class VerdictChange(msgspec.Struct, gc=False):
    """A case came, went or changed its verdict; None is no such case. An overdue case is `overdue` here."""

    at: datetime
    rule: str
    before: str | None
    after: str | None
    of: Case

    @property
    def case(self) -> str:
        """The case's id, which is its alert's."""
        return id_of(self.of)


class AlertChange(msgspec.Struct, gc=False):
    """An alert changed its state, level or reason."""

    alert: str
    rule: str
    severity: str
    state: str
    level: int
    reason: str | None
    at: datetime
    patient: str
    encounter: str | None
    due_at: datetime | None
    sequence: tuple[int, datetime, int]
    summary: str


Change = VerdictChange | AlertChange


def id_of(case: Case) -> str:
    """The id of a case and its alert."""
    trigger, first = case.trigger, case.first
    pair = None if first is None else [[first.source, first.id], [trigger.source, trigger.id]]
    return case_id(case.form.rule.id, case.form.step_name(case), trigger.source, trigger.id, pair)


def word(judged: Judgement | None) -> str | None:
    """A verdict as changes name it; None where there is no case."""
    return None if judged is None else judged.verdict


def within_instant(change: Change) -> tuple[str, str]:
    """Order among changes of one instant: by rule and case; a rule's verdicts, which nobody receives one by one, first."""
    return (change.rule, change.alert if isinstance(change, AlertChange) else "")


def told(case: Case, judged: Judgement) -> CaseVerdict:
    """A case and its verdict, as they are shown."""
    trigger, hit, due = case.trigger, case.hit, case.form.due(case)
    late = judged.verdict == "late" and hit is not None and due is not None
    return CaseVerdict(
        case.form.rule.id,
        trigger.patient,
        trigger.encounter,
        trigger.id,
        trigger.at,
        "open" if judged.verdict == "overdue" else judged.verdict,
        judged.verdict == "overdue",
        judged.reason,
        due[0] if due else None,
        judged.decided_at,
        (hit.at - due[0]).total_seconds() if late and hit and due else None,
        trigger.from_,
        trigger.to if trigger.to is not None or hit is None else hit.to,
        case.form.step_name(case),
        [fact.id for fact in (hit, case.veto, case.superseded) if fact is not None],
        id_of(case),
    )
