"""The demo as somebody sees it who has just cloned the project."""

import os
import re
import signal
import socket
import subprocess
from contextlib import ExitStack, contextmanager, suppress
from urllib.request import urlopen

import pytest
from live_process import HANDOFF, LONGEST_SECONDS

from monitor.runtime.reader import Reader

FIRED = re.compile(
    r"^(Mon|Tue|Wed) \d\d:\d\d  (critical|warning|info|early warning) .*\n {11}\S.* -> \S", re.MULTILINE
)
ENDED = re.compile(
    r"^(Mon|Tue|Wed) \d\d:\d\d  (resolved|false alarm|closed|withdrawn) .*\n {11}.* -> \S", re.MULTILINE
)


@pytest.fixture(autouse=True)
def taken():
    """The ports that the service would have are somebody else's."""
    with ExitStack() as stack:
        for port in (2575, 8080):
            with suppress(OSError):  # another program of this machine has it
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
        yield


@contextmanager
def demo(folder, *options):
    """A demo whose temporary files are in `folder`."""
    with subprocess.Popen(
        [HANDOFF, "demo", *options],
        env=os.environ | {"TMPDIR": str(folder)},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(pattern, process):
    """What it writes until that matches."""
    text = ""
    while not re.search(pattern, text):
        line = process.stdout.readline()
        assert line, f"it ended before {pattern}: {text}"
        text += line
    return text


def test_it_shows_alerts_ends_by_itself_and_names_no_patient(tmp_path):
    with demo(tmp_path, "--minutes", "0.05", "--speed", "6000", "--data", "kept") as process:
        text = process.stdout.read()
        assert process.wait(LONGEST_SECONDS) == 0, text
    assert FIRED.search(text), text
    assert ENDED.search(text), text
    assert "It is Tuesday 11:00, and the demo is over" in text
    assert [each.name for each in tmp_path.iterdir()] == ["kept"]
    reader = Reader(tmp_path / "kept" / "data")
    try:
        facts = list(reader.events())
    finally:
        reader.close()
    told = {fact.patient for fact in facts} | {fact.encounter for fact in facts if fact.encounter}
    assert len(told) > 100
    assert not [each for each in told if each in text]
    assert "\x1b" not in text  # this is no terminal


def test_it_can_be_asked_while_it_runs_and_ends_cleanly_when_interrupted(tmp_path):
    with demo(tmp_path) as process:
        text = read_until(FIRED, process)
        [url] = re.findall(r"curl -s (http://\S+/api/journeys/\w+)", text)
        with urlopen(url, timeout=LONGEST_SECONDS) as answer:
            assert answer.status == 200
        assert [each for each in tmp_path.iterdir() if each.name.startswith("handoff-demo-")]
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(LONGEST_SECONDS) == 0, rest
    assert "the demo is over" in rest
    assert "It is Wednesday 12:00" not in rest  # when it would have ended by itself
    assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []


def test_it_ends_when_nobody_reads_it_any_more(tmp_path):
    with demo(tmp_path) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(LONGEST_SECONDS) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("mine")
    with demo(tmp_path, "--data", ".") as process:
        text = process.stdout.read()
        assert process.wait(LONGEST_SECONDS) == 2
    assert "name another directory" in text
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]
