"""Rules, as people write them: the one definition of the rule file format (contract, sections 3, 4 and 7)."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from monitor.core.text import (
    CalendarDuration,
    Day,
    Duration,
    Flag,
    Hours,
    Limit,
    Model,
    Number,
    Share,
    SignedDuration,
    TimeZone,
    parse_value,
)

Severity = Literal["info", "warning", "critical"]
Words = str | list[str]
Places = str | None | list[str | None]
"""A microsystem's id, a text with `*`, `kind:`, `tag:` or `meso:` and a name, or null for no place; or several."""


class At(Model):
    """Local time of day and days of the week; an interval that spans midnight belongs to the day on which it began."""

    hours: Hours | None = None
    days: list[Day] | None = None
    tz: TimeZone | None = None


AttributeValue = Annotated[str | int | float | bool, BeforeValidator(parse_value)]


class Comparison(Model):
    """Tests of one attribute; all that are given must hold. A missing attribute fails all but `exists: false`, `ne` and `not_in`."""

    lt: AttributeValue | None = None
    le: AttributeValue | None = None
    gt: AttributeValue | None = None
    ge: AttributeValue | None = None
    ne: AttributeValue | None = None
    in_: list[AttributeValue] | None = Field(default=None, alias="in")
    not_in: list[AttributeValue] | None = None
    exists: Flag | None = None


class Pattern(Model):
    """Which events are meant; all keys that are given must hold (contract, section 3)."""

    type: Words | None = None
    from_: Places = Field(default=None, alias="from")
    to: Places = None
    encounter: Words | None = None
    source: Words | None = None
    where: dict[str, Comparison | list[AttributeValue] | AttributeValue] = {}
    not_: Pattern | None = Field(default=None, alias="not")
    any_: list[Pattern] | None = Field(default=None, alias="any", min_length=1)
    at: At | None = None


class PairPattern(Pattern):
    """A pattern that is looked for beside a trigger; `same` stands in for the rule's."""

    same: list[str] | None = None


PairPatterns = PairPattern | list[PairPattern]


class Escalation(Model):
    """One step of a ladder: so long after the deadline (before it, if negative) the alert grows, and a role is told."""

    after: SignedDuration
    severity: Severity | None = None
    notify: str | None = None


class RuleBase(Model):
    """What every rule has, whatever its form."""

    id: str = Field(min_length=1)
    summary: str = Field(min_length=1)
    severity: Severity
    owner: str | None = None
    action: str | None = None
    source: str | None = None
    """The standard that asks for it."""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    runbook: str | None = None
    mode: Literal["live", "shadow"] = "live"


class CaseRule(RuleBase):
    """What the rules that open cases share."""

    escalate: list[Escalation] = []
    grace: Duration | None = None
    show_for: Duration = timedelta(hours=24)
    feeds: list[str] | None = None
    active: At | None = None
    calendar: str | None = None
    same: list[str] | None = None
    """None: `encounter` where both events of a pair have one, else the whole journey."""

    @model_validator(mode="after")
    def _ladder(self) -> CaseRule:
        early = [step for step in self.escalate if step.after < timedelta(0)]
        if len(early) > 1:
            raise ValueError("escalate: only one step may be negative, for there is one early warning")
        if early and not self.can_be_overdue:
            raise ValueError("escalate: a negative `after` needs a form with a deadline: expect, stay with `at_most`, steps")
        return self

    @property
    def can_be_overdue(self) -> bool:
        """Whether cases have a deadline that can pass while they are open."""
        return False


class ExpectRule(CaseRule):
    """Response: after `when`, `expect` must follow `within` a time."""

    when: Pattern
    expect: PairPatterns
    within: Limit
    not_before: Duration = timedelta(0)
    unless: PairPatterns = []
    give_up: Duration = timedelta(hours=24)
    overlap: Literal["each", "first", "latest"] = "each"
    strict: Flag = False

    @property
    def can_be_overdue(self) -> bool:
        return True

    @model_validator(mode="after")
    def _something_expected(self) -> ExpectRule:
        if isinstance(self.expect, list) and not self.expect:
            raise ValueError("expect: the list of patterns is empty")
        return self


class RequireRule(CaseRule):
    """Precedence: before `when`, `require` must have happened."""

    when: Pattern
    require: PairPattern
    within: Duration | None = None
    unless: PairPatterns = []
    strict: Flag = False


class ForbidRule(CaseRule):
    """Not-response: after `when`, `forbid` must not follow `within` a time, or `until` something else happened."""

    when: Pattern
    forbid: PairPattern
    within: Duration
    until: PairPatterns = []


class NeverRule(CaseRule):
    """Absence: no event may match."""

    never: Pattern


class StayRule(CaseRule):
    """Dwell: how long a patient may, or must, be in a place."""

    stay: Places
    at_most: Duration | None = None
    at_least: Duration | None = None
    unless: PairPatterns = []
    give_up: Duration | None = None
    """None: never."""
    pause: Literal["leave"] | None = None

    @property
    def can_be_overdue(self) -> bool:
        return self.at_most is not None

    @model_validator(mode="after")
    def _some_limit(self) -> StayRule:
        if self.at_most is None and self.at_least is None:
            raise ValueError("stay: needs `at_most`, `at_least` or both")
        return self


class CountRule(CaseRule):
    """At most so many matching events within a time."""

    count: Pattern
    at_most: Number = Field(ge=0)
    within: Duration


class Step(Model):
    """One step of a pathway; every step but the first has a `within`, counted from the step before it."""

    name: str = Field(min_length=1)
    match: PairPattern
    within: Limit | None = None


class StepsRule(CaseRule):
    """Pathway: each step must follow the one before it in time."""

    steps: list[Step] = Field(min_length=2)
    unless: PairPatterns = []
    give_up: Duration = timedelta(hours=24)
    strict: Flag = False

    @property
    def can_be_overdue(self) -> bool:
        return True

    @model_validator(mode="after")
    def _limits(self) -> StepsRule:
        if self.steps[0].within is not None:
            raise ValueError("steps: the first step opens the pathway and has no `within`")
        if self.steps[0].match.same is not None:
            raise ValueError("steps: the first step is compared with none before it and has no `same`")
        if any(step.within is None for step in self.steps[1:]):
            raise ValueError("steps: every step but the first needs `within`")
        if len({step.name for step in self.steps}) < len(self.steps):
            raise ValueError("steps: two steps have the same name")
        return self


class ExclusiveRule(CaseRule):
    """Two encounters of one patient must not be in both places at once for longer than a time."""

    exclusive: list[Places] = Field(min_length=2, max_length=2)
    longer_than: Duration


class ReliabilityTarget(Model):
    """The share of decided cases that were met, over a rolling time."""

    of: list[str] = Field(min_length=1)
    target: Share
    over: Duration
    min: Number = 1


class ReliabilityRule(RuleBase):
    """Population: a set of rules must be met in so many of a hundred cases."""

    reliability: ReliabilityTarget


class SilenceLimit(Model):
    """How long no event may be seen of a source, or into a place."""

    source: str | None = None
    to: Places = None
    for_: Duration = Field(alias="for")
    at: At | None = None

    @model_validator(mode="after")
    def _one_subject(self) -> SilenceLimit:
        if len({"source", "to"} & self.model_fields_set) != 1:
            raise ValueError("silence: needs either `source` or `to`")
        return self


class SilenceRule(RuleBase):
    """Population: something that should happen all the time has not happened for a while."""

    silence: SilenceLimit


FORMS: Final[dict[str, type[RuleBase]]] = {
    "expect": ExpectRule,
    "require": RequireRule,
    "forbid": ForbidRule,
    "never": NeverRule,
    "stay": StayRule,
    "count": CountRule,
    "steps": StepsRule,
    "exclusive": ExclusiveRule,
    "reliability": ReliabilityRule,
    "silence": SilenceRule,
}
"""The key that tells a rule's form, and its model."""


def form_of(rule: Any) -> str | None:
    """The form of a rule, as a model or as plain values; None when it has none or several."""
    keys = rule if isinstance(rule, dict) else {form for form, model in FORMS.items() if type(rule) is model}
    found = [form for form in FORMS if form in keys]
    return found[0] if len(found) == 1 else None


Rule = Annotated[
    Annotated[ExpectRule, Tag("expect")]
    | Annotated[RequireRule, Tag("require")]
    | Annotated[ForbidRule, Tag("forbid")]
    | Annotated[NeverRule, Tag("never")]
    | Annotated[StayRule, Tag("stay")]
    | Annotated[CountRule, Tag("count")]
    | Annotated[StepsRule, Tag("steps")]
    | Annotated[ExclusiveRule, Tag("exclusive")]
    | Annotated[ReliabilityRule, Tag("reliability")]
    | Annotated[SilenceRule, Tag("silence")],
    Discriminator(form_of),
]


class RuleFile(Model):
    """A whole rule file."""

    rules: list[Rule]


def calendar_limit(limit: timedelta | CalendarDuration) -> bool:
    """Whether a deadline is given in business or calendar days."""
    return isinstance(limit, CalendarDuration)
