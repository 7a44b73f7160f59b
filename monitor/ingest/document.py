"""What the OpenAPI document says of the ways in over HTTP: types of bodies, their schemas, what may go wrong."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from pydantic.json_schema import models_json_schema

from monitor.core.event import Event
from monitor.formats import cloudevents
from monitor.ingest.problem import PROBLEM_TYPE, Problem

JSON: Final = "application/json"
JSON_LINES: Final = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")
EVENT_TYPES: Final = (JSON, *JSON_LINES, cloudevents.STRUCTURED, cloudevents.BATCH)
FHIR: Final = "application/fhir+json"
FHIR_TYPES: Final = (FHIR, JSON)
HL7: Final = "application/hl7-v2"
HL7_TYPES: Final = (HL7, "application/hl7-v2+er7", "x-application/hl7-v2+er7")

PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    status: {
        "description": text,
        "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status, text in {
        400: "The body cannot be read.",
        401: "There is no token, or nobody knows it.",
        403: "The token may not do this.",
        408: "The body did not come in time.",
        413: "The body is too large.",
        415: "The type or the encoding of the body is not one that is read here.",
        422: "Nothing of the body can be used. What was rejected is kept as dead letters, as `rejects` says.",
        503: "It could not be made durable now: send all of it again, after `Retry-After` seconds.",
    }.items()
}
"""Answers that every way in may give, for the OpenAPI document."""


_EXAMPLE: Final = {
    "id": "evt-7",
    "source": "portal",
    "type": "triage",
    "patient": "7001",
    "encounter": "v-12",
    "occurred_at": "2026-03-03T10:00:00+01:00",
    "attributes": {"acuity": 2},
}


def _event_schema() -> dict[str, Any]:
    """The canonical event as its decoder reads it, but for what the monitor sets itself."""
    _, found = msgspec.json.schema_components((Event,), ref_template="#/components/schemas/{name}")
    event: dict[str, Any] = found["Event"]
    reference = found["Ref"]
    properties = event["properties"]
    del properties["arrived_at"]
    del properties["recorded_at"]["default"]
    for name in ("id", "type", "patient"):
        properties[name]["minLength"] = 1
    for name, each in properties.items():
        if {"$ref": "#/components/schemas/Ref"} in each.get("anyOf", ()):
            properties[name] = {"anyOf": [{"type": "string"}, reference, {"type": "null"}], "default": None}
    event["description"] = "One fact about one patient. Fields that are not listed are ignored."
    event["examples"] = [_EXAMPLE]
    return event


def _cloudevent_schema() -> dict[str, Any]:
    text = {"type": "string", "minLength": 1}
    return {
        "type": "object",
        "description": "A CloudEvent 1.0 around an event. Its `data` are the fields of the event that the envelope does not say.",
        "required": ["specversion", "id", "source", "type", "time", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": text,
            "source": text,
            "type": text
            | {"pattern": "[^.]$", "description": "What follows the last dot is the type of the event."},
            "time": {"type": "string", "format": "date-time", "description": "`occurred_at` of the event."},
            "recordedtime": {
                "type": ["string", "null"],
                "format": "date-time",
                "description": "`recorded_at` of the event.",
            },
            "data": {"type": "object", "required": ["patient"], "properties": {"patient": text}},
        },
        "examples": [
            {
                "specversion": "1.0",
                "id": "evt-7",
                "source": "/hospital/portal",
                "type": "adt.transfer",
                "time": "2026-03-03T10:00:00+01:00",
                "data": {"patient": "7001", "encounter": "v-12", "from": "ED", "to": "4W"},
            }
        ],
    }


SCHEMAS: Final[dict[str, Any]] = {
    "Event": _event_schema(),
    "CloudEvent": _cloudevent_schema(),
    **models_json_schema([(Problem, "serialization")], ref_template="#/components/schemas/{model}")[1][
        "$defs"
    ],
}
"""What the bodies of requests and problems look like, for the OpenAPI document."""
_ONE: Final = {"$ref": "#/components/schemas/Event"}
_LINES: Final = {"schema": {"type": "string", "description": "One event in JSON on each line."}}
EVENTS_BODY: Final = {
    "required": True,
    "content": {
        JSON: {"schema": {"anyOf": [_ONE, {"type": "array", "items": _ONE}]}},
        **dict.fromkeys(JSON_LINES, _LINES),
        cloudevents.STRUCTURED: {"schema": {"$ref": "#/components/schemas/CloudEvent"}},
        cloudevents.BATCH: {
            "schema": {"type": "array", "items": {"$ref": "#/components/schemas/CloudEvent"}}
        },
    },
}
FHIR_BODY: Final = {
    "required": True,
    "content": {
        kind: {
            "schema": {
                "type": "object",
                "required": ["resourceType"],
                "properties": {"resourceType": {"type": "string", "examples": ["Encounter", "Bundle"]}},
                "description": "An Encounter, a Bundle with Encounters, or any other resource, which is a sign of life.",
            }
        }
        for kind in FHIR_TYPES
    },
}
_HL7_TEXT: Final = {
    "schema": {
        "type": "string",
        "examples": [
            "MSH|^~\\&|PAS|RGH|||20260303100100||ADT^A02|77|P|2.5\rEVN||20260303100000\rPID|||7001\rPV1||I|4W^3^1|||ED^1^2\r"
        ],
    }
}
HL7_BODY: Final = {"required": True, "content": {HL7: _HL7_TEXT}}
HL7_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    **{status: PROBLEMS[status] for status in (400, 401, 403, 408, 413, 415, 503)},
    200: {
        "description": "The acknowledgments: AA or CA, AE or CE for what was refused.",
        "content": {HL7: {"schema": {"type": "string"}}},
    },
    204: {"description": "The messages ask for no acknowledgment."},
    422: PROBLEMS[422]
    | {"description": "A parameter is not as it should be, or there is no message at all."},
}
