"""The shelf of the live service's engine: quiet journeys, whose facts are on disk already."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableMapping
from datetime import datetime


class DiskShelf(MutableMapping[str, bytes]):
    """The patients whose journeys are folded; their facts are read when one is unfolded."""

    def __init__(self, facts: Callable[[str, datetime | None], bytes], folded: Iterable[str]) -> None:
        """`facts` gives the facts of a patient, packed: all, or those that arrived before an instant."""
        self._facts = facts
        self._patients = set(folded)
        self.before: datetime | None = None
        """Facts from here on have been written, but not shown to the engine yet."""
        self.unfolded: set[str] = set()
        """Whom the engine has taken from the shelf since this was last emptied."""

    def __contains__(self, patient: object) -> bool:
        return patient in self._patients

    def __getitem__(self, patient: str) -> bytes:
        if patient not in self._patients:
            raise KeyError(patient)
        return self._facts(patient, self.before)

    def __setitem__(self, patient: str, packed: bytes) -> None:
        self._patients.add(patient)
        self.unfolded.discard(patient)

    def __delitem__(self, patient: str) -> None:
        self._patients.remove(patient)
        self.unfolded.add(patient)

    def __iter__(self) -> Iterator[str]:
        return iter(self._patients)

    def __len__(self) -> int:
        return len(self._patients)

    def forget(self, patients: Iterable[str]) -> None:
        """These are no longer known at all."""
        self._patients.difference_update(patients)
