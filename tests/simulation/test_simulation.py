"""The simulated hospital: believable, reproducible, and never in doubt about what its messages mean."""

import json
from collections import Counter, defaultdict
from datetime import UTC, date, datetime
from itertools import islice, pairwise
from pathlib import Path
from statistics import median

import pytest

from monitor.core.event import CANCEL_PREFIX
from monitor.core.journey import effective
from monitor.core.place import Places
from monitor.formats.canonical import decode
from monitor.rulefile.load import load_registry
from monitor.simulation.care import arrivals
from monitor.simulation.chance import Chance
from monitor.simulation.chart import APART
from monitor.simulation.clock import DAY, HOUR, MINUTE, Clock
from monitor.simulation.emergency import emergency
from monitor.simulation.hospital import AMU, Beds, Hospital, Options
from monitor.simulation.log import in_order, journeys, json_lines
from monitor.simulation.registry import owners, registry_text

PROJECT = Path(__file__).parents[2]

VOCABULARY = {
    *(
        "ambulance_arrived",
        "ambulance_handover",
        "register",
        "triage",
        "roomed",
        "decision_to_admit",
        "admit",
    ),
    *("pre_admit", "pending_admit", "pending_transfer", "pending_discharge", "transfer", "depart", "arrive"),
    *("leave", "return", "discharge", "merge", "stroke_arrival", "stroke_ruled_out", "sepsis_recognised"),
    *("sepsis_ruled_out", "blood_cultures_taken", "lactate_measured", "antimicrobial_given", "icu_requested"),
    *("icu_declined", "fit_for_discharge", "handoff_signed", "long_stay_reviewed", "summary_sent"),
    *("admission_notice_received", "discharge_information_received", "medication_reconciled", "notice_sent"),
    *("followup_contact", "followup_visit", "patient_engaged", "tcm_started"),
}


@pytest.fixture(scope="module")
def fortnight():
    return list(journeys(Options()))


@pytest.fixture(scope="module")
def fortnights(fortnight):
    """Three of them, since chance is large in one."""
    return [*fortnight, *journeys(Options(seed=2)), *journeys(Options(seed=3))]


@pytest.fixture(scope="module")
def messy():
    """A week in which much is mistaken, late and told again."""
    options = Options(seed=5, days=7, cancels=0.4, disorder=0.5, duplicates=0.3)
    return options.end, list(journeys(options))


def log(options):
    end = options.end
    return list(in_order(journeys(options), lambda journey: json_lines(journey, end)))


def seconds(moment):
    return int(moment.timestamp())


def facts_of(told, *types):
    return [fact for journey in told for fact in journey.facts if fact.type in types]


# -- the log


def test_the_same_options_give_the_same_bytes_and_another_seed_others():
    options = Options(days=2, updates=0.3)
    assert log(options) == log(options)
    assert log(options) != log(options._replace(seed=2))


def test_a_hospital_has_the_same_patients_whoever_else_is_simulated():
    def of_first(hospitals):
        found = log(Options(days=1, hospitals=hospitals))
        return [line for line in found if '/H1"' in line]

    assert of_first(2) == of_first(3) != []


def test_every_line_is_an_event_and_they_are_in_order_of_arrival():
    options = Options(days=2, disorder=0.3)
    events = [decode(line) for line in log(options)]
    arrivals = [event.arrived_at for event in events]
    assert arrivals == sorted(arrivals)
    assert seconds(arrivals[-1]) <= options.end
    assert all(event.occurred_at <= event.recorded_at <= event.arrived_at for event in events)
    assert any(before.recorded_at > after.recorded_at for before, after in pairwise(events))


def test_messages_have_ids_of_their_own_but_for_copies_which_are_identical():
    lines = [json.loads(line) for line in log(Options(days=3, duplicates=0.2))]
    by_id = defaultdict(list)
    for line in lines:
        del line["arrived_at"]
        by_id[line["source"], line["id"]].append(line)
    repeated = [same for same in by_id.values() if len(same) > 1]
    assert 0.15 < len(repeated) / len(by_id) < 0.25
    assert all(same[0] == each for same in repeated for each in same)


def test_messages_are_written_while_patients_still_come():
    come = 0

    def counted(told):
        nonlocal come
        for journey in told:
            come += 1
            yield journey

    options = Options(hospitals=4, days=2)
    end = options.end
    written = in_order(counted(journeys(options)), lambda journey: json_lines(journey, end))
    assert len(list(islice(written, 1_000))) == 1_000
    assert come < 400


def test_a_log_may_have_as_many_hospitals_as_a_country():
    options = Options(hospitals=12, days=1, wards=1)
    events = [decode(line) for line in log(options)]
    assert len({event.source for event in events if event.source.startswith("PAS")}) == 12
    homes = defaultdict(set)
    for event in events:
        homes[event.patient].add(event.source.partition("/")[2])
    assert all(len(hospitals) == 1 for hospitals in homes.values())


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_updates_are_as_many_as_was_asked_for(share):
    types = Counter(json.loads(line)["type"] for line in log(Options(days=4, wards=1, updates=share)))
    assert types["update"] / types.total() == pytest.approx(share, abs=0.03)


def test_without_mistakes_and_repeats_nothing_is_copied():
    told = list(journeys(Options(days=3, cancels=0, duplicates=0)))
    kinds = Counter(telling.kind for journey in told for fact in journey.facts for telling in fact.told)
    assert kinds["copy"] == 0
    assert all(fact.real for journey in told for fact in journey.facts)


# -- what is never in doubt


def test_facts_of_one_journey_are_apart(messy):
    _, told = messy
    for journey in told:
        assert all(before.at + APART <= after.at for before, after in pairwise(journey.facts))


def test_no_two_messages_of_one_journey_are_recorded_in_one_minute(messy):
    _, told = messy
    for journey in told:
        minutes = Counter(
            telling.recorded_at // MINUTE
            for fact in journey.facts
            for telling in fact.told
            if telling.kind != "copy"
        )
        assert set(minutes.values()) <= {1}


def test_a_correction_or_cancel_is_in_the_log_only_with_what_it_is_about(messy):
    end, told = messy
    for journey in told:
        for fact in journey.facts:
            if any(telling.delivered_at <= end for telling in fact.told):
                assert fact.told[0].delivered_at <= end


def test_merges_are_told_before_the_end(messy):
    end, told = messy
    merges = facts_of(told, "merge")
    assert all(fact.told[0].delivered_at <= end for fact in merges)
    assert any("into" in fact.attributes for fact in merges)
    assert any("encounter_into" in fact.attributes for fact in merges)


def test_every_cancel_finds_the_fact_that_was_meant(messy):
    end, told = messy
    unnamed = 0
    for journey in told:
        events = [decode(line) for _, line in json_lines(journey, end)]
        kept = effective(events, datetime.fromtimestamp(end, UTC)).journeys
        found = {
            fact.event.id
            for facts in kept.values()
            for fact in facts
            if not fact.event.type.startswith(CANCEL_PREFIX) and fact.event.replaces is None
        }
        stands = {
            fact.id
            for fact in journey.facts
            if any(telling.delivered_at <= end for telling in fact.told)
            and not any(telling.kind == "cancel" and telling.delivered_at <= end for telling in fact.told)
        }
        corrected = {
            fact.id
            for fact in journey.facts
            if any(telling.kind == "correction" and telling.delivered_at <= end for telling in fact.told)
        }
        assert found - corrected == stands - corrected
        unnamed += sum(not telling.named for fact in journey.facts for telling in fact.told)
    assert unnamed > 100


def test_all_of_a_merged_patient_is_one_journey(messy):
    end, told = messy
    merged = [journey for journey in told if journey.aliases]
    assert merged
    for journey in merged:
        events = [decode(line) for _, line in json_lines(journey, end)]
        assert {event.patient for event in events} <= {journey.patient, *journey.aliases}
        assert [*effective(events, datetime.fromtimestamp(end, UTC)).journeys] == [journey.patient]


# -- the registry


@pytest.mark.parametrize("options", [Options(days=3), Options(days=1, hospitals=3), Options(days=3, wards=1)])
def test_the_written_registry_owns_every_location_but_the_annex(options):
    registry, problems = load_registry("microsystems.yaml", registry_text(options).encode())
    assert registry is not None
    assert problems == []
    check_places(options, registry)


def test_the_registry_of_the_packs_is_that_of_the_simulated_hospital():
    registry, _ = load_registry("microsystems.yaml", (PROJECT / "rules/microsystems.yaml").read_bytes())
    check_places(Options(), registry)


def check_places(options, registry):
    expected, places = owners(options), Places(registry)
    sent = {
        event[name] for event in map(json.loads, log(options)) for name in ("from", "to") if name in event
    }
    unowned = {location for location in sent if not registry.is_mapped(location)}
    assert {location.partition("^")[0] for location in unowned} <= {"XRAY"}
    for location in sent - unowned:
        point, _, _, facility = location.split("^")
        id_, kind = expected[point, facility]
        assert places[location] == id_
        assert registry.microsystem(id_).kind == kind


def test_a_small_hospital_has_one_ward_and_fewer_patients():
    small = list(journeys(Options(wards=1)))
    assert len(small) < 600
    kinds = {kind for _, kind in owners(Options(wards=1)).values()}
    assert kinds >= {"ed", "icu", "theatre", "ward"}
    assert "stroke" not in kinds


# -- is it believable


def test_all_that_rules_name_happens_in_a_fortnight(fortnight):
    assert {fact.type for fact in facts_of(fortnight, *VOCABULARY)} == VOCABULARY


def test_a_fortnight_is_as_long_as_a_real_one(fortnight):
    arrivals = len(facts_of(fortnight, "register"))
    assert 130 * 14 < arrivals < 165 * 14
    assert 15_000 < len(log(Options())) < 25_000


def test_people_come_by_day_and_most_on_monday():
    hospital = Hospital(Options(days=364), 1)
    hours, days = Counter(), Counter()
    for day in range(364):
        for at, way in arrivals(hospital, day):
            if way is emergency:
                hours[(at - hospital.clock.midnights[day]) // HOUR] += 1
                days[hospital.clock.weekday(day)] += 1
    assert min(hours, key=hours.get) == 4
    assert max(hours, key=hours.get) in {10, 11, 12}
    assert [day for day, _ in days.most_common(2)] == [0, 1]


@pytest.fixture(scope="module")
def stays(fortnights):
    """Hours in the emergency department."""
    return [stay for journey in fortnights for stay in hours_in_ed(journey)]


def hours_in_ed(journey):
    came = {fact.visit: fact.at for fact in journey.facts if fact.type == "register" and fact.real}
    for fact in journey.facts:
        if fact.type in ("admit", "discharge") and fact.real and fact.visit in came:
            yield (fact.at - came.pop(fact.visit)) / HOUR


def test_most_leave_the_emergency_department_within_four_hours(stays):
    assert 2.3 < median(stays) < 3.5
    assert 0.70 < sum(stay <= 4 for stay in stays) / len(stays) < 0.85


def test_many_leave_it_just_before_four_hours(stays):
    def within(low, high):
        return sum(low * MINUTE <= stay * HOUR < high * MINUTE for stay in stays)

    assert within(205, 240) > 1.5 * within(240, 275)


def test_some_leave_intensive_care_at_night():
    nights = []
    for seed in (1, 2, 3):
        options = Options(seed=seed, days=21)
        clock = Clock(options.start, options.days)
        wards = ("4W", "6E", "5S")
        nights += [
            clock.is_night(fact.at)
            for fact in facts_of(journeys(options), "transfer")
            if fact.real and (fact.from_ or "").startswith("ICU") and (fact.to or "").startswith(wards)
        ]
    assert 0.05 < sum(nights) / len(nights) < 0.2


def test_most_summaries_are_sent_within_a_day(fortnight):
    sent = defaultdict(list)
    for journey in fortnight:
        for fact in journey.facts:
            if fact.type == "summary_sent":
                sent[fact.visit].append(fact.at)
    left = [
        fact
        for fact in facts_of(fortnight, "discharge")
        if fact.real and fact.at < Options().end - 2 * DAY and not (fact.from_ or "ED").startswith("ED")
    ]
    in_time = [any(at - fact.at <= DAY for at in sent[fact.visit]) for fact in left]
    assert 0.75 < sum(in_time) / len(left) < 0.92


def test_a_third_goes_home_before_midday(fortnight):
    clock = Clock(Options().start, 14)
    hours = [
        clock.time_of_day(fact.at) / HOUR
        for fact in facts_of(fortnight, "discharge")
        if fact.real and not (fact.from_ or "ED").startswith("ED")
    ]
    assert 0.22 < sum(hour < 12 for hour in hours) / len(hours) < 0.42


def test_charting_takes_longer_at_night(fortnight):
    clock = Clock(Options().start, 14)
    delays = defaultdict(list)
    for fact in facts_of(fortnight, "discharge"):
        for telling in fact.told[:1]:
            delays[clock.is_night(fact.at)].append(telling.recorded_at - fact.at)
    assert median(delays[True]) > 1.2 * median(delays[False])


def test_some_patients_are_tests_and_all_their_messages_say_so(fortnight):
    tests = [journey for journey in fortnight if journey.test]
    assert 0 < len(tests) < 40
    assert all(fact.attributes["test"] is True for journey in tests for fact in journey.facts)
    assert not any(
        "test" in fact.attributes for journey in fortnight if not journey.test for fact in journey.facts
    )


def test_a_feed_is_silent_for_some_hours_and_loses_nothing(fortnight):
    delivered = sorted(
        telling.delivered_at
        for journey in fortnight
        for fact in journey.facts
        if fact.source == "PAS/RGH"
        for telling in fact.told
    )
    gaps = [after - before for before, after in pairwise(delivered)]
    assert max(gaps) >= 3 * HOUR
    back = delivered[gaps.index(max(gaps)) + 1]
    assert sum(back <= at < back + 10 * MINUTE for at in delivered) > 30


# -- beds


def beds(*taken_for):
    """Beds that become free so many hours after the start."""
    found = Beds(AMU, "RGH", len(taken_for), Chance("any"), 0)
    found._free = sorted((hours * HOUR, number) for number, hours in enumerate(taken_for))
    return found


def test_who_needs_a_bed_gets_the_one_that_became_free_last():
    assert beds(1, 3, 9).take(4 * HOUR) == (4 * HOUR, 1, "AMU^1^B^RGH")


def test_where_all_beds_are_taken_the_first_to_become_free_is_waited_for():
    ward = beds(9, 7)
    assert ward.wait(4 * HOUR) == 3 * HOUR
    assert ward.take(4 * HOUR).at == 7 * HOUR
    assert ward.take(4 * HOUR).at == 9 * HOUR


def test_a_bed_that_is_given_back_can_be_taken_again():
    ward = beds(1)
    bed = ward.take(2 * HOUR)
    ward.free(bed, 5 * HOUR)
    assert ward.wait(3 * HOUR) == 2 * HOUR


def test_the_fewer_beds_the_longer_the_waiting(monkeypatch):
    def waiting():
        decided, waited = {}, []
        for fact in facts_of(journeys(Options(days=10)), "decision_to_admit", "admit"):
            if fact.type == "decision_to_admit":
                decided[fact.visit] = fact.at
            elif fact.visit in decided:
                waited.append(fact.at - decided[fact.visit])
        return sum(waited) / len(waited)

    usual = waiting()
    monkeypatch.setattr(
        "monitor.simulation.hospital.Hospital._bed_count", lambda _, place: place.beds * 3 // 4
    )
    assert waiting() > 1.5 * usual


# -- local time


def test_days_begin_at_local_midnight():
    clock = Clock(date(2026, 3, 28), 3)
    assert [after - before for before, after in pairwise(clock.midnights[:3])] == [DAY, 23 * HOUR]
    assert Options(start=date(2026, 3, 28), days=3).end == clock.end


def test_on_the_day_that_loses_an_hour_the_log_is_one_hour_shorter():
    options = Options(seed=3, start=date(2026, 3, 28), days=2)
    assert options.end - seconds(datetime(2026, 3, 28, tzinfo=UTC)) == 47 * HOUR
    assert len(log(options)) > 2_000


def test_practices_are_closed_at_weekends_and_on_holidays():
    clock = Clock(date(2026, 4, 2), 10)  # Maundy Thursday
    thursday, tuesday = clock.start, clock.midnights[5]
    assert clock.at_office_hours(thursday + 10 * HOUR, 60) == thursday + 10 * HOUR
    assert clock.at_office_hours(thursday + 20 * HOUR, 60) == tuesday + 8 * HOUR + 31 * MINUTE
