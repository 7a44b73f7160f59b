"""One HL7 message, from its bytes to an alert, passes through the functions that ARCHITECTURE.md lists, in order."""

import asyncio
import io
import re
import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from monitor import cli
from monitor.formats import mllp
from monitor.log import logged_to
from monitor.runtime.clock import LiveClock
from monitor.runtime.rules import load
from monitor.runtime.service import Service
from monitor.settings import Mllp, Settings

ARCHITECTURE = Path(__file__).parents[2] / "ARCHITECTURE.md"
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


def listed(title):
    """The functions that the numbered list under a heading names."""
    section = re.search(rf"^### {title}\n(.*?)(?=^##|\Z)", ARCHITECTURE.read_text(), re.MULTILINE | re.DOTALL)
    return re.findall(r"^\d+\. `(monitor\.[\w.]+)", section[1], re.MULTILINE)


@contextmanager
def called(names):
    """Gathers the functions of ours that are run, in any thread, each where it first began."""

    def profile(frame, what, _argument):
        if what == "call":
            module = frame.f_globals.get("__name__", "")
            if module.startswith("monitor."):
                names.setdefault(f"{module}.{frame.f_code.co_qualname}")

    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def test_one_message_of_a_file_passes_through_the_listed_functions_in_order(tmp_path, monkeypatch):
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
    names = {}
    with called(names):
        cli.main(command, io.BytesIO(MESSAGE.encode()), io.StringIO(), io.StringIO())
    assert '"state":"firing"' in (tmp_path / "alerts.jsonl").read_text()
    path = listed("In a replay")
    assert 4 <= len(path) <= 8
    assert [name for name in names if name in path] == path


def test_one_message_over_a_socket_passes_through_the_listed_functions_in_order(tmp_path):
    (tmp_path / "rules.yaml").write_text(RULES)
    loaded, _ = load([str(tmp_path / "rules.yaml")], None)
    settings = Settings(data=str(tmp_path / "data"), rules=[str(tmp_path / "rules.yaml")], mllp=Mllp(port=0))
    names, told = {}, io.StringIO()
    with called(names), logged_to(told, form="json"):
        asyncio.run(one_message(settings, loaded, told))
    assert '"state": "firing"' in told.getvalue()
    path = listed("Live")
    assert 4 <= len(path) <= 8
    assert [name for name in names if name in path] == path


async def one_message(settings, loaded, told):
    """Run a service by a clock that stands at two hours after the message, send it that, and wait for the alert."""
    service = Service(settings, loaded, LiveClock.faster(1, datetime(2024, 1, 1, 12, tzinfo=UTC)))
    await service.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", service.mllp_port)
    writer.write(mllp.frame(MESSAGE.encode()))
    assert b"MSA|AA|m1" in await reader.readuntil(mllp.END)
    writer.close()
    await writer.wait_closed()
    async with asyncio.timeout(60):
        while "alert_told" not in told.getvalue():  # noqa: ASYNC110 - a log has no event to wait for
            await asyncio.sleep(0.02)
    await service.stop()
