"""From a change of an alert to the notice of it."""

from __future__ import annotations

from monitor.core.change import AlertChange
from monitor.core.place import Registry
from monitor.core.rule import CaseRule, RuleBase
from monitor.notify.notice import Notice

_TEXTS = ("summary", "action", "owner", "runbook", "labels", "annotations")


def notice(
    change: AlertChange,
    rule: RuleBase | None,
    registry: Registry,
    *,
    pseudonym: str,
    link: str | None,
    after_outage: bool,
) -> Notice:
    """All that may be told of a change. `rule` is None for the alert of a feed, and for one whose rule is no more."""
    place = registry.microsystem(change.place)
    zone = registry.timezone_of(change.place)
    found = Notice(
        alert=change.alert,
        rule=change.rule,
        severity=change.severity,
        state=change.state,
        level=change.level,
        reason=change.reason,
        at=change.at,
        sequence=change.sequence,
        summary=change.summary,
        trigger_at=change.trigger_at,
        due_at=change.due_at if isinstance(rule, CaseRule) and rule.can_be_overdue else None,
        delay_seconds=change.delay_seconds,
        step=change.step,
        from_=change.from_,
        to=change.to,
        place=change.place,
        place_name=place.name if place else None,
        location=change.location,
        timezone=zone.key,
        patient=change.patient,
        encounter=change.encounter,
        pseudonym=pseudonym,
        link=link,
        after_outage=after_outage,
    )
    if rule is not None:
        found.action, found.owner, found.runbook = rule.action, rule.owner, rule.runbook
        found.labels, found.annotations = rule.labels, rule.annotations
    return found


def is_as_told(was: Notice, now: Notice | AlertChange) -> bool:
    """Whether whoever was told of an alert knows how it stands. Of one that fires the severity counts, too: rules may change it."""
    if (was.state, was.level, was.reason) != (now.state, now.level, now.reason):
        return False
    return now.state != "firing" or was.severity == now.severity


def reads_as_told(was: Notice, now: Notice) -> bool:
    """Whether the texts of the rule are what they were."""
    return all(getattr(was, name) == getattr(now, name) for name in _TEXTS)
