"""Wrong usage, interruption and faults: an exit code and a line, never a traceback."""

import io
import json
import shlex
import subprocess
import sys
from importlib import metadata

import pytest

from monitor import cli


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["nothing"],
        ["decode"],
        ["decode", "--bogus", "x"],
        ["replay", "x"],
        ["replay", "--rules", "a.yaml"],
        ["replay", "--rules", "a.yaml", "x", "--until", "yesterday"],
        ["replay", "--rules", "a.yaml", "x", "--until", "2024-01-01T00:00:00"],
        ["replay", "--rules", "a.yaml", "x", "--until", "9999-12-31T23:59:59-23:59"],
        ["replay", "--rules", "a.yaml", "x", "--jobs", "0"],
        ["replay", "--rules", "a.yaml", "x", "--worst", "-1"],
        ["check", "--format", "xml", "x"],
    ],
)
def test_wrong_usage_is_2_and_says_so_on_stderr(handoff, argv):
    found = handoff(*argv)
    assert (found.code, found.out) == (2, "")
    assert found.err.splitlines()[-1].startswith("handoff")


def test_the_version_is_that_of_the_package(handoff):
    assert handoff("--version") == (0, f"handoff {metadata.version('handoff-monitor')}\n", "")


def test_every_command_has_help(handoff):
    for command in ("decode", "journeys", "check", "schema", "replay"):
        found = handoff(command, "--help")
        assert (found.code, found.err) == (0, "")
        assert found.out.startswith(f"usage: handoff {command}")


class Interrupted(io.BytesIO):
    def read1(self, *_):
        raise KeyboardInterrupt


def test_an_interrupt_is_130_and_one_line():
    out, err = io.StringIO(), io.StringIO()
    assert cli.main(["decode", "-"], Interrupted(), out, err) == 130
    assert (out.getvalue(), err.getvalue()) == ("", "handoff: interrupted\n")


class Faulty(io.BytesIO):
    def read1(self, *_):
        raise KeyError("Jane Doe")


def test_a_fault_of_ours_is_one_line_without_the_data():
    out, err = io.StringIO(), io.StringIO()
    assert cli.main(["decode", "-"], Faulty(), out, err) == 3
    assert err.getvalue().startswith("handoff: internal error: KeyError at test_cli_usage.py:")
    assert "Jane" not in err.getvalue()


class Full(io.StringIO):
    def write(self, _text):
        raise OSError(28, "No space left on device")


def test_output_that_cannot_be_written_is_3(handoff):
    err = io.StringIO()
    line = b'{"id":"1","type":"a","patient":"p","occurred_at":"2024-01-01T10:00:00Z"}'
    assert cli.main(["decode", "-"], io.BytesIO(line), Full(), err) == 3
    assert err.getvalue() == "handoff: cannot write to stdout: No space left on device\n"


def test_results_are_written_whatever_becomes_of_stderr():
    out = io.StringIO()
    line = b'{"id":"1","type":"a","patient":"p","occurred_at":"2024-01-01T10:00:00Z"}\nnonsense'
    assert cli.main(["decode", "-"], io.BytesIO(line), out, Full()) == 1
    assert '"patient":"p"' in out.getvalue()


def shell(line, folder):
    """The exit code, stdout and stderr of a line of shell in which `handoff` is the program."""
    line = line.replace("handoff", f"{shlex.quote(sys.executable)} -m monitor")
    found = subprocess.run(["sh", "-c", line], cwd=folder, capture_output=True, text=True)
    return found.returncode, found.stdout, found.stderr


@pytest.mark.parametrize(
    ("line", "code", "err"),
    [
        ("handoff schema >&-", 3, "handoff: cannot write to stdout: it is closed\n"),
        ("handoff --help >&-", 3, "handoff: cannot write to stdout: it is closed\n"),
        ("handoff schema >/dev/full", 3, "handoff: cannot write to stdout: No space left on device\n"),
        ("handoff --help >/dev/full", 3, "handoff: cannot write to stdout: No space left on device\n"),
        ("handoff decode - <&-", 3, "handoff: cannot read -: it is closed\n"),
        ("handoff check - <&-", 3, "handoff: cannot read -: it is closed\n"),
        ("handoff decode gone 2>/dev/full", 3, ""),
        ("handoff decode gone 2>&-", 3, ""),
        ("handoff schema >/dev/full 2>&1", 3, ""),
        ("handoff schema >&- 2>&-", 3, ""),
    ],
)
def test_a_standard_stream_that_is_closed_or_full_is_a_line_and_3(tmp_path, line, code, err):
    assert shell(line, tmp_path) == (code, "", err)


@pytest.mark.parametrize("broken", ["<&-", "2>&-", "2>/dev/full", "<&- 2>&-"])
def test_a_standard_stream_that_is_not_needed_may_be_broken(tmp_path, broken):
    code, out, err = shell(f"handoff schema {broken}", tmp_path)
    assert (code, err) == (0, "")
    json.loads(out)


def test_the_program_exits_with_the_code_of_the_command(tmp_path):
    found = subprocess.run(
        [sys.executable, "-m", "monitor", "decode", "gone"], cwd=tmp_path, capture_output=True
    )
    assert (found.returncode, found.stderr) == (3, b"handoff: cannot read gone: No such file or directory\n")
