"""`handoff(...)` runs a whole command in process, in a folder of its own."""

import io
from typing import NamedTuple

import pytest

from monitor.cli import main


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def handoff(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*argv, stdin=b""):
        out, err = io.StringIO(), io.StringIO()
        code = main([str(each) for each in argv], io.BytesIO(stdin), out, err)
        return Result(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return name

    return write
