"""Wrong usage, interruption and faults: an exit code and a line, never a traceback."""

import io
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
    assert err.getvalue() == "handoff: No space left on device\n"


def test_the_program_exits_with_the_code_of_the_command(tmp_path):
    found = subprocess.run(
        [sys.executable, "-m", "monitor", "decode", "gone"], cwd=tmp_path, capture_output=True
    )
    assert (found.returncode, found.stderr) == (3, b"handoff: cannot read gone: No such file or directory\n")
