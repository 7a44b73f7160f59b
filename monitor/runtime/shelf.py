"""The shelves of engines: quiet journeys, whose facts are elsewhere already, on disk or in the table of a partition."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from datetime import datetime

from monitor.runtime import cell


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


class TableShelf(MutableMapping[str, bytes]):
    """The journeys that are folded; their facts are in the table already."""

    def __init__(self, table: Mapping[bytes, bytes]) -> None:
        self._table = table
        self.patients: set[str] = set()
        self.unfolded: set[str] = set()
        """Whom the engine has taken from the shelf since this was last emptied."""

    def packed(self, patient: str) -> bytes:
        """The facts of a patient in the table, on the shelf or not; none for one who has moved."""
        return cell.unpack(self._table.get(cell.journey_key(patient), b"[]"))

    def __contains__(self, patient: object) -> bool:
        return patient in self.patients

    def __getitem__(self, patient: str) -> bytes:
        if patient not in self.patients:
            raise KeyError(patient)
        return self.packed(patient)

    def __setitem__(self, patient: str, packed: bytes) -> None:
        self.patients.add(patient)
        self.unfolded.discard(patient)

    def __delitem__(self, patient: str) -> None:
        self.patients.remove(patient)
        self.unfolded.add(patient)

    def __iter__(self) -> Iterator[str]:
        return iter(self.patients)

    def __len__(self) -> int:
        return len(self.patients)
