"""The engine's thread: who waits is let go when their messages are safe, and what failed is tried again."""

import asyncio
import threading
import time

import pytest

from monitor.core.place import Registry
from monitor.ingest.intake import Message, NotTaken
from monitor.runtime.database import StoreError
from monitor.runtime.lane import Lane

LONGEST_SECONDS = 60
"""For whatever is waited for: far more than it takes, since other tests run beside."""


class Work:
    """Writes what it is told to, unless its disk is full."""

    registry = Registry()

    def __init__(self):
        self.written, self.failures, self.is_full = [], [], False
        self.begins = 0
        self.is_unreadable = self.is_broken = False

    def begin(self):
        if self.is_unreadable:
            raise OSError("unreadable")
        self.begins += 1
        yield

    def judge(self): ...

    def write(self, messages, positions):
        if self.is_full:
            raise StoreError("full", "the disk is full")
        self.written.append(list(messages))
        if self.is_broken:
            raise RuntimeError("patient Miller")

    def has_news(self):
        return False

    def seconds_until_due(self):
        return 60.0

    def failed(self, error):
        self.failures.append(error)


def test_what_failed_is_tried_again_though_nobody_brings_anything():
    async def go():
        work = Work()
        lane = Lane(work)
        lane.start()
        try:
            await lane.begun.wait()
            work.is_full = True
            message = Message(origin="http", content=b"")
            with pytest.raises(NotTaken):
                await lane.take([message])
            work.is_full = False
            async with asyncio.timeout(LONGEST_SECONDS):
                while not work.written:  # noqa: ASYNC110 - of a thread that knows nothing of tests
                    await asyncio.sleep(0.01)
            assert work.written == [[]]
            await lane.take([message])
            assert work.written[1:] == [[message]]
        finally:
            await lane.stop()

    asyncio.run(go())


def test_messages_that_wait_are_written_together_but_no_more_than_may_wait_for_each_other():
    class Slow(Work):
        began, may_go_on = threading.Event(), threading.Event()

        def write(self, messages, positions):
            super().write(messages, positions)
            self.began.set()
            self.may_go_on.wait(LONGEST_SECONDS)

    async def go():
        work = Slow()
        lane = Lane(work)
        lane.start()
        message = Message(origin="http", content=b"", events=[None] * 1_000)
        try:
            await lane.begun.wait()
            first = asyncio.create_task(lane.take([message]))
            await asyncio.to_thread(work.began.wait, LONGEST_SECONDS)
            others = [asyncio.create_task(lane.take([message])) for _ in range(5)]
            await asyncio.sleep(0)
            assert lane.waiting == 5_000
            work.may_go_on.set()
            await asyncio.gather(first, *others)
            assert list(map(len, work.written)) == [1, 4, 1]
        finally:
            work.may_go_on.set()
            await lane.stop()

    asyncio.run(go())


def test_news_is_written_when_it_is_time_though_nobody_brings_anything():
    class Newsy(Work):
        news = False

        def judge(self):
            self.news = bool(self.written and self.written[-1])

        def has_news(self):
            return self.news

        def seconds_until_due(self):
            return 0.01 if self.news else 60.0

    async def go():
        work = Newsy()
        lane = Lane(work)
        lane.start()
        try:
            message = Message(origin="http", content=b"")
            await lane.begun.wait()
            await lane.take([message])
            async with asyncio.timeout(10):
                while work.written != [[message], []]:  # noqa: ASYNC110 - of a thread that knows nothing of tests
                    await asyncio.sleep(0.01)
        finally:
            await lane.stop()

    asyncio.run(go())


def test_a_change_that_comes_while_nothing_can_be_read_is_done_when_it_can(monkeypatch):
    monkeypatch.setattr("monitor.runtime.lane._TRY_AGAIN", 0.02)

    async def go():
        work = Work()
        work.is_unreadable = True
        lane = Lane(work)
        lane.start()
        try:
            done = []
            change = asyncio.create_task(lane.begin_again(lambda: done.append("changed")))
            with pytest.raises(NotTaken):
                await lane.take([Message(origin="http", content=b"")])
            async with asyncio.timeout(LONGEST_SECONDS):
                while len(work.failures) < 3:  # noqa: ASYNC110 - of a thread that knows nothing of tests
                    await asyncio.sleep(0.01)
                assert (change.done(), lane.has_begun) == (False, False)
                work.is_unreadable = False
                await change
            assert (done, work.begins, lane.has_begun) == (["changed"], 1, True)
        finally:
            await lane.stop()

    asyncio.run(go())


def test_a_change_is_refused_at_the_end(monkeypatch):
    monkeypatch.setattr("monitor.runtime.lane._TRY_AGAIN", 0.02)

    async def go():
        work = Work()
        lane = Lane(work)
        lane.start()
        await lane.begun.wait()
        work.is_unreadable = True
        change = asyncio.create_task(lane.begin_again(lambda: None))
        async with asyncio.timeout(LONGEST_SECONDS):
            while not work.failures:  # noqa: ASYNC110 - of a thread that knows nothing of tests
                await asyncio.sleep(0.01)
        await lane.stop()
        with pytest.raises(NotTaken):
            await change
        with pytest.raises(NotTaken):
            await lane.take([Message(origin="http", content=b"")])

    asyncio.run(go())


def test_after_a_fault_of_ours_all_that_was_written_is_read_again(monkeypatch):
    monkeypatch.setattr("monitor.runtime.lane._TRY_AGAIN", 0.02)

    async def go():
        work = Work()
        lane = Lane(work)
        lane.start()
        try:
            await lane.begun.wait()
            work.is_broken = True
            with pytest.raises(NotTaken, match=r"^internal error \(RuntimeError\)$"):
                await lane.take([Message(origin="http", content=b"")])
            work.is_broken = False
            async with asyncio.timeout(LONGEST_SECONDS):
                while work.begins < 2:  # noqa: ASYNC110 - of a thread that knows nothing of tests
                    await asyncio.sleep(0.01)
            await lane.take([Message(origin="http", content=b"")])
        finally:
            await lane.stop()

    asyncio.run(go())


def test_while_all_is_read_again_messages_are_taken():
    async def go():
        work = Work()
        lane = Lane(work)
        lane.start()
        try:
            await lane.begun.wait()
            slow = threading.Event()

            def slowly():
                while not slow.is_set():
                    time.sleep(0.001)
                    yield

            change = asyncio.create_task(lane.begin_again(lambda: setattr(work, "begin", slowly)))
            while not lane.is_reading:  # noqa: ASYNC110 - of a thread that knows nothing of tests
                await asyncio.sleep(0.001)
            await lane.take([Message(origin="http", content=b"")])
            assert (change.done(), lane.has_begun, len(work.written)) == (False, True, 1)
            slow.set()
            await change
        finally:
            await lane.stop()

    asyncio.run(go())


def test_it_can_be_stopped_while_all_is_read():
    async def go():
        work = Work()
        work.begin = lambda: iter(lambda: time.sleep(0.001), 0)
        lane = Lane(work)
        lane.start()
        async with asyncio.timeout(LONGEST_SECONDS):
            await lane.stop()
        assert not lane.has_begun

    asyncio.run(go())
