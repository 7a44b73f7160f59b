"""Random journeys, registries and rules, all on one coarse grid of time so that ties and exact deadlines are common.

Small alphabets on purpose: a disagreement wants two events that have to do with each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from monitor.core.event import Event, Ref
from monitor.core.place import Registry
from monitor.core.rule import RuleFile

START = datetime(2024, 3, 30, 21, 0, tzinfo=UTC)
"""A Saturday evening; London's clocks go forward in that night."""
GRID = timedelta(minutes=10)

PATIENTS = ["p1", "p1", "p1", "p2", "p3"]
ENCOUNTERS = ["a", "a", "b", None]
LOCATIONS = ["icu", "ICU^1^2", "ward", "W^2", "ed", "raw", None]
SOURCES = ["", "", "lab"]
MOVES = ["register", "admit", "transfer", "transfer", "discharge", "arrive", "leave", "return"]
OTHERS = ["x", "y", "x", "y", "x", "y", "update"]
CANCELS = ["cancel_admit", "cancel_transfer", "cancel_discharge", "cancel_x", "cancel_register"]

DURATIONS = ["0s", "10m", "20m", "30m", "30m", "1h", "1h", "2h"]
LIMITS = [*DURATIONS, "0cd", "1cd", "1bd"]
DELAYS = [0, 0, 0, 0, 1, 1, 2, 3, 6, 12, -1, -3, 6 * 25, 6 * 31]
"""From occurrence to arrival, in steps of the grid; what arrives before it occurs lies in the future."""


def subset(draw: Any, options: dict[str, Any], most: int = 3) -> dict[str, Any]:
    """Some of the options, each drawn from its strategy."""
    names = draw(st.lists(st.sampled_from(sorted(options)), max_size=most, unique=True)) if options else []
    return {name: draw(options[name]) for name in names}


# -- the registry ------------------------------------------------------------------------------------------


@st.composite
def registries(draw: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "microsystems": [
            {"id": "icu", "kind": "icu", "tags": ["critical"], "parent": "surgery", "locations": ["ICU^*"]},
            {"id": "ward", "kind": "ward", "tags": ["bed"], "parent": "surgery", "locations": ["W", "W*"]},
            {"id": "ed", "kind": "ed", "tags": ["critical"], "timezone": "America/New_York"},
        ],
        "mesosystems": [{"id": "surgery", "parent": "hospital"}, {"id": "hospital"}],
        "timezone": draw(st.sampled_from(["UTC", "Europe/London"])),
        "calendars": {"office": {"weekend": ["sun"], "holidays": ["2024-04-01"], "timezone": "Asia/Kolkata"}},
    }
    sources = subset(draw, {"lab": st.sampled_from([{"grace": "10m"}, {"grace": "30m"}])})
    limit = draw(
        st.sampled_from(
            [
                None,
                None,
                "20m",
                "1h",
                [{"after": "20m", "hours": "20:00-22:00"}, {"after": "40m", "days": ["sat"]}],
            ]
        )
    )
    if limit is not None:
        sources["lab"] = {**sources.get("lab", {}), "silent_after": limit}
    return found | subset(draw, {"calendar": st.just("office")}) | {"sources": sources}


# -- events ------------------------------------------------------------------------------------------------


@st.composite
def moments(draw: Any) -> tuple[datetime, str]:
    """An instant on the grid and its precision; now and then off the grid by what the precision hides."""
    at = START + draw(st.integers(0, 18)) * GRID
    kind = draw(st.sampled_from(["second"] * 8 + ["fraction", "minute", "minute", "hour", "day"]))
    match kind:
        case "fraction":
            return at + timedelta(seconds=draw(st.sampled_from([0.25, 0.5]))), "second"
        case "minute":
            return at + timedelta(seconds=draw(st.sampled_from([0, 0, 30]))), "minute"
        case "hour" | "day":
            zone = timezone(
                draw(st.sampled_from([timedelta(0), timedelta(hours=5, minutes=30), timedelta(hours=-4)]))
            )
            return at.astimezone(zone), kind
    return at, "second"


@st.composite
def attributes(draw: Any) -> dict[str, Any]:
    return subset(
        draw,
        {
            "service": st.sampled_from(["s1", "s2"]),
            "n": st.sampled_from([1, 2, 2.0, 2.5, "2", True, False]),
            "test": st.sampled_from([True, True, "true"]),
        },
        most=draw(st.sampled_from([0, 0, 1, 2])),
    )


@st.composite
def events(draw: Any, number: int, earlier: list[Event], *, merging: bool, patients: list[str]) -> Event:
    """The event e<number>, which may refer to earlier ones (or to one that is still to come, or never will)."""
    at, precision = draw(moments())
    sort = draw(
        st.sampled_from(["move"] * 6 + ["other"] * 5 + ["cancel"] * 2 + ["merge"] * (2 if merging else 0))
    )
    kind = draw(
        st.sampled_from({"move": MOVES, "other": OTHERS, "cancel": CANCELS, "merge": ["merge"]}[sort])
    )
    source = draw(st.sampled_from(SOURCES))
    values: dict[str, Any] = {
        "id": f"e{number}",
        "type": kind,
        "patient": draw(st.sampled_from(patients)),
        "occurred_at": at,
        "precision": precision,
        "source": source,
        "encounter": draw(st.sampled_from(ENCOUNTERS)),
        "attributes": draw(attributes()),
    }
    if sort != "other" or draw(st.integers(0, 3)) == 0:
        values["to"] = draw(st.sampled_from(LOCATIONS))
    if draw(st.integers(0, 4)) == 0:
        values["from_"] = draw(st.sampled_from(LOCATIONS))
    if draw(st.integers(0, 2)) == 0:
        values["recorded_at"] = at + draw(st.sampled_from([-1, 0, 1, 2])) * GRID
    if sort == "merge":
        values["encounter"] = draw(st.sampled_from(["a", "b"]))
        values["attributes"] |= draw(merge_attributes(values["patient"]))
    if sort == "cancel" and earlier and draw(st.booleans()):
        aimed = draw(st.sampled_from(earlier))  # as HL7 has it: the time of what is cancelled
        values |= {"occurred_at": aimed.occurred_at, "type": f"cancel_{aimed.type}", "patient": aimed.patient}
        values |= {"encounter": draw(st.sampled_from([aimed.encounter, None]))}
        values["recorded_at"] = aimed.recorded_at + GRID
    refers = draw(st.sampled_from(["no"] * 8 + ["replaces", "replaces", "cancels"]))
    if refers != "no":
        values[refers] = draw(references(number, earlier))
    delay = draw(st.sampled_from(DELAYS)) * GRID
    return Event(**values, arrived_at=at + delay)


@st.composite
def references(draw: Any, number: int, earlier: list[Event]) -> str | Ref:
    known = [(event.source, event.id) for event in earlier]
    later = [
        ("", f"e{number}"),
        ("", f"e{number + 1}"),
        ("lab", f"e{number + 1}"),
    ]  # itself, the next, or nothing
    source, name = draw(st.sampled_from(known * 3 + later))
    return draw(st.sampled_from([Ref(source, name), Ref(source, name), name]))


@st.composite
def merge_attributes(draw: Any, patient: str) -> dict[str, Any]:
    """Patients in any direction; one encounter only to a patient later in the alphabet, so that these cannot circle."""
    match draw(st.sampled_from(["patient", "patient", "patient", "encounter", "rename", "nothing"])):
        case "patient":
            return {"into": draw(st.sampled_from(["p1", "p2", "p3"]))}
        case "encounter":
            return {"moves": "encounter", "into": max(patient, draw(st.sampled_from(["p2", "p3"])))}
        case "rename":
            return {"encounter_into": draw(st.sampled_from(["a", "b", "c"]))}
    return {}


@st.composite
def copies(draw: Any, event: Event) -> Event:
    """A duplicate: equal, or with other content, at another arrival."""
    values = {name: getattr(event, name) for name in event.__struct_fields__}
    match draw(st.sampled_from(["equal", "recorded", "type", "time"])):
        case "recorded":
            values["recorded_at"] = event.recorded_at + draw(st.sampled_from([-1, 1])) * GRID
        case "type":
            values["type"] = draw(st.sampled_from(["x", "y", "transfer"]))
        case "time":
            values["occurred_at"] = event.occurred_at + draw(st.sampled_from([-1, 1])) * GRID
    values["arrived_at"] = event.arrived_at + draw(st.sampled_from([-2, 0, 1, 3, 6 * 25])) * GRID
    return Event(**values)


def in_arrival_order(found: list[Event]) -> list[Event]:
    return sorted(found, key=lambda event: (event.arrived_at, event.source, event.id))


@st.composite
def journeys(draw: Any, most: int = 10) -> list[Event]:
    """A few patients' events, in order of arrival."""
    merging = draw(st.integers(0, 3)) == 0
    patients = PATIENTS if merging or draw(st.integers(0, 3)) == 0 else ["p1"]
    found: list[Event] = []
    for number in range(draw(st.integers(min(3, most), most))):
        if found and draw(st.integers(0, 11)) == 0:
            found.append(draw(copies(draw(st.sampled_from(found)))))
        else:
            found.append(draw(events(number, found, merging=merging, patients=patients)))
    return in_arrival_order(without_named_updates(found))


def without_named_updates(found: list[Event]) -> list[Event]:
    """Let no correction, cancel or other copy name an `update`: one that no rule names is not kept (decision 40)."""
    named = {getattr(ref, "id", ref) for event in found for ref in (event.replaces, event.cancels) if ref}
    named |= {event.id for event in found if event.type != "update"}
    return [
        Event(**{name: getattr(event, name) for name in event.__struct_fields__} | {"type": "x"})
        if event.type == "update" and event.id in named
        else event
        for event in found
    ]


@st.composite
def heartbeats(draw: Any) -> list[Event]:
    ticks = draw(st.lists(st.integers(0, 24), max_size=6, unique=True))
    return [
        Event(id=f"h{tick}", type="heartbeat", patient="-", source="lab", occurred_at=at, arrived_at=at)
        for tick in ticks
        for at in [START + tick * GRID]
    ]


# -- patterns ----------------------------------------------------------------------------------------------

TYPES = ["x", "y", "x", "y", "transfer", ["x", "y"], ["x", "transfer"], ["admit", "register", "arrive"], "cancel_*", "*", "discharge", "update", "merge"]  # fmt: skip
PLACES = ["icu", "ward", "kind:icu", "tag:critical", "meso:hospital", "meso:surgery", "w*", "raw", "*", None, ["icu", None], ["kind:ward", "ed"]]  # fmt: skip
PRESENT = [place for place in PLACES if place is not None and place != ["icu", None]]
SAMES = [[], ["encounter"], ["service"], ["source"], ["to"], ["encounter", "n"]]


@st.composite
def hours(draw: Any) -> dict[str, Any]:
    spans = ["22:00-07:00", "21:30-22:30", "00:00-06:00", "23:00-24:00", "18:00-22:00"]
    options = {
        "hours": st.sampled_from(spans),
        "days": st.sampled_from([["sat"], ["sun"], ["sat", "sun"], ["fri"]]),
        "tz": st.sampled_from(["Europe/London", "America/New_York", "Asia/Kolkata"]),
    }
    return {name: draw(options[name]) for name in draw(st.sampled_from([["hours"], ["days"], list(options)]))}


@st.composite
def tests(draw: Any) -> Any:
    values = st.sampled_from([1, 2, 2.5, "2", "s1", True])
    comparison = st.sampled_from(
        [
            {"gt": 1},
            {"ge": 2, "lt": 3},
            {"le": 2},
            {"lt": "s2"},
            {"ne": 2},
            {"in": [2, "2"]},
            {"not_in": [1, 2]},
            {"exists": True},
            {"exists": False},
        ]
    )
    return draw(st.one_of(values, st.lists(values, min_size=1, max_size=2), comparison))


@st.composite
def patterns(draw: Any, *, pair: bool = False, depth: int = 1) -> dict[str, Any]:
    found: dict[str, Any] = {"type": draw(st.sampled_from(TYPES))} if draw(st.integers(0, 9)) else {}
    if draw(st.integers(0, 2)) == 0:
        options: dict[str, Any] = {
            "from": st.sampled_from(PLACES),
            "to": st.sampled_from(PLACES),
            "encounter": st.sampled_from(["a", "b", ["a", "b"], "*"]),
            "source": st.sampled_from(["lab", "", "l*"]),
            "where": st.dictionaries(st.sampled_from(["service", "n"]), tests(), min_size=1, max_size=2),
            "at": hours(),
        }
        if depth:
            options["not"] = patterns(depth=0)
            options["any"] = st.lists(patterns(depth=0), min_size=1, max_size=2)
        found |= subset(draw, options, most=2)
    if pair and draw(st.integers(0, 3)) == 0:
        found["same"] = draw(st.sampled_from(SAMES))
    return found


def several(least: int) -> Any:
    """One pattern, or a list of them."""
    return st.one_of(patterns(pair=True), st.lists(patterns(pair=True), min_size=least, max_size=2))


# -- rules -------------------------------------------------------------------------------------------------

FORMS = [
    "expect",
    "expect",
    "expect",
    "require",
    "forbid",
    "never",
    "stay",
    "stay",
    "count",
    "steps",
    "exclusive",
]


def longest(*texts: str) -> list[str]:
    """The texts of DURATIONS up to the first that is given."""
    return DURATIONS[: DURATIONS.index(texts[0]) + 1] if texts[0] in DURATIONS else ["30m"]


@st.composite
def form_values(draw: Any, form: str) -> dict[str, Any]:
    span = st.sampled_from(DURATIONS)
    give_up = st.sampled_from(["0s", "10m", "30m", "1h", "2h"])
    match form:
        case "expect":
            within = draw(st.sampled_from(LIMITS))
            found = {"when": draw(patterns()), "expect": draw(several(1)), "within": within}
            return found | subset(
                draw,
                {
                    "not_before": st.sampled_from(longest(within)),
                    "unless": several(0),
                    "give_up": give_up,
                    "overlap": st.sampled_from(["first", "latest", "first", "latest", "each"]),
                    "strict": st.booleans(),
                },
            )
        case "require":
            found = {"when": draw(patterns()), "require": draw(patterns(pair=True))}
            return found | subset(draw, {"within": span, "unless": several(0), "strict": st.booleans()})
        case "forbid":
            found = {"when": draw(patterns()), "forbid": draw(patterns(pair=True)), "within": draw(span)}
            return found | subset(draw, {"until": several(0)})
        case "never":
            return {"never": draw(patterns())}
        case "stay":
            at_most = draw(st.sampled_from([*DURATIONS, None]))
            found = {"stay": draw(st.sampled_from(PRESENT))} | ({"at_most": at_most} if at_most else {})
            if at_most is None or draw(st.booleans()):
                found["at_least"] = draw(st.sampled_from(longest(at_most or "2h")))
            return found | subset(draw, {"unless": several(0), "give_up": give_up, "pause": st.just("leave")})
        case "count":
            return {
                "count": draw(patterns()),
                "at_most": draw(st.integers(0, 2)),
                "within": draw(st.sampled_from(DURATIONS[1:])),
            }
        case "steps":
            more = [
                {"name": name, "match": draw(patterns(pair=True)), "within": draw(st.sampled_from(LIMITS))}
                for name in ["two", "three"][: draw(st.integers(1, 2))]
            ]
            found = {"steps": [{"name": "one", "match": draw(patterns())}, *more]}
            return found | subset(draw, {"unless": several(0), "give_up": give_up, "strict": st.booleans()})
    return {
        "exclusive": [draw(st.sampled_from(PRESENT)) for _ in range(2)],
        "longer_than": draw(span),
    }


@st.composite
def ladders(draw: Any, *, overdue: bool) -> list[dict[str, Any]]:
    severity = st.sampled_from(["warning", "critical", None])
    afters = draw(st.lists(st.sampled_from(["0s", "10m", "30m", "1h", "3h"]), max_size=2, unique=True))
    if overdue and draw(st.booleans()):
        afters.append(draw(st.sampled_from(["-10m", "-30m", "-1h"])))
    steps = [{"after": after, "severity": draw(severity)} for after in afters]
    return [{name: value for name, value in each.items() if value is not None} for each in steps]


@st.composite
def rules(draw: Any, name: str) -> dict[str, Any]:
    form = draw(st.sampled_from(FORMS))
    values = draw(form_values(form))
    overdue = form in ("expect", "steps") or ("at_most" in values and form == "stay")
    options: dict[str, Any] = {
        "grace": st.sampled_from(["0s", "10m", "30m"]),
        "show_for": st.sampled_from(["10m", "1h", "2h"]),
        "feeds": st.sampled_from([["lab"], [], [""], ["lab", ""]]),
        "active": hours(),
        "calendar": st.just("office"),
        "mode": st.sampled_from(["shadow", "live", "live"]),
    }
    if form != "exclusive":
        options["same"] = st.sampled_from(SAMES)
    extra = subset(draw, options, most=draw(st.sampled_from([0, 0, 1, 1, 2, 3])))
    if draw(st.integers(0, 2)) == 0:
        extra["escalate"] = draw(ladders(overdue=overdue))
    return (
        {"id": name, "summary": name, "severity": draw(st.sampled_from(["info", "critical"]))}
        | values
        | extra
    )


@st.composite
def rule_lists(draw: Any, most: int = 2) -> list[dict[str, Any]]:
    return [draw(rules(f"r{number}")) for number in range(draw(st.integers((most + 1) // 2, most)))]


# -- the whole ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scenario:
    """What a replay is given."""

    events: list[Event]
    rules: list[dict[str, Any]]
    registry: dict[str, Any]
    until: datetime

    @property
    def listened(self) -> list[str]:
        """The sources whose silence is judged: those with recorded heartbeats."""
        return sorted({event.source for event in self.events if event.type == "heartbeat"})

    def models(self) -> tuple[Any, Registry]:
        return RuleFile.model_validate({"rules": self.rules}).rules, Registry.model_validate(self.registry)


@st.composite
def scenarios(draw: Any, *, most: int = 10, rules: int = 4) -> Scenario:
    registry = draw(registries())
    found = draw(journeys(most))
    if "silent_after" in registry["sources"].get("lab", {}):
        found = in_arrival_order(found + draw(heartbeats()))
    until = START + draw(st.sampled_from([6, 12, 18, 18, 24, 60, 6 * 30, 6 * 60])) * GRID
    return Scenario(found, draw(rule_lists(rules)), registry, until)
