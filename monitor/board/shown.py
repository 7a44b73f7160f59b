"""What the API shows: alerts, cases, journeys; with patients for those who may see them, else with pseudonyms."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from monitor.board.desk import Acknowledged, Audited, KnownAlert, KnownCase, KnownReject
from monitor.core.change import CaseVerdict
from monitor.core.rule import CaseRule, RuleBase, form_of
from monitor.notify.text import shown

Verdict = Literal["met", "late", "missed", "violated", "void", "unknown", "open"]
Severity = Literal["info", "warning", "critical"]


class Shown(BaseModel):
    """What every model of the API shares."""

    model_config = ConfigDict(use_attribute_docstrings=True, populate_by_name=True)


class Acknowledgment(Shown):
    """That someone has seen an alert, and does something about it."""

    who: str
    reason: str
    at: datetime


class Alert(Shown):
    """One alert, as it stands."""

    alert: str
    """Its id, which is its case's, too."""
    rule: str
    severity: str
    state: Literal["firing", "resolved"]
    level: int
    """Of the escalation; -1 is an early warning."""
    reason: str | None
    """Why it resolved."""
    at: datetime
    """When it last changed."""
    summary: str
    """What is wrong."""
    action: str | None
    """What to do."""
    owner: str | None
    """The role that answers for it."""
    runbook: str | None
    link: str | None
    trigger_at: datetime | None
    """When what should have been followed by something happened."""
    due_at: datetime | None
    delay_seconds: float | None
    """How late it was, once it came."""
    step: str | None
    from_: str | None = Field(alias="from")
    to: str | None
    place: str | None
    """The microsystem in which the patient is."""
    place_name: str | None
    location: str | None
    """The location, with room and bed."""
    journey: str | None
    """The patient's pseudonym: `/api/journeys/{journey}`. Null for alerts that are about no single patient."""
    patient: str | None
    """Null for viewers."""
    encounter: str | None
    """Null for viewers."""
    labels: dict[str, str]
    annotations: dict[str, str]
    after_outage: bool
    """Whether it was due while the monitor did not run."""
    acknowledged: list[Acknowledgment]
    """Who has seen it, oldest first."""


class Alerts(Shown):
    """A page of alerts: those that fired last for the first time come first."""

    alerts: list[Alert]
    next: int | None
    """`before` of the next page; null when this is the last."""


class Case(Shown):
    """One case and its verdict, as it stands."""

    case: str
    """Its id, which is its alert's, too."""
    rule: str
    journey: str
    """The patient's pseudonym."""
    patient: str | None
    """Null for viewers."""
    encounter: str | None
    """Null for viewers."""
    trigger: str | None
    """The id of the event that opened it. Null for viewers."""
    trigger_at: datetime
    verdict: Verdict
    overdue: bool
    """Whether an open case is past its deadline."""
    reason: str | None
    due_at: datetime | None
    decided_at: datetime | None
    delay_seconds: float | None
    """Of a late case: from the deadline to the expected event."""
    from_: str | None = Field(alias="from")
    to: str | None
    step: str | None
    evidence: list[str] | None
    """Ids of the events that decided it. Null for viewers."""
    stale: bool
    """Whether it was over before its trigger arrived, and alerts no one."""


class Cases(Shown):
    """A page of cases: those that came to be known last come first."""

    verdicts: list[Case]
    next: int | None
    """`before` of the next page; null when this is the last."""


class Told(Shown):
    """One event that a source told, and what counts of it."""

    number: int
    """Its place in the list, from 0."""
    type: str
    status: Literal["counts", "corrected", "cancelled", "coming"]
    """Whether it counts; `coming`: it lies in the future."""
    undone_by: int | None
    """The number of the event that corrected or cancelled it, where that names it."""
    at: datetime
    """When it happened in care."""
    precision: str
    recorded_at: datetime
    arrived_at: datetime | None
    from_: str | None = Field(alias="from")
    to: str | None
    place: str | None
    """Where the patient is from it on; null if nowhere, and for events that do not count."""
    source: str
    id: str | None
    """Null for viewers, as the following."""
    encounter: str | None
    attributes: dict[str, str | int | float | bool] | None


class Stayed(Shown):
    """One stay in one place."""

    place: str
    name: str | None
    """What people call it."""
    kind: str | None
    entered_at: datetime
    left_at: datetime | None
    """Null while it lasts."""
    from_: str | None = Field(alias="from")
    to: str | None
    encounter: str | None
    """Null for viewers."""


class JourneyCase(Case):
    """A case of a journey, with the events that it rests on."""

    trigger_event: int | None
    """The number of the event that opened it."""
    evidence_events: list[int]
    """The numbers of the events that decided it."""


class Journey(Shown):
    """All that is known of one patient's path, as it stands now."""

    journey: str
    """The pseudonym that was asked for."""
    patient: str | None
    """The key under which it is known after merges. Null for viewers."""
    events: list[Told]
    """In order of care."""
    left_out: int
    """How many of the oldest events are not shown."""
    stays: list[Stayed]
    cases: list[JourneyCase]
    """In order of their triggers."""


class RuleShown(Shown):
    """A rule in use."""

    id: str
    summary: str
    form: str
    """`expect`, `require`, `forbid`, `never`, `stay`, `count`, `steps`, `exclusive`, `reliability` or `silence`."""
    severity: str
    mode: str
    """`shadow`: verdicts, but no alert."""
    owner: str | None
    action: str | None
    source: str | None
    """The standard that asks for it."""
    runbook: str | None
    labels: dict[str, str]
    opens_cases: bool
    """Whether it is about single patients; else about many journeys."""


class Rules(Shown):
    """The rules in use, in the order of their files."""

    rules: list[RuleShown]


class RejectShown(Shown):
    """A message that could not be used; its bytes are kept, and shown by `handoff rejects` alone."""

    id: int
    state: Literal["kept", "asked", "taken"]
    """`asked`: it will be tried again; `taken`: it was, and could be used."""
    origin: str
    """`mllp`, `http`, `fhir`, `file` or `kafka`."""
    where: str
    source: str
    reason: str
    detail: str
    """What is wrong, and what to do about it."""
    segment: str | None
    field: str | None
    arrived_at: datetime
    attempts: int
    """How often it was tried again."""
    size: int
    """Its bytes."""


class Rejects(Shown):
    """A page of rejects, the last ones first."""

    rejects: list[RejectShown]
    next: int | None
    """`before` of the next page; null when this is the last."""


class AuditLine(Shown):
    """Who did or saw what."""

    number: int
    at: datetime
    who: str
    role: str
    action: str
    """`read`, `acknowledge` or `retry`."""
    what: str
    """What was asked for, and after a colon the journeys that were shown."""


class Audit(Shown):
    """A page of the audit log, the last lines first."""

    lines: list[AuditLine]
    next: int | None
    """`before` of the next page; null when this is the last."""


def alert_shown(known: KnownAlert, *, with_patient: bool) -> Alert:
    """An alert for one who may see patients, or may not."""
    seen = shown(known.notice, "full" if with_patient else "bed")
    return Alert(
        alert=seen.alert,
        rule=seen.rule,
        severity=seen.severity,
        state="firing" if seen.state == "firing" else "resolved",
        level=seen.level,
        reason=seen.reason,
        at=seen.at,
        summary=seen.summary,
        action=seen.action,
        owner=seen.owner,
        runbook=seen.runbook,
        link=seen.link,
        trigger_at=seen.trigger_at,
        due_at=seen.due_at,
        delay_seconds=seen.delay_seconds,
        step=seen.step,
        from_=seen.from_,
        to=seen.to,
        place=seen.place,
        place_name=seen.place_name,
        location=seen.location,
        journey=seen.pseudonym or None,
        patient=seen.patient or None,
        encounter=seen.encounter,
        labels=seen.labels,
        annotations=seen.annotations,
        after_outage=seen.after_outage,
        acknowledged=[_acknowledged(each) for each in known.acknowledged],
    )


def _acknowledged(known: Acknowledged) -> Acknowledgment:
    return Acknowledgment(who=known.who, reason=known.reason, at=known.at)


def case_shown(known: KnownCase, *, with_patient: bool) -> Case:
    """A case for one who may see patients, or may not."""
    return Case(**case_fields(known.verdict, known.pseudonym, with_patient=with_patient))


def case_fields(case: CaseVerdict, pseudonym: str, *, with_patient: bool) -> dict[str, Any]:
    """The fields of a case."""
    return {
        "case": case.case,
        "rule": case.rule,
        "journey": pseudonym,
        "patient": case.patient if with_patient else None,
        "encounter": case.encounter if with_patient else None,
        "trigger": case.trigger if with_patient else None,
        "trigger_at": case.trigger_at,
        "verdict": case.verdict,
        "overdue": case.overdue,
        "reason": case.reason,
        "due_at": case.due_at,
        "decided_at": case.decided_at,
        "delay_seconds": case.delay_seconds,
        "from": case.from_,
        "to": case.to,
        "step": case.step,
        "evidence": case.evidence if with_patient else None,
        "stale": case.is_stale,
    }


def rule_shown(rule: RuleBase) -> RuleShown:
    """A rule, in the words of its file."""
    return RuleShown(
        id=rule.id,
        summary=rule.summary,
        form=form_of(rule) or "",
        severity=rule.severity,
        mode=rule.mode,
        owner=rule.owner,
        action=rule.action,
        source=rule.source,
        runbook=rule.runbook,
        labels=rule.labels,
        opens_cases=isinstance(rule, CaseRule),
    )


def reject_shown(known: KnownReject) -> RejectShown:
    """A reject; nothing in it is about a patient."""
    return RejectShown.model_validate(known, from_attributes=True)


def line_shown(line: Audited) -> AuditLine:
    """A line of the audit log."""
    return AuditLine(
        number=line.number, at=line.at, who=line.who, role=line.role, action=line.action, what=line.what
    )
