"""Following files: what is written is taken over once, whatever befalls the file, the reader or the store."""

import asyncio
import gzip
import json
import os
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.place import Registry
from monitor.formats import mllp
from monitor.ingest import growing
from monitor.ingest.follow import follow
from monitor.ingest.intake import NotTaken

EVERY, REST = 0.02, 0.06


def line(number):
    return (
        json.dumps(
            {"id": f"e{number}", "type": "triage", "patient": "p", "occurred_at": "2026-03-02T10:00:00Z"}
        )
        + "\n"
    )


def message(number):
    return (
        f"MSH|^~\\&|PAS|RGH|||20260302100000+0000||ADT^A01|e{number}|P|2.5\r"
        "EVN||20260302100000+0000\rPID|1||p1^^^H^MR\rPV1|1|I|4W^1^1\r"
    )


FHIR = {
    "resourceType": "Encounter",
    "id": "v1",
    "meta": {"lastUpdated": "2026-03-02T10:00:00Z"},
    "status": "in-progress",
    "class": {"code": "IMP"},
    "subject": {"reference": "Patient/p1"},
    "period": {"start": "2026-03-02T09:00:00Z"},
}


class Taken:
    """An intake that keeps what it is given, and forgets nothing when it is restarted."""

    registry = Registry()

    def __init__(self):
        self.messages = []
        self.positions = {}
        self.refusals = 0

    async def take(self, messages, position=None):
        if self.refusals:
            self.refusals -= 1
            raise NotTaken("the disk is full")
        self.messages += messages
        if position is not None:
            self.positions[position.name] = position.value

    async def position(self, name):
        if self.refusals:
            self.refusals -= 1
            raise NotTaken("the service is starting")
        return self.positions.get(name)

    @property
    def ids(self):
        return [event.id for each in self.messages for event in each.events]

    @property
    def rejects(self):
        return [(each.reject.reason, each.where, each.content) for each in self.messages if each.reject]


@pytest.fixture
def taken():
    return Taken()


@asynccontextmanager
async def following(path, taken, problems=None):
    told = [] if problems is None else problems
    task = asyncio.create_task(
        follow(str(path), taken, lambda *what: told.append(what), every_seconds=EVERY, rest_seconds=REST)
    )
    try:
        yield
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition):
    async with asyncio.timeout(60):  # far more than it takes, since other tests run beside
        while not condition():  # noqa: ASYNC110 - the product knows nothing of who waits for it
            await asyncio.sleep(0.005)


async def rest():
    await asyncio.sleep(2 * REST + 3 * EVERY)


def add(path, text):
    with Path(path).open("a", newline="") as file:
        file.write(text)


def test_lines_are_taken_as_they_are_written(tmp_path, taken):
    log = tmp_path / "log.jsonl"

    async def scene():
        add(log, line(1))
        async with following(log, taken):
            await until(lambda: taken.ids == ["e1"])
            add(log, line(2) + line(3))
            await until(lambda: taken.ids == ["e1", "e2", "e3"])

    asyncio.run(scene())


def test_half_a_line_waits_for_its_other_half(tmp_path, taken):
    log = tmp_path / "log.jsonl"

    async def scene():
        add(log, line(1) + line(2)[:30])
        async with following(log, taken):
            await until(lambda: taken.ids == ["e1"])
            await rest()
            add(log, line(2)[30:])
            await until(lambda: taken.ids == ["e1", "e2"])

    asyncio.run(scene())
    assert taken.rejects == []


def test_a_last_line_without_an_end_counts_when_nothing_is_added(tmp_path, taken):
    log = tmp_path / "log.jsonl"

    async def scene():
        add(log, line(1).rstrip())
        async with following(log, taken):
            await until(lambda: taken.ids == ["e1"])
            add(log, "\n" + line(2))
            await until(lambda: taken.ids == ["e1", "e2"])

    asyncio.run(scene())
    assert taken.rejects == []


def test_a_line_that_is_no_event_is_a_reject_with_its_bytes_and_place(tmp_path, taken):
    log = tmp_path / "log.jsonl"

    async def scene():
        add(log, line(1) + "\n" + '{"id": "x"}\n' + line(2))
        async with following(log, taken):
            await until(lambda: len(taken.ids) == 2)

    asyncio.run(scene())
    assert taken.rejects == [("not-an-event", f"{log}, line 3", b'{"id": "x"}')]


def test_after_a_restart_reading_goes_on_where_it_was(tmp_path, taken):
    log = tmp_path / "log.jsonl"

    async def scene():
        add(log, line(1))
        async with following(log, taken):
            await until(lambda: taken.ids == ["e1"])
        add(log, '{"id": "x"}\n' + line(2))
        async with following(log, taken):
            await until(lambda: len(taken.ids) == 2)

    asyncio.run(scene())
    assert taken.ids == ["e1", "e2"]
    assert taken.rejects[0][1] == f"{log}, line 2"


def test_what_is_not_taken_is_handed_over_again(tmp_path, taken, monkeypatch):
    monkeypatch.setattr("monitor.ingest.follow._RETRY_SECONDS", 0.01)
    taken.refusals = 3

    async def scene():
        add(tmp_path / "log.jsonl", line(1))
        async with following(tmp_path / "log.jsonl", taken):
            await until(lambda: taken.ids)
            await rest()

    asyncio.run(scene())
    assert taken.ids == ["e1"]


@pytest.mark.parametrize("is_running", [True, False])
def test_a_file_that_is_renamed_away_is_read_to_its_end_before_the_new_one(tmp_path, taken, is_running):
    log = tmp_path / "log.jsonl"

    def rotate():
        add(log, line(2) + line(3).rstrip())
        log.rename(tmp_path / "log.jsonl.1")
        add(log, line(4))

    async def scene():
        add(log, line(1))
        async with following(log, taken):
            await until(lambda: taken.ids == ["e1"])
            if is_running:
                rotate()
                await until(lambda: len(taken.ids) == 4)
        if not is_running:
            rotate()
            async with following(log, taken):
                await until(lambda: len(taken.ids) == 4)
        async with following(log, taken):
            add(log, line(5))
            await until(lambda: len(taken.ids) == 5)

    asyncio.run(scene())
    assert taken.ids == ["e1", "e2", "e3", "e4", "e5"]


def test_what_is_still_written_to_a_renamed_file_is_read_while_there_is_no_new_one(tmp_path, taken):
    log = tmp_path / "log.jsonl"

    async def scene():
        add(log, line(1))
        problems = []
        async with following(log, taken, problems):
            await until(lambda: taken.ids == ["e1"])
            log.rename(tmp_path / "log.jsonl.1")
            await until(lambda: problems)
            add(tmp_path / "log.jsonl.1", line(2))
            await until(lambda: taken.ids == ["e1", "e2"])
            await rest()
            add(log, line(3))
            await until(lambda: taken.ids == ["e1", "e2", "e3"])
            assert problems == [(str(log), "No such file or directory")]

    asyncio.run(scene())


@pytest.mark.parametrize("more", [[2], [2, 3, 4, 5]])
def test_a_file_that_is_cut_is_read_from_its_beginning(tmp_path, taken, more):
    log = tmp_path / "log.jsonl"

    async def scene():
        add(log, line(1) + line(11))
        async with following(log, taken):
            await until(lambda: len(taken.ids) == 2)
            with log.open("r+") as file:
                file.truncate(0)
                file.write("".join(map(line, more)))
            await until(lambda: len(taken.ids) == 2 + len(more))

    asyncio.run(scene())
    assert taken.ids[2:] == [f"e{number}" for number in more]


def test_a_file_that_is_replaced_by_a_longer_copy_of_itself_is_read_on(tmp_path, taken):
    log = tmp_path / "log.jsonl"

    async def scene():
        add(log, line(1))
        async with following(log, taken):
            await until(lambda: taken.ids == ["e1"])
            add(tmp_path / "new", line(1) + line(2))
            (tmp_path / "new").rename(log)
            await until(lambda: len(taken.ids) > 1)

    asyncio.run(scene())
    assert taken.ids == ["e1", "e2"]


def test_a_file_that_is_not_there_is_told_once_and_read_when_it_comes(tmp_path, taken):
    problems = []
    log = tmp_path / "later" / "log.jsonl"

    async def scene():
        async with following(log, taken, problems):
            await until(lambda: problems)
            await rest()
            log.parent.mkdir()
            add(log, line(1))
            await until(lambda: taken.ids == ["e1"])

    asyncio.run(scene())
    assert problems == [(str(log), "No such file or directory")]


@pytest.mark.parametrize("is_framed", [True, False])
def test_hl7_is_taken_message_by_message_and_the_last_when_it_rests(tmp_path, taken, is_framed):
    log = tmp_path / "adt.hl7"

    def written(number):
        text = message(number)
        return (mllp.START + text.encode() + mllp.END).decode() if is_framed else text

    async def scene():
        add(log, written(1) + written(2) + written(3)[:70])
        async with following(log, taken):
            await until(lambda: len(taken.ids) == 2)
            await rest()
            assert len(taken.ids) == 2
            add(log, written(3)[70:])
            await until(lambda: len(taken.ids) == 3)

    asyncio.run(scene())
    assert taken.rejects == []
    assert len(set(taken.ids)) == 3


def test_an_hl7_reject_names_its_source(tmp_path, taken):
    async def scene():
        add(tmp_path / "adt.hl7", message(1).replace("PID|1||p1^^^H^MR\r", ""))
        async with following(tmp_path / "adt.hl7", taken):
            await until(lambda: taken.rejects)

    asyncio.run(scene())
    assert taken.messages[0].source == "PAS/RGH"


def test_fhir_and_cloudevents_are_known(tmp_path, taken):
    cloudevent = {
        "specversion": "1.0",
        "id": "c1",
        "source": "/portal",
        "type": "adt.triage",
        "time": "2026-03-02T10:00:00Z",
        "data": {"patient": "p1"},
    }

    async def scene():
        add(tmp_path / "lines", line(1) + json.dumps(cloudevent) + "\n" + json.dumps(FHIR) + "\n" + line(2))
        add(tmp_path / "document", json.dumps(FHIR, indent=2))
        async with following(tmp_path / "lines", taken):
            await until(lambda: len(taken.messages) == 3)
        async with following(tmp_path / "document", taken):
            await until(lambda: len(taken.messages) == 4)

    asyncio.run(scene())
    assert taken.ids == ["e1", "e2", "c1"]
    assert [each.visit is not None for each in taken.messages] == [False, False, True, True]
    assert taken.rejects == []


def test_files_that_are_put_into_a_directory_are_read_oldest_first(tmp_path, taken):
    async def scene():
        for number, name in enumerate(("b.jsonl", "sub/a.hl7", "c.json"), start=1):
            path = tmp_path / "in" / name
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text(
                {"b": line(1), "a": message(2).rstrip("\r"), "c": line(3)}[path.name[0]], newline=""
            )
            os.utime(path, (number, number))
        async with following(tmp_path / "in", taken):
            await until(lambda: len(taken.ids) == 3)
            (tmp_path / "in" / "d").write_text(line(4))
            await until(lambda: len(taken.ids) == 4)
        async with following(tmp_path / "in", taken):
            await rest()

    asyncio.run(scene())
    assert (taken.ids[0], taken.ids[2:]) == ("e1", ["e3", "e4"])


def test_a_file_in_a_directory_is_not_read_before_it_is_whole(tmp_path, taken, monkeypatch):
    async def scene():
        async with following(tmp_path, taken):
            with monkeypatch.context() as writing:
                writing.setattr("monitor.ingest.follow.monotonic", lambda: 0.0)  # so long nothing rests
                for part in (line(1)[:20], line(1)[20:], line(2)):
                    add(tmp_path / "a.jsonl", part)
                    await rest()
                    assert taken.messages == []
            await until(lambda: taken.ids == ["e1", "e2"])
            (tmp_path / "b.jsonl.tmp").write_text(line(3)[:20])
            (tmp_path / ".c.jsonl").write_text(line(4))
            await rest()
            (tmp_path / "b.jsonl.tmp").write_text(line(3))
            (tmp_path / "b.jsonl.tmp").rename(tmp_path / "b.jsonl")
            await until(lambda: len(taken.ids) == 3)

    asyncio.run(scene())
    assert taken.ids == ["e1", "e2", "e3"]
    assert taken.rejects == []


def test_what_cannot_be_read_at_all_is_one_reject(tmp_path, taken):
    async def scene():
        (tmp_path / "picture").write_bytes(bytes(range(256)) * 4000)
        async with following(tmp_path, taken):
            await until(lambda: taken.rejects)
            await rest()

    asyncio.run(scene())
    assert [(reason, where, len(content)) for reason, where, content in taken.rejects] == [
        ("format-not-recognised", str(tmp_path / "picture"), 65_536)
    ]


def test_compressed_and_unreadable_files_are_told_and_hold_nothing_up(tmp_path, taken):
    problems = []

    async def scene():
        (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(line(1).encode()))
        (tmp_path / "b.jsonl").write_text(line(2))
        async with following(tmp_path, taken, problems):
            await until(lambda: taken.ids == ["e2"])
            await rest()

    asyncio.run(scene())
    assert problems == [(str(tmp_path / "a.jsonl.gz"), "compressed files are not followed")]


def test_a_long_file_comes_in_pieces_and_in_order(tmp_path, taken):
    async def scene():
        add(tmp_path / "log.jsonl", "".join(map(line, range(6000))))
        async with following(tmp_path / "log.jsonl", taken):
            await until(lambda: len(taken.ids) == 6000)

    asyncio.run(scene())
    assert taken.ids == [f"e{number}" for number in range(6000)]
    assert len(taken.messages) > 1


def test_a_line_without_end_does_not_fill_the_memory(tmp_path, taken, monkeypatch):
    monkeypatch.setattr("monitor.ingest.follow._PIECE", 1 << 10)
    monkeypatch.setattr("monitor.ingest.follow._LARGEST", 1 << 14)

    async def scene():
        add(tmp_path / "log.jsonl", line(1) + "x" * 20_000 + "\n" + line(2))
        async with following(tmp_path / "log.jsonl", taken):
            await until(lambda: len(taken.ids) == 2)

    asyncio.run(scene())
    assert taken.ids == ["e1", "e2"]
    assert sum(len(content) for _, _, content in taken.rejects) == 20_000
    assert max(len(content) for _, _, content in taken.rejects) <= 1 << 14


@given(st.lists(st.integers(1, 4000), max_size=12), st.sampled_from(["lines", "hl7", "framed"]))
def test_however_a_file_grows_its_messages_are_those_of_the_whole(cuts, kind):
    if kind == "lines":
        data = "".join(line(number) + "\n" * (number % 3) for number in range(20)).encode() + b"{"
    elif kind == "hl7":
        data = "".join(message(number) + "\r\n" * (number % 3) for number in range(12)).encode()
    else:
        data = b"".join(mllp.START + message(number).encode() + mllp.END for number in range(12))
    format_ = "lines" if kind == "lines" else "hl7"

    def grown(ends):
        found, start, number = [], 0, 0
        for end in [*ends, len(data)]:
            piece = growing.read(
                data[start:end], format_, Registry(), "f", number, is_all=end == len(data), at_rest=False
            )
            start, number = start + piece.size, piece.number
            found += piece.messages
        assert start == len(data)
        events = [event.id for each in found for event in each.events]
        return events, [(each.where, each.content) for each in found if each.reject]

    assert grown(sorted({cut for cut in cuts if cut < len(data)})) == grown([])
