"""A service that is killed again and again while a hospital sends and a pager is told: what must hold at the end."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from contextlib import closing
from datetime import timedelta
from typing import NamedTuple

from feeding import PACKS, Pager, feeds, hospital
from live_process import Service, eventually

from monitor.core.change import AlertChange
from monitor.core.engine import Engine
from monitor.core.rule import CaseRule
from monitor.formats import canonical
from monitor.runtime.database import FILE
from monitor.runtime.reader import Reader
from monitor.runtime.recorded import recorded
from monitor.runtime.rules import load

DIALECTS = ("standard", "no-evn6", "epic", "zbe")


class Figures(NamedTuple):
    """What one run came to."""

    seed: int
    kills: int
    messages: int
    """Acknowledged, HL7 and canonical events."""
    sent_again: int
    """Those that had been sent when the connection was lost, and were sent once more."""
    facts: int
    cases: int
    alerts: int
    told: int
    """Requests to the webhook."""
    seconds: float


def run(folder, seed):
    """Live through a day of a hospital with kills; asserts all that must hold."""
    chance = random.Random(seed)
    is_flood = seed % 3 == 2
    sent = hospital(
        folder / "hospital",
        seed,
        dialect=DIALECTS[seed % 4],
        silent_after=chance.choice([None, "90m", "3h"]),
        days=2 if is_flood else 1,
        **({} if is_flood else {"wards": 2}),
    )
    began = time.monotonic()
    last = max(sent.adt[-1][0], sent.milestones[-1][0])
    # in a flood all is sent at once, late; else as the day goes by
    speed, start = (600, last) if is_flood else (7200, sent.adt[0][0] - timedelta(minutes=10))
    with (
        Pager(seed, fails=0.05) as pager,
        Service(
            folder,
            rules=PACKS,
            registry=sent.registry,
            settings=pager.settings,
            speed=speed,
            start=start,
        ) as service,
    ):
        service.start()
        kills = 0
        with feeds(service, sent, seed, most=40 if is_flood else 8) as all_:
            while any(each.is_alive() for each in all_) and kills < 6:
                threading.Event().wait(chance.uniform(0.05, 0.6 if is_flood else 3.0))
                service.kill()
                kills += 1
                service.start()
            for each in all_:
                each.end()
        eventually(lambda: service.now() >= last + timedelta(hours=1), "the end of the day")
        settled(service)
        assert service.terminate() == 0, service.text()
        found = judged(service, sent, all_, pager)
        return Figures(
            seed,
            kills,
            sum(len(each.acknowledged) for each in all_),
            sum(each.sent_again for each in all_),
            *found,
            pager.requests,
            round(time.monotonic() - began, 1),
        )


def settled(service):
    """Wait until everybody has been told, as long as anybody still is."""
    with closing(Reader(service.data)) as reader:
        while left := sum(each.count for each in reader.waiting()):
            eventually(
                lambda: sum(each.count for each in reader.waiting()) != left, f"one of {left} deliveries"
            )


def judged(service, sent, all_, pager):
    """Compare what the service kept and told with what was sent, and with a replay; the numbers of facts, cases, alerts."""
    with closing(Reader(service.data)) as reader:
        facts, verdicts = list(reader.events()), {each.case: each for each in every_verdict(reader)}
        alerts = {each.notice.alert: each.notice for each in every(reader.alerts)}
        rejects = reader.rejects()
        clock, heard = reader.clock(), reader.heard()
    assert rejects == []
    nothing_lost_and_nothing_invented(sent, all_, facts)
    engine, changes = replayed(service, recorded(facts, heard), clock)
    as_replayed = {each.case: each for each in engine.verdicts()}
    assert [
        case for case in verdicts.keys() | as_replayed.keys() if verdicts.get(case) != as_replayed.get(case)
    ] == []
    stand = {each.alert: each for each in changes}
    # what came and went while nobody could tell it is no news; everything else is
    assert {alert for alert, each in stand.items() if each.state == "firing"} <= alerts.keys()
    assert {alert: state(each) for alert, each in alerts.items()} == {
        alert: state(stand[alert]) if alert in stand else None for alert in alerts
    }
    told_in_order(pager, alerts, still_to_tell(service))
    return len(facts), len(verdicts), len(alerts)


def nothing_lost_and_nothing_invented(sent, all_, facts):
    hl7 = set(sent.events(message for each in all_[:-2] for message in each.acknowledged))
    lines = [canonical.decode(line) for each in all_[-2:] for line in each.acknowledged]
    milestones = {(each.source, each.id) for each in lines}
    kept = {(each.source, each.id) for each in facts}
    sent_ = hl7 | milestones
    assert (sent_ - kept, kept - sent_) == (set(), set())


def replayed(service, events, clock):
    """One pass over what was recorded, up to where the clock of the service stood."""
    loaded, _ = load(service.rules, str(service.folder / "microsystems.yaml"))
    listened = [name for name, each in loaded.registry.sources.items() if each.silent_after is not None]
    rules = [rule for rule in loaded.rules if isinstance(rule, CaseRule)]
    engine = Engine(rules, loaded.registry, listened=listened)
    changes = [change for event in events for change in engine.observe(event)]
    changes += engine.advance(clock)
    return engine, [change for change in changes if isinstance(change, AlertChange)]


def still_to_tell(service):
    """Alerts of which a change waits for the next start: what fell due in the moment of the end."""
    with closing(sqlite3.connect(service.data / FILE)) as connection:
        return {alert for (alert,) in connection.execute("SELECT alert FROM outbox WHERE state = 'waiting'")}


def told_in_order(pager, alerts, waiting=frozenset()):
    """Each alert's changes in order, never two under one sequence, and in the end how it stands, unless that still waits."""
    assert alerts.keys() - waiting <= pager.told.keys() <= alerts.keys()
    for alert, bodies in pager.told.items():
        sequences = [body["alert"]["sequence"] for body in bodies]
        assert sequences == sorted(sequences), alert
        one_of_each = {str(body["alert"]["sequence"]): body["alert"] for body in bodies}
        assert all(one_of_each[str(body["alert"]["sequence"])] == body["alert"] for body in bodies)
        last = bodies[-1]["alert"]
        if alert in waiting:
            continue
        assert (last["state"], last["level"], last["reason"]) == state(alerts[alert])


def state(change):
    return change.state, change.level, change.reason


def every(ask):
    """All rows of a reader's pages."""
    before = None
    while rows := ask(before=before):
        yield from rows
        before = rows[-1].number


def every_verdict(reader):
    return [row.verdict for row in every(reader.verdicts)]
