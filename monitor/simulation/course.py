"""One patient's course while it is being lived: what is noted, and where the patient is."""

from __future__ import annotations

from monitor.simulation.clock import DAY, HOUR
from monitor.simulation.hospital import Bed, Hospital, Place
from monitor.simulation.journey import Attribute, Fact, Seconds


class Course:
    """The facts of one person so far, in the order in which they were noted.

    Source, visit and the place left are filled in here; how the facts are told, when all is over.
    """

    def __init__(self, hospital: Hospital) -> None:
        self.hospital = hospital
        self.chance = hospital.chance
        self.clock = hospital.clock
        self.patient = hospital.new_patient()
        self.facts: list[Fact] = []
        self.withdrawn: list[tuple[Fact, Seconds]] = []
        """Orders that were taken back, and when."""
        self.visit: str | None = None
        self.location: str | None = None
        self.says_from = hospital.chance.happens(0.9)

    def open_visit(self) -> None:
        """A new visit begins; the patient is nowhere yet."""
        self.visit = self.hospital.new_visit()
        self.location = None

    def new_number(self, closed_at: Seconds) -> None:
        """The visit goes on under a new number; the old one is closed when somebody sees that it is open, if ever."""
        if not self.chance.happens(0.25):
            self.order("discharge", closed_at, disposition="transferred")
        self.visit = self.hospital.new_visit()

    def note(self, type_: str, at: Seconds, **attributes: Attribute) -> Fact:
        """A milestone of the visit, in the electronic record."""
        return self._note(self.hospital.epr, type_, at, self.visit, None, None, attributes)

    def note_outside(self, source: str, type_: str, at: Seconds, to: str | None = None) -> Fact:
        """A milestone told by another organisation, which does not know the visit."""
        return self._note(source, type_, at, None, None, to, {})

    def order(self, type_: str, at: Seconds, to: str | None = None, **attributes: Attribute) -> Fact:
        """An administrative fact that moves nobody."""
        from_ = self.location if self.says_from else None
        return self._note(self.hospital.pas, type_, at, self.visit, from_, to, attributes)

    def ask_for(self, type_: str, at: Seconds, place: Place | None) -> Fact:
        """An order, with a number, to bring the patient to a place; to none in particular where it is None."""
        to = None if place is None else self.hospital.at(place)
        return self.order(type_, at, to, order=self.hospital.new_order())

    def move(self, type_: str, at: Seconds, to: str | None = None, **attributes: Attribute) -> Fact:
        """The patient comes, moves or goes."""
        fact = self.order(type_, at, to, **attributes)
        if type_ != "depart":
            self.location = to
        return fact

    def undo_plans(self, after: Seconds) -> None:
        """What was going to happen in the visit does not, for it is over."""
        self.facts = [fact for fact in self.facts if fact.at < after or fact.visit != self.visit]

    def bed(self, place: Place, at: Seconds, patience: Seconds = 2 * DAY) -> Bed:
        """A bed in a place, from that instant or as soon after as there is one; a bed more is put up after long waiting."""
        beds = self.hospital.beds[place.id]
        if beds.wait(at) <= patience:
            return beds.take(at)
        return Bed(at + patience, -1, self.hospital.at(place, "COR", "1"))

    def leave_bed(self, place: Place, bed: Bed, at: Seconds) -> None:
        """The bed is free again once it has been cleaned."""
        if bed.number >= 0:
            cleaned = 15 * 60 if place.kind == "ed" else HOUR
            self.hospital.beds[place.id].free(bed, at + cleaned)

    def _note(
        self,
        source: str,
        type_: str,
        at: Seconds,
        visit: str | None,
        from_: str | None,
        to: str | None,
        attributes: dict[str, Attribute],
    ) -> Fact:
        fact = Fact("", source, type_, at, self.patient, visit, from_, to, attributes, [])
        self.facts.append(fact)
        return fact
