"""Events over HTTP: `POST /events` takes JSON, JSON lines and CloudEvents, `POST /fhir` FHIR, `POST /hl7` HL7 v2.

What an answer says was taken over is on disk.

What cannot be used is kept as a dead letter, counted, and said in the answer by its position in the body; when nothing
of a body can be used the answer is 422. An answer of 503 means that nothing is lost by sending it all again: an event
that was taken before is a duplicate.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from itertools import count
from sys import intern
from typing import Annotated, Final, NamedTuple

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.requests import ClientDisconnect

from monitor.core.event import Event
from monitor.core.place import Registry
from monitor.formats import canonical, cloudevents, fhir, hl7, mllp
from monitor.formats.reject import Reject
from monitor.ingest.body import Bodies, Limits
from monitor.ingest.document import (
    EVENT_TYPES,
    EVENTS_BODY,
    FHIR,
    FHIR_BODY,
    FHIR_TYPES,
    HL7,
    HL7_ANSWERS,
    HL7_BODY,
    HL7_TYPES,
    JSON_LINES,
    PROBLEMS,
)
from monitor.ingest.intake import LARGEST_BATCH, Intake, Message, NotTaken, Origin, Position
from monitor.ingest.problem import Refused
from monitor.ingest.subscription import OnGap, Subscriptions

_TOLD: Final = 100
"""How many rejects an answer lists."""
_RETRY_AFTER: Final = {"Retry-After": "5"}

_Found = list[Event] | Reject
_array = msgspec.json.Decoder(list[msgspec.Raw])


WRONG_SOURCE: Final = "wrong-source"
"""The reason of rejects that their sender was not allowed to send."""
_NOT_ITS_SOURCE: Final = "this token may only send under the source that it was made for"


class Sender(NamedTuple):
    """Who posts, as the token says."""

    name: str
    source: str | None = None
    """The only source under which they may send; None: any."""


class Rejected(BaseModel):
    """An item of the body that cannot be used."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    index: int
    """Which one, from 0; of JSON lines the number of the line, from 0."""
    reason: str
    """A short stable word."""
    detail: str
    """What is wrong, and what to do about it."""
    field: str | None
    """Where in the item; null when all of it is meant."""


class Taken(BaseModel):
    """What became of a body. All of it is on disk: the events, and the bytes of what was rejected."""

    model_config = ConfigDict(
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [
                {
                    "accepted": 2,
                    "rejected": 1,
                    "rejects": [
                        {
                            "index": 1,
                            "reason": "not-an-event",
                            "detail": "Expected `datetime` with a timezone component",
                            "field": "occurred_at",
                        }
                    ],
                }
            ]
        },
    )

    accepted: int = 0
    """How many events, or FHIR Encounters, were taken over; repeats are among them, and change nothing."""
    rejected: int = 0
    """How many items cannot be used. They are kept as dead letters."""
    rejects: list[Rejected] = []
    """The first hundred of these."""


_SourceQuery = Annotated[
    str, Query(max_length=200, description="The source of events that do not name theirs.")
]


def make_router(
    intake: Intake,
    authorise: Callable[..., Awaitable[Sender]],
    *,
    now: Callable[[], datetime],
    on_gap: OnGap,
    limits: Limits | None = None,
) -> APIRouter:
    """The routes by which events come in.

    `authorise` is a dependency that says who posts, or raises `Refused`. `on_gap` is told of notifications that a FHIR
    subscription lost on their way.
    """
    router = APIRouter(tags=["events"])
    bodies = Bodies(limits or Limits())
    started_at = format(int(now().timestamp()), "X")
    subscriptions = Subscriptions(intake, on_gap)
    numbers = (f"{started_at}-{number}" for number in count(1))

    @router.post(
        "/events",
        status_code=202,
        summary="Send events",
        response_model=Taken,
        responses=PROBLEMS,
        openapi_extra={"requestBody": EVENTS_BODY},
    )
    async def post_events(
        request: Request, sender: Annotated[Sender, Depends(authorise)], source: _SourceQuery = ""
    ) -> JSONResponse:
        """Take canonical events over: one, an array, JSON lines, or CloudEvents in any mode. An event that comes twice counts once."""
        delivery = _Delivery(intake, "http", _claim(sender, source))
        return await _answered(delivery, _take_events(request, bodies, delivery))

    @router.post(
        "/fhir",
        status_code=202,
        summary="Send FHIR",
        response_model=Taken,
        responses=PROBLEMS | {200: {"model": Taken, "description": "A heartbeat or handshake was noted."}},
        openapi_extra={"requestBody": FHIR_BODY},
    )
    async def post_fhir(
        request: Request, sender: Annotated[Sender, Depends(authorise)], source: _SourceQuery = ""
    ) -> JSONResponse:
        """Take FHIR (R4 or R5, JSON) over: an Encounter, a Bundle of them, or what a subscription sends."""
        delivery = _Delivery(intake, "fhir", _claim(sender, source))
        return await _answered(delivery, _take_fhir(request, bodies, delivery, subscriptions, now))

    @router.post(
        "/hl7",
        summary="Send HL7 v2",
        response_class=Response,
        responses=HL7_ANSWERS,
        openapi_extra={"requestBody": HL7_BODY},
    )
    async def post_hl7(
        request: Request, sender: Annotated[Sender, Depends(authorise)], source: _SourceQuery = ""
    ) -> Response:
        """Take HL7 v2 messages over; the answer is the acknowledgment that MLLP would give."""
        _media_type(request, HL7_TYPES)
        content = await bodies.whole(*_body_of(request))
        if not content.strip():
            raise Refused(422, "there is no message in the body")
        messages = _read_hl7(content, intake.registry, _claim(sender, source))
        if any(each.reject is not None and each.reject.reason == WRONG_SOURCE for each in messages):
            raise Refused(403, _NOT_ITS_SOURCE)  # an acknowledgment would say that it was taken over
        try:
            await intake.take(messages)
        except NotTaken as error:
            raise Refused(503, f"not made durable: {error}; send it again", headers=_RETRY_AFTER) from None
        answers = b"".join(_acknowledgment(each, intake.registry, next(numbers), now()) for each in messages)
        return Response(answers, 200 if answers else 204, media_type=f"{HL7}; charset=utf-8")

    return router


class _Claim(NamedTuple):
    """Under which source a sender's events count."""

    default: str
    only: str | None


def _claim(sender: Sender, source: str) -> _Claim:
    if sender.source is not None and source not in ("", sender.source):
        raise Refused(403, _NOT_ITS_SOURCE)
    return _Claim(sender.source or source, sender.source)


def _claimed(found: _Found, claim: _Claim) -> _Found:
    """What was found, under the source that it names, or else that of the sender."""
    if isinstance(found, Reject):
        return found
    for event in found:
        if not event.source:
            event.source = intern(claim.default)
        elif claim.only is not None and event.source != claim.only:
            return Reject(WRONG_SOURCE, _NOT_ITS_SOURCE, field="source")
    return found


class _Delivery:
    """The items of one request on their way in, and what has become of them so far."""

    def __init__(self, intake: Intake, origin: Origin, claim: _Claim) -> None:
        self.intake = intake
        self.origin = origin
        self.claim = claim
        self.taken = Taken()
        self.status = 202
        self._items = 0

    async def take(self, items: Iterable[tuple[bytes | msgspec.Raw, _Found]]) -> None:
        """Take the next items over, each with its bytes. Raises `NotTaken`, and then none of them was."""
        events: list[Event] = []
        messages: list[Message] = []
        rejects: list[Rejected] = []
        index = self._items
        for index, (content, read) in enumerate(items, start=self._items):
            found = _claimed(read, self.claim)
            if isinstance(found, Reject):
                messages.append(self.dead_letter(bytes(content), index, found))
                rejects.append(_rejected(index, found))
            else:
                events += found
        if events:
            messages.append(Message(origin=self.origin, content=b"", events=events))
        if messages:
            await self.intake.take(messages)
        self._items = index + 1
        self.note(len(events), rejects)

    def dead_letter(self, content: bytes, index: int, reject: Reject) -> Message:
        where, source = f"item {index}", self.claim.default
        return Message(origin=self.origin, content=content, where=where, reject=reject, source=source)

    def note(self, accepted: int, rejects: Sequence[Rejected]) -> None:
        """Add to the answer what has been taken."""
        self.taken.accepted += accepted
        self.taken.rejected += len(rejects)
        self.taken.rejects += rejects[: _TOLD - len(self.taken.rejects)]


def _rejected(index: int, reject: Reject) -> Rejected:
    return Rejected(index=index, reason=reject.reason, detail=reject.detail, field=reject.field)


async def _answered(delivery: _Delivery, work: Awaitable[None]) -> JSONResponse:
    """The answer to a request: what was taken; or a problem, which also says what was taken before it."""
    taken = delivery.taken
    try:
        await work
    except ClientDisconnect:
        raise Refused(400, "the body broke off", **taken.model_dump()) from None
    except NotTaken as error:
        detail = f"not made durable: {error}; send all of it again, repeats change nothing"
        raise Refused(503, detail, headers=_RETRY_AFTER, **taken.model_dump()) from None
    except Refused as error:
        error.members = taken.model_dump() | error.members
        raise
    if taken.rejected and not taken.accepted:
        detail = "nothing of the body can be used; it is kept as dead letters"
        raise Refused(422, detail, **taken.model_dump())
    return JSONResponse(taken.model_dump(), delivery.status)


# --- /events ---------------------------------------------------------------------------------------------------


async def _take_events(request: Request, bodies: Bodies, delivery: _Delivery) -> None:
    kind = _media_type(request, EVENT_TYPES)
    if kind in JSON_LINES:
        async for lines in bodies.lines(*_body_of(request), at_most=LARGEST_BATCH):
            await delivery.take((line, canonical.read(line) if line.strip() else []) for line in lines)
        return
    content = await bodies.whole(*_body_of(request))
    if kind == cloudevents.STRUCTURED:
        await delivery.take([(content, cloudevents.read(content))])
    elif kind == cloudevents.BATCH:
        await _take_array(content, cloudevents.read, delivery)
    elif f"{cloudevents.HEADER}specversion" in request.headers:
        content = cloudevents.structured(request.headers, content)
        await delivery.take([(content, cloudevents.read(content))])
    elif content.lstrip()[:1] == b"[":
        await _take_array(content, canonical.read, delivery)
    else:
        await delivery.take([(content, canonical.read(content))])


async def _take_array(content: bytes, read: Callable[[bytes], _Found], delivery: _Delivery) -> None:
    try:
        items = _array.decode(content)
    except canonical.ERRORS as error:
        await delivery.take([(content, canonical.reject(error))])
        return
    for start in range(0, len(items), LARGEST_BATCH):
        part = map(bytes, items[start : start + LARGEST_BATCH])
        await delivery.take((each, read(each)) for each in part)


def _media_type(request: Request, allowed: Sequence[str]) -> str:
    """The type of the body, which must be one that is read here; its charset, if it names one, must be UTF-8."""
    kind, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    kind = kind.strip()
    if kind not in allowed:
        elsewhere = " (FHIR is posted to /fhir)" if kind == FHIR else ""
        raise Refused(415, f"Content-Type must be one of {', '.join(allowed)}{elsewhere}")
    if "charset=" in parameters and "utf-8" not in parameters:
        raise Refused(415, "the charset of a body must be utf-8")
    return kind


def _body_of(request: Request) -> tuple[AsyncIterator[bytes], str, str | None]:
    """The chunks of a body, its encoding, and how long it says that it is."""
    encoding = request.headers.get("content-encoding", "").strip().lower()
    return request.stream(), encoding, request.headers.get("content-length")


# --- /fhir -----------------------------------------------------------------------------------------------------


async def _take_fhir(
    request: Request,
    bodies: Bodies,
    delivery: _Delivery,
    subscriptions: Subscriptions,
    now: Callable[[], datetime],
) -> None:
    _media_type(request, FHIR_TYPES)
    content = await bodies.whole(*_body_of(request))
    found = fhir.decode(content, delivery.intake.registry, delivery.claim.default)
    if isinstance(found, Reject):
        await delivery.take([(content, found)])
        return
    if found.kind != "events":
        delivery.status = 200
    messages = [Message(origin="fhir", content=content, visit=visit) for visit in found.visits]
    if found.rejects:  # one dead letter, for it holds all of the document
        messages.append(delivery.dead_letter(content, 0, found.rejects[0]))
    if not messages:
        found.heard_at = found.heard_at or now()
        messages.append(Message(origin="fhir", content=b"", events=found.heartbeat()))
    async with subscriptions.turn_of(found) as position:
        await _take_all(delivery.intake, messages, position)
    delivery.note(len(found.visits), [_rejected(0, reject) for reject in found.rejects])


async def _take_all(intake: Intake, messages: Sequence[Message], position: Position | None) -> None:
    """Take messages over in parts, with the position at the last."""
    for start in range(0, len(messages), LARGEST_BATCH):
        end = start + LARGEST_BATCH
        await intake.take(messages[start:end], position if end >= len(messages) else None)


# --- /hl7 ------------------------------------------------------------------------------------------------------


def _read_hl7(content: bytes, registry: Registry, claim: _Claim) -> list[Message]:
    """The messages of a body, each with its events or why there are none."""
    messages = []
    for index, each in enumerate(mllp.in_frame(content.strip(mllp.START + mllp.END))):
        message = Message(origin="http", content=each, where=f"item {index}")
        found = _claimed(hl7.decode(each, registry), claim)
        if isinstance(found, Reject):
            message.reject, message.source = found, mllp.header(each).source()
        else:
            message.events = found
        messages.append(message)
    return messages


def _acknowledgment(message: Message, registry: Registry, control_id: str, now: datetime) -> bytes:
    """The acknowledgment that a message asks for; empty when it asks for none."""
    sent = mllp.header(message.content)
    code = mllp.answer(sent, message.reject, registry.source(sent.source()).rejects)
    if code is None:
        return b""
    error = message.reject if code in ("AE", "CE") else None
    return mllp.acknowledge(sent, code, control_id=control_id, at=now, error=error)
