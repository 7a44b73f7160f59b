"""Questions about alerts, cases, journeys and rules. Whoever reads what is about patients, or acknowledges, is written down."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool

from monitor.board.auth import Access, Who
from monitor.board.desk import Desk
from monitor.board.shown import (
    Alert,
    Alerts,
    Audit,
    Cases,
    Journey,
    Rejects,
    Rules,
    Severity,
    Verdict,
    alert_shown,
    case_shown,
    line_shown,
    reject_shown,
    rule_shown,
)
from monitor.board.timeline import timeline
from monitor.core.place import Registry
from monitor.core.rule import RuleBase
from monitor.ingest.body import Bodies, Limits
from monitor.ingest.document import PROBLEMS
from monitor.ingest.problem import Refused, Trouble

_PAGE: Final = 100
_LARGEST_PAGE: Final = 500
_MOST_CASES: Final = 2_000
"""Cases of one journey that are shown."""
_LONGEST_QUERY: Final = 500
_HIGHEST: Final = 2**62
_NO_CONTROLS: Final = r"^[^\x00-\x1f\x7f]*$"

_Before = Annotated[
    int | None,
    Query(ge=1, le=_HIGHEST, description="The `next` of the page before; without it, the first page."),
]
_Limit = Annotated[int, Query(ge=1, le=_LARGEST_PAGE, description="How many at most.")]
_Word = Annotated[str | None, Query(min_length=1, max_length=200, pattern=_NO_CONTROLS)]
_Pseudonym = Annotated[str, Path(pattern="^[a-z2-7]{10}$", description="A patient's pseudonym, as alerts and cases have it.")]  # fmt: skip
_PseudonymQuery = Annotated[
    str | None, Query(pattern="^[a-z2-7]{10}$", description="Only of this journey: a patient's pseudonym.")
]


class Seen(BaseModel):
    """That someone has seen an alert, and what they do about it."""

    model_config = ConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [{"reason": "bed is being cleaned, transfer at 15:30", "who": "A. Lee, RN"}]
        },
    )

    reason: str = Field(min_length=1, max_length=500, pattern=_NO_CONTROLS)
    """What is being done, or why nothing need be."""
    who: str | None = Field(default=None, min_length=1, max_length=100, pattern=_NO_CONTROLS)
    """Who it is, where several share a token; written down beside the name of the token."""


def _answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    texts = {
        401: "There is no token, or nobody knows it.",
        403: "The role of the token may not do this.",
        404: "There is none of that name.",
        422: "A parameter is not as it should be; `errors` says which.",
        503: "The store cannot be read or written now.",
    }
    return {
        status: {**PROBLEMS[status], "description": texts.get(status, PROBLEMS[status]["description"])}
        if status in PROBLEMS
        else {**PROBLEMS[401], "description": texts[status]}
        for status in statuses
    }


def make_router(
    desk: Desk,
    access: Access,
    *,
    registry: Callable[[], Registry],
    rules: Callable[[], Sequence[RuleBase]],
    now: Callable[[], datetime],
) -> APIRouter:
    """The routes below `/api`."""
    router = APIRouter(prefix="/api", tags=["questions"], responses=_answers(401, 403, 422, 503))
    bodies = Bodies(Limits(largest_bytes=1 << 14, held_bytes=1 << 22))
    reader = desk.reader
    Viewer = Annotated[Who, Depends(access.reader("viewer"))]  # noqa: N806 - a type
    Clinician = Annotated[Who, Depends(access.reader("clinician"))]  # noqa: N806 - likewise
    Admin = Annotated[Who, Depends(access.reader("admin"))]  # noqa: N806 - likewise

    def note(who: Who, request: Request, journeys: Iterable[str | None] = ()) -> None:
        """Write down who reads what, before it is shown."""
        query = f"?{request.url.query[:_LONGEST_QUERY]}" if request.url.query else ""
        seen = ", ".join(sorted({journey for journey in journeys if journey}))
        what = f"{request.url.path}{query}" + (f": {seen}" if seen else "")
        desk.ledger.audit(now(), who.name, who.role, "read", what)

    @router.get("/alerts", summary="Alerts")
    def get_alerts(
        request: Request,
        who: Viewer,
        state: Annotated[Literal["firing", "resolved"] | None, Query()] = None,
        rule: _Word = None,
        place: _Word = None,
        severity: Annotated[Severity | None, Query()] = None,
        before: _Before = None,
        limit: _Limit = _PAGE,
    ) -> Alerts:
        """Alerts as they stand, those that fired last for the first time before the others."""
        found = reader.alerts(
            state=state, rule=rule, place=place, severity=severity, before=before, limit=limit
        )
        shown = [alert_shown(each, with_patient=who.sees_patients) for each in found]
        note(who, request, (each.journey for each in shown))
        return Alerts(alerts=shown, next=_next([each.number for each in found], limit))

    @router.get("/alerts/{alert}", summary="One alert", responses=_answers(404))
    def get_alert(request: Request, who: Viewer, alert: UUID) -> Alert:
        """One alert, with who has seen it."""
        known = reader.alert(str(alert))
        if known is None:
            raise Refused(404, "there is no alert of this id")
        shown = alert_shown(known, with_patient=who.sees_patients)
        note(who, request, [shown.journey])
        return shown

    @router.post(
        "/alerts/{alert}/ack",
        summary="Say that an alert was seen",
        responses=_answers(400, 404, 408, 413, 415),
        openapi_extra={"requestBody": _SEEN_BODY},
    )
    async def post_ack(request: Request, who: Clinician, alert: UUID) -> Alert:
        """Note that someone has seen an alert, and what they do. The alert goes on until its case is right or over."""
        seen = await _seen(request, bodies)
        name = who.name if seen.who is None else f"{seen.who} ({who.name})"

        def write_down() -> Alert:
            if reader.alert(str(alert)) is None:
                raise Refused(404, "there is no alert of this id")
            desk.ledger.audit(now(), name, who.role, "acknowledge", str(alert))
            desk.ledger.acknowledge(str(alert), name, seen.reason, now())
            known = reader.alert(str(alert))
            if known is None:
                raise Refused(404, "the alert is no longer there")
            return alert_shown(known, with_patient=who.sees_patients)

        return await run_in_threadpool(write_down)

    @router.get("/verdicts", summary="Verdicts")
    def get_verdicts(
        request: Request,
        who: Viewer,
        rule: _Word = None,
        verdict: Annotated[Verdict | None, Query()] = None,
        overdue: Annotated[
            bool | None, Query(description="Whether past their deadline and still open.")
        ] = None,
        journey: _PseudonymQuery = None,
        before: _Before = None,
        limit: _Limit = _PAGE,
    ) -> Cases:
        """Cases with their verdicts, those that came to be known last before the others."""
        found = reader.verdicts(
            rule=rule, verdict=verdict, overdue=overdue, journey=journey, before=before, limit=limit
        )
        shown = [case_shown(each, with_patient=who.sees_patients) for each in found]
        note(who, request, (each.journey for each in shown))
        return Cases(verdicts=shown, next=_next([each.number for each in found], limit))

    @router.get("/journeys/{journey}", summary="One journey", responses=_answers(404))
    def get_journey(request: Request, who: Viewer, journey: _Pseudonym) -> Journey:
        """What was told of a patient and what counts of it, where the patient was, and each case with its evidence."""
        patient = reader.patient_of(journey)
        if patient is None:
            raise Refused(404, "there is no journey of this name")
        note(who, request)
        return timeline(
            journey,
            patient,
            reader.facts_of(journey),
            reader.verdicts(journey=journey, limit=_MOST_CASES),
            registry(),
            now(),
            with_patient=who.sees_patients,
        )

    @router.get("/rules", summary="Rules in use", dependencies=[Depends(access.reader("viewer"))])
    def get_rules() -> Rules:
        """The rules as they are in use now."""
        return Rules(rules=[rule_shown(rule) for rule in rules()])

    @router.get("/rejects", summary="Rejects")
    def get_rejects(
        request: Request,
        who: Admin,
        state: Annotated[Literal["kept", "asked", "taken"] | None, Query()] = None,
        reason: _Word = None,
        before: _Before = None,
        limit: _Limit = _PAGE,
    ) -> Rejects:
        """Messages that could not be used, the last ones first, without what they were."""
        found = reader.rejects(state=state, reason=reason, before=before, limit=limit)
        note(who, request)
        shown = [reject_shown(each) for each in found]
        return Rejects(rejects=shown, next=_next([each.id for each in found], limit))

    @router.post("/rejects/{reject}/retry", status_code=202, summary="Try a reject again", response_class=Response, responses=_answers(404))  # fmt: skip
    def post_retry(
        who: Admin,
        reject: Annotated[int, Path(ge=1, le=_HIGHEST)],
    ) -> Response:
        """Have a message that could not be used read again soon: after a profile was mended, say."""
        desk.ledger.audit(now(), who.name, who.role, "retry", f"reject {reject}")
        if not desk.ledger.ask_retry([reject]):
            raise Refused(404, "there is no reject of this number that was not taken since")
        return Response(status_code=202)

    @router.get("/audit", summary="Who read and did what")
    def get_audit(
        request: Request,
        who: Admin,
        before: _Before = None,
        limit: _Limit = _PAGE,
    ) -> Audit:
        """The audit log, its last lines first. Only an admin may read it, and that is written down, too."""
        found = reader.audited(before=before, limit=limit)
        note(who, request)
        lines = [line_shown(line) for line in found]
        return Audit(lines=lines, next=_next([each.number for each in found], limit))

    return router


def _next(numbers: Sequence[int], limit: int) -> int | None:
    """Before which number the next page begins, after one of these; None: this was the last."""
    return numbers[-1] if len(numbers) == limit else None


async def _seen(request: Request, bodies: Bodies) -> Seen:
    """The body of an acknowledgment. Raises `Refused`."""
    headers = request.headers
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(415, "Content-Type must be application/json")
    encoding = headers.get("content-encoding", "").strip().lower()
    content = await bodies.whole(request.stream(), encoding, headers.get("content-length"))
    try:
        return Seen.model_validate_json(content)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        errors = [
            Trouble(where=".".join(map(str, each["loc"])) or "body", detail=each["msg"]).model_dump()
            for each in found
        ]
        raise Refused(422, "the body is not as it should be", errors=errors) from None


_SEEN_BODY: Final = {"required": True, "content": {"application/json": {"schema": Seen.model_json_schema()}}}
