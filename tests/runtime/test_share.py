"""What a notifier knows of a partition: what is news, what is still to be told, and how far that has come."""

import sys
from pathlib import Path

import pytest

from monitor.notify.notice import Delivery
from monitor.runtime.share import NEVER, Share

sys.path.insert(0, str(Path(__file__).parents[1] / "notify"))
from notices import FIRING, later, resolved

FIRED, CLIMBED, ENDED = FIRING, later(level=1), resolved()
SINKS = ["mail", "pager"]


def everyone(notice, already):
    """All sinks tell of what fires; of an end those that told before."""
    return list(already) or ([("mail", "a"), ("pager", "b")] if notice.state == "firing" else [])


def share(end=0, told=None):
    return Share(end, told, SINKS, everyone)


def read(share, *notices):
    """Take records from the first on; the number of deliveries of each."""
    changes = [share.take(offset, notice) for offset, notice in enumerate(notices, share.position)]
    return [None if change is None else len(change.routes) for change in changes]


def delivery(notice, sink="mail", receiver="a"):
    return Delivery(1, sink, receiver, notice)


def tell(share, notice):
    for sink, receiver in everyone(FIRED, ()):
        share.done(delivery(notice, sink, receiver))


def test_each_change_is_told_once_however_often_it_is_sent():
    assert read(share(), FIRED, FIRED, CLIMBED, FIRED, CLIMBED, ENDED, CLIMBED) == [
        2,
        None,
        2,
        None,
        None,
        2,
        None,
    ]


def test_what_was_delivered_by_others_is_known_and_not_told():
    taken_over = share(end=3, told={"mail": 3, "pager": 1})
    assert read(taken_over, FIRED, CLIMBED, FIRED) == [0, 1, None]
    assert taken_over.reached(3) == []
    assert read(taken_over, ENDED) == [2]


def test_an_older_state_is_no_news_though_what_came_before_it_was_told_by_others():
    taken_over = share(end=2, told={"mail": 1, "pager": 1})
    assert read(taken_over, CLIMBED, FIRED) == [0, None]


def test_where_nobody_ever_told_anything_what_fires_now_is_told_and_what_is_over_is_not():
    other = later(alert="another", state="resolved")
    first = share(end=4)
    assert read(first, FIRED, CLIMBED, later(alert="another", at=FIRED.at), other) == [0, 0, 0, 0]
    assert [(each.notice, len(each.routes)) for each in first.reached(4)] == [(CLIMBED, 2)]
    assert first.told() == {"mail": NEVER, "pager": NEVER}
    tell(first, CLIMBED)
    assert first.told() == {"mail": 4, "pager": 4}


def test_a_sink_that_has_not_told_all_that_fired_at_first_begins_again_at_the_next_owner():
    next_one = share(end=2, told={"mail": 2, "pager": NEVER})
    assert read(next_one, FIRED, CLIMBED) == [0, 0]
    assert [each.routes for each in next_one.reached(2)] == [[("pager", "b")]]


def test_a_topic_that_is_shorter_than_what_was_told_of_it_was_made_anew():
    anew = share(end=1, told={"mail": 500, "pager": 500})
    assert read(anew, FIRED, CLIMBED) == [0, 2]


def test_a_new_sink_is_not_told_what_came_before_it():
    known = share(end=1, told={"pager": 0})
    assert [change.routes for change in [known.take(0, FIRED)]] == [[("pager", "b")]]


def test_what_is_committed_of_a_sink_is_what_it_has_delivered_whatever_others_have():
    one = share()
    read(one, FIRED, later(alert="another"), CLIMBED)
    one.reached(3)
    tell(one, CLIMBED)
    share_of_mail = [delivery(FIRED), delivery(later(alert="another"))]
    for each in share_of_mail:
        one.done(each)
    assert one.told() == {"mail": 3, "pager": 0}
    assert not one.awaits(share_of_mail[0])
    assert one.awaits(delivery(FIRED, "pager", "b"))


def test_nothing_is_committed_before_all_was_read():
    one = share(end=2, told={"mail": 0, "pager": 0})
    read(one, FIRED)
    one.reached(1)
    assert one.told() is None
    assert list(one.firing("mail")) == []


def test_what_fires_is_known_with_its_receivers_unless_it_is_given_to_others():
    one = share()
    one.reached(0)
    read(one, FIRED, CLIMBED, later(alert="another"), resolved(alert="another"))
    assert list(one.firing("pager")) == [("b", CLIMBED)]
    one.is_held = True
    assert list(one.firing("pager")) == []
    assert not one.awaits(delivery(CLIMBED))


def test_an_alert_that_is_no_more_fires_no_more():
    one = share()
    one.reached(0)
    read(one, FIRED)
    one.forget(1, FIRED.alert)
    assert list(one.firing("mail")) == []
    assert one.alerts() == []
    assert one.position == 2


@pytest.mark.parametrize("receiver", ["a", "stranger"])
def test_what_is_done_twice_or_was_never_asked_for_changes_nothing(receiver):
    one = share()
    one.reached(0)
    read(one, FIRED)
    for _ in range(2):
        one.done(delivery(FIRED, receiver=receiver))
    one.done(delivery(ENDED))
    assert one.told() == {"mail": 1 if receiver == "a" else 0, "pager": 0}
