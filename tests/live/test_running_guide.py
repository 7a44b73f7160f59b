"""The files of docs/guides/running.md are those that it shows, and the service runs with them."""

import json
import os
import shutil
import subprocess
from http.client import HTTPConnection
from pathlib import Path

import pytest
from live_process import HANDOFF, LONGEST_SECONDS, eventually, handoff

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "running.md"
FILES = GUIDE.with_suffix("")
DAY = GUIDE.parents[1] / "start" / "day.hl7"
TOKENS = """\
tokens:
  - {name: wall screen, role: viewer, token: an-example-of-a-token-2}
"""


@pytest.fixture
def site(tmp_path):
    """A copy of /etc/handoff as the guide has it made."""
    return shutil.copytree(FILES, tmp_path / "etc")


def test_the_settings_shown_are_the_file():
    assert f"```yaml\n{(FILES / 'handoff.yaml').read_text()}```" in GUIDE.read_text()


def test_rules_and_registry_are_right(site):
    code, out, _ = handoff(
        *("check", "rules", "pack:ed", "microsystems.yaml", "--microsystems", "microsystems.yaml"),
        folder=site,
    )
    assert (code, out.partition(":")[2].strip()) == (0, "no problems")


def test_the_service_runs_with_the_files_and_judges_what_it_is_sent(site):
    (site / "tokens.yaml").write_text(TOKENS)
    environment = {"HANDOFF_DATA": "data", "HANDOFF_MLLP_PORT": "0", "HANDOFF_HTTP_PORT": "0"}
    log = site / "log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [HANDOFF, "run"], cwd=site, env=os.environ | environment, stdin=subprocess.DEVNULL, stderr=errors
        ) as process,
    ):
        try:
            ports = eventually(lambda: len(found := listening(log)) == 2 and found, "listening")
            eventually(lambda: asked(ports["web_started"], "/readyz")[0] == 200, "being ready")
            code, _, text = handoff(
                "send", "--to", f"mllp://127.0.0.1:{ports['service_started']}", DAY, folder=site
            )
            assert (code, "8 AA" in text) == (0, True)
            assert asked(ports["web_started"], "/api/verdicts")[0] == 401
            eventually(lambda: judged(ports["web_started"]) == ["late", "met", "missed"], "the verdicts")
            process.terminate()
            assert process.wait(LONGEST_SECONDS) == 0
        finally:
            process.kill()
    assert not [line for line in lines(log) if line["level"] in ("warning", "error")]


def lines(log):
    whole = log.read_bytes().rpartition(b"\n")[0]
    return [json.loads(line) for line in whole.decode().splitlines()]


def listening(log):
    return {line["event"]: line["port"] for line in lines(log) if "port" in line}


def asked(port, path, token=None):
    connection = HTTPConnection("127.0.0.1", port, timeout=LONGEST_SECONDS)
    try:
        connection.request("GET", path, headers={"authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def judged(port):
    status, body = asked(port, "/api/verdicts?rule=transfer-done", "an-example-of-a-token-2")
    assert status == 200, body
    return sorted(each["verdict"] for each in json.loads(body)["verdicts"])
