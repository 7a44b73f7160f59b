"""Every documented operation, tried with what its schema allows and with what it does not; by schemathesis."""

import json
from datetime import datetime, timedelta, timezone

import pytest
import schemathesis
from board_hospital import ADMIN, serving_hospital
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from web import parts

from monitor.board.app import make_app
from monitor.board.desk import Desk
from monitor.core.event import EARLIEST

OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(
    EARLIEST.replace(tzinfo=None) + timedelta(days=1), datetime(8999, 12, 30), timezones=OFFSETS
).map(datetime.isoformat)
EVENTS = st.fixed_dictionaries(
    {"id": st.text(min_size=1), "type": st.just("triage"), "patient": st.just("7"), "occurred_at": MOMENTS}
)
LINES = st.lists(EVENTS, min_size=1).map(lambda events: "\n".join(map(json.dumps, events)).encode())

schemathesis.openapi.media_type("application/hl7-v2", st.binary(min_size=1).map(b"MSH|".__add__))
TOKEN = ADMIN["authorization"].removeprefix("Bearer ")

schemathesis.openapi.format("date-time", MOMENTS)
schemathesis.openapi.media_type(
    "application/x-ndjson", LINES, aliases=["application/jsonl", "application/x-jsonlines"]
)

schema = schemathesis.openapi.from_dict(
    make_app(parts(desk=Desk(None, None, OSError))[0]).openapi(),
    config=SchemathesisConfig.from_dict({"auth": {"openapi": {"HTTPBearer": {"bearer": TOKEN}}}}),
)
schema.config.generation.update(
    modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE], allow_extra_parameters=False
)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving_hospital(tmp_path_factory.mktemp("data")) as world:
        yield world


def not_told_by_the_schema(case):
    """What of an answer does not follow from the schema of the request alone."""
    if case.operation.path == "/fhir":
        return [positive_data_acceptance]  # what an Encounter must have is for FHIR to say
    if isinstance(case.body, list) and len(case.body) > 1:
        return [negative_data_rejection]  # of several items the good ones are taken
    return []


@schema.parametrize()
@settings(max_examples=10, suppress_health_check=list(HealthCheck))
def test_each_operation_does_what_its_document_says(case, served):
    case.call_and_validate(base_url=served.address, excluded_checks=not_told_by_the_schema(case))
    assert served.faults == []
