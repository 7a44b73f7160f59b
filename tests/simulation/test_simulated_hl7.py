"""The simulated feed as HL7 v2: what its messages decode to is what the journeys tell, and a replay finds what is true."""

import json
from functools import cache
from io import BytesIO, StringIO
from pathlib import Path
from random import Random

import pytest
from comparing import difference, events_of, moment, replayed, truth
from wild import REGISTRY
from wild import journeys as wild_journeys
from wild import where as anywhere

from monitor.cli import main
from monitor.core.engine import Engine
from monitor.core.place import Registry
from monitor.core.rule import CaseRule
from monitor.formats.hl7 import decode
from monitor.formats.mllp import messages
from monitor.rulefile.load import load_registry, load_rules
from monitor.simulation.clock import DAY, HOUR, MINUTE
from monitor.simulation.hl7 import CANCELS, DIALECTS, TRIGGERS, feed, is_adt, is_sent, message
from monitor.simulation.hl7_telling import as_told
from monitor.simulation.hospital import Options
from monitor.simulation.journey import Fact, Journey, Telling
from monitor.simulation.known import finder
from monitor.simulation.log import journeys, tellings
from monitor.simulation.registry import owners, registry_text
from monitor.simulation.standards import STANDARDS

PROJECT = Path(__file__).parents[2]
MONDAY = 1_767_571_200  # 5 January 2026
AUTUMN = 1_792_800_000  # Saturday, 24 October 2026: the clock goes back in the coming night
NAMES = sorted(DIALECTS)


@cache
def rules():
    files = [path for path in sorted((PROJECT / "rules").rglob("*.yaml")) if path.name != "microsystems.yaml"]
    found, _ = load_rules([(path.name, path.read_bytes()) for path in files])
    return [rule for rule in found if isinstance(rule, CaseRule) and rule.id in STANDARDS]


def registry_of(options, dialect):
    found, problems = load_registry("m.yaml", registry_text(options, DIALECTS[dialect].profile).encode())
    assert problems == []
    return found


def sent(told, dialect, end):
    """Each telling of the administrative system that is delivered by the end: fact, telling, message and delivery."""
    for journey in told:
        for fact, telling, delivered_at in tellings(journey, end):
            if is_adt(fact) and is_sent(fact):
                yield fact, telling, message(fact, telling, DIALECTS[dialect]), delivered_at


def events_read(told, dialect, registry, end):
    """What the monitor is given: the decoded messages, and the milestones beside them."""
    milestones = [
        Journey(journey.patient, [fact for fact in journey.facts if not is_adt(fact)], test=journey.test)
        for journey in told
    ]
    yield from events_of(milestones)
    for _, _, raw, delivered_at in sent(told, dialect, end):
        for event in decode(raw, registry):
            event.arrived_at = moment(delivered_at)
            yield event


# -- a simulated hospital --------------------------------------------------------------------------------------


def hospital(seed):
    """A small hospital on bad days; with the second seed on the night in which the clock goes back."""
    start = moment(AUTUMN if seed == 2 else MONDAY).date()
    return Options(seed, start, 3, wards=2, cancels=0.1, disorder=0.2, duplicates=0.1, updates=0.1)


@cache
def simulated(seed, dialect):
    return [as_told(journey, DIALECTS[dialect]) for journey in journeys(hospital(seed))]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("dialect", NAMES)
def test_every_message_is_read_as_it_was_told(dialect, seed):
    options = hospital(seed)
    registry = registry_of(options, dialect)
    for fact, telling, raw, _ in sent(simulated(seed, dialect), dialect, options.end):
        event, *others = decode(raw, registry)
        cancels = "cancel_" if telling.kind == "cancel" else ""
        kind = "admit" if cancels and fact.type == "register" else fact.type  # one trigger cancels both
        assert (event.id, event.source, event.type) == (telling.id, fact.source, cancels + kind)
        assert (event.patient, event.encounter) == (fact.patient, fact.visit)
        assert (event.occurred_at, event.recorded_at) == (moment(telling.at), moment(telling.recorded_at))
        assert (event.from_, event.to) == (telling.from_, telling.to)
        assert event.precision == ("minute" if telling.unit == MINUTE else "second")
        assert [other.type for other in others] == ["merge"] * ("prior_encounter" in event.attributes)
        if telling.kind == "first" and fact.type != "merge":
            said = {"trigger", "ambiguous_time", "died_at", "prior_encounter", *fact.attributes}
            assert set(event.attributes) <= said
            assert {name: event.attributes[name] for name in fact.attributes} == fact.attributes


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("dialect", NAMES)
def test_a_replay_of_the_messages_finds_what_is_true_of_what_they_can_say(dialect, seed):
    options = hospital(seed)
    told = simulated(seed, dialect)
    events = list(events_read(told, dialect, registry_of(options, dialect), options.end))
    found = replayed(rules(), registry_of(options, dialect), events, options.end)
    assert difference(found, truth(told, options.end, finder(owners(options)))) == []
    assert len(found) > 500


@pytest.mark.parametrize("dialect", NAMES)
def test_the_same_seed_gives_the_same_bytes(dialect):
    options = Options(4, days=1, wards=1)

    def written():
        told = [as_told(journey, DIALECTS[dialect]) for journey in journeys(options)]
        return b"".join(feed((raw for _, _, raw, _ in sent(told, dialect, options.end)), DIALECTS[dialect]))

    assert written() == written()


@pytest.mark.parametrize("dialect", NAMES)
def test_the_command_writes_a_feed_and_the_truth_that_a_replay_of_it_finds(dialect, tmp_path):
    def handoff(*arguments):
        out, notes = StringIO(), StringIO()
        assert main([str(each) for each in arguments], BytesIO(), out, notes) == 0, notes.getvalue()
        return out.getvalue().splitlines()

    out = tmp_path / "log"
    how = ("--seed", 5, "--days", 2, "--wards", 1, "--format", "hl7", "--dialect", dialect)
    (command,) = handoff("simulate", *how, "--out", out)
    feeds = (out / "adt.hl7", out / "milestones.jsonl")
    registry = ("--microsystems", out / "microsystems.yaml")
    assert command.endswith(f" {feeds[0]} {feeds[1]}")
    assert len(handoff("decode", *registry, feeds[0])) > 100
    known = ("--rules", PROJECT / "rules", *registry, "--until", "2026-01-07T00:00:00Z")
    found = [case_of(line) for line in handoff("replay", *known, "--format", "json", *feeds)]
    true = [case_of(line) for line in (out / "truth.jsonl").read_text().splitlines()]
    assert sorted(found) == sorted(true)


def case_of(line):
    case = json.loads(line)
    names = ("rule", "patient", "encounter", "trigger", "verdict", "overdue")
    return [*(str(case[name]) for name in names), float(case["delay_seconds"] or 0)]


# -- journeys without any sense --------------------------------------------------------------------------------

SENSELESS = ("triage", "roomed", "decision_to_admit", "fit_for_discharge", "handoff_signed")


def senseless(seed):
    chance = Random(f"hl7 {seed}")
    types = [*TRIGGERS, *SENSELESS]
    types.remove("update")
    types.remove("merge")
    span = chance.choice([4 * HOUR, DAY, 4 * DAY])
    drawn = wild_journeys(chance, 4, types, MONDAY, span)
    for journey in drawn:
        journey.facts = list(apart(journey.facts))
    return drawn, MONDAY + 5 * DAY


def apart(facts):
    """Without those whose cancel could mean another of their type: told to have happened in the same minute."""
    seen = set()
    for each in facts:
        minutes = {(each.type, telling.at // MINUTE) for telling in each.told}
        if not minutes & seen:
            yield each
        seen |= minutes


@cache
def senseless_registry(dialect):
    profile = {"timezone": "Europe/London", "patient_id": {"type": "MR"}}
    if dialect == "epic":
        profile["a12_restored"] = "PV1-6"
    return Registry.model_validate(
        {
            "timezone": "Europe/London",
            "calendar": "england",
            "calendars": REGISTRY.calendars,
            "microsystems": REGISTRY.microsystems,
            "sources": {"PAS": profile, "EPR": profile},
        }
    )


@pytest.mark.parametrize("dialect", NAMES)
def test_cancels_and_corrections_of_senseless_journeys_mean_what_they_should(dialect):
    for seed in range(12):
        drawn, end = senseless(seed)
        told = [as_told(journey, DIALECTS[dialect]) for journey in drawn]
        events = events_read(told, dialect, senseless_registry(dialect), end)
        found = replayed(rules(), senseless_registry(dialect), events, end)
        assert difference(found, truth(told, end, anywhere)) == []


def test_every_trigger_is_sent():
    seen = set()
    for dialect in NAMES:
        for seed in range(12):
            drawn, end = senseless(seed)
            told = [as_told(journey, DIALECTS[dialect]) for journey in drawn]
            for _, _, raw, _ in sent(told, dialect, end):
                seen.add(raw.split(b"|")[8].split(b"^")[1].decode())
        told = simulated(1, dialect)
        seen.update(str(fact.attributes["trigger"]) for fact, _, _, _ in sent(told, dialect, MONDAY + DAY))
    assert seen >= {*TRIGGERS.values(), *CANCELS.values(), "A06", "A35", "A50", "Z99"}


# -- one thing at a time ---------------------------------------------------------------------------------------

ED, WARD, ICU, SURGERY = "ED^1^A^RGH", "4W^2^B^RGH", "ICU^3^C^RGH", "5S^4^D^RGH"


def fact(kind, minute, to=None, from_=None, *, recorded=1, visit="V1", patient="P1", **attributes):
    """Something that was charted so many minutes after it happened."""
    id_ = f"PAS-{kind}{minute}"
    at = MONDAY + minute * MINUTE
    told = Telling("first", id_, at, at + recorded * MINUTE, at + recorded * MINUTE, from_, to)
    return Fact(id_, "PAS/RGH", kind, at, patient, visit, from_, to, attributes, [told])


def corrected(fact, after, *, at=None, to=None):
    """The fact was told with that time or place; so many minutes after it, it is corrected."""
    (first,) = fact.told
    recorded_at = first.recorded_at + after * MINUTE
    fact.told.append(
        Telling("correction", f"{fact.id}c", fact.at, recorded_at, recorded_at, fact.from_, fact.to)
    )
    first.at, first.to = MONDAY + at * MINUTE if at is not None else first.at, to or first.to
    return fact


def cancelled(fact, after):
    """A mistake, noticed so many minutes after it was charted."""
    recorded_at = fact.told[0].recorded_at + after * MINUTE
    fact.told.append(
        Telling("cancel", f"{fact.id}x", fact.at, recorded_at, recorded_at, fact.from_, fact.to, named=False)
    )
    fact.real = False
    return fact


def told(dialect, *facts, **what):
    return as_told(Journey("P1", list(facts), **what), DIALECTS[dialect])


def stays(dialect, *facts):
    """Where the patient was, as read from the messages: encounter, place, from which minute until which."""
    registry = registry_of(Options(), dialect)
    end = MONDAY + 5 * DAY
    found = list(events_read([told(dialect, *facts)], dialect, registry, end))
    stays = Engine([], registry).recall_stays(found, moment(end))
    return [
        (stay.encounter, stay.place, _minute(stay.entered_at), stay.left_at and _minute(stay.left_at))
        for stay in sorted(stays, key=lambda stay: stay.entered_at)
    ]


def _minute(at):
    return int(at.timestamp() - MONDAY) // MINUTE


def triggers(dialect, *facts):
    return [
        raw.split(b"|")[8].split(b"^")[1].decode()
        for _, _, raw, _ in sent([told(dialect, *facts)], dialect, MONDAY + 5 * DAY)
    ]


def in_ed_then_ward():
    return fact("register", 0, ED), fact("admit", 100, WARD, ED)


@pytest.mark.parametrize("dialect", NAMES)
def test_a_visit_is_told_by_a_registration_a_change_of_class_and_a_discharge(dialect):
    visit = (*in_ed_then_ward(), fact("discharge", 300, from_=WARD, disposition="died"))
    assert triggers(dialect, *visit) == ["A04", "A06", "A03"]
    encounters = {stay[0] for stay in stays(dialect, *visit)}
    assert len(encounters) == 1
    assert [stay[1] for stay in stays(dialect, *visit)] == ["ed", "ward-4w"]


@pytest.mark.parametrize("dialect", ["standard", "epic", "zbe"])
def test_with_a_time_of_the_event_late_charting_moves_nothing(dialect):
    moves = [fact("transfer", 120, ICU, WARD, recorded=400), fact("transfer", 200, SURGERY, ICU, recorded=5)]
    assert [stay[1:3] for stay in stays(dialect, *in_ed_then_ward(), *moves)] == [
        ("ed", 0),
        ("ward-4w", 100),
        ("icu", 120),
        ("ward-5s", 200),
    ]


def test_without_a_time_of_the_event_it_is_that_of_recording_and_before_the_next():
    moves = [fact("transfer", 120, ICU, WARD, recorded=400), fact("transfer", 200, SURGERY, ICU, recorded=5)]
    assert [stay[1:3] for stay in stays("no-evn6", *in_ed_then_ward(), *moves)] == [
        ("ed", 0),  # the time of admission is in PV1-44
        ("ward-4w", 101),
        ("icu", 203),
        ("ward-5s", 205),
    ]


@pytest.mark.parametrize("dialect", NAMES)
@pytest.mark.parametrize("noticed", [5, 400])
def test_a_cancel_means_the_mistake_even_after_the_next_move(dialect, noticed):
    mistake = cancelled(fact("transfer", 120, ICU, WARD), noticed)
    visit = (*in_ed_then_ward(), mistake, fact("transfer", 200, SURGERY, WARD, recorded=0))
    assert [stay[1] for stay in stays(dialect, *visit)] == ["ed", "ward-4w", "ward-5s"]
    assert "A12" in triggers(dialect, *visit)


@pytest.mark.parametrize("dialect", NAMES)
def test_a_cancelled_discharge_leaves_the_patient_in(dialect):
    mistake = cancelled(fact("discharge", 150, from_=WARD), 600)
    visit = (*in_ed_then_ward(), mistake, fact("discharge", 400, from_=WARD))
    (_, _, _, left) = stays(dialect, *visit)[-1]
    assert left == 400


def test_without_a_time_a_registration_beside_an_admission_is_no_mistake_that_could_be_taken_back():
    mistake = cancelled(fact("register", 150, ED), 5)
    assert [stay[1] for stay in stays("no-evn6", *in_ed_then_ward(), mistake)] == ["ed", "ward-4w"]
    assert "A11" not in triggers("no-evn6", *in_ed_then_ward(), mistake)
    assert "A11" in triggers("standard", *in_ed_then_ward(), mistake)


@pytest.mark.parametrize("dialect", ["standard", "epic"])
def test_a_wrong_place_is_cancelled_and_told_again_with_the_same_time(dialect):
    visit = (*in_ed_then_ward(), corrected(fact("transfer", 120, ICU, WARD), 30, to=SURGERY))
    assert triggers(dialect, *visit)[2:] == ["A02", "A12", "A02"]
    assert [stay[1:3] for stay in stays(dialect, *visit)][2:] == [("icu", 120)]


def test_a_feed_that_numbers_movements_corrects_them_by_name():
    visit = (*in_ed_then_ward(), corrected(fact("transfer", 120, ICU, WARD), 30, to=SURGERY))
    assert triggers("zbe", *visit)[2:] == ["A02", "Z99"]
    assert [stay[1:3] for stay in stays("zbe", *visit)][2:] == [("icu", 120)]
    move = told("zbe", *visit).facts[-1]
    correction = decode(message(move, move.told[-1], DIALECTS["zbe"]), registry_of(Options(), "zbe"))[0]
    assert (correction.type, correction.replaces) == ("transfer", move.id)


def test_without_a_time_of_the_event_a_correction_of_a_move_is_an_update_that_changes_nothing():
    visit = (*in_ed_then_ward(), corrected(fact("transfer", 120, ICU, WARD), 30, to=SURGERY))
    assert triggers("no-evn6", *visit)[2:] == ["A02", "A08"]
    assert stays("no-evn6", *visit)[-1][1] == "ward-5s"


@pytest.mark.parametrize("dialect", NAMES)
@pytest.mark.parametrize("wrong", [10, 50, 240, 360])
def test_the_times_of_a_registration_and_a_discharge_are_corrected(dialect, wrong):
    arrival = corrected(fact("register", 30, ED, recorded=60), 30, at=wrong)
    leaving = corrected(fact("discharge", 300, from_=ED, recorded=90), 30, at=wrong)
    assert stays(dialect, arrival, fact("discharge", 300, from_=ED)) == [("V1", "ed", 30, 300)]
    assert stays(dialect, fact("register", 0, ED), leaving) == [("V1", "ed", 0, 300)]


def test_the_cancel_of_a_discharge_has_the_time_of_the_discharge():
    mistake = cancelled(fact("discharge", 150, from_=WARD), 600)
    (*_, gone) = told("no-evn6", *in_ed_then_ward(), mistake).facts
    assert [telling.at for telling in gone.told] == [mistake.at, mistake.at]


def test_epic_repeats_a_cancelled_transfer_and_its_profile_says_so():
    move = cancelled(fact("transfer", 120, ICU, WARD), 30)
    transfer = told("epic", *in_ed_then_ward(), move).facts[-1]
    cancel = message(transfer, transfer.told[-1], DIALECTS["epic"])
    (read,) = decode(cancel, registry_of(Options(), "epic"))
    assert (read.from_, read.to) == (WARD, ICU)
    (misread,) = decode(cancel, registry_of(Options(), "standard"))
    assert (misread.from_, misread.to) == (ICU, WARD)


def test_epic_begins_a_new_visit_number_now_and_then_and_it_stays_one_visit():
    found = {}
    for number in range(1, 20):
        visit = f"V{number}"
        course = (
            fact("register", 0, ED, visit=visit),
            fact("admit", 100, WARD, ED, visit=visit),
            cancelled(fact("transfer", 120, ICU, WARD, visit=visit), 10),
            fact("discharge", 300, from_=WARD, visit=visit),
        )
        (of_ed, of_ward) = stays("epic", *course)
        assert of_ed[0] == of_ward[0]
        assert (of_ed[3], of_ward[3]) == (100, 300)
        found[visit] = of_ed[0]
    renumbered = {visit for visit, stands in found.items() if visit != stands}
    assert 0 < len(renumbered) < 10
    assert {found[visit] for visit in renumbered} == {visit.replace("V", "I") for visit in renumbered}


def test_no_visit_gets_a_new_number_under_a_temporary_key():
    for number in range(1, 20):
        visit = {"visit": f"V{number}", "patient": "TMP1"}
        merge = fact("merge", 200, visit=None, patient="TMP1", into="P1")
        stay = stays("epic", fact("register", 0, ED, **visit), fact("admit", 100, WARD, ED, **visit), merge)
        assert {encounter for encounter, *_ in stay} == {f"V{number}"}


@pytest.mark.parametrize("dialect", NAMES)
def test_patients_and_visits_under_another_number_are_merged(dialect):
    visit = (
        fact("register", 0, ED, patient="TMP1"),
        fact("merge", 30, visit=None, patient="TMP1", into="P1"),
        fact("merge", 60, visit="V1", encounter_into="V2"),
        fact("discharge", 90, from_=ED, visit="V2"),
    )
    assert stays(dialect, *visit) == [("V2", "ed", 0, 90)]


@pytest.mark.parametrize("dialect", NAMES)
def test_test_patients_are_marked_on_every_message(dialect):
    registry = registry_of(Options(), dialect)
    for is_test in (True, False):
        journey = told(dialect, *in_ed_then_ward(), test=is_test)
        for _, _, raw, _ in sent([journey], dialect, MONDAY + DAY):
            assert ("test" in decode(raw, registry)[0].attributes) == is_test


@pytest.mark.parametrize("dialect", NAMES)
def test_a_cancel_does_not_overtake_what_it_means(dialect):
    mistake = cancelled(fact("transfer", 150, ICU, WARD), 5)
    mistake.told[0].delivered_at += 600 * MINUTE
    move = told(dialect, *in_ed_then_ward(), fact("transfer", 120, SURGERY, WARD), mistake).facts[-1]
    assert move.told[1].kind == "cancel"
    assert move.told[1].delivered_at >= move.told[0].delivered_at == mistake.told[0].delivered_at


def test_what_has_no_field_is_lost_and_what_has_one_is_kept():
    leave = fact("leave", 120, from_=WARD, expected_return="2026-01-06T18:00:00Z", order="O1", planned=True)
    (*_, kept) = told("standard", *in_ed_then_ward(), leave).facts
    assert kept.attributes == {
        "trigger": "A21",
        "class": "inpatient",
        "expected_return": "2026-01-06T18:00:00.000000Z",
    }


def test_what_was_never_charted_is_not_told():
    forgotten = fact("transfer", 120, ICU, WARD)
    forgotten.told.clear()
    assert triggers("standard", *in_ed_then_ward(), forgotten) == ["A04", "A06"]


def test_without_an_offset_an_hour_that_occurs_twice_is_its_first():
    at = AUTUMN + DAY + HOUR + 20 * MINUTE  # 01:20 for the second time
    move = fact("transfer", (at - MONDAY) // MINUTE, ICU)
    for dialect, read in (("standard", at), ("epic", at - HOUR), ("zbe", at - HOUR)):
        assert told(dialect, move).facts[0].at == read


@pytest.mark.parametrize("dialect", NAMES)
def test_a_file_of_messages_is_read_as_the_same_messages(dialect):
    written = [raw for _, _, raw, _ in sent(simulated(3, dialect), dialect, MONDAY + DAY)]
    assert len(written) > 50
    read = list(messages(b"".join(feed(written, DIALECTS[dialect]))))
    assert read == [raw.rstrip(b"\r") for raw in written]
