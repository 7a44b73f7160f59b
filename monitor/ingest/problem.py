"""How a request over HTTP that fails is answered: `application/problem+json` (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

PROBLEM_TYPE: Final = "application/problem+json"


class Trouble(BaseModel):
    """One thing that is wrong with a request."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    where: str
    """The name of the parameter or field."""
    detail: str
    """What is wrong with it; never what stood there."""


class Problem(BaseModel):
    """Why a request was not answered as it was meant (RFC 9457). It never holds anything of a patient."""

    model_config = ConfigDict(
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Service Unavailable",
                    "status": 503,
                    "detail": "the events could not be made durable; nothing of this request was lost: send it again",
                }
            ]
        },
    )

    type: str = "about:blank"
    """Always `about:blank`: the status says what kind of problem it is."""
    title: str
    """The name of the status."""
    status: int
    """The status of the answer."""
    detail: str
    """What is wrong, and what to do about it."""
    errors: list[Trouble] | None = None
    """What is wrong with the parameters or the body, one by one."""


class Refused(Exception):  # noqa: N818 - it is an answer, not a fault
    """A request is answered with a problem; `members` are further keys of its body."""

    def __init__(
        self, status: int, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members

    def body(self) -> dict[str, Any]:
        """The problem as JSON values."""
        title = HTTPStatus(self.status).phrase
        known = {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}
        return known | self.members
