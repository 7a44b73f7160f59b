"""Rules about many journeys, over what a replay found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from monitor.core.change import AlertChange
from monitor.core.place import Registry
from monitor.core.population import Reliability, Span, alert_changes, reliability, silence
from monitor.core.rule import ReliabilityRule, Rule, SilenceRule
from monitor.runtime.replay import Input, Outcome


class Populations(NamedTuple):
    """What the rules about many journeys found, each with its rule."""

    reliability: list[tuple[ReliabilityRule, Reliability]]
    silence: list[tuple[SilenceRule, list[Span]]]
    alerts: list[AlertChange]


def evaluate(rules: Sequence[Rule], registry: Registry, taken: Input, outcome: Outcome) -> Populations:
    """Evaluate the reliability and silence rules; there is nothing to find where nothing was read."""
    found = Populations([], [], [])
    if taken.until is None:
        return found
    for rule in rules:
        if isinstance(rule, ReliabilityRule):
            reliable = reliability(rule, outcome.verdicts, taken.until)
            found.reliability.append((rule, reliable))
            found.alerts.extend(alert_changes(rule, reliable.short))
        elif isinstance(rule, SilenceRule):
            spans = silence(rule, taken.events, registry, taken.until)
            found.silence.append((rule, spans))
            found.alerts.extend(alert_changes(rule, spans))
    return found
