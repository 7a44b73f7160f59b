"""behave-rv: policies in Gherkin over a stream of events, with its own settings: disorder of five seconds is put right.

A policy has one verdict for each value of its key, the first; so it covers the rules of which a visit, or an event, has
one case, and that have no `unless`. It knows no late: what did not come in time is violated.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson
from behave_rv.catalog.registry import StepRegistry
from behave_rv.compile.compiler import compile_feature
from behave_rv.engine.loop import Engine
from behave_rv.events.event import Event
from behave_rv.events.sources.replay import horizon_event

from bench.measure import Taken, timed

COVERS: Final = frozenset({"triage", "four-hours", "home/summary", "home/left", "night-move"})
WORDS: Final = {"late": "violated", "missed": "violated", "overdue": "violated"}
"""Its words for our verdicts, where they differ."""

POLICIES: Final = """
Feature: handoffs

  Scenario: triage
    When a patient arrives
    Then a patient is seen by triage within "901" seconds

  Scenario: four-hours
    When a patient arrives
    Then a patient leaves the emergency department within "14401" seconds

  Scenario: home/summary
    When a discharge is planned
    Then a summary is sent within "10801" seconds

  Scenario: home/left
    When a summary is sent
    Then a patient goes home within "10801" seconds

  Scenario: night-move
    Then a patient leaves intensive care at night never happens
"""

OPENS: Final = {
    "triage": "register",
    "four-hours": "register",
    "home/summary": "pending_discharge",
    "home/left": "pending_discharge",
}
"""The type of the event by which we know the case of a visit."""
MOVES: Final = frozenset({"transfer", "admit", "discharge"})

steps = StepRegistry()


@steps.trigger("a patient arrives", step_id="arrives", event_type="register", correlation_key="visit")
def arrives(_context: Any, event: Event) -> bool:
    return event.type == "register"


@steps.trigger("a patient is seen by triage", step_id="triage", event_type="triage", correlation_key="visit")
def seen(_context: Any, event: Event) -> bool:
    return event.type == "triage"


@steps.trigger(
    "a patient leaves the emergency department", step_id="left", event_type="move", correlation_key="visit"
)
def left(_context: Any, event: Event) -> bool:
    return event.type == "move" and event.payload["from"] == "ed"


@steps.trigger(
    "a discharge is planned", step_id="planned", event_type="pending_discharge", correlation_key="visit"
)
def planned(_context: Any, event: Event) -> bool:
    return event.type == "pending_discharge"


@steps.trigger("a summary is sent", step_id="summary", event_type="summary_sent", correlation_key="visit")
def summary(_context: Any, event: Event) -> bool:
    return event.type == "summary_sent"


@steps.trigger("a patient goes home", step_id="home", event_type="move", correlation_key="visit")
def home(_context: Any, event: Event) -> bool:
    return event.type == "move" and event.payload["kind"] == "discharge"


@steps.trigger(
    "a patient leaves intensive care at night", step_id="night", event_type="move", correlation_key="id"
)
def night(_context: Any, event: Event) -> bool:
    if event.type != "move" or event.payload["kind"] != "transfer" or event.payload["from"] != "icu":
        return False
    hour = event.event_time % 86_400 // 3600
    return hour >= 22 or hour < 7


class Feed:
    """The log as a source of events; it ends with the instant at which the log does."""

    def __init__(self, path: str) -> None:
        self.path = path

    def events(self) -> Iterator[Event]:
        sent: dict[str, Any] = {}
        with Path(self.path).open("rb") as lines:
            for line in lines:
                sent = orjson.loads(line)
                yield _event(sent, sent["type"])
        yield horizon_event(datetime.fromisoformat(sent["recorded_at"]).timestamp())


def _event(sent: dict[str, Any], kind: str) -> Event:
    moves = kind in MOVES
    return Event(
        type="move" if moves else kind,
        event_time=datetime.fromisoformat(sent["occurred_at"]).timestamp(),
        bindings={"visit": sent["encounter"], "id": sent["id"]},
        payload={"kind": kind, "from": sent.get("from")} if moves else {},
        source="log",
    )


def run(path: str) -> tuple[Taken, dict[str, str]]:
    """The policies over a log: what they took, and the verdicts."""

    def work() -> list[Any]:
        engine = Engine(compile_feature(POLICIES, steps))
        return engine.run(Feed(path), emit_pending=True)

    taken, found = timed(work)
    return taken, _by_trigger(path, found)


def _by_trigger(path: str, found: list[Any]) -> dict[str, str]:
    """Its verdicts, which it knows by visit, under the ids of our triggers."""
    triggers: dict[tuple[str, str], str] = {}
    with Path(path).open("rb") as lines:
        for line in lines:
            sent = orjson.loads(line)
            triggers[sent["type"], sent["encounter"]] = sent["id"]
    words = {"satisfied": "met", "violated": "violated", "pending": "open"}
    verdicts = {}
    for each in found:
        rule = each.policy_id
        if rule == "night-move":
            if each.verdict == "violated":
                verdicts[f"{rule}:{each.entity_key['id']}"] = "violated"
        elif each.trigger_event is not None:
            trigger = triggers[OPENS[rule], each.entity_key["visit"]]
            verdicts[f"{rule}:{trigger}"] = words[each.verdict]
    return verdicts
