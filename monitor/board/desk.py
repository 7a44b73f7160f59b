"""What the board needs of a store: to read how things stand, and to write down what people do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

from monitor.core.change import CaseVerdict
from monitor.core.event import Event
from monitor.notify.notice import Notice


class Acknowledged(Protocol):
    """That someone has seen an alert."""

    @property
    def who(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def at(self) -> datetime: ...


class KnownAlert(Protocol):
    """An alert as it stands."""

    @property
    def number(self) -> int:
        """Grows with each alert that fires for the first time."""
        ...

    @property
    def notice(self) -> Notice: ...
    @property
    def acknowledged(self) -> Sequence[Acknowledged]: ...


class KnownCase(Protocol):
    """A case as it stands."""

    @property
    def number(self) -> int:
        """Grows with each case that comes to be known."""
        ...

    @property
    def pseudonym(self) -> str: ...
    @property
    def verdict(self) -> CaseVerdict: ...


class KnownReject(Protocol):
    """A reject, without what it was."""

    @property
    def id(self) -> int:
        """Grows with each reject."""
        ...

    @property
    def state(self) -> str:
        """`kept`, `asked` (to be tried again) or `taken`."""
        ...

    @property
    def origin(self) -> str: ...
    @property
    def where(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def detail(self) -> str: ...
    @property
    def segment(self) -> str | None: ...
    @property
    def field(self) -> str | None: ...
    @property
    def arrived_at(self) -> datetime: ...
    @property
    def attempts(self) -> int: ...
    @property
    def size(self) -> int: ...


class Audited(Protocol):
    """A line of the audit log."""

    @property
    def number(self) -> int: ...
    @property
    def at(self) -> datetime: ...
    @property
    def who(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def action(self) -> str: ...
    @property
    def what(self) -> str: ...


class Reader(Protocol):
    """Answers questions, in any thread. Lists are newest first; `before` is the number of the last one on the page before."""

    def alerts(
        self,
        *,
        state: str | None,
        rule: str | None,
        place: str | None,
        severity: str | None,
        before: int | None,
        limit: int,
    ) -> Sequence[KnownAlert]: ...

    def alert(self, alert: str) -> KnownAlert | None: ...

    def verdicts(
        self,
        *,
        rule: str | None = None,
        verdict: str | None = None,
        overdue: bool | None = None,
        journey: str | None = None,
        before: int | None = None,
        limit: int,
    ) -> Sequence[KnownCase]:
        """Cases; of a journey also those of the patients whom merges link to it."""
        ...

    def patient_of(self, pseudonym: str) -> str | None: ...

    def facts_of(self, pseudonym: str) -> list[Event]:
        """What is known of a patient, and of those whom merges link to it, in order of arrival."""
        ...

    def rejects(
        self, *, state: str | None, reason: str | None, before: int | None, limit: int
    ) -> Sequence[KnownReject]: ...

    def audited(self, *, before: int | None, limit: int) -> Sequence[Audited]: ...


class Ledger(Protocol):
    """Writes down, in any thread, what people do; on return it is on disk."""

    def acknowledge(self, alert: str, who: str, reason: str, at: datetime) -> bool:
        """Mark an alert as seen by someone; false when there is no such alert."""
        ...

    def ask_retry(self, ids: Iterable[int]) -> list[int]:
        """Ask for rejects to be tried again; returns those that there are, and that have not been taken meanwhile."""
        ...

    def audit(self, at: datetime, who: str, role: str, action: str, what: str) -> None: ...


class Desk:
    """A store as the board sees it."""

    def __init__(self, reader: Reader, ledger: Ledger, unavailable: type[Exception]) -> None:
        """`unavailable` is what both raise when the store cannot be read or written now."""
        self.reader = reader
        self.ledger = ledger
        self.unavailable = unavailable
