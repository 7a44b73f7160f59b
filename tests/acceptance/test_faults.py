"""The real service under what befalls services: kills, full and broken disks, pauses, and senders of every kind."""

import ctypes
import json
import os
import random
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest

from monitor.runtime.database import FILE
from monitor.runtime.reader import Reader

sys.path.insert(0, str(Path(__file__).parents[1] / "live"))
import faults
from feeding import Pager
from live_process import Service, adt, event, eventually, running

pytestmark = pytest.mark.acceptance
SEEDS = int(os.environ.get("HANDOFF_FAULT_SEEDS", "3"))
FIGURES = os.environ.get("HANDOFF_FAULT_FIGURES")
"""A folder for what each seed came to."""


@pytest.mark.parametrize("seed", range(SEEDS))
def test_killed_again_and_again_it_loses_nothing_and_tells_every_alert(tmp_path, seed):
    figures = faults.run(tmp_path, seed)
    assert figures.kills >= 1
    assert figures.alerts > 20
    if FIGURES is not None:
        folder = Path(FIGURES)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{seed}.json").write_text(json.dumps(figures._asdict()))


# Disks


class SmallDisk:
    """A data directory on a disk that can be filled; where that cannot be had, a limit to the size of the service's files."""

    def __init__(self, service, megabytes):
        self._service, self._size = service, megabytes * 2**20
        service.data.mkdir()
        options = f"size={self._size},mode=700,uid={os.getuid()}"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "none", service.data], capture_output=True, check=False
        )
        self.is_real = done.returncode == 0

    def fill(self):
        if self.is_real:
            with (self._service.data / "other").open("wb", buffering=0) as file, suppress(OSError):
                while file.write(bytes(4096)):
                    pass
        else:
            self._limit(max(each.stat().st_size for each in self._service.data.iterdir()))

    def free(self):
        if self.is_real:
            (self._service.data / "other").unlink()
        else:
            self._limit(resource.RLIM_INFINITY)

    def _limit(self, size):
        hard = resource.RLIM_INFINITY
        resource.prlimit(self._service.process.pid, resource.RLIMIT_FSIZE, (size, hard))

    def close(self):
        if self.is_real:
            subprocess.run(["umount", "--lazy", self._service.data], check=True)


@contextmanager
def on_a_small_disk(folder, megabytes=24, **given):
    """A service that runs, and its disk."""
    with ExitStack() as stack:
        service = stack.enter_context(Service(folder, **given))
        disk = SmallDisk(service, megabytes)
        stack.callback(disk.close)
        stack.callback(service.__exit__)  # the process ends before its disk is taken away
        yield service.start(), disk


def stored(service):
    """The ids of the facts."""
    with closing(Reader(service.data)) as reader:
        return [each.id for each in reader.events()]


def note(number, **fields):
    """An event of ten kilobytes."""
    return event(
        f"n-{number}", "triage", patient=f"8{number:03}", attributes={"note": "x" * 10_000}, **fields
    )


def send_on(sender):
    """Send small messages, more than any rest of room can hold."""
    for each in range(1_000):
        sender.send(adt(f"m-{each}", patient=f"9{each:03}"))


def test_on_a_full_disk_nothing_is_acknowledged_until_there_is_room(tmp_path):
    with on_a_small_disk(tmp_path) as (service, disk):
        disk.fill()
        taken, number = [], 0
        while True:  # what the log of writes has room for is taken still
            number += 1
            status, answer = service.post("/events", note(number))
            if status != 202:
                break
            taken.append(f"n-{number}")
        assert status == 503, answer
        assert "Retry-After" not in answer
        status, answer = service.get("/readyz")
        assert status == 503
        [problem] = json.loads(answer)["problems"]
        assert problem["what"] == "store"
        assert "disk" in problem["why"]
        if disk.is_real:
            assert "the disk is full; free some space" in problem["why"]
        assert service.get("/healthz")[0] == 200
        with service.sender() as sender:
            sender.socket.settimeout(1)
            with pytest.raises(OSError, match=r"timed out|reset"):
                send_on(sender)
            acknowledged = len(sender.acknowledged)  # the first ones may still have found room
        assert service.post("/events", note(number))[0] == 503
        disk.free()
        eventually(lambda: service.get("/readyz")[0] == 200, "recovery")
        assert service.post("/events", note(number))[0] == 202
        with service.sender() as sender:
            assert sender.send(adt("m-2")) == ("AA", "m-2")
        facts = stored(service)
        assert set(taken) | {f"n-{number}"} <= set(facts)
        # what was sent last may have been written when there was room, and its sender did not wait for the answer
        assert len(facts) - len(taken) - 2 - acknowledged in (0, 1)
        assert service.logged("store_failed")
        assert service.logged("store_recovered")
        disk.fill()
        while service.post("/events", note(number))[0] == 202:
            number += 1
        assert service.terminate() == 0


def test_a_disk_that_fills_up_while_alerts_are_told_loses_and_doubles_none(tmp_path):
    count = 1_500
    with (
        Pager() as pager,
        on_a_small_disk(tmp_path, 16, speed=300, settings=pager.settings) as (service, disk),
    ):
        triggers = [
            event(f"r-{n}", "register", patient=f"7{n:04}", to="ed", at=service.now()) for n in range(count)
        ]
        assert service.post("/events", "\n".join(triggers))[0] == 202
        eventually(lambda: len(pager.told) > 20, "the storm")
        disk.fill()
        eventually(lambda: service.get("/readyz")[0] == 503 or len(pager.told) == count, "the full disk")
        before = len(pager.told)
        time.sleep(1)
        assert service.get("/healthz")[0] == 200
        disk.free()
        eventually(lambda: service.get("/readyz")[0] == 200, "recovery")
        eventually(lambda: len(pager.told) == count, f"all alerts after the first {before}")
        faults.settled(service)
        assert service.terminate() == 0
        with closing(Reader(service.data)) as reader:
            alerts = {each.notice.alert: each.notice for each in faults.every(reader.alerts)}
        assert len(alerts) == count
        faults.told_in_order(pager, alerts)


def without_rights_of_root():
    """Root may write everywhere, unless it gives that up: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""
    libc = ctypes.CDLL(None)
    for capability in (1, 2):
        libc.prctl(24, capability)  # PR_CAPBSET_DROP


def ended(service, **options):
    """What came of a service that cannot begin."""
    service.launch(**options)
    return service.ended(), service.text()


def test_a_directory_that_may_not_be_written_is_named(tmp_path):
    with Service(tmp_path) as service:
        service.data.mkdir(mode=0o500)
        code, text = ended(service, preexec_fn=without_rights_of_root)
    assert code == 3
    assert "cannot open data/handoff.sqlite: it cannot be written; see who owns the directory" in text
    assert "Traceback" not in text


@pytest.mark.parametrize("damage", ["beginning", "middle", "cut"])
def test_a_damaged_database_is_named_and_left_as_it_is(tmp_path, damage):
    with running(tmp_path) as service:
        lines = [
            event(f"n-{n}", "triage", patient=f"8{n % 50:03}", attributes={"n": n}) for n in range(3_000)
        ]
        assert service.post("/events", "\n".join(lines))[0] == 202
        assert service.terminate() == 0
        database = service.data / FILE
        (service.data / f"{FILE}-wal").write_bytes(b"")  # as nothing is when it was closed in order
        with database.open("r+b") as file:
            size = database.stat().st_size
            file.seek({"beginning": 0, "middle": size // 2, "cut": 0}[damage])
            if damage == "cut":
                file.truncate(size // 3)
            else:
                file.write(b"\xa5" * 20_000)
        content = database.read_bytes()
        service.launch()
        said = eventually(lambda: refusal(service), "the refusal")
        assert "damaged" in said
        assert "last backup" in said
        assert "Traceback" not in service.text()
        if service.process.poll() is None:
            service.kill()
        assert database.read_bytes()[: len(content)] == content


def refusal(service):
    """What it says of its store: at its end, or as the reason why it is not ready."""
    if service.process.poll() is not None:
        assert service.process.returncode == 3
        return service.text()
    if not service.http_port:
        service._finds_ports()
        return None
    with suppress(OSError):
        status, answer = service.get("/readyz")
        found = [each["why"] for each in json.loads(answer)["problems"] if each["what"] == "store"]
        return found[0] if status == 503 and found else None


def test_while_another_program_holds_the_database_nothing_is_acknowledged(tmp_path):
    with running(tmp_path) as service:
        other = sqlite3.connect(service.data / FILE, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        status, answer = service.post("/events", event("e-1", "triage"))
        assert status == 503, answer
        [problem] = service.ready()["problems"]
        assert "another program holds it locked; end that program" in problem["why"]
        other.execute("ROLLBACK")
        other.close()
        eventually(lambda: service.get("/readyz")[0] == 200, "recovery")
        assert service.post("/events", event("e-1", "triage"))[0] == 202
        assert stored(service) == ["e-1"]


def test_a_database_that_another_program_holds_at_the_start_is_named(tmp_path):
    with running(tmp_path) as service:
        service.kill()
        other = sqlite3.connect(service.data / FILE, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        code, text = ended(service)
        other.close()
    assert code == 3
    assert "another program holds it locked; end that program" in text
    assert "Traceback" not in text


# Time


def test_after_it_stood_still_it_goes_on_and_tells_what_fell_due(tmp_path):
    with running(tmp_path, speed=600) as service, service.sender() as sender:
        sender.send(adt("m-1", at=service.now()))
        service.process.send_signal(signal.SIGSTOP)
        sender.socket.sendall(b"\x0b" + adt("m-2", patient="7002", at=service.now()) + b"\x1c\r")
        time.sleep(3)  # half an hour by its clock
        service.process.send_signal(signal.SIGCONT)
        assert sender.answer() == ("AA", "m-2")
        eventually(lambda: len(service.alerts()) == 2, "both alerts")
        assert service.get("/readyz")[0] == 200
        assert service.terminate() == 0


# Senders


def memory(service):
    """The most that it ever had in memory, in megabytes."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def test_two_hundred_connections_half_frames_and_slow_senders_hold_nobody_up(tmp_path):
    settings = "mllp: {message_within: 10s}\n"
    with running(tmp_path, settings=settings) as service, ExitStack() as stack:
        idle = [stack.enter_context(service.sender()) for _ in range(200)]
        for number, each in enumerate(idle):
            each.socket.sendall((b"\x0b" + adt(f"h-{number}"))[: number * 2])  # most are no whole message
        slow = [stack.enter_context(service.sender()) for _ in range(20)]
        others = [stack.enter_context(service.sender()) for _ in range(8)]
        longest = 0.0
        for number in range(200):
            for each in slow:
                with suppress(OSError):
                    each.socket.send(adt("slow")[number : number + 1])
            began = time.monotonic()
            sender = others[number % 8]
            assert sender.send(adt(f"m-{number}", patient=f"9{number:03}")) == ("AA", f"m-{number}")
            longest = max(longest, time.monotonic() - began)
        assert longest < 10
        eventually(lambda: service.metric("handoff_mllp_connections") <= 10, "the end of those that are slow")
        assert len(stored(service)) == 200
        assert {each["reason"] for each in service.logged("connection_ended")} == {"slow"}
        assert service.get("/readyz")[0] == 200


def test_messages_of_a_hundred_megabytes_are_refused_without_being_held(tmp_path):
    part = b"OBX|1|ED|||" + b"A" * 2**20 + b"\r"
    with running(tmp_path) as service, service.sender() as sender, service.sender() as other:
        before = memory(service)
        sender.socket.sendall(b"\x0b" + adt("huge") + b"\r")
        for number in range(100):
            sender.socket.sendall(part)
            if number % 20 == 0:
                assert other.send(adt(f"m-{number}"))[0] == "AA"
        sender.socket.sendall(b"\x1c\r")
        assert sender.answer() == ("AE", "huge")
        assert sender.send(adt("m-1")) == ("AA", "m-1")
        status = 0
        with suppress(OSError):
            status, _ = service.post("/events", b'{"id": "' + b"x" * (100 * 2**20))
        assert status in (0, 413)
        assert memory(service) < before + 150
        with closing(Reader(service.data)) as reader:
            [reject] = reader.rejects()
        assert reject.reason == "too-large"
        assert reject.size < 100_000


def test_whatever_bytes_come_are_answered_kept_and_hold_nobody_up(tmp_path):
    chance = random.Random(7)
    with running(tmp_path) as service, service.sender() as other:
        for number in range(300):
            with service.sender() as sender:
                answered(sender, garbled(chance, number))
            assert other.send(adt(f"m-{number}"))[0] == "AA"
        assert service.get("/readyz")[0] == 200
        assert service.get("/healthz")[0] == 200
        assert not service.logged("store_failed")
        assert "fault" not in {each.get("reason") for each in service.lines()}
        assert memory(service) < 250
        assert service.terminate() == 0
        with closing(Reader(service.data)) as reader:
            assert reader.rejects()


def answered(sender, content):
    """Send it, and wait a moment for what the other side makes of it."""
    sender.socket.settimeout(60)
    sender.socket.sendall(content)
    sender.socket.shutdown(socket.SHUT_WR)
    with suppress(OSError):
        while sender.socket.recv(65536):
            pass


def garbled(chance, number):
    """A message that something has befallen, or no message at all."""
    message = adt(f"g-{number}", name="Müller^Zoë")
    kind = number % 6
    if kind == 0:
        return chance.randbytes(chance.randint(1, 5_000))
    if kind == 1:
        return b"\x0b" + chance.randbytes(chance.randint(1, 5_000)) + b"\x1c\r"
    if kind == 2:
        text = message.decode().replace(
            "|P|2.5.1", f"|P|2.5.1||||||{chance.choice(['UNICODE UTF-16', '8859/1', 'NONE'])}"
        )
        return b"\x0b" + text.encode(chance.choice(["utf-16", "latin-1", "utf-32", "cp1252"])) + b"\x1c\r"
    if kind == 3:
        cut = chance.randint(1, len(message))
        return b"\x0b" + message[:cut] + chance.randbytes(3) + message[cut:] + b"\x1c\r"
    if kind == 4:
        return b"\x0b" * 50 + message.replace(b"|", bytes([chance.randint(0, 255)])) + b"\x1c\r"
    return b"".join(b"\x0b" + message[:each] + b"\x1c" * (each % 3) + b"\r" for each in range(1, 200, 7))


def odd(id_, type_="x", patient="p", at="2026-03-02T08:00:00Z", **fields):
    """An event that is allowed, and that nobody expects."""
    return json.dumps({"id": id_, "type": type_, "patient": patient, "occurred_at": at} | fields)


ODD = [
    odd("a\0b", "t\0", "p\0"),
    odd("\ud800", "\udfff", "\ud800x", source="\udc00"),
    odd("t1", "register", at="1000-01-01T00:00:00Z"),
    odd("t2", "register", at="8999-12-31T23:59:59.999999Z"),
    odd("t3", "register", at="2026-03-02T08:00:00+14:59", precision="day"),
    odd("t4", "merge", attributes={"into": "p"}),
    odd("t5", "merge", attributes={"into": "\ud800"}),
    odd("t6", attributes={"n": 1e308, "m": -0.0}),
    odd("t7", attributes={"n": 10**30}),
    odd("t8", attributes={"n": 1}).replace(": 1}", ": 1e999}"),
    odd("t9", replaces="t9", cancels="t9"),
    odd("u1", "heartbeat", source="s"),
    odd("u2", "register", "x" * 100_000, to="y" * 100_000),
    odd("u3", "register", "ß\u202e\n", encounter="", to=""),
    odd("u4", "register", arrived_at="2999-01-01T00:00:00Z"),
    "[" * 100_000,
    "null",
    '{"id": 1}',
    "",
]


@pytest.mark.parametrize("order", [1, -1])
def test_odd_events_poison_nothing(tmp_path, order):
    with running(tmp_path, speed=600) as service:
        for number, line in enumerate(ODD[::order]):
            status, answer = service.post("/events", line)
            assert status in (202, 400, 422), (line[:80], answer)
            good = event(f"e-{number}", "register", patient=f"9{number:03}", to="ed", at=service.now())
            assert service.post("/events", good)[0] == 202
        eventually(
            lambda: len({each["journey"] for each in service.alerts()}) >= len(ODD),
            "the alerts of the good ones",
        )
        assert service.get("/readyz")[0] == 200
        assert not [each for each in service.lines() if each["level"] == "error"]
        service.kill()
        service.start()
        assert len(service.alerts()) >= len(ODD)
        assert not [each for each in service.lines() if each["level"] == "error"]
        assert service.terminate() == 0
