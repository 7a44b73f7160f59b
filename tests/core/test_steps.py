"""steps (pathway): each step must follow the one before it in time (contract, section 4)."""

from timeline import ANSWER, ASK, DROP, at, cases, just_after, minutes, rule, verdict_of

SIGN = {"type": "sign"}


def pathway(answer=ANSWER, sign=SIGN, **keys):
    """An `ask`, an `answer` within 30 minutes, and a `sign` within 10 minutes of that."""
    steps = [
        {"name": "ask", "match": ASK},
        {"name": "answer", "match": answer, "within": "30m"},
        {"name": "sign", "match": sign, "within": "10m"},
    ]
    return rule(steps=steps, **keys)


def steps(rules, *events, **how):
    """The verdict of each step of the only pathway."""
    return {case.step: verdict_of(case) for case in cases(rules, *events, **how)}


def test_each_step_but_the_first_has_a_verdict():
    found = steps(pathway(), at(0, "ask"), at(30, "answer"), at(40, "sign"))
    assert found == {"answer": "met", "sign": "met"}


def test_a_step_counts_from_the_event_that_satisfied_the_step_before():
    found = steps(pathway(), at(0, "ask"), at(5, "answer"), at(16, "sign"))
    assert found == {"answer": "met", "sign": "late by 1"}


def test_after_an_open_step_the_later_ones_are_not_shown():
    assert steps(pathway(), at(0, "ask"), now=30) == {"answer": "open"}
    assert steps(pathway(), at(0, "ask"), now=just_after(30)) == {"answer": "overdue"}
    assert steps(pathway(), at(0, "ask"), at(5, "answer"), now=10) == {"answer": "met", "sign": "open"}


def test_after_a_late_step_the_next_goes_on_from_it():
    found = steps(pathway(), at(0, "ask"), at(45, "answer"), at(55, "sign"))
    assert found == {"answer": "late by 15", "sign": "met"}


def test_after_a_missed_step_the_later_ones_are_void():
    found = steps(pathway(give_up="1h"), at(0, "ask"))
    assert found == {"answer": "missed: gave_up", "sign": "void: not_reached"}


def test_after_a_void_step_the_later_ones_are_void():
    found = steps(pathway(unless=DROP), at(0, "ask"), at(5, "drop"))
    assert found == {"answer": "void: unless", "sign": "void: not_reached"}


def test_what_was_not_reached_was_decided_with_the_step_before():
    found = cases(pathway(unless=DROP), at(0, "ask"), at(40, "drop"))
    assert {case.step: minutes(case.decided_at) for case in found} == {"answer": 40, "sign": 40}


def test_a_step_that_comes_after_it_was_given_up_opens_the_next_after_all():
    found = steps(pathway(give_up="1h"), at(0, "ask"), at(100, "answer"), at(105, "sign"))
    assert found == {"answer": "late by 70", "sign": "met"}


def test_a_later_step_before_an_earlier_one_does_not_count():
    found = steps(pathway(), at(0, "ask"), at(2, "sign"), at(5, "answer"), now=10)
    assert found == {"answer": "met", "sign": "open"}


def test_every_step_is_known_by_the_first_event_of_its_pathway():
    found = cases(pathway(), at(0, "ask"), at(5, "answer"), at(10, "sign"))
    assert {(case.trigger, minutes(case.trigger_at)) for case in found} == {("ask@0", 0)}
    assert {case.step: minutes(case.due_at) for case in found} == {"answer": 30, "sign": 15}
    assert len({case.case for case in found}) == 2


def test_each_first_event_opens_a_pathway_and_one_event_may_serve_both():
    found = cases(pathway(), at(0, "ask"), at(10, "ask"), at(35, "answer"), at(40, "sign"))
    assert sorted((case.trigger, case.step, verdict_of(case)) for case in found) == [
        ("ask@0", "answer", "late by 5"),
        ("ask@0", "sign", "met"),
        ("ask@10", "answer", "met"),
        ("ask@10", "sign", "met"),
    ]


def test_at_one_instant_a_step_counts_whatever_its_order_unless_strict():
    at_once = [at(0, "ask", id="b"), at(0, "answer", id="a")]
    assert steps(pathway(), *at_once, now=5) == {"answer": "met", "sign": "open"}
    assert steps(pathway(strict=True), *at_once, now=5) == {"answer": "open"}


def test_unless_looks_after_the_event_from_which_a_step_counts():
    found = steps(pathway(unless=DROP), at(0, "ask"), at(5, "answer"), at(8, "drop"))
    assert found == {"answer": "met", "sign": "void: unless"}


def test_a_steps_same_compares_with_the_event_of_the_step_before():
    to_order = pathway(sign=SIGN | {"same": ["order"]})
    answered = [at(0, "ask", attributes={"order": 9}), at(5, "answer", attributes={"order": 1})]
    assert steps(to_order, *answered, at(8, "sign", attributes={"order": 9}), now=10)["sign"] == "open"
    assert steps(to_order, *answered, at(8, "sign", attributes={"order": 1}), now=10)["sign"] == "met"


def test_active_restricts_the_first_step_only():
    until_noon = pathway(active={"hours": "06:00-12:01"})
    assert steps(until_noon, at(0, "ask"), at(5, "answer"), now=10) == {"answer": "met", "sign": "open"}
    assert steps(until_noon, at(2, "ask"), now=10) == {}


def test_when_a_step_is_cancelled_the_pathway_is_back_where_it_was():
    undone = [at(0, "ask"), at(5, "answer"), at(8, "sign"), at(9, "cancel_answer", cancels="answer@5")]
    assert steps(pathway(), *undone, now=20) == {"answer": "open"}
