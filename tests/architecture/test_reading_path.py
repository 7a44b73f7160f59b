"""One HL7 message, from its bytes to an alert, passes through the functions that ARCHITECTURE.md lists, in order."""

import io
import re
import sys
from pathlib import Path

from monitor import cli

ARCHITECTURE = Path(__file__).parents[2] / "ARCHITECTURE.md"
PATH = [  # until there is an ARCHITECTURE.md
    "monitor.ingest.files.read",
    "monitor.formats.mllp.messages",
    "monitor.formats.hl7.decode",
    "monitor.core.engine.Engine.observe",
    "monitor.core.engine.Engine.advance",
    "monitor.runtime.output.alert_line",
]
MESSAGE = (
    "MSH|^~\\&|HIS|H|||20240101100500+0000||ADT^A09|m1|P|2.5\r"
    "EVN||20240101100400+0000||||20240101100000+0000\r"
    "PID|1||p1^^^H^MR\r"
    "PV1|1|I|ICU\r"
)
RULES = (
    "rules:\n"
    "  - {id: arrive, summary: s, severity: critical, when: {type: depart}, expect: {type: arrive}, within: 30m}\n"
)


def listed():
    """The functions that the section `The reading path` names in its numbered list."""
    if not ARCHITECTURE.exists():
        return PATH
    section = re.search(
        r"^## The reading path\n(.*?)(?=^## |\Z)", ARCHITECTURE.read_text(), re.MULTILINE | re.DOTALL
    )
    return re.findall(r"^\d+\. `(monitor\.[\w.]+)", section[1], re.MULTILINE)


def called(run):
    """The functions of ours that a call runs, each where it first began."""
    names = {}

    def profile(frame, what, _argument):
        if what == "call":
            module = frame.f_globals.get("__name__", "")
            if module.startswith("monitor."):
                names.setdefault(f"{module}.{frame.f_code.co_qualname}")

    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(None)
    return list(names)


def test_one_message_passes_through_the_listed_functions_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.yaml").write_text(RULES)
    command = [
        "replay",
        "--rules",
        "rules.yaml",
        "--until",
        "2024-01-01T12:00Z",
        "--alerts",
        "alerts.jsonl",
        "-",
    ]
    names = called(lambda: cli.main(command, io.BytesIO(MESSAGE.encode()), io.StringIO(), io.StringIO()))
    assert '"state":"firing"' in (tmp_path / "alerts.jsonl").read_text()
    path = listed()
    assert 4 <= len(path) <= 8
    assert [name for name in names if name in path] == path
