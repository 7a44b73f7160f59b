"""The web application: events in, questions answered, health and metrics shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final, NamedTuple, Protocol

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.board import api
from monitor.board.auth import Access
from monitor.board.desk import Desk
from monitor.core.place import Registry
from monitor.core.rule import RuleBase
from monitor.ingest.body import Limits
from monitor.ingest.document import SCHEMAS
from monitor.ingest.http import make_router
from monitor.ingest.intake import Intake
from monitor.ingest.problem import PROBLEM_TYPE, Refused
from monitor.ingest.subscription import OnGap

_VERSION: Final = "1"
"""Of the API: it only gains keys."""
_HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Finding(BaseModel):
    """Something that is not as it should be."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    what: str
    """The part of the service: `store`, `rules`, `clock`, `sink`, `tokens`, ..."""
    why: str
    """What is wrong, and what to do about it; nothing of patients."""


class Readiness(BaseModel):
    """Whether the service takes and judges events as it should."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    ready: bool
    problems: list[Finding]
    """Why it is not ready."""
    warnings: list[Finding]
    """What should be looked at, though it goes on working."""


class Health(Protocol):
    """What knows how the service is doing. Asked from the event loop: answers at once."""

    def is_alive(self) -> bool:
        """Whether what must run runs."""
        ...

    def problems(self) -> list[tuple[str, str]]:
        """What keeps it from being ready, and why."""
        ...

    def warnings(self) -> list[tuple[str, str]]:
        """What else should be looked at, and why."""
        ...


class Parts(NamedTuple):
    """What the application is made of."""

    intake: Intake | None
    """What takes events over; None: none are taken."""
    access: Access
    health: Health
    metrics: Callable[[str], tuple[bytes, str]]
    """Given the `Accept` of a request, the metrics and their content type; asked in any thread."""
    now: Callable[[], datetime]
    on_gap: OnGap
    on_fault: Callable[[BaseException], None]
    """Is told of what should not have happened; the answer to the request says nothing of it."""
    limits: Limits = Limits()
    desk: Desk | None = None
    """What questions are answered from; without it there are none."""
    rules: Callable[[], Sequence[RuleBase]] = tuple
    """The rules in use."""
    answers: tuple[str, ...] = ("/api/",)
    """How the paths of the questions begin that are answered."""


def make_app(parts: Parts) -> FastAPI:
    """The application with all its routes."""
    app = FastAPI(
        title="handoff-monitor",
        version=_VERSION,
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(_known_parameters)],
        generate_unique_id_function=lambda route: route.name,
    )
    app.add_middleware(_Shell, on_fault=parts.on_fault)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _not_served)
    app.add_exception_handler(ClientDisconnect, _broken_off)
    app.add_exception_handler(RequestValidationError, _not_valid)
    intake, desk = parts.intake, parts.desk
    if intake is not None:
        app.include_router(
            make_router(
                intake, parts.access.sender(), now=parts.now, on_gap=parts.on_gap, limits=parts.limits
            )
        )
    if desk is not None:
        questions = api.make_router(
            desk,
            parts.access,
            registry=lambda: Registry() if intake is None else intake.registry,
            rules=parts.rules,
            now=parts.now,
        )
        questions.routes = [
            each for each in questions.routes if getattr(each, "path", "").startswith(parts.answers)
        ]
        app.include_router(questions)
        app.add_exception_handler(desk.unavailable, _unavailable)
    _add_health(app, parts)
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]  # as FastAPI has it
    return app


def _add_health(app: FastAPI, parts: Parts) -> None:
    @app.get(
        "/healthz",
        tags=["health"],
        summary="Is it alive?",
        response_class=Response,
        responses={503: {"description": "No."}},
    )
    async def healthz() -> Response:
        """Whether the process does its work at all; if not, it is to be started again."""
        return Response(status_code=200 if parts.health.is_alive() else 503)

    @app.get("/readyz", tags=["health"], summary="Is it ready?", responses={503: {"model": Readiness, "description": "No: `problems` says why."}})  # fmt: skip
    async def readyz(response: Response) -> Readiness:
        """Whether events can be taken over and judged now, and what is wrong if not."""
        warnings = parts.health.warnings()
        tokens = parts.access.tokens
        if tokens is not None and tokens.problem:
            warnings.append(("tokens", tokens.problem))
        problems = parts.health.problems()
        response.status_code = 503 if problems else 200
        return Readiness(ready=not problems, problems=_found(problems), warnings=_found(warnings))

    @app.get("/metrics", tags=["health"], summary="Metrics", response_class=Response, responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}})  # fmt: skip
    def metrics(request: Request) -> Response:
        """The metrics, for Prometheus. Nothing in them is about a single patient."""
        content, kind = parts.metrics(request.headers.get("accept", ""))
        return Response(content, headers={"content-type": kind})


def _found(findings: list[tuple[str, str]]) -> list[Finding]:
    return [Finding(what=what, why=why) for what, why in findings]


# --- problems --------------------------------------------------------------------------------------------------


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return JSONResponse(error.body(), error.status, error.headers, PROBLEM_TYPE)


async def _broken_off(request: Request, _: Exception) -> Response:
    return await _refused(request, Refused(400, "the body broke off"))


async def _unavailable(request: Request, _: Exception) -> Response:
    detail = "the store cannot be read or written now; /readyz says why"
    return await _refused(request, Refused(503, detail, headers={"Retry-After": "5"}))


async def _not_served(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = error.status_code
    detail = {
        404: "there is nothing here; /openapi.json lists what there is",
        405: "this cannot be done here; `Allow` says what can",
    }.get(status, HTTPStatus(status).description or str(error.detail))
    return await _refused(request, Refused(status, detail, headers=error.headers))


async def _not_valid(request: Request, error: Exception) -> Response:
    """What is wrong with parameters and bodies; without what stood there, which may be anything."""
    assert isinstance(error, RequestValidationError)
    errors = [
        {"where": ".".join(map(str, each["loc"][1:])) or str(each["loc"][0]), "detail": each["msg"]}
        for each in error.errors()
    ]
    return await _refused(request, Refused(422, "the request is not as the API has it", errors=errors))


async def _known_parameters(request: Request) -> None:
    """A misspelt filter would show everything; it is an error instead."""
    known = {parameter.alias for parameter in request.scope["route"].dependant.query_params}
    if not known.issuperset(request.query_params):
        takes = f"it takes {', '.join(sorted(known))}" if known else "it takes none"
        raise Refused(422, f"there is a query parameter that nobody knows here; {takes}")


class _Shell:
    """Around everything: headers that keep browsers from harm, and an answer to what should not have happened."""

    def __init__(self, app: ASGIApp, on_fault: Callable[[BaseException], None]) -> None:
        self._app = app
        self._on_fault = on_fault

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:  # noqa: BLE001 - whatever it is, its text may hold anything, and stays here
            self._on_fault(error)
            if not begun:
                fault = Refused(500, "something went wrong here; the log of the service says where")
                answer = JSONResponse(fault.body(), 500, None, PROBLEM_TYPE)
                await answer(scope, receive, send_with_headers)


# --- the OpenAPI document --------------------------------------------------------------------------------------


def _document(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            summary="Says which handoffs between clinical microsystems were late, missing or wrong.",
            routes=app.routes,
        )
        document.setdefault("components", {}).setdefault("schemas", {}).update(SCHEMAS)
        for operations in document["paths"].values():
            for operation in operations.values():
                for parameter in operation.get("parameters", ()):
                    _say_once(parameter)
        app.openapi_schema = document
    return app.openapi_schema


def _say_once(parameter: dict[str, Any]) -> None:
    """A parameter that may be left out is not one that may be null: a query has no null."""
    schema = parameter["schema"]
    branches = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    parameter["schema"] = branches[0] if len(branches) == 1 else schema
