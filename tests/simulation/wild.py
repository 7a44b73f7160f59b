"""Journeys without any sense: facts of every type in any order, to find where the truth and a replay part.

The simulated hospital is plausible, and so leaves most of what the contract says untried; these journeys are not.
"""

from monitor.core.place import Registry
from monitor.simulation.course import Fact, Journey, Telling

START = 1_767_571_200  # Monday, 5 January 2026

_KINDS = {
    "ED": ("ed", "ed"),
    "AMU": ("amu", "ward"),
    "4W": ("ward-4w", "ward"),
    "5S": ("ward-5s", "ward"),
    "STROKE": ("stroke-unit", "stroke"),
    "MH": ("mental-health", "mental-health"),
    "ICU": ("icu", "icu"),
    "TH": ("theatre", "theatre"),
    "PACU": ("pacu", "pacu"),
    "DL": ("discharge-lounge", "lounge"),
    "GP": ("family-practice", "practice"),
}
LOCATIONS = [*(f"{unit}^{bed}" for unit in _KINDS for bed in (1, 2)), "XRAY^1"]

REGISTRY = Registry.model_validate(
    {
        "timezone": "Europe/London",
        "calendar": "england",
        "calendars": {"england": {"weekend": ["sat", "sun"], "holidays": []}},
        "microsystems": [
            {"id": name, "kind": kind, "locations": [unit], "tags": ["assessment"] if unit == "AMU" else []}
            for unit, (name, kind) in _KINDS.items()
        ],
    }
)


def where(location):
    return _KINDS.get(location.split("^")[0], (location, None))


_MOVES = {"register", "admit", "transfer", "arrive", "return", "depart"}
_WORDS = {
    "likelihood": ["high", "possible"],
    "shock": [True, False],
    "indication": ["sepsis", "wound"],
    "reason": ["sepsis", "trauma"],
    "planned": [True, False],
    "order": ["o1", "o2"],
    "disposition": ["home", "died", "transferred", "self"],
    "complexity": ["high", "moderate"],
    "event": ["registration", "admission", "discharge", "transfer"],
}


def journeys(chance, number, types, span):
    """So many journeys of facts of these types, up to `span` seconds long."""
    return [_journey(chance, f"P{each}", types, span) for each in range(number)]


def _journey(chance, patient, types, span):
    count = chance.randrange(2, 30)
    step = chance.choice([1, 60, 900, 3600])  # coarse steps give equal instants
    times = sorted(START + chance.randrange(span // step) * step for _ in range(count))
    visits = [f"{patient}-V{each}" for each in range(chance.randrange(1, 4))]
    facts = [
        _fact(chance, f"{patient}.{index}", patient, visits, chance.choice(types), at)
        for index, at in enumerate(times)
    ]
    return Journey(patient, facts, test=chance.random() < 0.1)


def _fact(chance, name, patient, visits, kind, at):
    to = from_ = None
    if kind in _MOVES and chance.random() < 0.95:
        to = chance.choice(LOCATIONS)
    if chance.random() < 0.1:
        from_ = chance.choice(LOCATIONS)
    attributes = {word: chance.choice(values) for word, values in _WORDS.items() if chance.random() < 0.6}
    visit = chance.choice([*visits, visits[0], None])
    source = chance.choice(["PAS", "EPR"])
    fact = Fact(name, source, kind, at, patient, visit, from_, to, attributes, [])
    fact.told = _tellings(chance, fact)
    return fact


def _tellings(chance, fact):
    if chance.random() < 0.05:
        return []
    unit = chance.choice([1, 1, 1, 60])
    recorded = fact.at + int(chance.expovariate(1 / 1800))
    delivered = recorded + int(chance.expovariate(1 / 600))

    def telling(kind, name, at, later):
        at = at // unit * unit
        return Telling(kind, name, at, recorded + later, delivered + later, fact.from_, fact.to, unit=unit)

    told = [telling("first", fact.id, fact.at, 0)]
    if chance.random() < 0.1:
        told.append(telling("copy", fact.id, fact.at, chance.randrange(3600)))
        told[-1].recorded_at = recorded
    if chance.random() < 0.1:
        wrong = fact.at - chance.randrange(7200)
        told[0].at = wrong // unit * unit
        told.append(telling("correction", f"{fact.id}c", fact.at, chance.randrange(1, 20000)))
    if chance.random() < 0.1:
        told.append(telling("cancel", f"{fact.id}x", told[-1].at, chance.randrange(20000, 40000)))
    return told
