"""`handoff rejects` and `handoff backup`, on a data directory that a service has open."""

import argparse
import io
import json
from contextlib import closing
from typing import NamedTuple

import pytest
from storing import START, fact, kept

from monitor.commands import backup, rejects
from monitor.commands.streams import Failed, Streams
from monitor.formats.reject import Reject
from monitor.runtime.batch import Batch
from monitor.runtime.database import FILE
from monitor.runtime.reader import Reader
from monitor.runtime.store import Store

NAME = "SMITH^JANE"


class Result(NamedTuple):
    code: int
    out: str
    err: str


class Bytes(io.StringIO):
    """A stream of text over one of bytes, as stdout is."""

    def __init__(self):
        super().__init__()
        self.buffer = io.BytesIO()


def run(command, *argv, stdout=None):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    out, err = stdout or io.StringIO(), io.StringIO()
    streams = Streams(io.BytesIO(), out, err)
    try:
        code = command.run(parser.parse_args([str(each) for each in argv]), streams)
    except Failed as failed:
        if failed.text:
            streams.say(failed.text)
        code = failed.code
    return Result(code, out.getvalue(), err.getvalue())


@pytest.fixture
def three(store):
    batch = Batch(
        clock=START,
        rejects=[
            kept(1, content=f"MSH|^~\\&|PAS\rPID|||||{NAME}\r".encode("latin-1")),
            kept(2, "not-hl7", content=b"\x00\xff", source="", field=None, detail="no MSH segment"),
            kept(3, "no-patient", where="10.1.1.8"),
        ],
    )
    store.write(batch)
    return store


def test_rejects_are_listed_in_a_table_without_what_they_hold(three):
    result = run(rejects, "list", "--data", three.folder)
    lines = result.out.splitlines()
    assert result.code == 0
    assert lines[0].split() == [
        "id",
        "state",
        "arrived",
        "at",
        "by",
        "source",
        "reason",
        "field",
        "tried",
        "detail",
    ]
    assert lines[1].split() == (
        "3 kept 2026-03-02 08:00:03Z mllp PAS no-patient PID-3 0 PID-3 is empty".split()  # noqa: SIM905 - as it is read
    )
    assert [line.split()[0] for line in lines[1:]] == ["3", "2", "1"]
    assert NAME not in result.out
    assert result.err == "handoff: 3 rejects\n"


def test_rejects_are_listed_as_json_lines(three):
    result = run(rejects, "list", "--data", three.folder, "--format", "json", "--reason", "not-hl7")
    assert result.err == ""
    assert json.loads(result.out) == {
        "id": 2,
        "state": "kept",
        "arrived_at": "2026-03-02T08:00:02.000000Z",
        "origin": "mllp",
        "where": "10.1.1.7",
        "source": "",
        "segment": None,
        "field": None,
        "reason": "not-hl7",
        "detail": "no MSH segment",
        "attempts": 0,
        "bytes": 2,
    }


def test_at_most_so_many_are_listed_and_those_that_were_taken_only_when_asked_for(three):
    three.write(Batch(clock=START, retried=[(3, None)]))

    def ids(*options):
        out = run(rejects, "list", "--data", three.folder, *options).out
        return [line.split()[0] for line in out.splitlines()[1:]]

    assert ids() == ["2", "1"]
    assert ids("--all") == ["3", "2", "1"]
    assert ids("--limit", "1") == ["2"]


def test_more_rejects_than_a_page_are_all_listed(store):
    store.write(Batch(clock=START, rejects=[kept(number) for number in range(250)]))
    out = run(rejects, "list", "--data", store.folder, "--format", "json").out
    assert [json.loads(line)["id"] for line in out.splitlines()] == list(range(250, 0, -1))


def test_no_rejects_is_said(store):
    assert run(rejects, "list", "--data", store.folder) == (0, "", "handoff: no rejects\n")


def test_one_reject_is_shown_with_why_and_where(three):
    result = run(rejects, "show", "--data", three.folder, "1")
    assert result.code == 0
    shown = dict(line.split(maxsplit=1) for line in result.out.splitlines())
    assert shown["reason"] == "no-patient"
    assert shown["where"] == "10.1.1.7"
    assert shown["segment"] == "-"
    assert NAME not in result.out


def test_the_content_is_given_to_the_byte_and_that_is_noted_in_the_audit_log(three):
    stdout = Bytes()
    assert run(rejects, "show", "--data", three.folder, "2", "--content", stdout=stdout).code == 0
    assert stdout.buffer.getvalue() == b"\x00\xff"
    with closing(Reader(three.folder)) as reader:
        [line] = reader.audited()
    assert (line.action, line.what, line.role) == ("reject-content", "2", "admin")
    assert line.who


def test_the_content_commands_no_terminal(store):
    store.write(Batch(clock=START, rejects=[kept(1, content=b"MSH|\x1b[2J\rPID|1\xff\r")]))
    assert run(rejects, "show", "--data", store.folder, "1", "--content").out == "MSH|?[2J\nPID|1\\xff\n"


def test_a_reject_that_there_is_not_is_said(three):
    result = run(rejects, "show", "--data", three.folder, "9")
    assert result == (1, "", "handoff: there is no reject 9; it may have been deleted for its age\n")


@pytest.mark.parametrize(
    ("options", "asked"),
    [(["2"], [2]), (["3", "1"], [1, 3]), (["--reason", "no-patient"], [1, 3]), (["--all"], [1, 2, 3])],
)
def test_the_service_finds_what_was_asked_to_be_tried_again(three, options, asked):
    result = run(rejects, "retry", "--data", three.folder, *options)
    assert result.code == 0
    assert result.out.startswith(f"{len(asked)} reject")
    assert [each.id for each in three.retries()] == asked


def test_what_is_still_rejected_says_why_now(three):
    run(rejects, "retry", "--data", three.folder, "1")
    three.write(Batch(clock=START, retried=[(1, Reject("no-time", "EVN-2 is empty", "EVN", "EVN-2"))]))
    out = run(rejects, "list", "--data", three.folder, "--reason", "no-time").out
    assert out.splitlines()[1].split()[-5:] == ["EVN-2", "1", "EVN-2", "is", "empty"]


def test_to_retry_what_there_is_not_is_a_problem(three):
    three.write(Batch(clock=START, retried=[(3, None)]))
    result = run(rejects, "retry", "--data", three.folder, "1", "3", "9")
    assert result.code == 1
    assert result.err == "handoff: there is no reject 3, 9 that was not taken\n"
    assert [each.id for each in three.retries()] == [1]


@pytest.mark.parametrize("options", [[], ["1", "--all"], ["--all", "--reason", "x"]])
def test_what_to_retry_must_be_said_in_one_way(three, options):
    result = run(rejects, "retry", "--data", three.folder, *options)
    assert result.code == 2
    assert "by their ID, or all of a --reason, or --all" in result.err


@pytest.mark.parametrize(
    ("command", "argv"),
    [
        (rejects, ["list", "--data"]),
        (rejects, ["show", "1", "--data"]),
        (rejects, ["retry", "1", "--data"]),
        (backup, ["copy.sqlite", "--data"]),
    ],
)
def test_a_directory_without_data_is_said_and_not_made(tmp_path, monkeypatch, command, argv):
    monkeypatch.chdir(tmp_path)
    result = run(command, *argv, "nowhere")
    assert result.code == 3
    assert result.err.startswith("handoff: cannot ")
    assert f"nowhere/{FILE}" in result.err
    assert list(tmp_path.iterdir()) == []


def test_a_backup_is_made_while_the_service_runs(three, tmp_path):
    three.write(Batch(clock=START, facts=[fact(1)]))
    target = tmp_path / "copy.sqlite"
    result = run(backup, "--data", three.folder, target)
    assert result.code == 0
    assert result.out.startswith(f"{target}: ")
    assert " kB, read through and sound; " in result.out
    restored = tmp_path / "restored"
    restored.mkdir()
    target.rename(restored / FILE)
    with closing(Store.open(restored)) as copy:
        assert [event.id for event in copy.events()] == ["m-1"]


def test_a_backup_overwrites_nothing(three, tmp_path):
    (tmp_path / "copy.sqlite").write_bytes(b"precious")
    result = run(backup, "--data", three.folder, tmp_path / "copy.sqlite")
    assert result.code == 3
    assert "exists already" in result.err
    assert (tmp_path / "copy.sqlite").read_bytes() == b"precious"
    assert "is a directory" in run(backup, "--data", three.folder, tmp_path).err
