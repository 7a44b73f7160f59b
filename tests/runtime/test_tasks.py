"""The parts of a service that go on in the background."""

import asyncio

from monitor.runtime.tasks import Tasks


async def on_and_on(ended):
    try:
        await asyncio.Event().wait()
    finally:
        ended.append(asyncio.current_task().get_name())


async def fail():
    raise ValueError("ann")


def test_a_part_that_failed_is_named_with_the_kind_of_error_and_nothing_of_its_text():
    async def go():
        problems = {}
        tasks = Tasks(problems)
        assert not tasks.all_go_on
        tasks.begin(on_and_on([]), "health")
        assert tasks.all_go_on
        await asyncio.wait([tasks.begin(fail(), "watcher")])
        await asyncio.sleep(0)
        assert problems == {"watcher": "it ended (ValueError); start the service again"}
        assert not tasks.all_go_on
        await tasks.end()

    asyncio.run(go())


def test_some_may_end_before_others_and_to_be_ended_is_no_failure():
    async def go():
        problems, ended = {}, []
        tasks = Tasks(problems)
        for name in ("notifier", "kafka", "kafka"):
            tasks.begin(on_and_on(ended), name)
        await asyncio.sleep(0)
        await tasks.end(but="notifier")
        assert ended == ["kafka", "kafka"]
        await tasks.end()
        assert ended == ["kafka", "kafka", "notifier"]
        assert problems == {}

    asyncio.run(go())
