"""What to try next: what the figures of a history ask for, each with the change that would answer it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from monitor.core.change import CaseVerdict
from monitor.core.place import Registry
from monitor.core.rule import CaseRule, ExpectRule, StayRule
from monitor.core.text import duration_text
from monitor.report.figures import spoken
from monitor.report.handoffs import HandoffFigures
from monitor.report.load import FALSE, Fired
from monitor.report.names import counted, place_name
from monitor.report.rules import RuleFigures, awaited_types, is_seen, opening, without_case

_GRACES: Final = tuple(timedelta(minutes=minutes) for minutes in (2, 5, 10, 15, 20, 30, 45, 60, 90, 120))
_ROUND: Final = tuple(
    timedelta(minutes=minutes)
    for minutes in (
        *(10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 300, 360, 480, 600, 720, 1080),
        *(24 * 60 * days for days in (1, 1.5, 2, 3, 4, 5, 7, 10, 14, 21, 30, 45, 60, 90)),
    )
)
"""Deadlines that people would set."""
_STATE_OF_AFFAIRS: Final = 0.3
"""A rule that is broken more often than this describes how things are; an alarm for it tells nobody anything new."""
_MOST: Final = 5
"""Suggestions, lest none be followed."""
_SELDOM: Final = 0.1
"""The share of false alarms below which a rule in shadow can be turned on."""
_FEW: Final = 5
"""Alarms or defects below which a figure is chance."""
_ENOUGH: Final = 20
"""Alarms that a rule in shadow would have raised from which on they can be judged."""
_DAYS: Final = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")


class Suggestion(msgspec.Struct, gc=False):
    """Something to try."""

    about: str
    """The rule, or the handoff."""
    finding: str
    command: str | None
    """What to run to see it; None where no change of a rule would help."""


class Invocation(NamedTuple):
    """How a report was asked for, as words of a command line."""

    rules: str
    """Behind `--rules`."""
    input: str
    """The options about the input and the clock, and the files."""
    source: str
    """The same without the clock."""

    def what_if(self, *changes: str) -> str:
        """The same report with `RULE.KEY=VALUE` changes."""
        sets = "".join(f" --set {change}" for change in changes)
        return f"handoff report --rules {self.rules} {self.input}{sets}"


class Findings(NamedTuple):
    """What suggestions are made from."""

    rules: Sequence[CaseRule]
    figures: Sequence[RuleFigures]
    verdicts: Sequence[CaseVerdict]
    fired: Sequence[Fired]
    """The alerts of live rules."""
    shadow_fired: Sequence[Fired]
    """Those that the rules in shadow would have raised."""
    handoffs: Sequence[HandoffFigures]
    seen: Collection[str]
    """The types of event that were seen."""
    unmapped: Mapping[str, int]
    """Locations that no microsystem owns, with the number of events that name each."""
    registry: Registry
    until: datetime
    invocation: Invocation


def suggestions(found: Findings) -> list[Suggestion]:
    """At most one of each kind, five in all: what the record lacks, what alarms are false or too many, where handoffs fail."""
    charting = list(_charting_delay(found))
    loudest = list(_loudest(found, {each.about for each in charting}))
    return [
        *_never_charted(found),
        *charting,
        *loudest,
        *_worst_handoff(found, {each.about for each in loudest}),
        *_ready(found),
        *_unmapped(found),
        *_never_opened(found),
    ][:_MOST]


def blind_rules(
    rules: Sequence[CaseRule], figures: Sequence[RuleFigures], seen: Collection[str]
) -> dict[str, list[str]]:
    """The rules of which something was due and that could not be met, for what they wait for was never seen; with its types."""
    due = {each.rule for each in figures if each.decided or each.overdue}
    found = {}
    for rule in rules:
        types = awaited_types(rule)
        if rule.id in due and types and not is_seen(types, seen):
            found[rule.id] = types
    return found


def _never_charted(found: Findings) -> Iterator[Suggestion]:
    """Rules that wait for what no feed tells."""
    blind = blind_rules(found.rules, found.figures, found.seen)
    by_types: dict[str, list[str]] = defaultdict(list)
    for rule, awaited in blind.items():
        by_types[" or ".join(f"`{each}`" for each in awaited)].append(rule)
    alarms = Counter(each.rule for each in found.fired)
    ranked = sorted(by_types.items(), key=lambda each: (-sum(alarms[rule] for rule in each[1]), each[0]))
    for types, rules in ranked[:1]:
        live = [rule.id for rule in found.rules if rule.id in rules and rule.mode == "live"]
        yield Suggestion(
            ", ".join(rules),
            f"No event of type {types} was ever seen, so {_these(rules)} cannot be met: that is what is charted, "
            f"not how the care was. It gave {counted(sum(alarms[rule] for rule in rules), 'alarm')}. Find the feed that "
            "knows it; until then keep it in shadow.",
            found.invocation.what_if(*(f"{rule}.mode=shadow" for rule in live)),
        )


def _these(rules: Sequence[str]) -> str:
    return ", ".join(f"`{rule}`" for rule in rules)


def _charting_delay(found: Findings) -> Iterator[Suggestion]:
    """The rule with the most alarms for what had been done in time: how much grace would have spared how many."""
    false = Counter(each.rule for each in found.fired if each.reason == "charted_late")
    if not false:
        return
    rule, number = min(false.items(), key=lambda each: (-each[1], each[0]))
    alerts = [each for each in found.fired if each.rule == rule]
    lasted = [each.lasted(found.until) for each in alerts if each.reason == "charted_late"]
    for grace in _GRACES:
        spared = sum(each <= grace for each in lasted)
        if 2 * spared >= number:
            break
    if number < _FEW or not spared:
        return
    others = [each for each in alerts if each.reason != "charted_late"]
    later = sum(each.lasted(found.until) > grace for each in others)
    text, wait = duration_text(_grace_now(alerts) + grace), spoken(grace.total_seconds())
    yield Suggestion(
        rule,
        f"`{rule}` gave the most false alarms: {number:,} for what had been done in time and was charted late. With "
        f"`grace: {text}` {spared:,} of these would not have fired. The price: {counted(later, 'other alarm')} "
        f"would come {wait} later, and {len(others) - later:,} that were over by then not at all.",
        found.invocation.what_if(f"{rule}.grace={text}"),
    )


def _grace_now(alerts: Sequence[Fired]) -> timedelta:
    """The grace with which alerts fired: none fired sooner than it after the deadline."""
    after = [each.at - each.due_at for each in alerts if each.due_at is not None]
    return max(min(after, default=timedelta(0)), timedelta(0))


def _loudest(found: Findings, told: Collection[str]) -> Iterator[Suggestion]:
    """The rule, not `told` of, with the most alarms that were not false: whether it is an alarm at all, and what a later
    deadline would leave of it.
    """
    alarms = Counter(each.rule for each in found.fired)
    true = Counter(each.rule for each in found.fired if each.reason not in FALSE)
    passed_over = {*told, *blind_rules(found.rules, found.figures, found.seen)}
    loud = [(rule, number) for rule, number in true.items() if rule not in passed_over and number >= _FEW]
    if not loud:
        return
    rule_id = min(loud, key=lambda each: (-each[1], each[0]))[0]
    number = alarms[rule_id]
    rule = next(each for each in found.rules if each.id == rule_id)
    cases = [case for case in found.verdicts if case.rule == rule_id]
    broken = [case for case in cases if _is_broken(case)]
    judged = len(broken) + sum(case.verdict == "met" for case in cases)
    share = len(broken) / judged if judged else 0.0
    rank = "next loudest" if any(alarms[each] > number for each in told) else "loudest"
    text = (
        f"`{rule_id}` is the {rank}: {number:,} of {alarms.total():,} alarms ({_share(number / alarms.total())}), and "
        f"{_share(share)} of its cases are not met. "
    )
    longer = _longer(rule, cases, found.until)
    if not _is_local(rule):
        yield Suggestion(rule_id, text + _care_must_change(rule, cases, found), None)
    elif share > _STATE_OF_AFFAIRS:
        text += (
            "That is how things are, and no alarm changes it: watch its percentage, and let it alert no one"
        )
        text += f"; or try `{longer.key}: {longer.text}`. {longer.promise}" if longer else "."
        yield Suggestion(rule_id, text, found.invocation.what_if(f"{rule_id}.mode=shadow"))
    elif longer:
        text += f"With `{longer.key}: {longer.text}` {longer.promise}"
        yield Suggestion(rule_id, text, found.invocation.what_if(f"{rule_id}.{longer.key}={longer.text}"))


def _is_broken(case: CaseVerdict) -> bool:
    return case.overdue or case.verdict in ("late", "missed", "violated")


def _is_local(rule: CaseRule) -> bool:
    """Whether the hospital may set the limit: the rule is not critical, and no outside standard asks for it."""
    return rule.severity != "critical" and (rule.source or "local").casefold().startswith("local")


def _care_must_change(rule: CaseRule, cases: Sequence[CaseVerdict], found: Findings) -> str:
    """Where and when most cases of a rule go wrong, of how many that began there and then; and that its limit stands."""
    judged = [case for case in cases if _is_broken(case) or case.verdict == "met"]
    said = []
    for name_of in (_place_name(rule, found.registry), *_times(found.registry.timezone)):
        of_all, of_broken = Counter(map(name_of, judged)), Counter(map(name_of, filter(_is_broken, judged)))
        if len(of_all) > 1:
            name, number = min(of_broken.items(), key=lambda each: (-each[1], each[0]))
            said.append(f"{name} ({number:,} of {counted(of_all[name], 'case')})")
    most = f"Those not met begin most often {'; '.join(said)}. " if said else ""
    whose = "This rule is critical" if rule.severity == "critical" else "The limit is the standard's"
    return f"{most}{whose}: it is the care that must change."


def _place_name(rule: CaseRule, registry: Registry) -> Callable[[CaseVerdict], str]:
    """In which place a case began: where the patient then was, or of a stay is."""

    def name_of(case: CaseVerdict) -> str:
        place = case.to if isinstance(rule, StayRule) else case.from_
        return f"in {place_name(place, registry)}" if place else "outside"

    return name_of


def _times(zone: ZoneInfo) -> list[Callable[[CaseVerdict], str]]:
    """On which weekday, and in which hour, a case began."""

    def weekday(case: CaseVerdict) -> str:
        return f"on {_DAYS[case.trigger_at.astimezone(zone).weekday()]}"

    def hour(case: CaseVerdict) -> str:
        from_ = case.trigger_at.astimezone(zone).hour
        return f"from {from_:02}:00 to {(from_ + 1) % 24:02}:00"

    return [weekday, hour]


def _share(share: float) -> str:
    return f"{100 * share:.0f} %"


class _Longer(NamedTuple):
    """A later deadline of a rule."""

    key: str
    text: str
    left: int
    """Cases that would still not be met."""
    was: int
    """Those that are not met now."""

    @property
    def promise(self) -> str:
        return (
            f"{self.left:,} of all cases of this rule would not be met, instead of {self.was:,}: "
            "is it the limit or the care that must change?"
        )


def _longer(rule: CaseRule, cases: Sequence[CaseVerdict], until: datetime) -> _Longer | None:
    """The smallest round deadline, up to three times as long, that would halve what is late or missing; else the longest.

    Only where the verdicts tell what a replay with it would give: a longer deadline neither opens nor closes other cases,
    and lies before the present give-up, behind which it was not looked.
    """
    limit = _limit(rule)
    if limit is None:
        return None
    key, before, give_up = limit
    broken = [case for case in cases if _is_broken(case)]
    found = None
    for longer in _ROUND:
        if not before < longer <= 3 * before or (give_up is not None and longer - before > give_up):
            continue
        more = (longer - before).total_seconds()
        left = sum(_is_over(case, more, until) for case in broken)
        found = _Longer(key, duration_text(longer), left, len(broken))
        if 2 * left <= len(broken):
            break
    return found if found is not None and found.left < len(broken) else None


def _is_over(case: CaseVerdict, more: float, until: datetime) -> bool:
    """Whether a case that is not met would not be met with so many seconds more."""
    if case.delay_seconds is not None:
        return case.delay_seconds > more
    if case.due_at is None or case.verdict == "violated" or case.reason == "gave_up":
        return True
    return ((case.decided_at or until) - case.due_at).total_seconds() > more


def _limit(rule: CaseRule) -> tuple[str, timedelta, timedelta | None] | None:
    """The key of a rule's limit, the limit and the give-up after it; None where cases hang together or the time is stopped."""
    match rule:
        case ExpectRule(within=timedelta() as within, overlap="each"):
            return "within", within, rule.give_up
        case StayRule(at_most=timedelta() as at_most, pause=None):
            return "at_most", at_most, rule.give_up
    return None


def _worst_handoff(found: Findings, told: Collection[str]) -> Iterator[Suggestion]:
    """The least reliable handoff: of the rules that judge it the one, not `told` of, that fails most, and what another
    deadline would say.
    """
    worst = next((each for each in found.handoffs if each.defects >= _FEW), None)
    if worst is None:
        return
    rule_id = next((rule for rule, defects in worst.rules.items() if defects and rule not in told), None)
    if rule_id is None:
        return
    rule = next(each for each in found.rules if each.id == rule_id)
    cases = [case for case in found.verdicts if case.rule == rule_id]
    pair = f"{worst.from_name} to {worst.to_name}"
    text = (
        f"{pair} is the least reliable handoff: {worst.defects:,} of {worst.opportunities:,} were late or missing, "
        f"{worst.rules[rule_id]:,} of them by `{rule_id}`. "
    )
    longer = _longer(rule, cases, found.until)
    if not _is_local(rule):
        whole = f"Of all cases of this rule {sum(map(_is_broken, cases)):,} are not met. "
        yield Suggestion(pair, text + whole + _care_must_change(rule, cases, found), None)
    elif longer:
        text += f"With `{longer.key}: {longer.text}` {longer.promise}"
        yield Suggestion(pair, text, found.invocation.what_if(f"{rule_id}.{longer.key}={longer.text}"))


def _unmapped(found: Findings) -> Iterator[Suggestion]:
    """The location that most events name and no microsystem owns: rules do not know who is there."""
    if not found.unmapped:
        return
    place, number = min(found.unmapped.items(), key=lambda each: (-each[1], each[0]))
    yield Suggestion(
        place,
        f"`{place}` is named by {counted(number, 'event')} and is in no microsystem of the registry"
        f"{f' (and {len(found.unmapped) - 1:,} more like it)' if len(found.unmapped) > 1 else ''}: no rule about a kind of "
        "place sees who is there. Write it under `locations` of the microsystem that it belongs to.",
        f"handoff journeys {found.invocation.input} | grep '\"kind\":null'",
    )


def _ready(found: Findings) -> Iterator[Suggestion]:
    """The gravest rule in shadow whose alarms would have been true, and that no live rule stands in for: it can be turned on."""
    fired = Counter(each.rule for each in found.shadow_fired)
    false = Counter(each.rule for each in found.shadow_fired if each.reason in FALSE)
    live = [opening(rule) for rule in found.rules if rule.mode == "live"]
    ready = [
        rule
        for rule in found.rules
        if fired[rule.id] >= _ENOUGH
        and opening(rule) not in live
        and false[rule.id] <= _SELDOM * fired[rule.id]
        and rule.severity != "info"
    ]
    if not ready:
        return
    rule = min(ready, key=lambda each: (each.severity != "critical", fired[each.id], each.id))
    yield Suggestion(
        rule.id,
        f"`{rule.id}` is in shadow and would have fired {counted(fired[rule.id], 'time')}, {false[rule.id]:,} of them "
        f"falsely: it can be turned on for {rule.owner or 'whoever shall answer for it'}.",
        found.invocation.what_if(f"{rule.id}.mode=live"),
    )


def _never_opened(found: Findings) -> Iterator[Suggestion]:
    """The type of event that most rules without a case wait for, and that was never seen."""
    by_types: dict[str, list[str]] = defaultdict(list)
    for rule, types in without_case(found.rules, found.figures, found.seen):
        if types:
            by_types[" or ".join(f"`{each}`" for each in types)].append(rule)
    if not by_types:
        return
    types_text, rules = min(by_types.items(), key=lambda each: (-len(each[1]), each[0]))
    yield Suggestion(
        ", ".join(rules),
        f"No event of type {types_text} was ever seen, so {_these(rules)} judged nothing. Does a feed know it under "
        "another name? These are the types that came.",
        f'handoff decode {found.invocation.source} | grep -o \'"type":"[^"]*\' | sort | uniq -c',
    )
