"""HL7 v2 over HTTP: the answer is the acknowledgment, and comes after the message was taken."""

from types import SimpleNamespace

import pytest
from web import asking, parts, serving

from monitor.board.app import make_app
from monitor.core.place import Registry
from monitor.formats import mllp
from monitor.ingest.intake import NotTaken

TRANSFER = (
    b"MSH|^~\\&|PAS|RGH|||20260303100100||ADT^A02|77|P|2.5\r"
    b"EVN||20260303100000\rPID|||7001\rPV1||I|4W^3^1|||ED^1^2\r"
)
HL7 = {"content-type": "application/hl7-v2"}


@pytest.fixture(scope="module")
def served():
    made, seen = parts()
    with serving(make_app(made)) as address, asking(address, headers=HL7) as client:
        yield SimpleNamespace(client=client, intake=made.intake, faults=seen.faults)


@pytest.fixture(autouse=True)
def _nothing_taken_yet(served):
    served.intake.__init__()
    served.intake.registry = Registry.model_validate({"sources": {"STRICT/RGH": {"rejects": "AE"}}})
    yield
    assert served.faults == []


def answered(answer):
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/hl7-v2; charset=utf-8")
    found = mllp.answered(answer.content)
    return found.code, found.control_id


@pytest.mark.parametrize("body", [TRANSFER, mllp.frame(TRANSFER), TRANSFER.replace(b"\r", b"\n")])
def test_a_message_is_taken_and_acknowledged_by_its_own_number(served, body):
    assert answered(served.client.post("/hl7", content=body)) == ("AA", "77")
    assert [(event.type, event.source, event.to) for event in served.intake.events] == [
        ("transfer", "PAS/RGH", "4W^3^1")
    ]


def test_each_message_of_a_batch_is_acknowledged(served):
    answer = served.client.post("/hl7", content=TRANSFER + TRANSFER.replace(b"|77|", b"|78|"))
    assert [mllp.answered(each)[:2] for each in mllp.messages(answer.content)] == [("AA", "77"), ("AA", "78")]
    numbers = {each.split(b"|")[9] for each in mllp.messages(answer.content)}
    assert len(numbers) == 2
    assert len(served.intake.events) == 2


@pytest.mark.parametrize(("sender", "code"), [(b"PAS", "AA"), (b"STRICT", "AE")])
def test_a_message_that_cannot_be_used_is_kept_and_answered_as_its_source_has_it(served, sender, code):
    body = TRANSFER.replace(b"|PAS|", b"|" + sender + b"|").replace(b"PID|||7001\r", b"")
    assert answered(served.client.post("/hl7", content=body)) == (code, "77")
    assert [each.content.strip() for each in served.intake.rejects] == [body.strip()]


def test_a_message_that_wants_no_answer_gets_none(served):
    body = TRANSFER.replace(b"|P|2.5\r", b"|P|2.5|||NE|NE\r")
    assert served.client.post("/hl7", content=body).status_code == 204
    assert len(served.intake.events) == 1


@pytest.mark.parametrize("body", [b"\x00\xff", b"hello", b"MSH"])
def test_what_is_no_message_is_kept_and_answered(served, body):
    assert served.client.post("/hl7", content=body).status_code == 200
    assert len(served.intake.rejects) == 1


def test_what_cannot_be_made_durable_is_not_acknowledged(served):
    served.intake.refuse_after, served.intake.refusal = 0, NotTaken("the disk is full")
    answer = served.client.post("/hl7", content=TRANSFER)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert b"MSA" not in answer.content


def test_a_body_without_a_message_is_a_mistake(served):
    assert served.client.post("/hl7", content=b"\r\n").status_code == 422
    assert served.intake.batches == []


def test_other_types_are_refused(served):
    assert (
        served.client.post("/hl7", content=TRANSFER, headers={"content-type": "text/plain"}).status_code
        == 415
    )
