"""FHIR over HTTP: Encounters come in as visits, subscriptions prove that they live, and what they lost is noticed."""

import asyncio
import json
from types import SimpleNamespace

import pytest
from web import NOW, MemoryIntake, asking, parts, serving

from monitor.board.app import make_app
from monitor.core.event import HEARTBEAT
from monitor.formats.fhir import Notification
from monitor.ingest.intake import NotTaken
from monitor.ingest.subscription import Subscriptions, follow_numbers

FHIR = {"content-type": "application/fhir+json"}
ENCOUNTER = {
    "resourceType": "Encounter",
    "id": "e1",
    "meta": {"lastUpdated": "2026-03-03T10:00:00Z"},
    "status": "in-progress",
    "class": {"code": "EMER"},
    "subject": {"reference": "Patient/p1"},
    "period": {"start": "2026-03-03T09:00:00Z"},
    "location": [{"location": {"display": "ED"}, "period": {"start": "2026-03-03T09:00:00Z"}}],
}


@pytest.fixture(scope="module")
def served():
    made, seen = parts()
    with serving(make_app(made)) as address, asking(address, headers=FHIR) as client:
        yield SimpleNamespace(client=client, intake=made.intake, gaps=seen.gaps, faults=seen.faults)


@pytest.fixture(autouse=True)
def _nothing_taken_yet(served):
    served.intake.__init__()
    served.gaps.clear()
    yield
    assert served.faults == []


def post(served, document, query=""):
    return served.client.post(f"/fhir{query}", content=json.dumps(document))


def notification(*numbers, kind="event-notification", subscription="Subscription/s1"):
    """What an R5 subscription sends: the events of these numbers, each with its Encounter."""
    status = {
        "resourceType": "SubscriptionStatus",
        "type": kind,
        "subscription": {"reference": subscription},
        "notificationEvent": [{"eventNumber": str(number)} for number in numbers],
    }
    entries = [status, *({**ENCOUNTER, "id": f"e{number}"} for number in numbers)]
    return {
        "resourceType": "Bundle",
        "type": "subscription-notification",
        "timestamp": "2026-03-03T10:00:01Z",
        "entry": [{"resource": each} for each in entries],
    }


def test_an_encounter_comes_in_as_the_state_of_a_visit(served):
    answer = post(served, ENCOUNTER, "?source=epic")
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "rejected": 0, "rejects": []})
    [message] = served.intake.messages
    assert (message.origin, message.visit.source, message.visit.events[0].patient) == ("fhir", "epic", "p1")


def test_each_encounter_of_a_notification_is_taken_and_how_far_it_came_is_remembered(served):
    answer = post(served, notification(4, 5), "?source=epic")
    assert (answer.status_code, answer.json()["accepted"]) == (202, 2)
    assert len(served.intake.messages) == 2
    assert served.intake.positions == {"fhir:epic:Subscription/s1": "5"}
    assert served.gaps == []


def test_notifications_that_never_came_are_noticed_once(served):
    for numbers in [(4,), (7, 8), (8,), (9,)]:
        assert post(served, notification(*numbers), "?source=epic").status_code == 202
    assert served.gaps == [("epic", "Subscription/s1", 2)]
    assert served.intake.positions == {"fhir:epic:Subscription/s1": "9"}


def test_subscriptions_are_counted_apart(served):
    post(served, notification(4), "?source=epic")
    post(served, notification(9, subscription="Subscription/s2"), "?source=epic")
    post(served, notification(12), "?source=other")
    assert served.gaps == []


def test_what_could_not_be_taken_is_not_counted_as_come(served):
    post(served, notification(4), "?source=epic")
    served.intake.refuse_after, served.intake.refusal = 1, NotTaken("the disk is full")
    assert post(served, notification(6), "?source=epic").status_code == 503
    served.intake.refuse_after = None
    assert post(served, notification(6), "?source=epic").status_code == 202
    assert served.gaps == [("epic", "Subscription/s1", 1)]


@pytest.mark.parametrize("kind", ["heartbeat", "handshake"])
def test_a_subscription_that_only_says_it_lives_is_a_sign_of_life(served, kind):
    answer = post(served, notification(kind=kind), "?source=epic")
    assert (answer.status_code, answer.json()) == (200, {"accepted": 0, "rejected": 0, "rejects": []})
    [event] = served.intake.events
    assert (event.type, event.source, event.occurred_at.second) == (HEARTBEAT, "epic", 1)


def test_a_document_without_a_visit_is_a_sign_of_life_too(served):
    answer = post(served, {"resourceType": "Patient", "id": "p1"}, "?source=epic")
    assert (answer.status_code, answer.json()["accepted"]) == (202, 0)
    [event] = served.intake.events
    assert (event.type, event.source, event.occurred_at) == (HEARTBEAT, "epic", NOW)


def test_what_cannot_be_used_of_a_bundle_is_kept_with_all_of_it(served):
    document = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": ENCOUNTER}, *({"resource": ENCOUNTER | {"subject": None}} for _ in range(2))],
    }
    answer = post(served, document)
    assert (answer.status_code, answer.json()["accepted"], answer.json()["rejected"]) == (202, 1, 2)
    assert [json.loads(each.content) for each in served.intake.rejects] == [document]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"<Encounter/>", b'{"resourceType": "Encounter"}'])
def test_what_is_no_fhir_is_422_and_kept(served, body):
    answer = served.client.post("/fhir", content=body)
    assert (answer.status_code, answer.json()["rejected"]) == (422, 1)
    assert [each.content for each in served.intake.rejects] == [body]


@pytest.mark.parametrize("kind", ["application/fhir+xml", "text/plain", "application/x-ndjson"])
def test_other_types_are_refused(served, kind):
    assert served.client.post("/fhir", content=b"{}", headers={"content-type": kind}).status_code == 415


def test_notifications_of_one_subscription_wait_for_one_another():
    async def story():
        intake, gaps = MemoryIntake(), []
        subscriptions = Subscriptions(intake, lambda *gap: gaps.append(gap))

        async def take(number, pause):
            told = Notification(subscription="s", source="x", numbers=(number, number))
            async with subscriptions.turn_of(told) as position:
                await asyncio.sleep(pause)
                await intake.take([], position)

        await asyncio.gather(take(1, 0.02), take(2, 0))
        return gaps, intake.positions

    assert asyncio.run(story()) == ([], {"fhir:x:s": "2"})


@pytest.mark.parametrize(
    ("kind", "numbers", "reached", "found"),
    [
        ("events", (1, 1), None, ("1", 0)),
        ("events", (7, 9), None, ("9", 0)),
        ("events", (3, 3), "2", ("3", 0)),
        ("events", (5, 6), "2", ("6", 2)),
        ("events", (1, 1), "6", ("6", 0)),
        ("events", None, "6", ("6", 0)),
        ("heartbeat", None, "6", ("6", 0)),
        ("handshake", None, None, ("0", 0)),
        ("events", (2, 2), "0", ("2", 1)),
        ("handshake", None, "6", ("?", 0)),
        ("events", (40, 40), "?", ("40", 0)),
        ("handshake", None, "?", ("?", 0)),
    ],
)
def test_a_gap_is_what_lies_between_the_last_number_and_the_next(kind, numbers, reached, found):
    assert follow_numbers(Notification(kind=kind, numbers=numbers), reached) == found
