"""Rules are read again when their files have changed, however they were changed, and not otherwise."""

import asyncio
import os
import signal

import pytest

from monitor.runtime.watch import watch

EVERY = 0.05


class Watched:
    """Runs a watch, and waits for reloads."""

    def __init__(self, *paths):
        self.paths = [str(path) for path in paths]
        self.reloads = 0

    async def reload(self):
        self.reloads += 1

    async def __aenter__(self):
        self.task = asyncio.create_task(watch(self.paths, self.reload, every_seconds=EVERY))
        self.at_first, self.reloads = await self.reloaded(1), 0
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def reloaded(self, times=1):
        """Waits until it has been reloaded so often; and sees that it is not once more."""
        async with asyncio.timeout(60):  # far more than it takes, since other tests run beside
            while self.reloads < times:
                assert not self.task.done()
                await asyncio.sleep(0.01)
        await asyncio.sleep(4 * EVERY)
        return self.reloads


@pytest.fixture
def rules(tmp_path):
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "ed.yaml").write_text("rules: []\n")
    return folder


def run(coroutine):
    return asyncio.run(coroutine)


def test_what_may_have_changed_before_the_watch_began_is_read(rules):
    async def scene():
        async with Watched(rules) as watched:
            return watched.at_first

    assert run(scene()) == 1


def test_nothing_is_read_again_while_nothing_changes(rules):
    async def scene():
        async with Watched(rules, rules / "missing.yaml") as watched:
            await asyncio.sleep(4 * EVERY)
            return watched.reloads

    assert run(scene()) == 0


@pytest.mark.parametrize("path", [".", "ed.yaml"])
def test_a_file_that_is_written_over_is_read_again_once(rules, path):
    async def scene():
        async with Watched(rules / path) as watched:
            with (rules / "ed.yaml").open("w") as file:
                for _ in range(5):
                    file.write("# more\n")
                    file.flush()
                    await asyncio.sleep(0.002)
            return await watched.reloaded()

    assert run(scene()) == 1


def test_a_file_that_an_editor_puts_in_its_place_is_read_again(rules):
    async def scene():
        async with Watched(rules / "ed.yaml") as watched:
            (rules / "ed.yaml").rename(rules / "ed.yaml~")
            (rules / ".ed.yaml.swp").write_text("rules: [1]\n")
            (rules / ".ed.yaml.swp").rename(rules / "ed.yaml")
            return await watched.reloaded()

    assert run(scene()) == 1


def test_files_that_come_and_go_are_noticed(rules):
    async def scene():
        async with Watched(rules) as watched:
            (rules / "more.yaml").write_text("rules: []\n")
            await watched.reloaded(1)
            (rules / "ed.yaml").unlink()
            await watched.reloaded(2)
            (rules / "ed.yaml").write_text("rules: []\n")
            await watched.reloaded(3)
            (rules / "notes.txt").write_text("nothing to us")
            (rules / ".hidden.yaml").write_text("nothing to us")
            return await watched.reloaded(3)

    assert run(scene()) == 3


def test_a_directory_that_vanishes_and_comes_back_is_noticed(rules):
    async def scene():
        async with Watched(rules) as watched:
            rules.rename(rules.parent / "away")
            await watched.reloaded(1)
            (rules.parent / "away").rename(rules)
            await watched.reloaded(2)
            (rules / "ed.yaml").write_text("rules: [] # changed\n")
            return await watched.reloaded(3)

    assert run(scene()) == 3


def test_a_mounted_directory_of_kubernetes_is_swapped_as_a_whole(tmp_path):
    """Files are links into `..data`, which is a link to a directory of one version; only `..data` is replaced."""
    mount = tmp_path / "mount"
    for version in ("..1", "..2"):
        (mount / version).mkdir(parents=True)
        (mount / version / "ed.yaml").write_text(f"rules: [] # {version}\n")
    (mount / "..data").symlink_to("..1")
    (mount / "ed.yaml").symlink_to("..data/ed.yaml")

    async def scene():
        async with Watched(mount) as watched:
            (mount / "..data_tmp").symlink_to("..2")
            (mount / "..data_tmp").rename(mount / "..data")
            return await watched.reloaded()

    assert run(scene()) == 1


def test_a_hang_up_asks_for_a_reload_and_ends_nothing(rules):
    async def scene():
        async with Watched(rules) as watched:
            os.kill(os.getpid(), signal.SIGHUP)
            await watched.reloaded(1)
            os.kill(os.getpid(), signal.SIGHUP)
            return await watched.reloaded(2)

    before = signal.getsignal(signal.SIGHUP)
    assert run(scene()) == 2
    assert signal.getsignal(signal.SIGHUP) == before
