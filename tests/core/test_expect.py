"""expect (response): after the trigger, the expected event within a time (contract, section 4)."""

import pytest
from timeline import ANSWER, ASK, DAY, DROP, at, cases, expect, just_after, minutes, rule, verdict, verdicts


def test_exactly_at_the_deadline_is_in_time():
    assert verdict(expect(), at(0, "ask"), at(30, "answer")) == "met"


def test_after_the_deadline_it_is_late_by_what_passed_since():
    assert verdict(expect(), at(0, "ask"), at(45, "answer")) == "late by 15"


def test_a_case_is_open_at_its_deadline_and_overdue_after_it():
    assert verdict(expect(), at(0, "ask"), now=30) == "open"
    assert verdict(expect(), at(0, "ask"), now=just_after(30)) == "overdue"


def test_it_is_given_up_24_hours_after_the_deadline_by_default():
    assert verdict(expect(), at(0, "ask"), now=30 + DAY) == "overdue"
    assert verdict(expect(), at(0, "ask"), now=just_after(30 + DAY)) == "missed: gave_up"


def test_give_up_counts_from_the_deadline():
    assert verdict(expect(give_up="1h"), at(0, "ask"), now=90) == "overdue"
    assert verdict(expect(give_up="1h"), at(0, "ask"), now=just_after(90)) == "missed: gave_up"


def test_what_was_given_up_and_comes_after_all_is_late():
    assert verdict(expect(give_up="1h"), at(0, "ask"), at(100, "answer")) == "late by 70"


def test_an_event_before_the_trigger_is_no_answer():
    assert verdict(expect(), at(-1, "answer"), at(0, "ask"), now=10) == "open"


def test_the_first_answer_decides():
    assert verdict(expect(), at(0, "ask"), at(10, "answer"), at(40, "answer")) == "met"


def test_no_trigger_no_case():
    assert verdicts(expect(), at(0, "answer"), at(5, "drop")) == []


def test_an_event_never_answers_itself():
    again = expect(expect=ASK)
    assert verdict(again, at(0, "ask"), now=10) == "open"
    assert verdicts(again, at(0, "ask"), at(10, "ask"), now=20) == ["met", "open"]


def test_one_answer_serves_every_case_that_it_matches():
    assert verdicts(expect(), at(0, "ask"), at(10, "ask"), at(35, "answer")) == ["late by 5", "met"]


def test_a_case_tells_what_it_was_and_what_decided_it():
    (case,) = cases(expect(), at(0, "ask", encounter="e"), at(40, "answer", encounter="e"))
    assert (case.rule, case.patient, case.encounter, case.trigger) == ("r", "p", "e", "ask@0")
    assert (minutes(case.trigger_at), minutes(case.due_at), minutes(case.decided_at)) == (0, 30, 40)
    assert (case.delay_seconds, case.evidence) == (600, ["answer@40"])


def test_another_patients_answer_is_no_answer():
    assert verdict(expect(), at(0, "ask"), at(5, "answer", patient="q"), now=10) == "open"


def test_a_cancelled_trigger_has_no_case():
    assert verdicts(expect(), at(0, "ask"), at(10, "cancel_ask", cancels="ask@0")) == []


def test_active_restricts_the_triggers():
    nights = expect(active={"hours": "20:00-08:00"})
    assert verdicts(nights, at(0, "ask"), at(5, "answer")) == []
    assert verdict(nights, at(9 * 60, "ask"), at(20 * 60, "answer")) == "late by 630"


# -- unless ------------------------------------------------------------------------------------------------


def test_unless_before_the_answer_makes_the_case_void():
    assert verdict(expect(unless=DROP), at(0, "ask"), at(5, "drop"), at(10, "answer")) == "void: unless"


def test_unless_exactly_at_the_deadline_still_makes_it_void():
    assert verdict(expect(unless=DROP), at(0, "ask"), at(30, "drop")) == "void: unless"


def test_unless_after_the_deadline_abandons_it():
    (case,) = cases(expect(unless=DROP), at(0, "ask"), at(31, "drop"))
    assert (case.verdict, case.reason, minutes(case.decided_at)) == ("missed", "abandoned", 31)


def test_unless_after_the_answer_changes_nothing():
    assert verdict(expect(unless=DROP), at(0, "ask"), at(10, "answer"), at(15, "drop")) == "met"
    assert verdict(expect(unless=DROP), at(0, "ask"), at(40, "answer"), at(45, "drop")) == "late by 10"


def test_an_answer_after_it_was_abandoned_does_not_count():
    events = [at(0, "ask"), at(31, "drop"), at(40, "answer")]
    assert verdict(expect(unless=DROP), *events) == "missed: abandoned"


def test_what_was_given_up_is_not_abandoned_later():
    given_up = expect(unless=DROP, give_up="1h")
    assert verdict(given_up, at(0, "ask"), at(100, "drop")) == "missed: gave_up"
    assert verdict(given_up, at(0, "ask"), at(90, "drop")) == "missed: abandoned"


def test_unless_may_be_a_list_of_which_any_holds():
    either = expect(unless=[DROP, {"type": "leave"}])
    assert verdict(either, at(0, "ask"), at(5, "leave")) == "void: unless"


def test_an_event_that_is_both_answers():
    assert verdict(expect(unless=ANSWER), at(0, "ask"), at(10, "answer")) == "met"


def test_at_the_triggers_instant_unless_counts_only_after_it_in_order():
    dropped = expect(unless=DROP)
    assert verdict(dropped, at(0, "ask", id="b"), at(0, "drop", id="a"), now=10) == "open"
    assert verdict(dropped, at(0, "ask", id="a"), at(0, "drop", id="b"), now=10) == "void: unless"


def test_which_of_two_at_one_instant_came_first_is_by_order():
    dropped = expect(unless=DROP)
    assert verdict(dropped, at(0, "ask"), at(9, "drop", id="a"), at(9, "answer", id="b")) == "void: unless"
    assert verdict(dropped, at(0, "ask"), at(9, "drop", id="b"), at(9, "answer", id="a")) == "met"


# -- equal instants, not_before ----------------------------------------------------------------------------


def test_an_answer_at_the_triggers_instant_counts_whatever_its_order():
    registered = expect(expect={"type": "register"})
    assert verdict(registered, at(0, "register"), at(0, "ask"), now=10) == "met"
    assert verdict(expect(within="0s"), at(0, "ask", id="b"), at(0, "answer", id="a")) == "met"


def test_strict_asks_for_a_later_answer():
    strict = expect(strict=True)
    assert verdict(strict, at(0, "ask", id="a"), at(0, "answer", id="b"), now=10) == "open"
    assert verdict(strict, at(0, "ask", id="b"), at(0, "answer", id="a"), now=10) == "open"
    assert verdict(strict, at(0, "ask"), at(1, "answer"), now=10) == "met"


@pytest.mark.parametrize(("strict", "found"), [(False, "met"), (True, "open")])
def test_instants_are_equal_at_the_coarser_precision(strict, found):
    to_the_minute = at(0, "answer", precision="minute")
    assert verdict(expect(strict=strict), to_the_minute, at(0.5, "ask"), now=10) == found


def test_the_minute_before_is_not_equal():
    to_the_minute = at(-1, "answer", precision="minute")
    assert verdict(expect(), to_the_minute, at(0, "ask"), now=10) == "open"


def test_an_answer_before_not_before_does_not_count():
    later = expect(not_before="10m")
    assert verdict(later, at(0, "ask"), at(9, "answer"), now=20) == "open"
    assert verdict(later, at(0, "ask"), at(10, "answer"), now=20) == "met"
    assert verdict(later, at(0, "ask"), at(9, "answer"), at(31, "answer")) == "late by 1"


# -- overlap -----------------------------------------------------------------------------------------------


def test_by_default_each_trigger_opens_a_case():
    assert verdicts(expect(), at(0, "ask"), at(10, "ask"), now=20) == ["open", "open"]


def test_first_opens_no_case_while_an_earlier_one_is_undecided():
    assert verdicts(expect(overlap="first"), at(0, "ask"), at(10, "ask"), at(35, "answer")) == ["late by 5"]


def test_first_opens_a_case_once_the_earlier_one_is_decided():
    first = expect(overlap="first", unless=DROP)
    assert verdicts(first, at(0, "ask"), at(5, "answer"), at(10, "ask"), now=20) == ["met", "open"]
    assert verdicts(first, at(0, "ask"), at(5, "drop"), at(10, "ask"), now=20) == ["void: unless", "open"]


def test_an_answer_at_the_second_triggers_instant_decides_by_order():
    first = expect(overlap="first")
    answered_before = [at(0, "ask"), at(10, "answer", id="a"), at(10, "ask", id="b")]
    answered_after = [at(0, "ask"), at(10, "answer", id="b"), at(10, "ask", id="a")]
    assert verdicts(first, *answered_before, now=20) == ["met", "met"]
    assert verdicts(first, *answered_after, now=20) == ["met"]


def test_first_waits_until_the_earlier_case_is_given_up():
    first = expect(overlap="first", give_up="1h")
    assert verdicts(first, at(0, "ask"), at(90, "ask"), now=95) == ["missed: gave_up"]
    assert verdicts(first, at(0, "ask"), at(91, "ask"), now=95) == ["missed: gave_up", "open"]


def test_latest_supersedes_what_is_undecided_and_not_past_its_deadline():
    latest = expect(overlap="latest")
    assert verdicts(latest, at(0, "ask"), at(30, "ask"), at(40, "answer")) == ["void: superseded", "met"]
    assert verdicts(latest, at(0, "ask"), at(31, "ask"), at(40, "answer")) == ["late by 10", "met"]


def test_latest_leaves_a_decided_case_as_it_is():
    latest = expect(overlap="latest")
    assert verdicts(latest, at(0, "ask"), at(5, "answer"), at(10, "ask"), now=20) == ["met", "open"]


def test_a_case_is_superseded_by_the_trigger_that_came():
    before, _ = cases(expect(overlap="latest"), at(0, "ask"), at(10, "ask"), now=20)
    assert (minutes(before.decided_at), before.evidence) == (10, ["ask@10"])


@pytest.mark.parametrize("overlap", ["first", "latest"])
def test_triggers_overlap_only_with_equal_same_values(overlap):
    apart = expect(overlap=overlap, same=["order"])
    asks = [at(0, "ask", attributes={"order": 1}), at(10, "ask", attributes={"order": 2})]
    assert verdicts(apart, *asks, now=20) == ["open", "open"]


# -- several expected events -------------------------------------------------------------------------------

BOTH = expect(expect=[ANSWER, {"type": "sign"}])


def test_of_a_list_all_must_occur_in_any_order():
    assert verdict(BOTH, at(0, "ask"), at(5, "sign"), at(10, "answer")) == "met"
    assert verdict(BOTH, at(0, "ask"), at(5, "answer"), at(10, "sign")) == "met"
    assert verdict(BOTH, at(0, "ask"), at(5, "answer"), now=20) == "open"


def test_the_last_of_their_first_occurrences_decides():
    (case,) = cases(BOTH, at(0, "ask"), at(5, "sign"), at(10, "answer"), at(20, "sign"))
    assert minutes(case.decided_at) == 10
    assert verdict(BOTH, at(0, "ask"), at(5, "sign"), at(40, "answer")) == "late by 10"


def test_one_event_may_serve_two_of_the_list():
    overlapping = expect(expect=[ANSWER, {"type": "an*"}])
    assert verdict(overlapping, at(0, "ask"), at(5, "answer")) == "met"


def test_unless_counts_until_the_last_of_the_list():
    both = expect(expect=[ANSWER, {"type": "sign"}], unless=DROP)
    assert verdict(both, at(0, "ask"), at(5, "sign"), at(7, "drop"), at(9, "answer")) == "void: unless"


# -- same --------------------------------------------------------------------------------------------------


def test_by_default_the_encounters_are_equal_where_both_have_one():
    ask, other = at(0, "ask", encounter="a"), at(5, "answer", encounter="b")
    assert verdict(expect(), ask, other, now=10) == "open"
    assert verdict(expect(), ask, at(5, "answer"), now=10) == "met"


def test_an_empty_same_looks_over_the_whole_journey():
    events = [at(0, "ask", encounter="a"), at(5, "answer", encounter="b")]
    assert verdict(expect(same=[]), *events) == "met"


def test_what_same_names_must_be_equal_and_present_in_both():
    ordered = expect(same=["order"])
    ask = at(0, "ask", attributes={"order": 7})
    assert verdict(ordered, ask, at(5, "answer", attributes={"order": 7}), now=10) == "met"
    assert verdict(ordered, ask, at(5, "answer", attributes={"order": 8}), now=10) == "open"
    assert verdict(ordered, at(0, "ask"), at(5, "answer"), now=10) == "open"


def test_same_compares_places_as_they_are_mapped():
    to_there = expect(same=["to"])
    assert verdict(to_there, at(0, "ask", to="ICU^1"), at(5, "answer", to="ICU^2"), now=10) == "met"


def test_a_patterns_own_same_stands_in_for_the_rules():
    bed = rule(
        when={"type": "pending_transfer"},
        expect={"type": "transfer", "same": ["to"]},
        unless={"type": "withdraw", "same": ["order"]},
        within="30m",
    )
    ordered = at(0, "pending_transfer", to="icu", attributes={"order": 1})
    other = at(5, "withdraw", attributes={"order": 2})
    assert verdict(bed, ordered, other, at(9, "transfer", to="ward"), now=20) == "open"
    assert verdict(bed, ordered, other, at(9, "transfer", to="icu"), now=20) == "met"
    assert verdict(bed, ordered, at(5, "withdraw", attributes={"order": 1}), now=20) == "void: unless"
