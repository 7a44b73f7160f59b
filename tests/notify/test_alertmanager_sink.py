"""What Alertmanager gets of an alert."""

import asyncio
import json
from contextlib import ExitStack
from datetime import datetime, timedelta

import pytest
from notices import DUE, FIRING, NOW, TRUST, WebServer, delivery, later, resolved, silent_port

from monitor.notify.alertmanager import AlertmanagerSink
from monitor.notify.notice import NotDelivered

LABELS = {
    "alertname": "ed-boarding",
    "rule": "ed-boarding",
    "severity": "warning",
    "level": "0",
    "place": "ed",
    "receiver": "default",
    "alert": FIRING.alert,
}


class World:
    """A cluster, what fires, and a clock."""

    def __init__(self, stack, members=1):
        self.members = [stack.enter_context(WebServer()) for _ in range(members)]
        self.firing = []
        self.now = NOW

    def run(self, work, sees="bed", urls=(), **options):
        async def firing(name):
            assert name == "am"
            return list(self.firing)

        async def main():
            addresses = [*(member.url for member in self.members), *urls]
            sink = AlertmanagerSink(
                "am", addresses, lambda receiver: sees, lambda: self.now, firing, tls=TRUST, **options
            )
            try:
                await work(sink)
            finally:
                await sink.close()

        asyncio.run(main())

    def told(self, member=0):
        """Bodies posted: of each alert its labels, and whether it fires."""
        return [
            [(alert["labels"], datetime.fromisoformat(alert["endsAt"]) > self.now) for alert in alerts]
            for alerts in self.bodies(member)
        ]

    def bodies(self, member=0):
        return [json.loads(request.body) for request in self.members[member].requests]


@pytest.fixture
def world():
    with ExitStack() as stack:
        yield World(stack)


@pytest.fixture
def cluster():
    with ExitStack() as stack:
        yield World(stack, 2)


def test_a_firing_alert_has_labels_without_the_patient_and_texts_with_what_may_be_seen(world):
    world.run(lambda sink: sink.send([delivery(later(at=DUE))]))
    [[alert]] = world.bodies()
    assert world.members[0].requests[0].path == "/api/v2/alerts"
    assert alert["labels"] == LABELS
    assert alert["startsAt"] == "2026-01-06T18:43:00.000+00:00"
    assert datetime.fromisoformat(alert["endsAt"]) == NOW + timedelta(minutes=5)
    assert alert["generatorURL"] == f"https://board.example/alerts/{FIRING.alert}?journey=k3j2abcdef"
    assert alert["annotations"]["pseudonym"] == "k3j2abcdef"
    assert alert["annotations"]["due"] == "Tue 6 Jan 2026 18:43 GMT"
    assert alert["annotations"]["action"] == "find a bed"
    assert "1000091" not in json.dumps(alert)


def test_texts_hide_the_bed_or_show_the_patient_as_the_receiver_may_see(world):
    world.run(lambda sink: sink.send([delivery()]), sees="none")
    world.run(lambda sink: sink.send([delivery()]), sees="full")
    [[none], [full]] = world.bodies()
    assert "k3j2abcdef" not in json.dumps(none)
    assert "location" not in none["annotations"]
    assert full["annotations"]["patient"] == "1000091"
    assert none["labels"] == full["labels"] == LABELS


def test_the_labels_of_a_rule_are_added_and_never_replace_ours_nor_break_the_syntax(world):
    notice = later(labels={"team": "beds", "severity": "none", "cost-centre": "7"}, place="ED^12^A")
    world.run(lambda sink: sink.send([delivery(notice)]))
    [[(labels, _)]] = world.told()
    assert labels == LABELS | {"team": "beds", "cost_centre": "7", "place": "ED"}


def test_a_resolved_alert_ends_under_the_labels_it_fired_with(world):
    async def fire_and_resolve(sink):
        await sink.send([delivery()])
        await sink.send([delivery(resolved(place="ward-4w", severity="critical"))])

    world.run(fire_and_resolve)
    assert world.told() == [[(LABELS, True)], [(LABELS, False)]]


def test_an_escalation_ends_the_alert_of_the_former_labels_in_the_same_request(world):
    async def escalate(sink):
        await sink.send([delivery()])
        await sink.send([delivery(later(level=1, severity="critical"))])
        await sink.send([delivery(resolved(level=1, severity="critical"))])

    world.run(escalate)
    raised = LABELS | {"level": "1", "severity": "critical"}
    assert world.told() == [[(LABELS, True)], [(LABELS, False), (raised, True)], [(raised, False)]]


def test_an_end_that_could_not_be_told_is_told_with_what_follows(world):
    raised = LABELS | {"level": "1"}

    async def escalate(sink):
        await sink.send([delivery()])
        world.members[0].status = 503
        with pytest.raises(NotDelivered):
            await sink.send([delivery(later(level=1))])
        world.members[0].status = 200
        await sink.send([delivery(later(level=1))])

    world.run(escalate)
    assert world.told()[-1] == [(LABELS, False), (raised, True)]


def test_no_alert_ends_before_it_began_though_the_clock_went_back(world):
    ahead = NOW + timedelta(hours=1)

    async def fire_and_resolve(sink):
        await sink.send([delivery(later(at=ahead))])
        await sink.send([delivery(later(at=ahead + timedelta(minutes=1), state="resolved", reason="late"))])

    world.run(fire_and_resolve)
    for [alert] in world.bodies():
        assert datetime.fromisoformat(alert["startsAt"]) <= datetime.fromisoformat(alert["endsAt"])
    assert [fires for [(_, fires)] in world.told()] == [True, False]


def test_receivers_are_told_apart(world):
    async def escalate(sink):
        await sink.send([delivery()])
        await sink.send([delivery(later(level=1)), delivery(later(level=1), "site manager")])

    world.run(escalate)
    raised = LABELS | {"level": "1"}
    assert world.told()[1] == [(LABELS, False), (raised, True), (raised | {"receiver": "site manager"}, True)]


def test_what_fires_is_told_again_with_a_later_end(world):
    async def later_on(sink):
        await sink.send([delivery()])
        world.firing = [("default", FIRING)]
        world.now += timedelta(minutes=1)
        await sink.refresh()
        world.firing = []
        await sink.refresh()

    world.run(later_on)
    [[first], [second]] = world.bodies()
    assert first["labels"] == second["labels"]
    assert first["startsAt"] == second["startsAt"]
    moved = datetime.fromisoformat(second["endsAt"]) - datetime.fromisoformat(first["endsAt"])
    assert moved == timedelta(minutes=1)


def test_after_a_restart_what_fires_is_known_again_from_the_refresh(world):
    world.firing = [("default", FIRING)]

    async def restarted(sink):
        await sink.refresh()
        await sink.send([delivery(later(level=1, place="amu"))])

    world.run(restarted)
    assert world.told()[1] == [(LABELS, False), (LABELS | {"level": "1", "place": "amu"}, True)]


def test_a_refresh_never_brings_back_what_was_resolved_while_it_looked(world):
    async def main():
        async def firing(_):
            await sink.send([delivery(resolved())])
            return [("default", FIRING)]

        sink = AlertmanagerSink("am", [world.members[0].url], lambda _: "bed", lambda: NOW, firing, tls=TRUST)
        await sink.send([delivery()])
        await sink.refresh()
        await sink.close()

    asyncio.run(main())
    assert world.told() == [[(LABELS, True)], [(LABELS, False)]]


def test_many_are_told_in_several_requests(world):
    world.firing = [("default", later(alert=f"a{number}")) for number in range(1_100)]
    world.run(lambda sink: sink.refresh())
    assert [len(body) for body in world.bodies()] == [500, 500, 100]


def test_what_is_refused_in_a_refresh_holds_up_nothing_else(world):
    world.firing = [("default", later(alert=f"a{number}")) for number in range(501)]
    world.members[0].answer = lambda request: 400 if b'"a7"' in request.body else 200

    async def work(sink):
        with pytest.raises(NotDelivered):
            await sink.refresh()

    world.run(work)
    assert [len(body) for body in world.bodies()] == [500, 1]


def test_every_member_of_a_cluster_is_told(cluster):
    cluster.run(lambda sink: sink.send([delivery()]))
    assert cluster.told(0) == cluster.told(1) == [[(LABELS, True)]]


def test_a_member_that_is_down_holds_up_nothing_and_is_told_again_once_it_is_back(cluster):
    cluster.members[1].status = 503
    cluster.firing = [("default", FIRING)]

    async def outage(sink):
        await sink.send([delivery()])
        await sink.send([delivery(later(alert="b"))])
        cluster.members[1].status = 200
        await sink.refresh()
        await sink.send([delivery(later(alert="c"))])

    cluster.run(outage)
    assert [len(cluster.members[0].requests), len(cluster.members[1].requests)] == [4, 3]


def test_when_no_member_takes_it_it_is_tried_again(world):
    world.members[0].status = 500

    async def work(sink):
        with pytest.raises(NotDelivered, match="status 500") as error:
            await sink.send([delivery()])
        assert error.value.retry

    world.run(work)


def test_a_refusal_is_final_only_when_no_member_may_still_take_it(world):
    world.members[0].status = 400

    async def work(sink):
        with pytest.raises(NotDelivered) as error:
            await sink.send([delivery()])
        finals.append(not error.value.retry)

    finals = []
    world.run(work)
    with silent_port() as port:
        world.run(work, urls=[f"http://127.0.0.1:{port}"])
    assert finals == [True, False]


def test_a_token_is_sent(world, tmp_path):
    (tmp_path / "token").write_text("t")
    world.run(lambda sink: sink.send([delivery()]), token_file=str(tmp_path / "token"))
    assert world.members[0].requests[0].headers["Authorization"] == "Bearer t"
