"""forbid (not-response): after the trigger, the forbidden event must not come (contract, section 4)."""

import pytest
from timeline import ANSWER, ASK, DROP, at, cases, just_after, minutes, rule, verdict, verdicts


def forbid(**keys):
    """After an `ask`, no `answer` within 30 minutes."""
    return rule(**{"when": ASK, "forbid": ANSWER, "within": "30m"} | keys)


def until_drop(**keys):
    return forbid(until=DROP, **keys)


def test_it_is_violated_at_the_first_forbidden_event():
    (case,) = cases(forbid(), at(0, "ask"), at(10, "answer"), at(20, "answer"))
    assert (case.verdict, minutes(case.decided_at), case.evidence) == ("violated", 10, ["answer@10"])


def test_exactly_at_the_end_it_is_still_forbidden():
    assert verdict(forbid(), at(0, "ask"), at(30, "answer")) == "violated"
    assert verdict(forbid(), at(0, "ask"), at(31, "answer")) == "met"


def test_it_is_open_at_the_end_and_met_after_it():
    assert verdict(forbid(), at(0, "ask"), now=30) == "open"
    assert verdict(forbid(), at(0, "ask"), now=just_after(30)) == "met"


def test_it_is_met_at_the_end_of_the_time():
    (case,) = cases(forbid(), at(0, "ask"))
    assert minutes(case.decided_at) == 30


def test_what_came_before_the_trigger_is_not_forbidden():
    assert verdict(forbid(), at(-1, "answer"), at(0, "ask")) == "met"


@pytest.mark.parametrize("ids", [("a", "b"), ("b", "a")])
def test_only_a_strictly_later_event_is_forbidden(ids):
    assert verdict(forbid(), at(0, "ask", id=ids[0]), at(0, "answer", id=ids[1])) == "met"


def test_an_event_in_the_same_minute_is_not_later_where_only_the_minute_is_known():
    assert verdict(forbid(), at(0, "ask", precision="minute"), at(0.5, "answer")) == "met"
    assert verdict(forbid(), at(0, "ask", precision="minute"), at(1, "answer")) == "violated"


def test_an_event_never_forbids_itself():
    assert verdicts(forbid(forbid=ASK), at(0, "ask"), at(10, "ask")) == ["violated", "met"]


def test_until_ends_the_ban():
    (case,) = cases(until_drop(), at(0, "ask"), at(10, "drop"), at(20, "answer"))
    assert (case.verdict, minutes(case.decided_at)) == ("met", 10)


def test_until_after_the_forbidden_event_is_too_late():
    assert verdict(until_drop(), at(0, "ask"), at(10, "answer"), at(20, "drop")) == "violated"


def test_an_event_that_is_both_ends_the_ban():
    assert verdict(forbid(until=ANSWER), at(0, "ask"), at(10, "answer")) == "met"


def test_until_may_be_a_list_of_which_any_holds():
    either = forbid(until=[DROP, {"type": "discharge"}])
    assert verdict(either, at(0, "ask"), at(10, "discharge"), at(20, "answer")) == "met"


def test_until_at_the_triggers_instant_counts_only_after_it_in_order():
    answer = at(10, "answer")
    assert verdict(until_drop(), at(0, "ask", id="a"), at(0, "drop", id="b"), answer) == "met"
    assert verdict(until_drop(), at(0, "ask", id="b"), at(0, "drop", id="a"), answer) == "violated"


def test_which_of_two_at_one_instant_came_first_is_by_order():
    ask = at(0, "ask")
    assert verdict(until_drop(), ask, at(9, "drop", id="a"), at(9, "answer", id="b")) == "met"
    assert verdict(until_drop(), ask, at(9, "drop", id="b"), at(9, "answer", id="a")) == "violated"


def test_until_after_the_end_decides_nothing():
    (case,) = cases(until_drop(), at(0, "ask"), at(40, "drop"))
    assert (case.verdict, minutes(case.decided_at)) == ("met", 30)


def test_by_default_the_encounters_are_equal_where_both_have_one():
    ask = at(0, "ask", encounter="a")
    assert verdict(forbid(), ask, at(10, "answer", encounter="b")) == "met"
    assert verdict(forbid(same=[]), ask, at(10, "answer", encounter="b")) == "violated"
    assert verdict(forbid(), ask, at(10, "answer")) == "violated"


def test_a_violation_is_gone_once_its_event_is_cancelled():
    events = [at(0, "ask"), at(10, "answer"), at(20, "cancel_answer", cancels="answer@10")]
    assert verdict(forbid(), *events, now=19) == "violated"
    assert verdict(forbid(), *events, now=20) == "open"


def test_what_was_met_is_violated_when_the_event_is_charted_later():
    events = [at(0, "ask"), at(10, "answer", arrived=60)]
    assert verdict(forbid(), *events, now=59) == "met"
    assert verdict(forbid(), *events, now=60) == "violated"


def test_readmission_is_looked_for_over_the_whole_journey():
    readmitted = rule(when={"type": "discharge"}, forbid={"type": "admit"}, within="30d", same=[])
    events = [at(0, "admit", encounter="1"), at(5, "discharge", encounter="1")]
    assert verdict(readmitted, *events, at(99, "admit", encounter="2")) == "violated"
    assert verdict(readmitted, *events, now=99) == "open"
