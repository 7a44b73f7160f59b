"""Who may do what over HTTP: bearer tokens with roles, from a file that is read again when it changes."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from hashlib import sha256
from hmac import compare_digest
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import Field, model_validator

from monitor.core.text import Maybe, Model, refuse
from monitor.ingest.http import Sender
from monitor.ingest.problem import Refused
from monitor.log import get_logger
from monitor.rulefile.document import read_mapping
from monitor.rulefile.judge import judge
from monitor.rulefile.problem import Problem, in_order

Role = Literal["sender", "viewer", "clinician", "admin"]
_RANK: Final[dict[Role, int]] = {"viewer": 1, "clinician": 2, "admin": 3}
"""Who reads: each may do what those before may."""
_MAY_POST: Final = ("sender", "admin")
_SHORTEST: Final = 16
_log = get_logger("tokens")
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
"""Headers of those who pass on what others sent."""


class Token(Model):
    """A bearer token: what it lets its holder do, and under which name that is written down."""

    name: str = Field(min_length=1, max_length=100)
    """Who holds it, as the audit log names them: a person, a ward, a machine."""
    role: Role
    """`sender` may only post; `viewer` reads pseudonyms and places; `clinician` all, and acknowledges; `admin` also the audit log."""
    token: Maybe[str] = None
    """The token itself; at least 16 characters."""
    sha256: Maybe[str] = None
    """Or its SHA-256 in hexadecimal, so that the file does not give it away."""
    source: Maybe[str] = None
    """The only source under which it may send events."""

    @model_validator(mode="after")
    def _one_secret(self) -> Token:
        if (self.token is None) == (self.sha256 is None):
            refuse([((), "a token has either `token` or `sha256`")])
        if self.token is not None and (len(self.token) < _SHORTEST or not self.token.isascii()):
            refuse([(("token",), f"a token has at least {_SHORTEST} characters, all of them ASCII")])
        if self.sha256 is not None and not _is_digest(self.sha256):
            refuse([(("sha256",), "a SHA-256 has 64 hexadecimal digits")])
        return self

    def digest(self) -> bytes:
        """The SHA-256 by which it is recognised."""
        if self.sha256 is not None:
            return bytes.fromhex(self.sha256)
        return _digest(self.token or "")


class _TokensFile(Model):
    tokens: list[Token]

    @model_validator(mode="after")
    def _all_different(self) -> _TokensFile:
        names, digests = set[str](), set[bytes]()
        for number, each in enumerate(self.tokens):
            if each.name in names:
                refuse([(("tokens", number, "name"), "another token has this name")])
            if each.digest() in digests:
                refuse([(("tokens", number), "another line has the same token")])
            names.add(each.name)
            digests.add(each.digest())
        return self


class Who(NamedTuple):
    """Who asks."""

    name: str
    role: Role
    source: str | None = None

    def is_at_least(self, role: Role) -> bool:
        """Whether they may read what a role may."""
        return _RANK.get(self.role, 0) >= _RANK[role]

    @property
    def sees_patients(self) -> bool:
        """Whether they may see who the patients are; others see pseudonyms."""
        return self.is_at_least("clinician")


class TokensError(Exception):
    """A tokens file that cannot be used; the text says where and why, and quotes no token."""


class Tokens:
    """The tokens of a file. A changed file counts at the next request; one that is broken changes nothing."""

    def __init__(self, path: Path) -> None:
        """Raises `TokensError`."""
        self._path = path
        self._seen = _stamp(path)
        self._known = _read(path)
        self.problem: str | None = None
        """Why the file as it is now does not count."""

    def find(self, bearer: str) -> Who | None:
        """Whose token it is; None if nobody's. Takes as long whether it is nearly right or not."""
        self._look()
        presented = _digest(bearer)
        found = None
        for digest, who in self._known:
            if compare_digest(digest, presented):
                found = who
        return found

    def _look(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._known = _read(self._path)
        except TokensError as error:
            self.problem = f"{error}; the tokens that were read before still count"
            _log.error("tokens_refused", why=self.problem)
        else:
            self.problem = None
            _log.info("tokens_read", count=len(self._known))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - as cheap as can be, for each request
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def problems_of(name: str, content: bytes) -> list[Problem]:
    """All that is wrong with a tokens file. Nothing of the file is shown: it holds secrets, perhaps in the wrong place."""
    return _judged(name, content)[1]


def _read(path: Path) -> list[tuple[bytes, Who]]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TokensError(f"cannot read {path}: {error.strerror}") from None
    file, problems = _judged(str(path), content)
    if file is None:
        lines = [f"{each.file}:{each.line}:{each.column}: {each.message}" for each in problems]
        raise TokensError("; ".join(lines))
    return [(each.digest(), Who(each.name, each.role, each.source)) for each in file.tokens]


def _judged(name: str, content: bytes) -> tuple[_TokensFile | None, list[Problem]]:
    source, root, problems = read_mapping(name, content)
    if root is None or problems:
        return None, [_hidden(each, each.code) for each in problems]
    file, problems = judge(_TokensFile, root, source)
    return file, in_order([_hidden(each, each.message.partition("; found")[0]) for each in problems])


def _hidden(problem: Problem, message: str) -> Problem:
    """A problem without what was found."""
    return msgspec.structs.replace(problem, message=message, hint=None, excerpt=None)


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()


def _is_digest(text: str) -> bool:
    return len(text) == 64 and all(each in "0123456789abcdefABCDEF" for each in text)


class Access:
    """Decides who asks, and whether they may."""

    def __init__(self, tokens: Tokens | None = None, *, open_to_loopback: bool = False) -> None:
        """Without tokens only this machine may post, and nobody may read; `open_to_loopback` lets this machine read as a viewer."""
        self.tokens = tokens
        self._open_to_loopback = open_to_loopback

    def sender(self) -> Callable[..., Awaitable[Sender]]:
        """The dependency of routes that take events."""

        async def authorise(request: Request, bearer: _Bearer) -> Sender:
            if self.tokens is None:
                if is_this_machine(request):
                    return Sender("loopback")
                raise _unknown(
                    "without a tokens file only this machine may send: name one as `http: {tokens: FILE}`"
                )
            who = self._holder(bearer)
            if who.role not in _MAY_POST:
                raise Refused(403, f"a {who.role} may not send: use a token with the role sender")
            return Sender(who.name, who.source)

        return authorise

    def reader(self, role: Role) -> Callable[..., Awaitable[Who]]:
        """The dependency of routes that need at least a role."""

        async def authorise(request: Request, bearer: _Bearer) -> Who:
            who = self._reader(request, bearer)
            if not who.is_at_least(role):
                raise Refused(403, f"a {who.role} may not do this: use a token with the role {role}")
            return who

        return authorise

    def _reader(self, request: Request, bearer: HTTPAuthorizationCredentials | None) -> Who:
        if bearer is None and self._open_to_loopback and is_this_machine(request):
            return Who("loopback", "viewer")
        if self.tokens is None:
            raise _unknown("without a tokens file nobody may read: name one as `http: {tokens: FILE}`")
        return self._holder(bearer)

    def _holder(self, bearer: HTTPAuthorizationCredentials | None) -> Who:
        if bearer is None:
            raise _unknown("send a token: `Authorization: Bearer TOKEN`")
        who = self.tokens.find(bearer.credentials) if self.tokens is not None else None
        if who is None:
            raise _unknown("nobody knows this token", ' error="invalid_token"')
        return who


_Bearer = Annotated[
    HTTPAuthorizationCredentials | None,
    Depends(HTTPBearer(auto_error=False, description="A token of the tokens file, with its role.")),
]


def _unknown(detail: str, error: str = "") -> Refused:
    challenge = f'Bearer realm="handoff-monitor"{"," if error else ""}{error}'
    return Refused(401, detail, headers={"WWW-Authenticate": challenge})


def is_this_machine(request: Request) -> bool:
    """Whether a request comes from a program on this machine itself.

    One that was passed on came from elsewhere; and one for another host's name comes from a browser that was lured here.
    """
    if request.client is None or any(name in request.headers for name in _FORWARDED):
        return False
    host = request.headers.get("host", "").lower()
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    return _is_loopback(request.client.host) and (name == "localhost" or _is_loopback(name.strip("[]")))


def _is_loopback(address: str) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback
