"""Deliveries go out at least once, in order for each alert and receiver, whatever fails."""

import asyncio
from functools import partial

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from notices import FIRING, delivery, later, until

from monitor.notify.notice import Delivery, NotDelivered
from monitor.notify.notifier import Notifier
from monitor.notify.outbox import LONGEST_WAIT_SECONDS, deliver, groups, wait_seconds


class MemoryOutbox:
    """The outbox as it is described, in a list. Its time passes when nothing is due."""

    def __init__(self, deliveries):
        self.waiting = list(deliveries)
        self.ready_at = {}
        self.refused = []
        self.now = 0.0
        self.out_of_order = 0
        """So many calls fail first."""

    async def due(self, sink, limit):
        self._work()
        oldest = {}
        for each in self.waiting:
            if each.sink == sink:
                oldest.setdefault((each.notice.alert, each.receiver), each)
        due = [each for each in oldest.values() if self.ready_at.get(each.id, 0.0) <= self.now]
        if not due and oldest:
            self.now = min(self.ready_at[each.id] for each in oldest.values())
        await asyncio.sleep(0)  # the answer may be older than what is marked meanwhile
        return due[:limit]

    async def delivered(self, ids):
        self._work()
        self.waiting = [each for each in self.waiting if each.id not in ids]

    async def failed(self, ids, why, retry_in_seconds):
        self._work()
        for number, each in enumerate(self.waiting):
            if each.id in ids:
                self.waiting[number] = msgspec.structs.replace(each, attempts=each.attempts + 1)
                self.ready_at[each.id] = self.now + (retry_in_seconds or 0.0)
        if retry_in_seconds is None:
            self.refused += ids
            self.waiting = [each for each in self.waiting if each.id not in ids]

    def _work(self):
        if self.out_of_order:
            self.out_of_order -= 1
            raise OSError("no space left for patient 1000091")


class Wire:
    """A sink that loses what it is told to lose."""

    name = "out"
    gather_seconds = 0.0

    def __init__(self, at_once=3, fails=(), refuses=(), poison=()):
        self.at_once = at_once
        self.fails = list(fails)
        self.refuses = refuses
        self.poison = poison
        self.taken = []
        self.calls = 0
        self.closed = False

    async def send(self, deliveries):
        self.calls += 1
        assert len({each.receiver for each in deliveries}) == 1
        assert len({each.notice.alert for each in deliveries}) == len(deliveries) <= self.at_once
        await asyncio.sleep(0)
        if self.fails and (part := self.fails.pop()) is not None:
            self.taken += deliveries[:part]
            raise NotDelivered("down")
        if any(each.id in self.refuses for each in deliveries):
            raise NotDelivered("never", retry=False)
        if any(each.id in self.poison for each in deliveries):
            raise ValueError("patient 1000091")
        self.taken += deliveries

    async def close(self):
        self.closed = True


def run(sink, outbox, done):
    """Deliver until there is nothing more to wait for; the results."""
    results = []

    async def main():
        loop = asyncio.create_task(
            deliver(sink, outbox, wake=asyncio.Event(), on_result=results.append, poll_seconds=0.0)
        )
        await until(done)
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)

    asyncio.run(main())
    return results


def deliveries(keys):
    """Deliveries of (alert, receiver), numbered in order."""
    return [
        Delivery(number, "out", f"r{receiver}", later(alert=f"a{alert}"))
        for number, (alert, receiver) in enumerate(keys)
    ]


KEYS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), max_size=20)
IDS = st.sets(st.integers(0, 19), max_size=4)


def in_order(taken):
    of_key = {}
    for each in taken:
        of_key.setdefault((each.notice.alert, each.receiver), []).append(each.id)
    return all(ids == sorted(ids) for ids in of_key.values())


@given(KEYS, st.lists(st.none() | st.integers(0, 3), max_size=30), IDS, st.integers(1, 5))
def test_whatever_fails_each_delivery_arrives_in_order_unless_it_is_refused(keys, fails, refuses, at_once):
    outbox, sink = MemoryOutbox(deliveries(keys)), Wire(at_once, fails, refuses)
    run(sink, outbox, lambda: not outbox.waiting)
    everything = set(range(len(keys)))
    assert {each.id for each in sink.taken} | set(outbox.refused) == everything
    assert set(outbox.refused) == everything & refuses
    assert in_order(sink.taken)


@given(KEYS, st.integers(1, 5))
def test_where_nothing_fails_each_delivery_is_sent_once(keys, at_once):
    outbox, sink = MemoryOutbox(deliveries(keys)), Wire(at_once)
    run(sink, outbox, lambda: not outbox.waiting)
    assert sorted(each.id for each in sink.taken) == list(range(len(keys)))


@given(KEYS, IDS, st.integers(1, 20))
def test_what_the_other_side_chokes_on_never_stops_the_other_alerts(keys, poison, at_once):
    everything = deliveries(keys)
    poisoned = {
        (each.notice.alert, each.receiver): each.id for each in reversed(everything) if each.id in poison
    }
    free = {
        each.id
        for each in everything
        if each.id < poisoned.get((each.notice.alert, each.receiver), len(keys))
    }
    outbox, sink = MemoryOutbox(everything), Wire(at_once, poison=poison)
    run(sink, outbox, lambda: {each.id for each in sink.taken} >= free)
    assert {each.id for each in sink.taken} == free


def test_a_group_of_which_one_is_refused_costs_the_others_nothing():
    outbox, sink = MemoryOutbox(deliveries([(n, 0) for n in range(3)])), Wire(refuses={1})
    results = run(sink, outbox, lambda: not outbox.waiting)
    assert [each.id for each in sink.taken] == [0, 2]
    assert outbox.refused == [1]
    assert sorted(result.outcome for result in results) == ["delivered", "delivered", "refused"]
    assert sink.calls == 4


def test_results_say_what_became_of_each_and_never_who_the_patient_is():
    outbox, sink = MemoryOutbox(deliveries([(0, 0), (1, 1)])), Wire(poison={0}, fails=[None, 0])
    results = run(sink, outbox, lambda: [each.id for each in sink.taken] == [1] and sink.calls > 4)
    assert {(result.outcome, result.why) for result in results} == {
        ("retry", "down"),
        ("retry", "ValueError in the sink"),
        ("delivered", ""),
    }


def test_what_could_not_be_marked_as_delivered_is_not_sent_again_meanwhile():
    class Fills(Wire):
        async def send(self, deliveries):
            await super().send(deliveries)
            outbox.out_of_order = 5

    outbox, sink = MemoryOutbox(deliveries([(0, 0)])), Fills()
    results = run(sink, outbox, lambda: not outbox.waiting and not outbox.out_of_order)
    assert sink.calls == 1
    assert [result.outcome for result in results] == ["outbox"] * 5 + ["delivered"]
    assert results[0].why == "OSError"


def test_waits_double_up_to_five_minutes_and_differ_between_deliveries():
    waits = [
        [wait_seconds(Delivery(number, "out", "r", FIRING, attempts)) for number in range(50)]
        for attempts in range(40)
    ]
    for attempts, of_attempt in enumerate(waits):
        longest = min(LONGEST_WAIT_SECONDS, 2.0**attempts)
        assert all(longest / 2 <= wait <= longest for wait in of_attempt)
        assert len(set(of_attempt)) == 50
    assert waits[3] == [wait_seconds(Delivery(number, "out", "r", FIRING, 3)) for number in range(50)]


def test_the_first_attempt_is_made_in_one_piece_and_each_further_one_in_one_part_more():
    new = [delivery(later(alert=f"a{n}"), number=n) for n in range(200)]
    assert [len(group) for group in groups(new, 150)] == [150, 50]
    tried = [msgspec.structs.replace(each, attempts=3) for each in new]
    assert len(groups(tried, 500)) == 4


def test_those_of_one_receiver_that_come_close_together_go_together():
    outbox, sink = MemoryOutbox(deliveries([(0, 0)])), Wire()
    sink.gather_seconds = 0.02
    outbox_due = outbox.due

    async def one_more(*args):
        found = await outbox_due(*args)
        if len(outbox.waiting) == 1 and not sink.calls:
            outbox.waiting += deliveries([(0, 0), (1, 0)])[1:]
        return found

    outbox.due = one_more
    run(sink, outbox, lambda: not outbox.waiting)
    assert sink.calls == 1
    assert [each.id for each in sink.taken] == [0, 1]


def test_an_alert_that_hangs_slows_no_other_of_its_sink_and_is_not_sent_twice():
    class Slow(Wire):
        async def send(self, deliveries):
            if deliveries[0].id == 0:
                self.calls += 1
                await asyncio.sleep(3600)
            await super().send(deliveries)

    outbox, sink = MemoryOutbox(deliveries([(0, 0), (1, 0), (1, 0), (0, 1)])), Slow(at_once=1)
    run(sink, outbox, lambda: len(outbox.waiting) == 1)
    assert [each.id for each in outbox.waiting] == [0]
    assert [each.id for each in sink.taken] == [1, 3, 2]
    assert sink.calls == 4


def test_a_sink_that_hangs_slows_no_other_and_all_are_closed_at_the_stop(monkeypatch):
    monkeypatch.setattr("monitor.notify.notifier.deliver", partial(deliver, poll_seconds=3600.0))

    class Hangs(Wire):
        name = "hangs"

        async def send(self, deliveries):
            await asyncio.sleep(3600)

    outbox = MemoryOutbox([delivery(number=1, sink="hangs"), delivery(number=2, sink="out")])
    hangs, out, results = Hangs(), Wire(), []

    async def main():
        notifier = Notifier({"hangs": hangs, "out": out}, outbox, results.append)
        running = asyncio.create_task(notifier.run())
        await until(lambda: results)
        outbox.waiting.append(delivery(number=3, sink="out"))
        notifier.wake(["out", "unknown"])
        await until(lambda: len(results) == 2)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(main())
    assert [each.id for each in out.taken] == [2, 3]
    assert hangs.closed
    assert out.closed
    assert [each.id for each in outbox.waiting] == [1]
