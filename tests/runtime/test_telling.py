"""What is told of an alert follows from how it stands and from the last that was told of it, whoever told it."""

from datetime import UTC, datetime, timedelta

import pytest

from monitor.core.change import AlertChange
from monitor.notify.notice import Notice
from monitor.runtime.telling import Telling

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds):
    return START + timedelta(seconds=seconds)


def moment(seconds, generation=0):
    return generation, at(seconds)


def change(state="firing", seconds=0, *, reason=None, level=0, alert="a", patient="p", generation=0, severity="info"):  # fmt: skip
    return AlertChange(
        alert=alert,
        rule="r",
        severity=severity,
        state=state,
        level=level,
        reason=reason,
        at=at(seconds),
        patient=patient,
        encounter=None,
        due_at=None,
        sequence=(generation, at(seconds), 0),
        summary="s",
    )


def worded(change):
    names = "alert rule severity state level reason at sequence summary patient"
    return Notice(**{name: getattr(change, name) for name in names.split()})


def word(*args, **values):
    return worded(change(*args, **values))


def begun(ours=(), theirs=(), now=10, number=0, of=1):
    telling = Telling(worded, number, of)
    telling.begin(ours, theirs, at(now))
    return telling


def warm(**values):
    telling = begun(**values)
    telling.end_of_comparing()
    return telling


# -- in the facts' own course ------------------------------------------------------------------------------


def test_what_changes_with_the_facts_is_told_as_they_have_it():
    telling = warm()
    assert telling.changed(change("firing", 1), moment(1)) == word("firing", 1)
    resolved = change("resolved", 2, reason="late")
    assert telling.changed(resolved, moment(2)) == worded(resolved)


def test_nothing_is_remembered_of_alerts_that_the_facts_tell_of():
    telling = warm()
    telling.changed(change("firing", 1), moment(1))
    assert telling.give({"p"}, []) == []
    assert telling.give({"p"}, [change("firing", 1)]) == [word("firing", 1)]


def test_an_alert_that_was_over_before_anybody_was_told_is_no_news():
    telling = warm()
    assert telling.compared(change("resolved", 1, reason="late"), moment(5)) is None
    assert telling.changed(change("resolved", 6, reason="charted_late"), moment(6)) is None
    assert telling.withdraw("a", moment(7), even_resolved=True) is None
    assert telling.changed(change("firing", 8), moment(8)) == word("firing", 8)


def test_an_alert_that_fires_and_was_not_told_is_told_at_a_comparison():
    assert warm().compared(change("firing", 1), moment(5)) == word("firing", 1)


# -- the beginning -----------------------------------------------------------------------------------------


def test_what_stands_as_it_was_told_before_is_not_told_again():
    telling = begun([word("firing", 1)])
    assert telling.compared(change("firing", 1), moment(10)) is None
    assert telling.unseen() == []


def test_what_the_facts_say_is_kept_no_longer_than_until_all_is_compared():
    telling = begun([word("firing", 1)])
    telling.compared(change("firing", 1), moment(10))
    telling.changed(change("firing", 11, alert="b"), moment(11))
    telling.end_of_comparing()
    assert telling.give({"p"}, []) == []


@pytest.mark.parametrize("now", [{"level": 1}, {"severity": "critical"}])
def test_what_stands_otherwise_than_it_was_told_is_told(now):
    telling = begun([word("firing", 1)])
    told = telling.compared(change("firing", 1, **now), moment(10))
    assert told.sequence > word("firing", 1).sequence


def test_what_is_left_when_all_is_compared_is_withdrawn_if_it_fires():
    telling = begun([word("firing", 1), word("resolved", 2, reason="late", alert="b")])
    left = telling.unseen()
    telling.end_of_comparing()
    told = [telling.withdraw(each.alert, moment(10)) for each in left]
    assert [(each.state, each.reason, each.at) for each in told if each] == [
        ("resolved", "withdrawn", at(10))
    ]
    assert telling.unseen() == []


def test_what_changed_before_it_was_compared_was_told_so_that_it_is_no_news_then():
    telling = begun()
    telling.changed(change("firing", 11), moment(11))
    telling.changed(change("resolved", 12, reason="late"), moment(12))
    assert telling.compared(change("resolved", 12, reason="late"), moment(13)) is None
    assert telling.withdraw("a", moment(14), even_resolved=True) is not None


# -- sequences ---------------------------------------------------------------------------------------------


def test_each_word_is_later_in_sequence_than_the_last_though_the_facts_put_it_earlier():
    telling = warm()
    words = [word("firing", 5)]
    telling.take_over(words[0], at(6))
    words += [telling.compared(change("firing", 1, level=level), moment(6)) for level in (1, 2, 3)]
    sequences = [each.sequence for each in words]
    assert sequences == sorted(set(sequences))
    assert [each.level for each in words] == [0, 1, 2, 3]


def test_a_word_of_a_later_generation_is_followed_by_one_of_that_generation():
    telling = warm()
    telling.take_over(word("firing", 5, generation=7), at(6))
    assert telling.compared(change("firing", 1, level=1), moment(6)).sequence[:2] == (7, at(6))


def test_partitions_that_speak_out_of_turn_in_one_instant_have_different_sequences():
    found = set()
    for number in range(3):
        telling = warm(number=number, of=3)
        telling.take_over(word("firing", 5), at(6))
        found.add(telling.withdraw("a", moment(6)).sequence)
        for level in (1, 2):
            found.add(telling.compared(change("firing", 1, level=level), moment(6)).sequence)
    assert len(found) == 9


def test_what_was_withdrawn_fires_again_under_a_later_sequence():
    telling = warm()
    telling.take_over(word("firing", 5), at(6))
    gone = telling.withdraw("a", moment(6))
    again = telling.compared(change("firing", 1), moment(6))
    assert again.state == "firing"
    assert again.sequence > gone.sequence


def test_what_was_withdrawn_is_not_withdrawn_once_more():
    telling = warm()
    telling.take_over(word("firing", 5), at(6))
    assert telling.withdraw("a", moment(6)) is not None
    assert telling.withdraw("a", moment(7), even_resolved=True) is None


# -- told ahead --------------------------------------------------------------------------------------------


def test_what_was_told_of_an_instant_to_come_stands_until_it_has_come():
    telling = begun([word("resolved", 20, reason="late")], now=10)
    assert telling.changed(change("firing", 11), moment(11)) is None
    assert telling.withdraw("a", moment(12), even_resolved=True) is None
    assert telling.come(at(19)) == []
    assert telling.come(at(20)) == [word("resolved", 20, reason="late")]
    assert telling.compared(change("resolved", 20, reason="late"), moment(20)) is None
    assert telling.compared(change("firing", 11), moment(20)).state == "firing"


# -- others ------------------------------------------------------------------------------------------------


def test_nothing_is_said_of_what_others_told_before_its_facts_have_come():
    telling = warm(theirs=[word("firing", 1)])
    assert telling.changed(change("resolved", 5, reason="late"), moment(5)) is None
    assert telling.compared(change("resolved", 5, reason="late"), moment(5)) is None
    assert telling.withdraw("a", moment(6), even_resolved=True) is None
    assert telling.give({"p"}, [change("resolved", 5, reason="late")]) == []


def test_whoever_takes_an_alert_over_says_what_becomes_of_it():
    telling = warm()
    telling.leave([word("firing", 1)])
    assert telling.theirs(["a", "b"]) == [word("firing", 1)]
    assert telling.take_over(word("firing", 1), at(9))
    assert telling.theirs(["a"]) == []
    assert telling.compared(change("resolved", 5, reason="late"), moment(9)).reason == "late"


def test_what_is_taken_over_and_was_told_of_an_instant_to_come_stands_until_then():
    telling = warm()
    telling.take_over(word("firing", 9), at(5))
    assert telling.compared(change("resolved", 4, reason="late"), moment(5)) is None
    assert telling.come(at(9)) == [word("firing", 9)]


def test_an_older_word_that_comes_with_facts_does_not_count():
    telling = warm()
    telling.take_over(word("resolved", 7, reason="late"), at(8))
    assert not telling.take_over(word("firing", 1), at(8))
    assert telling.compared(change("resolved", 7, reason="late"), moment(8)) is None


def test_the_last_words_go_with_the_facts_also_one_that_took_it_back():
    telling = warm()
    telling.take_over(word("firing", 5), at(6))
    gone = telling.withdraw("a", moment(6))
    telling.take_over(word("firing", 5, alert="b", patient="other"), at(6))
    stands = change("firing", 5, alert="c")
    telling.changed(stands, moment(6))
    assert telling.give({"p"}, [stands]) == [gone, worded(stands)]
    assert telling.give({"p"}, []) == []
    assert [each.alert for each in telling.give({"other"}, [])] == ["b"]


def test_what_nobody_was_told_does_not_go_with_the_facts():
    telling = warm()
    over = change("resolved", 1, reason="late")
    telling.compared(over, moment(5))
    assert telling.hold([over]) == set()
    assert telling.give({"p"}, [over]) == []


# -- facts that change otherwise ---------------------------------------------------------------------------


def test_what_was_held_and_stands_no_more_is_withdrawn():
    telling = warm()
    late = change("resolved", 2, reason="late")
    telling.changed(late, moment(2))
    assert telling.hold([late]) == {"a"}
    told = telling.withdraw("a", moment(3), even_resolved=True)
    assert (told.reason, told.sequence > late.sequence) == ("withdrawn", True)


def test_what_was_held_and_stands_otherwise_is_told():
    telling = warm()
    telling.changed(change("firing", 2), moment(2))
    telling.hold([change("firing", 2)])
    told = telling.compared(change("resolved", 1, reason="charted_late"), moment(3))
    assert (told.reason, told.sequence > (0, at(2), 0)) == ("charted_late", True)


def test_what_was_held_and_stands_as_before_is_no_news():
    telling = warm()
    telling.changed(change("firing", 2), moment(2))
    telling.hold([change("firing", 2)])
    assert telling.compared(change("firing", 2), moment(3)) is None


# -- the end -----------------------------------------------------------------------------------------------


def test_what_is_ours_is_forgotten_after_a_time_and_what_is_theirs_is_not():
    telling = warm(ours=[word("resolved", 1, reason="late")], theirs=[word("firing", 1, alert="b")])
    telling.forget(at(2))
    assert telling.give({"p"}, []) == []
    assert telling.theirs(["b"]) == [word("firing", 1, alert="b")]
