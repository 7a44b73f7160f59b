"""The simulated hospital: its microsystems, their beds, and the registry that tells them to the monitor."""

from __future__ import annotations

from bisect import bisect_right
from datetime import date, timedelta
from typing import Final, NamedTuple

from monitor.simulation.chance import Chance
from monitor.simulation.clock import DAY, HOUR, clock, midnight
from monitor.simulation.journey import Seconds


class Options(NamedTuple):
    """What is simulated. Shares are of all that is charted; the same options give the same bytes.

    `wards` is how many of the six wards a hospital has; arrivals, and all beds but those of the wards, are in proportion.
    """

    seed: int = 1
    start: date = date(2026, 1, 5)
    days: int = 14
    hospitals: int = 1
    wards: int = 6
    cancels: float = 0.02
    disorder: float = 0.05
    duplicates: float = 0.01
    updates: float = 0.0

    @property
    def end(self) -> Seconds:
        """The end of the log, and where the clock stands for the truth: the midnight that ends the last day."""
        return midnight(self.start + timedelta(days=self.days))


class Place(NamedTuple):
    """A microsystem. `points` are the points of care that it owns, `beds` how many there are at the first of them."""

    id: str
    name: str
    kind: str
    tags: str
    parent: str
    hours: str | None
    points: tuple[str, ...]
    beds: int
    stay: Seconds
    """How long one is here, about: the beds that are taken when the log begins become free over such a time."""


AMU: Final = Place(
    "amu", "Acute medical unit", "ward", "assessment", "medicine", None, ("AMU",), 48, 24 * HOUR
)
WARD_4W: Final = Place(
    "ward-4w", "Ward 4 West, acute medicine", "ward", "base-ward", "medicine", None, ("4W",), 46, 5 * DAY
)
WARD_6E: Final = Place(
    "ward-6e", "Ward 6 East, general medicine", "ward", "base-ward", "medicine", None, ("6E",), 48, 5 * DAY
)
WARD_5S: Final = Place("ward-5s", "Ward 5 South, surgery", "ward", "", "surgery", None, ("5S",), 60, 3 * DAY)
STROKE_UNIT: Final = Place(
    "stroke-unit", "Stroke unit", "stroke", "", "medicine", None, ("ASU",), 14, 7 * DAY
)
MENTAL_HEALTH: Final = Place(
    "mental-health", "Mental-health ward", "mental-health", "", "psychiatry", None, ("MHU",), 22, 12 * DAY
)
ED: Final = Place(
    "ed", "Emergency department", "ed", "front-door", "riverside", "always", ("ED", "RESUS"), 46, 3 * HOUR
)
ICU: Final = Place(
    "icu", "Intensive care unit", "icu", "critical-care", "surgery", None, ("ICU",), 18, 2 * DAY
)
THEATRE: Final = Place(
    "theatre", "Operating theatres", "theatre", "", "surgery", None, ("TH1", "TH2", "TH3", "TH4"), 4, 2 * HOUR
)
PACU: Final = Place("pacu", "Recovery", "pacu", "critical-care", "surgery", None, ("PACU",), 14, HOUR)
LOUNGE: Final = Place(
    "discharge-lounge",
    "Discharge lounge",
    "lounge",
    "",
    "riverside",
    "weekdays 08:00-20:00",
    ("DL",),
    12,
    HOUR,
)
PRACTICE: Final = Place(
    "family-practice",
    "Riverside family practice",
    "practice",
    "",
    "community",
    "weekdays 08:00-18:30",
    ("GP-RIVERSIDE",),
    2,
    HOUR,
)  # fmt: skip
WARDS: Final = (WARD_4W, AMU, WARD_5S, WARD_6E, STROKE_UNIT, MENTAL_HEALTH)
ELSEWHERE: Final = (ED, ICU, THEATRE, PACU, LOUNGE, PRACTICE)

ANNEX: Final = ("XRAY", "ANNEX", "1")
"""Point of care, room and bed of a place that no microsystem owns: nobody told the monitor of it."""


class Bed(NamedTuple):
    """A bed that was given to a patient, from an instant on."""

    at: Seconds
    number: int
    location: str


class Beds:
    """The beds of one place: when each becomes free, the next one first.

    Who needs a bed gets the one that became free last before that, so that none stands empty for long; where all are
    taken, the one that becomes free first. Waiting arises from that alone.
    """

    def __init__(self, place: Place, facility: str, number: int, chance: Chance, start: Seconds) -> None:
        point = place.points[0]
        self.locations = [f"{point}^{1 + bed // 4}^{'ABCD'[bed % 4]}^{facility}" for bed in range(number)]
        self._free = sorted(
            (start + (chance.between(0, place.stay) if chance.happens(0.85) else 0), bed)
            for bed in range(number)
        )

    def wait(self, at: Seconds) -> Seconds:
        """How long one who needs a bed at an instant has to wait for it."""
        return max(0, self._free[0][0] - at)

    def take(self, at: Seconds) -> Bed:
        """A bed from that instant on, or as soon after it as there is one."""
        free = self._free
        later = bisect_right(free, (at, len(self.locations)))
        free_at, number = free.pop(max(later - 1, 0))
        return Bed(max(at, free_at), number, self.locations[number])

    def free(self, bed: Bed, at: Seconds) -> None:
        """The bed is free again from that instant on."""
        item = (at, bed.number)
        self._free.insert(bisect_right(self._free, item), item)


class Hospital:
    """One hospital of several: its beds, its clock, its chance, and the numbers that it gives out."""

    def __init__(self, options: Options, number: int) -> None:
        several = options.hospitals > 1
        self.options = options
        self.number = number
        self.facility = f"H{number}" if several else "RGH"
        self.clock = clock(options.start, options.days)
        self.chance = Chance(f"{options.seed}/{self.facility}")
        self.size = options.wards / len(WARDS)
        self.wards = WARDS[: options.wards]
        self.beds = {
            place.id: Beds(place, self.facility, self._bed_count(place), self.chance, self.clock.start)
            for place in (*self.wards, *ELSEWHERE)
        }
        self.pas = f"PAS/{self.facility}"
        self.epr, self.ambulance, self.practice = (
            f"{name}/{self.facility}" if several else name for name in ("EPR", "AMB", "GP")
        )
        self.annex = "^".join((*ANNEX, self.facility))
        self.patients = self.visits = self.orders = 0
        self.messages: dict[str, int] = dict.fromkeys((self.pas, self.epr, self.ambulance, self.practice), 0)

    def _bed_count(self, place: Place) -> int:
        return place.beds if place in self.wards else max(3, round(place.beds * self.size))

    def ward(self, wanted: Place) -> Place:
        """The ward that is wanted, or the first one where this hospital has it not."""
        return wanted if wanted in self.wards else self.wards[0]

    def at(self, place: Place, room: str = "", bed: str = "", point: int = 0) -> str:
        """The raw location of a room of a place; of the place as a whole when no room is given."""
        return f"{place.points[point]}^{room}^{bed}^{self.facility}"

    def new_patient(self) -> str:
        """A patient number; no two hospitals share one."""
        self.patients += 1
        return f"{self.number}{self.patients:06}"

    def new_visit(self) -> str:
        """A visit number; no two hospitals share one."""
        self.visits += 1
        return f"V{self.number}{self.visits:06}"

    def new_order(self) -> str:
        """The number of an order; no two hospitals share one."""
        self.orders += 1
        return f"O{self.number}{self.orders:06}"

    def new_message(self, source: str) -> str:
        """The id of a message, unique within its source."""
        self.messages[source] += 1
        return f"{source[:3]}-{self.messages[source]:07}"
