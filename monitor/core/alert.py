"""The life of an alert: from the verdicts of one case over time to firing, escalation and resolution (contract, section 6)."""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import sha1
from typing import Final, NamedTuple
from uuid import NAMESPACE_URL, uuid5

import msgspec

from monitor.core.clock import Clock, after
from monitor.core.rule import CaseRule, Escalation

_NAMESPACE: Final = uuid5(NAMESPACE_URL, "handoff-monitor").bytes
_NOTHING: Final = timedelta(0)


class Judgement(NamedTuple):
    """A verdict on one case, and why."""

    verdict: str
    """As in the contract; an open case whose deadline has passed is `overdue`."""
    reason: str | None = None
    decided_at: datetime | None = None
    by_clock: Clock | None = None
    """When it was the clock, and no event, that brought it about."""

    @property
    def is_bad(self) -> bool:
        """Whether it is one that an alert fires for."""
        return self.verdict in ("overdue", "violated")


class Policy(NamedTuple):
    """What of a rule decides about its alerts."""

    silent: bool
    early: Escalation | None
    ladder: tuple[Escalation, ...]
    show_for: timedelta
    grace: timedelta | None
    severity: str

    @classmethod
    def of(cls, rule: CaseRule) -> Policy:
        steps = sorted(rule.escalate, key=lambda step: step.after)
        early = next((step for step in steps if step.after < _NOTHING), None)
        ladder = tuple(step for step in steps if step.after >= _NOTHING)
        return cls(rule.mode == "shadow", early, ladder, rule.show_for, rule.grace, rule.severity)

    def severity_at(self, level: int) -> str:
        """The severity of a level: of its step, else of the last one below it that has one, else of the rule."""
        if level < 0:
            return (self.early and self.early.severity) or self.severity
        given = [step.severity for step in self.ladder[:level] if step.severity is not None]
        return given[-1] if given else self.severity


class Alert(msgspec.Struct, eq=False, gc=False):
    """Where the alert of one case stands."""

    state: str | None = None
    """None (never fired), `firing` or `resolved`."""
    level: int = 0
    reason: str | None = None
    since: Clock | None = None
    """Since when the case has been known, without a break, to be overdue or violated."""
    fired: Clock | None = None
    """When it fired for that."""
    peak: int = -1
    """The highest level since it last began to fire; -1 is only a warning."""
    expired: bool = False
    changed_at: datetime | None = None
    number: int = 0
    """Of its last change, among those at that instant."""

    def change_at(self, now: Clock) -> None:
        self.number = self.number + 1 if self.changed_at == now[0] else 0
        self.changed_at = now[0]


def follow(
    alert: Alert,
    judged: Judgement | None,
    due: Clock | None,
    policy: Policy,
    grace: timedelta,
    now: Clock,
    held_since: Clock | None,
    *,
    may_fire: bool,
) -> Clock | None:
    """Bring an alert to where the verdict of its case has it at this clock; the clock at which to look again, if any.

    `judged` is None when the case is gone; `held_since` is since when a silent feed holds back what the clock alone would bring;
    without `may_fire` (shadow, test patients, old news) nothing new fires.
    """
    bad = judged is not None and (judged.is_bad or (judged.verdict == "unknown" and alert.fired is not None))
    if bad:
        alert.since = alert.since or now
        return _burn(alert, judged, due, policy, grace, now, may_fire=may_fire)
    if judged is not None and judged.verdict == "unknown":
        return None
    alert.since, alert.expired = None, False
    if judged is not None and judged.reason == "gave_up" and alert.state == "firing" and alert.fired and due:
        at, phase = max(alert.fired, _step_at(policy.ladder[-1], due)) if policy.ladder else alert.fired
        if now <= (at, phase):  # the last step is told before the alert is over
            return _climb(alert, due, policy, now) or (at, phase + 1)
    early_at = _early_at(judged, due, policy) if may_fire else None
    if early_at is not None and (held_since is None or early_at < held_since):
        if now < early_at:
            _resolve(alert, judged)
            return early_at
        _fire(alert, -1)
        alert.fired = None
        return None
    _resolve(alert, judged)
    return None


def _burn(
    alert: Alert,
    judged: Judgement | None,
    due: Clock | None,
    policy: Policy,
    grace: timedelta,
    now: Clock,
    *,
    may_fire: bool,
) -> Clock | None:
    """The case is overdue or violated: fire once grace is over, climb the ladder, expire."""
    if alert.expired or alert.since is None:
        return None
    if alert.fired is None:
        fire_at = after(alert.since, grace) if grace else alert.since
        if now < fire_at or not may_fire:
            if alert.state == "resolved" and judged is not None and judged.verdict == "overdue":
                alert.reason = "withdrawn"  # what it was resolved for no longer holds
            return fire_at if may_fire else None
        alert.fired = now
    if judged is None or judged.verdict != "violated":
        return _climb(alert, due or alert.fired, policy, now)
    expires_at = after(alert.fired, policy.show_for)
    if now >= expires_at:
        alert.state, alert.reason, alert.expired, alert.fired = "resolved", "expired", True, None
        return None
    violated_at = (judged.decided_at or now[0], 0)
    return min(_climb(alert, violated_at, policy, now) or expires_at, expires_at)


def _climb(alert: Alert, base: Clock, policy: Policy, now: Clock) -> Clock | None:
    """Fire at the highest level that is due; the clock of the next one."""
    level = 0
    following = None
    for step in policy.ladder:
        step_at = _step_at(step, base)
        if now < step_at:
            following = step_at
            break
        level += 1
    _fire(alert, level)
    return following


def _step_at(step: Escalation, base: Clock) -> Clock:
    return after(base, step.after) if step.after else base


def _early_at(judged: Judgement | None, due: Clock | None, policy: Policy) -> Clock | None:
    if judged is None or judged.verdict != "open" or due is None or policy.early is None:
        return None
    return after(due, policy.early.after)


def _fire(alert: Alert, level: int) -> None:
    alert.peak = level if alert.state != "firing" else max(alert.peak, level)
    alert.state, alert.level, alert.reason = "firing", level, None


def _resolve(alert: Alert, judged: Judgement | None) -> None:
    """The alert, if it ever fired, is resolved for the reason that the verdict now gives."""
    alert.fired = None
    if alert.state is not None:
        alert.state, alert.reason = "resolved", _reason(alert, judged)


def _reason(alert: Alert, judged: Judgement | None) -> str:
    if judged is None or judged.verdict == "open":
        return "withdrawn"
    if judged.verdict == "met":
        return "charted_late" if alert.peak >= 0 else "met"
    return judged.verdict


def case_id(rule: str, step: str | None, source: str, event: str, pair: list[list[str]] | None) -> str:
    """The id of a case and its alert: the same from every worker, run and replay (contract, section 6).

    A UUIDv5 (RFC 9562, section 5.5), put together here because the library's way of making one costs ten times as much.
    """
    name: list[object] = [rule, step, source, event]
    if pair is not None:
        name.append(pair)
    digest = sha1(_NAMESPACE + msgspec.json.encode(name), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"
