"""exclusive: two encounters of one patient must not be in both places at once for long (contract, section 4)."""

from timeline import at, cases, just_after, minutes, rule, verdict, verdicts

TWICE = rule(exclusive=["icu", "ward"], longer_than="30m")
A, B = at(0, "admit", to="icu", encounter="a"), at(10, "admit", to="ward", encounter="b")


def test_it_is_violated_once_both_have_lasted_longer():
    assert verdict(TWICE, A, B, now=40) == "open"
    assert verdict(TWICE, A, B, now=just_after(40)) == "violated"


def test_it_is_violated_at_the_instant_at_which_they_had_lasted_so_long():
    (case,) = cases(TWICE, A, B)
    assert (minutes(case.decided_at), minutes(case.due_at)) == (40, 40)


def test_it_is_met_when_one_ends_in_time():
    assert verdict(TWICE, A, B, at(40, "discharge", encounter="a")) == "met"
    assert verdict(TWICE, A, B, at(20, "transfer", to="ed", encounter="b")) == "met"


def test_ending_one_later_mends_nothing():
    assert verdict(TWICE, A, B, at(41, "discharge", encounter="a")) == "violated"


def test_the_trigger_is_the_event_that_opened_the_second_stay():
    (case,) = cases(TWICE, A, B)
    assert (case.trigger, case.encounter) == ("admit@10", "b")


def test_it_does_not_matter_which_place_came_first():
    first, second = at(0, "admit", to="ward", encounter="b"), at(10, "admit", to="icu", encounter="a")
    assert verdict(TWICE, first, second) == "violated"


def test_one_encounter_cannot_be_in_both():
    assert verdicts(TWICE, A, at(10, "transfer", to="ward", encounter="a")) == []


def test_the_first_stay_must_still_go_on():
    assert verdicts(TWICE, A, at(9, "discharge", encounter="a"), B) == []


def test_at_one_instant_the_second_admission_comes_before_the_first_discharge():
    assert verdict(TWICE, A, at(10, "discharge", encounter="a"), B) == "met"


def test_both_places_may_be_one():
    same_place = rule(exclusive=["ward", "ward"], longer_than="30m")
    assert verdict(same_place, at(0, "admit", to="ward", encounter="a"), B) == "violated"


def test_places_may_be_kinds():
    kinds = rule(exclusive=["kind:icu", "kind:ward"], longer_than="30m")
    assert verdict(kinds, at(0, "admit", to="hdu", encounter="a"), B) == "violated"


def test_a_move_between_two_matching_places_goes_on():
    kinds = rule(exclusive=["kind:icu", "kind:ward"], longer_than="30m")
    assert verdict(kinds, A, B, at(20, "transfer", to="hdu", encounter="a")) == "violated"


def test_coming_back_opens_another_case():
    back = [at(20, "transfer", to="ed", encounter="b"), at(30, "transfer", to="ward", encounter="b")]
    assert verdicts(TWICE, A, B, *back) == ["met", "violated"]


def test_two_patients_are_no_case_until_they_are_one():
    other = at(10, "admit", to="ward", encounter="b", patient="q")
    merged = at(15, "merge", patient="q", attributes={"into": "p"})
    assert verdicts(TWICE, A, other, now=60) == []
    assert verdicts(TWICE, A, other, merged, now=60) == ["violated"]


def test_active_restricts_the_event_that_opened_the_second_stay():
    morning = rule(exclusive=["icu", "ward"], longer_than="30m", active={"hours": "06:00-12:05"})
    assert verdicts(morning, A, B) == []
    assert verdicts(morning, A, at(5, "admit", to="ward", encounter="c")) == []
    assert verdicts(morning, A, at(4, "admit", to="ward", encounter="c")) == ["violated"]
