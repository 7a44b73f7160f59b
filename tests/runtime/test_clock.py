"""The live clock: it never goes back, and believes a leap only after a while."""

from datetime import UTC, datetime, timedelta

from monitor.runtime.clock import LiveClock

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Machine:
    """A machine whose clocks a test moves."""

    def __init__(self):
        self.passed = 1000.0
        self.wrong = timedelta(0)

    def wall(self):
        return START + timedelta(seconds=self.passed - 1000) + self.wrong

    def clock(self):
        return LiveClock(self.wall, lambda: self.passed)


def minutes(clock):
    return (clock.now() - START) / timedelta(minutes=1)


def test_it_follows_the_wall_clock():
    machine = Machine()
    clock = machine.clock()
    machine.passed += 60
    assert minutes(clock) == 1
    assert clock.steps == 0


def test_set_back_it_waits_until_the_wall_clock_has_caught_up():
    machine = Machine()
    clock = machine.clock()
    machine.passed += 600
    assert minutes(clock) == 10
    machine.wrong = timedelta(minutes=-5)
    machine.passed += 60
    assert minutes(clock) == 10
    assert clock.behind == timedelta(minutes=4)
    assert clock.steps == 1
    machine.passed += 300
    assert minutes(clock) == 11
    assert clock.behind == timedelta(0)


def test_a_leap_forward_that_is_taken_back_leaves_no_trace():
    machine = Machine()
    clock = machine.clock()
    machine.wrong = timedelta(days=1)
    for _ in range(5):
        machine.passed += 10
        clock.now()
    assert minutes(clock) == 50 / 60
    machine.wrong = timedelta(0)
    machine.passed += 10
    assert minutes(clock) == 1


def test_a_leap_forward_that_stays_is_believed_after_a_minute():
    machine = Machine()
    clock = machine.clock()
    machine.wrong = timedelta(hours=1)
    machine.passed += 1
    assert minutes(clock) == 1 / 60
    machine.passed += 61
    assert minutes(clock) == 60 + 62 / 60
    assert clock.steps == 1


def test_sleep_is_no_leap():
    machine = Machine()
    clock = machine.clock()
    machine.passed += 7200
    assert minutes(clock) == 120
    assert clock.steps == 0


def test_small_corrections_are_followed_forward_and_waited_for_backward():
    machine = Machine()
    clock = machine.clock()
    machine.passed += 10
    machine.wrong = timedelta(seconds=2)
    assert minutes(clock) == 12 / 60
    machine.wrong = timedelta(seconds=0)
    assert minutes(clock) == 12 / 60


def test_each_next_instant_is_later_than_all_before():
    machine = Machine()
    clock = machine.clock()
    told = [clock.next(), clock.now(), clock.next(), clock.next()]
    assert told[0] <= told[1] < told[2] < told[3]


def test_what_was_judged_before_the_start_stays_judged():
    clock = Machine().clock()
    clock.not_before(START + timedelta(minutes=3))
    assert minutes(clock) == 3


def test_it_can_run_faster_than_life():
    machine = Machine()
    clock = LiveClock.faster(600, START, lambda: machine.passed)
    machine.passed += 1
    assert minutes(clock) == 10


def test_one_that_is_not_real_goes_on_after_a_restart_where_it_had_come():
    machine = Machine()
    clock = LiveClock.faster(600, START, lambda: machine.passed)
    clock.not_before(START + timedelta(hours=5))
    machine.passed += 1
    assert minutes(clock) == 5 * 60 + 10
    assert (clock.behind, clock.steps) == (timedelta(0), 0)
