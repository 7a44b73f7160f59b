"""What the engine tells: the state of a case, and changes of verdicts and alerts."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from monitor.core.alert import case_id

if TYPE_CHECKING:
    from monitor.core.alert import Judgement
    from monitor.core.journey import Name
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
    source: str
    """Of the trigger."""
    first: tuple[str, str] | None = None
    """Source and id of the event that opened the first of two stays, of `exclusive`."""
    is_stale: bool = False
    """Whether it was over before its trigger arrived, and alerts no one (contract, section 5, Old news)."""

    @property
    def case(self) -> str:
        """The case's id, which is its alert's; worked out when asked for, for most cases are only counted."""
        return _id(self.rule, self.step, (self.source, self.trigger), self.first)


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
    trigger_at: datetime | None = None
    step: str | None = None
    from_: str | None = None
    to: str | None = None
    """The handoff, as the verdict on the case has it."""
    delay_seconds: float | None = None
    """How late it was, once it came."""
    place: str | None = None
    """The microsystem in which the patient then was."""
    location: str | None = None
    """The raw location there, with room and bed, as it was last sent."""


Change = VerdictChange | AlertChange


def id_of(case: Case) -> str:
    """The id of a case and its alert."""
    return _id(case.form.id, case.form.step_name(case), case.trigger.name, _first(case))


def _id(rule: str, step: str | None, trigger: Name, first: Name | None) -> str:
    pair = None if first is None else [list(first), list(trigger)]
    return case_id(rule, step, *trigger, pair)


def _first(case: Case) -> Name | None:
    return None if case.first is None else case.first.name


def word(judged: Judgement | None) -> str | None:
    """A verdict as changes name it; None where there is no case."""
    return None if judged is None else judged.verdict


def within_instant(change: Change) -> tuple[str, str]:
    """Order among changes of one instant: by rule and case; a rule's verdicts, which nobody receives one by one, first."""
    return (change.rule, change.alert if isinstance(change, AlertChange) else "")


def told(case: Case, judged: Judgement, *, is_stale: bool) -> CaseVerdict:
    """A case and its verdict, as they are shown."""
    form, trigger, hit = case.form, case.trigger, case.hit
    due, verdict = form.due(case), judged.verdict
    late = verdict == "late" and hit is not None and due is not None
    return CaseVerdict(
        form.id,
        trigger.patient,
        trigger.encounter,
        trigger.id,
        trigger.at,
        "open" if verdict == "overdue" else verdict,
        verdict == "overdue",
        judged.reason,
        due[0] if due else None,
        judged.decided_at,
        (hit.at - due[0]).total_seconds() if late and hit and due else None,
        trigger.from_,
        trigger.to if trigger.to is not None or hit is None else hit.to,
        form.step_name(case),
        [fact.id for fact in (hit, case.veto, case.superseded) if fact is not None],
        trigger.source,
        _first(case),
        is_stale,
    )
