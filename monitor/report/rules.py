"""How often each rule was met, and which rules had no case."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from monitor.core.change import CaseVerdict
from monitor.core.population import DECIDED
from monitor.core.rule import (
    CaseRule,
    CountRule,
    ExclusiveRule,
    ExpectRule,
    ForbidRule,
    NeverRule,
    Pattern,
    RequireRule,
    RuleBase,
    StayRule,
    StepsRule,
)
from monitor.core.text import globbed
from monitor.report.figures import quantile
from monitor.report.names import counted

_BY_REGISTRY: Final = re.compile(r'"((?:kind|tag|meso):[^"]*)"')
"""A place that only a registry can tell, in a rule as JSON."""
_TEXTS: Final = {"summary", "action", "source", "labels", "annotations", "runbook"}


class Row(NamedTuple):
    """A line of a table of rules: a rule, or a step of one."""

    rule: str
    step: str | None

    @property
    def title(self) -> str:
        return self.rule if self.step is None else f"{self.rule}/{self.step}"


class RuleFigures(msgspec.Struct, gc=False):
    """What became of the cases of one rule, or of one step of it."""

    rule: str
    step: str | None
    title: str
    decided: int
    """Met, late, missed and violated: what the share is taken of."""
    met: int
    late: int
    missed: int
    violated: int
    void: int
    unknown: int
    open: int
    overdue: int
    """Of the open ones."""
    met_share: float | None
    """None where nothing was decided, or where the rule opens a case only when it is violated."""
    median_delay_seconds: float | None
    """Of the late cases, after the deadline."""
    p90_delay_seconds: float | None

    @property
    def cases(self) -> int:
        return self.decided + self.void + self.unknown + self.open


def rule_figures(rules: Sequence[CaseRule], cases: Iterable[CaseVerdict]) -> list[RuleFigures]:
    """The figures of each rule, and of each step of a pathway, in the order of the rules."""
    by_row: dict[tuple[str, str | None], list[CaseVerdict]] = defaultdict(list)
    for case in cases:
        by_row[case.rule, case.step].append(case)
    return [
        _figures(row, by_row[row], has_share=not isinstance(rule, NeverRule | CountRule))
        for rule in rules
        for row in _rows(rule)
    ]


def _rows(rule: CaseRule) -> list[Row]:
    if isinstance(rule, StepsRule):
        return [Row(rule.id, step.name) for step in rule.steps[1:]]
    return [Row(rule.id, None)]


def _figures(row: Row, cases: list[CaseVerdict], *, has_share: bool) -> RuleFigures:
    counts = Counter(case.verdict for case in cases)
    decided = sum(counts[verdict] for verdict in DECIDED)
    delays = sorted(case.delay_seconds for case in cases if case.delay_seconds is not None)
    return RuleFigures(
        rule=row.rule,
        step=row.step,
        title=row.title,
        decided=decided,
        met=counts["met"],
        late=counts["late"],
        missed=counts["missed"],
        violated=counts["violated"],
        void=counts["void"],
        unknown=counts["unknown"],
        open=counts["open"],
        overdue=sum(case.overdue for case in cases),
        met_share=counts["met"] / decided if decided and has_share else None,
        median_delay_seconds=quantile(delays, 0.5),
        p90_delay_seconds=quantile(delays, 0.9),
    )


def opening_types(rule: CaseRule) -> list[str]:
    """The types of event, as the rule writes them, that can open a case; empty where it does not say."""
    match rule:
        case ExpectRule() | RequireRule() | ForbidRule():
            return types_of(rule.when)
        case NeverRule():
            return types_of(rule.never)
        case CountRule():
            return types_of(rule.count)
        case StepsRule():
            return types_of(rule.steps[0].match)
    return []


def opening(rule: CaseRule) -> list[object]:
    """What opens a case of a rule, but for the hours: the same of rules that look at the same cases."""
    match rule:
        case ExpectRule() | RequireRule() | ForbidRule():
            return [rule.when.model_dump(exclude={"at"})]
        case NeverRule():
            return [rule.never.model_dump(exclude={"at"})]
        case CountRule():
            return [rule.count.model_dump(exclude={"at"})]
        case StepsRule():
            return [rule.steps[0].match.model_dump(exclude={"at"})]
        case StayRule():
            return ["stay", rule.stay]
        case ExclusiveRule():
            return ["exclusive", rule.exclusive]
    return [rule.id]


def awaited_types(rule: CaseRule) -> list[str]:
    """The types of event, as the rule writes them, without which no case can come right; empty where it does not say."""
    match rule:
        case ExpectRule():
            patterns = rule.expect if isinstance(rule.expect, list) else [rule.expect]
            return [each for pattern in patterns for each in types_of(pattern)]
        case RequireRule():
            return types_of(rule.require)
        case StepsRule():
            return [each for step in rule.steps[1:] for each in types_of(step.match)]
    return []


def types_of(pattern: Pattern) -> list[str]:
    """Types that a pattern names, itself or in each branch of its `any`."""
    if pattern.type is not None:
        return [pattern.type] if isinstance(pattern.type, str) else list(pattern.type)
    branches = [types_of(each) for each in pattern.any_ or ()]
    return [each for branch in branches for each in branch] if all(branches) else []


def is_seen(types: Sequence[str], seen: Collection[str]) -> bool:
    """Whether an event of one of the types, which may hold `*`, was seen."""
    return any(globbed(name, each) for name in types for each in seen)


def without_case(
    rules: Sequence[CaseRule], figures: Sequence[RuleFigures], seen: Collection[str]
) -> Iterator[tuple[str, list[str]]]:
    """The rules that had no case, each with the types of event that would open one, if none of these was ever seen."""
    with_case = {each.rule for each in figures if each.cases}
    for rule in rules:
        if rule.id not in with_case:
            types = opening_types(rule)
            yield rule.id, [] if not types or is_seen(types, seen) else types


def registry_places(rules: Iterable[RuleBase]) -> dict[str, str]:
    """The rules that name a place as `kind:`, `tag:` or `meso:`, each with the first that it names.

    Without a registry such a place matches nothing.
    """
    named = {rule.id: _BY_REGISTRY.search(rule.model_dump_json(exclude=_TEXTS)) for rule in rules}
    return {rule: found[1] for rule, found in named.items() if found}


def places_text(places: Mapping[str, str]) -> str:
    """`kind:icu` and the like, and in how many rules; of what `registry_places` found."""
    return f"places such as `{next(iter(places.values()))}`, which {counted(len(places), 'rule')} name{'s' * (len(places) == 1)},"
