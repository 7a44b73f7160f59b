"""The shelves of engines: quiet journeys, whose facts are elsewhere already, on disk or in the table of a partition."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from datetime import datetime

from monitor.runtime import cell


class Shelf(MutableMapping[str, bytes]):
    """The patients whose journeys are folded; their facts are read when one is unfolded."""

    def __init__(self, patients: Iterable[str] = ()) -> None:
        self.patients = set(patients)
        self.unfolded: set[str] = set()
        """Whom the engine has taken from the shelf since this was last emptied."""

    @abstractmethod
    def packed(self, patient: str) -> bytes:
        """The facts of a patient, on the shelf or not."""

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


class DiskShelf(Shelf):
    """Over the store of one machine."""

    def __init__(self, facts: Callable[[str, datetime | None], bytes], folded: Iterable[str]) -> None:
        """`facts` gives the facts of a patient, packed: all, or those that arrived before an instant."""
        super().__init__(folded)
        self._facts = facts
        self.before: datetime | None = None
        """Facts from here on have been written, but not shown to the engine yet."""

    def packed(self, patient: str) -> bytes:
        return self._facts(patient, self.before)

    def forget(self, patients: Iterable[str]) -> None:
        """These are no longer known at all."""
        self.patients.difference_update(patients)


class TableShelf(Shelf):
    """Over the table of a partition."""

    def __init__(self, table: Mapping[bytes, bytes]) -> None:
        super().__init__()
        self._table = table

    def packed(self, patient: str) -> bytes:
        """The facts of a patient, on the shelf or not; no facts of one who has moved."""
        return cell.unpack(self._table.get(cell.journey_key(patient), b"[]"))
