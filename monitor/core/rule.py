"""Rules, as people write them: the one definition of the rule file format (contract, sections 3, 4 and 7)."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from monitor.core.text import (
    Complaint,
    Day,
    Duration,
    Flag,
    Hours,
    Limit,
    Maybe,
    Model,
    Number,
    Share,
    SignedDuration,
    TimeZone,
    Value,
    by_shape,
    found,
    refuse,
)

Severity = Literal["info", "warning", "critical"]
Words = Annotated[
    Annotated[str, Tag("|one|")] | Annotated[list[str], Tag("|list|")],
    by_shape("a text or a list of texts"),
]
"""A text that may hold `*`, or several of which one must match."""
Places = Annotated[
    Annotated[str, Tag("|one|")]
    | Annotated[list[str | None], Tag("|list|")]
    | Annotated[None, Tag("|null|")],
    by_shape("a place, null or a list of places"),
]
"""A microsystem's id, a text with `*`, `kind:`, `tag:` or `meso:` and a name, or null for no place; or several."""


class At(Model):
    """Local time of day and days of the week; an interval that spans midnight belongs to the day on which it began."""

    hours: Maybe[Hours] = None
    """Local time of day, such as `22:00-07:00`; the end is excluded, and may lie on the next day."""
    days: Maybe[list[Day]] = None
    """Days of the week on which it holds (or began, where it spans midnight)."""
    tz: Maybe[TimeZone] = None
    """The zone of the hours and days; by default that of `from`, else of `to`, else the registry's."""


class Comparison(Model):
    """Tests of one attribute; all that are given must hold. A missing attribute fails all but `exists: false`, `ne` and `not_in`."""

    lt: Maybe[Value] = None
    """Less than this number, or before this text."""
    le: Maybe[Value] = None
    """This or less."""
    gt: Maybe[Value] = None
    """More than this number, or after this text."""
    ge: Maybe[Value] = None
    """This or more."""
    ne: Maybe[Value] = None
    """Not equal to this; holds for a missing attribute."""
    in_: Maybe[list[Value]] = Field(default=None, alias="in")
    """Equal to one of these."""
    not_in: Maybe[list[Value]] = None
    """Equal to none of these; holds for a missing attribute."""
    exists: Maybe[Flag] = None
    """Whether the attribute is there at all."""


Test = Annotated[
    Annotated[Comparison, Tag("|mapping|")]
    | Annotated[list[Value], Tag("|list|")]
    | Annotated[Value, Tag("|one|")],
    by_shape("a value, a list of values, or tests such as {ge: 2}"),
]


class Pattern(Model):
    """Which events are meant; all keys that are given must hold (contract, section 3)."""

    type: Maybe[Words] = None
    """Type of event: `transfer`, `admit`, ... or a milestone; one or a list, `*` stands for any characters."""
    from_: Places = Field(default=None, alias="from")
    """Where the patient leaves: a microsystem's id, `kind:`, `tag:` or `meso:` and a name, null for no place; or a list."""
    to: Places = None
    """Where the patient arrives; written as `from`."""
    encounter: Maybe[Words] = None
    """Visit or account number."""
    source: Maybe[Words] = None
    """The feed that told it (HL7: MSH-3/MSH-4)."""
    where: dict[str, Test] = {}
    """Tests of attributes, by name: a value (equal), a list (one of), or comparisons such as `{ge: 2}`."""
    not_: Maybe[Pattern] = Field(default=None, alias="not")
    """A pattern that must not hold."""
    any_: Maybe[list[Pattern]] = Field(default=None, alias="any", min_length=1)
    """Patterns of which at least one must hold."""
    at: Maybe[At] = None
    """When, in local time, the event must have happened."""


class PairPattern(Pattern):
    """Which events are meant; all keys that are given must hold. `same` is for events looked for beside a trigger."""

    same: Maybe[list[str]] = None
    """Fields or attributes that must be equal and present in both events; stands in for the rule's `same`."""


PairPatterns = Annotated[
    Annotated[PairPattern, Tag("|mapping|")] | Annotated[list[PairPattern], Tag("|list|")],
    by_shape("a pattern or a list of patterns"),
]


class Escalation(Model):
    """One step of a ladder: so long after the deadline (before it, if negative) the alert grows, and a role is told."""

    after: SignedDuration
    """So long after the deadline, or after the violation; negative: before the deadline, as an early warning."""
    severity: Maybe[Severity] = None
    """The alert's severity from this step on."""
    notify: Maybe[str] = None
    """The role that is told; never a named person."""


class RuleBase(Model):
    """What every rule has, whatever its form."""

    id: str = Field(min_length=1)
    """Unique name. A rule is the same rule while its id is."""
    summary: str = Field(min_length=1)
    """What is wrong when the alert fires, in a few words."""
    severity: Severity
    """How grave it is."""
    owner: Maybe[str] = None
    """Who answers for the rule."""
    action: Maybe[str] = None
    """What to do when the alert fires."""
    source: Maybe[str] = None
    """The standard that asks for it."""
    labels: dict[str, str] = {}
    """Labels added to the alert, for routing. Never a patient's."""
    annotations: dict[str, str] = {}
    """Texts added to the alert."""
    runbook: Maybe[str] = None
    """Address of the page that says more."""
    mode: Literal["live", "shadow"] = "live"
    """`shadow`: verdicts and metrics, but no alert."""


class CaseRule(RuleBase):
    """What the rules that open cases share."""

    escalate: list[Escalation] = []
    """The ladder: who is told next, and when, while the alert is not resolved."""
    grace: Maybe[Duration] = None
    """Delays the alert, never the verdict; by default that of the trigger's source, else 0s."""
    show_for: Duration = timedelta(hours=24)
    """How long the alert of a violation is shown."""
    feeds: Maybe[list[str]] = None
    """Sources on which the cases depend: silent, they make open cases unknown. Default: the trigger's source."""
    active: Maybe[At] = None
    """When, in local time, triggers count."""
    calendar: Maybe[str] = None
    """The registry's calendar for deadlines in days; by default the registry's own."""
    same: Maybe[list[str]] = None
    """Fields or attributes that must be equal and present in both events of a pair; `[]` looks over the whole journey.
    Default: `encounter` where both have one, else the whole journey."""

    @model_validator(mode="after")
    def _ladder(self) -> CaseRule:
        early = [number for number, step in enumerate(self.escalate) if step.after < timedelta(0)]
        if not self.can_be_overdue:
            problem = "a negative `after` needs a form with a deadline: expect, stay with `at_most`, or steps"
            refuse([(("escalate", number, "after"), problem) for number in early])
        problem = "only one step may be negative, for there is one early warning"
        refuse([(("escalate", number, "after"), problem) for number in early[1:]])
        return self

    @property
    def can_be_overdue(self) -> bool:
        """Whether cases have a deadline that can pass while they are open."""
        return False


class ExpectRule(CaseRule):
    """Response: after `when`, `expect` must follow `within` a time."""

    when: Pattern
    """The trigger: each event that matches opens a case."""
    expect: PairPatterns
    """What must follow; of a list all must occur, in any order."""
    within: Limit
    """Time from the trigger to the deadline, or calendar days: `2bd`, `2cd`."""
    not_before: Duration = timedelta(0)
    """Only events at least so long after the trigger count."""
    unless: PairPatterns = []
    """What makes the case void when it comes first; of a list any."""
    give_up: Duration = timedelta(hours=24)
    """So long after the deadline the expected event is missed."""
    overlap: Literal["each", "first", "latest"] = "each"
    """Triggers while a case is open: each opens one, only the first does, or the latest replaces the others."""
    strict: Flag = False
    """Whether an event at the trigger's own instant does not count."""

    @property
    def can_be_overdue(self) -> bool:
        return True

    @model_validator(mode="after")
    def _possible(self) -> ExpectRule:
        if self.expect == []:
            refuse([(("expect",), "the list of patterns is empty")])
        if isinstance(self.within, timedelta) and self.not_before > self.within:
            refuse([(("not_before",), "longer than `within`: no event could be in time")])
        return self


class RequireRule(CaseRule):
    """Precedence: before `when`, `require` must have happened."""

    when: Pattern
    """The trigger: each event that matches opens a case."""
    require: PairPattern
    """What must have happened before."""
    within: Maybe[Duration] = None
    """How long before the trigger it may lie; left out: at any time."""
    unless: PairPatterns = []
    """What undoes it when it comes between; of a list any."""
    strict: Flag = False
    """Whether an event at the trigger's own instant does not count."""


class ForbidRule(CaseRule):
    """Not-response: after `when`, `forbid` must not follow `within` a time, or `until` something else happened."""

    when: Pattern
    """The trigger: each event that matches opens a case."""
    forbid: PairPattern
    """What must not follow."""
    within: Duration
    """How long after the trigger it must not follow."""
    until: PairPatterns = []
    """What ends the ban; of a list any."""


class NeverRule(CaseRule):
    """Absence: no event may match."""

    never: Pattern
    """Each event that matches is a violation."""


class StayRule(CaseRule):
    """Dwell: how long a patient may, or must, be in a place."""

    stay: Places
    """The place: written as `to` of a pattern."""
    at_most: Maybe[Duration] = None
    """The longest stay that is in time."""
    at_least: Maybe[Duration] = None
    """The shortest stay that is no violation."""
    unless: PairPatterns = []
    """What makes the case void; of a list any."""
    give_up: Maybe[Duration] = None
    """So long after the deadline the departure is missed; left out: never."""
    pause: Maybe[Literal["leave"]] = None
    """`leave`: the time of `at_most` stops during a leave of absence."""

    @property
    def can_be_overdue(self) -> bool:
        return self.at_most is not None

    @model_validator(mode="after")
    def _some_limit(self) -> StayRule:
        if self.at_most is None and self.at_least is None:
            refuse([((), "a stay rule needs `at_most`, `at_least` or both")])
        if self.at_most is not None and self.at_least is not None and self.at_least > self.at_most:
            refuse([(("at_least",), "longer than `at_most`: no stay could be right")])
        return self


class CountRule(CaseRule):
    """At most so many matching events within a time."""

    count: Pattern
    """The events that are counted."""
    at_most: Number = Field(ge=0)
    """The largest number that is no violation."""
    within: Duration
    """The time, up to and with each event, in which they are counted."""


class Step(Model):
    """One step of a pathway; every step but the first has a `within`, counted from the step before it."""

    name: str = Field(min_length=1)
    """Name of the step, unique within the rule."""
    match: PairPattern
    """The event that satisfies the step."""
    within: Maybe[Limit] = None
    """Time from the step before it to the deadline, or calendar days: `2bd`, `2cd`. Not on the first step."""


class StepsRule(CaseRule):
    """Pathway: each step must follow the one before it in time."""

    steps: list[Step] = Field(min_length=2)
    """The first opens a pathway; each later one has a verdict of its own."""
    unless: PairPatterns = []
    """What makes the open step void; of a list any."""
    give_up: Duration = timedelta(hours=24)
    """So long after its deadline a step is missed."""
    strict: Flag = False
    """Whether an event at the instant of the step before does not count."""

    @property
    def can_be_overdue(self) -> bool:
        return True

    @model_validator(mode="after")
    def _limits(self) -> StepsRule:
        wrong: list[Complaint] = []
        if self.steps[0].within is not None:
            wrong.append((("steps", 0, "within"), "the first step opens the pathway and has no `within`"))
        if self.steps[0].match.same is not None:
            wrong.append(
                (("steps", 0, "match", "same"), "the first step opens the pathway and has no `same`")
            )
        names: set[str] = set()
        for number, step in enumerate(self.steps):
            if number and step.within is None:
                wrong.append((("steps", number), "every step but the first needs `within`"))
            if step.name in names:
                wrong.append((("steps", number, "name"), f"another step is named {found(step.name)}"))
            names.add(step.name)
        refuse(wrong)
        return self


class ExclusiveRule(CaseRule):
    """Two encounters of one patient must not be in both places at once for longer than a time."""

    exclusive: list[Places] = Field(min_length=2, max_length=2)
    """The two places, each written as `to` of a pattern."""
    longer_than: Duration
    """How long both may last at once."""


class ReliabilityTarget(Model):
    """The share of decided cases that were met, over a rolling time."""

    of: list[str] = Field(min_length=1)
    """Ids of the rules; of expect, require, forbid, stay and steps."""
    target: Share
    """The share of cases that must be met: `95%` or `0.95`."""
    over: Duration
    """The rolling time over which it is reckoned."""
    min: Number = Field(default=1, ge=0)
    """With fewer cases than this nothing is said."""


class ReliabilityRule(RuleBase):
    """Population: a set of rules must be met in so many of a hundred cases."""

    reliability: ReliabilityTarget
    """The rules and their target."""


class SilenceLimit(Model):
    """How long no event may be seen of a source, or into a place."""

    source: Maybe[str] = None
    """The feed that must not be silent."""
    to: Places = None
    """The place into which someone must come; written as `to` of a pattern."""
    for_: Duration = Field(alias="for")
    """How long it may be silent."""
    at: Maybe[At] = None
    """When, in local time, the silence counts."""

    @model_validator(mode="after")
    def _one_subject(self) -> SilenceLimit:
        if len({"source", "to"} & self.model_fields_set) != 1:
            refuse([((), "silence needs either `source` or `to`")])
        return self


class SilenceRule(RuleBase):
    """Population: something that should happen all the time has not happened for a while."""

    silence: SilenceLimit
    """What is silent, and for how long."""


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
    """The rules, each with an id of its own."""
