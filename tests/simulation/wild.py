"""Journeys without any sense: facts of every type in any order, to find where the truth and a replay part.

The simulated hospital is plausible, and so leaves most of what the contract says untried; these journeys are not.
"""

from monitor.core.place import Registry
from monitor.simulation.clock import HOLIDAYS
from monitor.simulation.journey import Fact, Journey, Telling
from monitor.simulation.known import Place

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
        "calendars": {"england": {"weekend": ["sat", "sun"], "holidays": sorted(map(str, HOLIDAYS))}},
        "microsystems": [
            {"id": name, "kind": kind, "locations": [unit], "tags": ["assessment"] if unit == "AMU" else []}
            for unit, (name, kind) in _KINDS.items()
        ],
    }
)


def where(location):
    return Place(*_KINDS.get(location.split("^")[0], (location, None)))


_MOVES = {"register", "admit", "transfer", "arrive", "return", "depart", "pending_transfer"}
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


def journeys(chance, number, types, start, span, locations=LOCATIONS):
    """So many journeys of facts of these types, up to `span` seconds long, each in a few of the locations."""
    return [_journey(chance, f"P{each}", types, start, span, locations) for each in range(number)]


def _journey(chance, patient, types, start, span, locations):
    count = chance.randrange(2, 30)
    step = chance.choice([1, 60, 900, 3600])  # coarse steps give equal instants
    times = sorted(start + chance.randrange(span // step) * step for _ in range(count))
    visits = [f"{patient}-V{each}" for each in range(chance.randrange(1, 4))]
    places = chance.sample(locations, 4)
    facts = [
        _fact(chance, f"{patient}.{index}", patient, visits, places, chance.choice(types), at)
        for index, at in enumerate(times)
    ]
    if chance.random() < 0.3:
        _merge(chance, facts, patient, visits)
    return Journey(patient, facts, test=chance.random() < 0.1)


def _merge(chance, facts, patient, visits):
    """Some of the facts were sent under another key, or under another number of their visit."""
    merge = _fact(chance, f"{patient}.m", patient, [None], [], "merge", chance.choice(facts).at)
    others = [fact for fact in facts if chance.random() < 0.5]
    if chance.random() < 0.5:
        merge.patient, merge.attributes = f"T{patient}", {"into": patient}
        for fact in others:
            fact.patient = merge.patient
    else:
        merge.visit, merge.attributes = f"{visits[0]}-old", {"encounter_into": visits[0]}
        for fact in others:
            fact.visit = merge.visit if fact.visit == visits[0] else fact.visit
    merge.told = merge.told[:1]
    facts.append(merge)


def _fact(chance, name, patient, visits, places, kind, at):
    to = from_ = None
    if kind in _MOVES and chance.random() < (0.6 if kind == "pending_transfer" else 0.95):
        to = chance.choice(places)
    if places and chance.random() < 0.1:
        from_ = chance.choice(places)
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
