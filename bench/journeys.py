"""How the number of open journeys tells: on the cost of an event, and on memory."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator, Sequence
from functools import partial
from random import Random

from bench.log import MINUTE, Message, journey, line
from bench.measure import Taken, timed
from bench.replay import ten_rules
from monitor.core.engine import Engine
from monitor.core.event import Event
from monitor.core.place import Registry
from monitor.formats import canonical

FACTS = 8
MODELS = 1_000
"""Journeys that are made up; the others are like them, under other numbers."""
WINDOW = 10 * MINUTE
"""All journeys begin within so many seconds."""
UNTIL = 200 * MINUTE
"""Before the four hours of the first are over, lest their deadlines be counted as the cost of other events."""
FOLLOWED = 50_000
"""Journeys whose next events are timed, each for some four of them."""


def cost(open_journeys: int) -> Taken:
    """`observe`, event by event, of the third to the sixth event of journeys, while so many are open.

    Where fewer than FOLLOWED are open, it is done with several engines one after the other.
    """
    models = [journey(number, 0, 20, Random(number)) for number in range(MODELS)]
    engines = max(1, FOLLOWED // open_journeys)
    total = Taken(0, 0)
    for each in range(engines):
        followed = Random(each).sample(range(open_journeys), min(open_journeys, FOLLOWED))
        engine = _engine()
        _observe(engine, _arrived(_begun(models, range(open_journeys), open_journeys, slice(0, 2))))
        events = _arrived(_begun(models, followed, open_journeys, slice(2, 6)))
        events = [event for event in events if event.recorded_at >= engine.now[0]]
        taken, _ = timed(partial(_observe, engine, events))
        total.cpu += taken.cpu
        total.wall += taken.wall
        total.events += len(events)
    return total


def memory(journeys: int) -> Taken:
    """What an open journey of eight facts holds in memory, by tracemalloc, its events included."""
    models = [each for number in range(MODELS) if len(each := journey(number, 0, 20, Random(number))) > FACTS]
    messages = sorted(_begun(models, range(journeys), journeys, slice(FACTS)), key=_recorded)
    lines = [line(message).encode() for message in messages]
    engine = _engine()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    events = [_as_arrived(canonical.decode(each)) for each in lines]
    decoded = tracemalloc.get_traced_memory()[0] - before
    _observe(engine, events)
    engine.advance(events[-1].recorded_at)
    del events
    gc.collect()
    held = tracemalloc.get_traced_memory()[0] - before
    folded, quiet = timed(lambda: engine.fold(engine.now[0]))
    packed = tracemalloc.get_traced_memory()[0] - before
    facts = {"bytes": held, "bytes of events as decoded": decoded, "bytes when folded": packed}
    return Taken(folded.cpu, folded.wall, len(quiet), {name: each / journeys for name, each in facts.items()})


def _engine() -> Engine:
    return Engine(ten_rules(), Registry(), tells_verdicts=False)


def _observe(engine: Engine, events: Sequence[Event]) -> None:
    for event in events:
        engine.observe(event)


def _begun(models: list[list[Message]], numbers: Sequence[int], of: int, part: slice) -> Iterator[Message]:
    """A part of the messages of some journeys, of as many as begin within the window; those of UNTIL only."""
    for number in numbers:
        shift = number * WINDOW // of
        for message in models[number % len(models)][part]:
            if part.start is None or message.at + shift < UNTIL:
                yield Message(
                    f"{number}-{message.id}",
                    message.type,
                    number,
                    f"V{number:08}",
                    message.at + shift,
                    message.recorded_at + shift,
                    message.places,
                    message.attributes,
                )


def _arrived(messages: Iterator[Message]) -> list[Event]:
    """The messages as events in order of arrival."""
    return [_as_arrived(canonical.decode(line(each))) for each in sorted(messages, key=_recorded)]


def _as_arrived(event: Event) -> Event:
    event.arrived_at = event.recorded_at
    return event


def _recorded(message: Message) -> int:
    return message.recorded_at
