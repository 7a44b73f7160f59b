"""require (precedence): before the trigger, the required event (contract, section 4)."""

from timeline import ANSWER, ASK, DROP, at, cases, minutes, rule, verdict, verdicts


def require(**keys):
    """Before an `ask`, an `answer` within 30 minutes."""
    return rule(**{"when": ASK, "require": ANSWER, "within": "30m"} | keys)


def test_it_is_met_when_the_required_event_lies_before_the_trigger():
    assert verdict(require(), at(-10, "answer"), at(0, "ask")) == "met"


def test_exactly_so_long_before_is_in_time():
    assert verdict(require(), at(-30, "answer"), at(0, "ask")) == "met"
    assert verdict(require(), at(-31, "answer"), at(0, "ask")) == "violated"


def test_without_within_it_may_lie_at_any_time_before():
    ever = rule(when=ASK, require=ANSWER)
    assert verdict(ever, at(-100_000, "answer"), at(0, "ask")) == "met"


def test_it_is_violated_at_the_trigger():
    (case,) = cases(require(), at(7, "ask"))
    assert (case.verdict, minutes(case.decided_at), case.due_at) == ("violated", 7, None)


def test_what_comes_after_the_trigger_is_too_late():
    assert verdict(require(), at(0, "ask"), at(1, "answer")) == "violated"


def test_at_the_triggers_instant_it_counts_whatever_its_order():
    assert verdict(require(), at(0, "answer", id="b"), at(0, "ask", id="a")) == "met"
    assert verdict(require(when={"type": "admit"}), at(0, "admit"), at(0, "answer")) == "met"


def test_strict_asks_for_an_earlier_one():
    strict = require(strict=True)
    assert verdict(strict, at(0, "answer", id="a"), at(0, "ask", id="b")) == "violated"
    assert verdict(strict, at(0, "answer", id="b"), at(0, "ask", id="a")) == "violated"
    assert verdict(strict, at(-1, "answer"), at(0, "ask")) == "met"


def test_instants_are_equal_at_the_coarser_precision():
    to_the_minute = at(0, "answer", precision="minute")
    assert verdict(require(within="0s"), to_the_minute, at(0.5, "ask")) == "met"
    assert verdict(require(within="0s", strict=True), to_the_minute, at(0.5, "ask")) == "violated"
    assert verdict(require(), at(0.25, "ask"), at(0.5, "answer", precision="minute")) == "met"


def test_an_event_never_precedes_itself():
    assert verdicts(require(require=ASK), at(0, "ask"), at(10, "ask")) == ["violated", "met"]


def test_unless_between_the_two_undoes_it():
    undone = require(unless=DROP)
    assert verdict(undone, at(-20, "answer"), at(-10, "drop"), at(0, "ask")) == "violated"


def test_unless_before_the_required_event_or_after_the_trigger_changes_nothing():
    undone = require(unless=DROP)
    assert verdict(undone, at(-20, "drop"), at(-10, "answer"), at(0, "ask")) == "met"
    assert verdict(undone, at(-10, "answer"), at(0, "ask"), at(10, "drop")) == "met"


def test_what_was_undone_may_be_done_again():
    events = [at(-20, "answer"), at(-15, "drop"), at(-10, "answer"), at(0, "ask")]
    assert verdict(require(unless=DROP), *events) == "met"


def test_unless_at_the_triggers_instant_is_before_or_after_it_by_order():
    undone = require(unless=DROP)
    assert verdict(undone, at(-5, "answer"), at(0, "drop", id="a"), at(0, "ask", id="b")) == "violated"
    assert verdict(undone, at(-5, "answer"), at(0, "drop", id="b"), at(0, "ask", id="a")) == "met"


def test_unless_may_be_a_list_of_which_any_holds():
    undone = require(unless=[DROP, {"type": "leave"}])
    assert verdict(undone, at(-20, "answer"), at(-10, "leave"), at(0, "ask")) == "violated"


def test_by_default_the_encounters_are_equal_where_both_have_one():
    ask = at(0, "ask", encounter="a")
    assert verdict(require(), at(-5, "answer", encounter="b"), ask) == "violated"
    assert verdict(require(same=[]), at(-5, "answer", encounter="b"), ask) == "met"
    assert verdict(require(), at(-5, "answer"), ask) == "met"


def test_unless_of_another_order_undoes_nothing():
    undone = require(unless=DROP | {"same": ["order"]})
    ask = at(0, "ask", attributes={"order": 1})
    assert verdict(undone, at(-20, "answer"), at(-10, "drop", attributes={"order": 2}), ask) == "met"
    assert verdict(undone, at(-20, "answer"), at(-10, "drop", attributes={"order": 1}), ask) == "violated"


def test_it_is_violated_until_the_required_event_is_charted():
    events = [at(-10, "answer", arrived=20), at(0, "ask")]
    assert verdict(require(), *events, now=19) == "violated"
    assert verdict(require(), *events, now=20) == "met"


def test_a_cancelled_event_was_never_there():
    events = [at(-10, "answer"), at(0, "ask"), at(5, "cancel_answer", cancels="answer@-10")]
    assert verdict(require(), *events) == "violated"
