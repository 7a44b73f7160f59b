"""For how long what was given to a worker is still its own."""

from monitor.runtime.lease import Lease


def test_nothing_is_ours_before_it_is_given():
    lease = Lease(7)
    lease.renew(100)
    assert not lease.holds(100)


def test_it_holds_from_when_we_asked_not_from_when_the_answer_was_read():
    lease = Lease(7)
    lease.begin(100)
    assert lease.holds(106.9)
    assert not lease.holds(107)


def test_each_answer_that_counts_us_in_renews_it_and_an_older_one_takes_nothing_away():
    lease = Lease(7)
    lease.begin(100)
    lease.renew(103)
    lease.renew(101)
    assert lease.holds(109.9)
    assert not lease.holds(110)


def test_one_that_ran_out_holds_again_when_the_brokers_still_count_us_in():
    lease = Lease(7)
    lease.begin(100)
    assert not lease.holds(120)
    lease.renew(121)
    assert lease.holds(122)


def test_once_it_has_ended_no_late_answer_brings_it_back_but_only_what_is_given_anew():
    lease = Lease(7)
    lease.begin(100)
    lease.end()
    lease.renew(101)
    assert not lease.holds(101)
    lease.begin(102)
    assert lease.holds(103)


def test_what_has_ended_for_good_does_not_begin_again():
    lease = Lease(7)
    lease.begin(100)
    lease.end_for_good()
    lease.begin(101)
    assert not lease.holds(101)
