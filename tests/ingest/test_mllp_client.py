"""The sender: every message is accepted, refused or told as unanswered, whatever the receiver does."""

from __future__ import annotations

import argparse
import asyncio
import gzip
import io
import re
import signal
import subprocess
import sys
import threading
from contextlib import asynccontextmanager

import pytest
import trustme
from held_ports import held_port, port_of
from mllp_world import LONGEST_SECONDS, NOW, FakeIntake, adt, leap, until, world

from monitor.commands import send as command
from monitor.commands.streams import FINE, PROBLEMS, UNABLE, USAGE, Failed, Streams
from monitor.core.place import Registry, Source
from monitor.formats.mllp import Framer, acknowledge, frame
from monitor.ingest.mllp_client import Patience, Tally, Target, Unanswered, client_tls, send
from monitor.ingest.mllp_server import server_tls

PATIENCE = Patience(answer_seconds=30, message_seconds=3600)


@asynccontextmanager
async def receiver(*script):
    """A receiver that does, message by message, what the script says, and then accepts: a code, `silence` or `close`."""
    received, script = [], list(script)

    async def serve(reader, writer):
        framer = Framer()
        try:
            while data := await reader.read(65536):
                for content in framer.feed(data):
                    received.append(content)
                    step = script.pop(0) if script else "AA"
                    if step == "close":
                        return
                    if step == "late":
                        writer.write(frame(acknowledge(adt("other"), "AE", control_id="X", at=NOW)))
                        step = "AA"
                    if step == "silence":
                        leap(PATIENCE.answer_seconds)
                    else:
                        writer.write(frame(acknowledge(content, step, control_id="X", at=NOW)))
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Target("127.0.0.1", server.sockets[0].getsockname()[1]), received
    finally:
        server.close()


@pytest.fixture
def port():
    """A port that is ours, and on which nobody listens who was not told of it."""
    with held_port() as held:
        yield port_of(held)


def test_messages_are_sent_in_order_and_counted():
    async def run():
        async with world() as w:
            sent = [adt(number) for number in range(100)]
            tally = await send(sent, Target("127.0.0.1", w.port))
            assert w.intake.contents == sent
            assert (tally.sent, tally.refused, tally.resent, tally.codes) == (100, 0, 0, {"AA": 100})
            assert tally.seconds > 0

    asyncio.run(run())


def test_messages_may_come_as_they_arise():
    async def some():
        for number in range(3):
            await asyncio.sleep(0)
            yield adt(number)

    async def run():
        async with world() as w:
            tally = await send(some(), Target("127.0.0.1", w.port), connections=3)
            assert tally.sent == 3
            assert sorted(w.intake.contents) == [adt(number) for number in range(3)]

    asyncio.run(run())


def test_several_connections_send_each_message_once():
    async def run():
        async with world() as w:
            sent = [adt(number) for number in range(200)]
            tally = await send(iter(sent), Target("127.0.0.1", w.port), connections=8)
            assert tally.codes == {"AA": 200}
            assert sorted(w.intake.contents) == sorted(sent)

    asyncio.run(run())


def test_what_is_refused_is_told_with_its_number_and_reason_and_not_sent_again():
    async def run():
        registry = Registry(sources={"ADT/HOSP": Source(rejects="AE")})
        refused = []
        async with world(FakeIntake(registry)) as w:
            sent = [adt(1), adt(2, patient=""), adt(3)]
            target = Target("127.0.0.1", w.port)
            tally = await send(
                sent, target, on_refused=lambda number, answer: refused.append((number, answer))
            )
            assert (tally.sent, tally.refused, tally.resent) == (3, 1, 0)
            assert tally.codes == {"AA": 2, "AE": 1}
            ((number, answer),) = refused
            assert (number, answer.code, answer.text.split(":")[0]) == (2, "AE", "no-patient")

    asyncio.run(run())


@pytest.mark.parametrize("trouble", ["AR", "CR", "silence", "close"])
def test_a_message_is_sent_again_until_it_is_accepted(trouble):
    async def run():
        async with receiver("AA", trouble, trouble) as (target, received):
            tally = await send([adt(1), adt(2), adt(3)], target, patience=PATIENCE)
            assert received == [adt(1), adt(2), adt(2), adt(2), adt(3)]
            assert (tally.sent, tally.refused, tally.resent, tally.codes["AA"]) == (3, 0, 2, 3)

    asyncio.run(run())


def test_what_is_put_off_for_too_long_counts_as_refused():
    async def run():
        async with receiver(*["AR"] * 100) as (target, _):
            told = []
            patience = Patience(message_seconds=0.15)
            tally = await send(
                [adt(1)], target, patience=patience, on_refused=lambda _, answer: told.append(answer.code)
            )
            assert (tally.sent, tally.refused, told) == (1, 1, ["AR"])

    asyncio.run(run())


def test_an_answer_to_another_message_is_passed_over():
    async def run():
        async with receiver("late") as (target, _):
            tally = await send([adt(1), adt(2)], target, patience=PATIENCE)
            assert tally.codes == {"AA": 2}

    asyncio.run(run())


def test_a_message_that_asks_for_no_answer_is_not_waited_for():
    async def run():
        async with world() as w:
            sent = [adt(1, accept="NE"), adt(2, accept="ER"), adt(3, accept="AL")]
            tally = await send(sent, Target("127.0.0.1", w.port), patience=PATIENCE)
            assert (tally.sent, tally.codes) == (3, {"CA": 1})
            assert w.intake.contents == sent

    asyncio.run(run())


def test_the_sender_outlives_a_receiver_that_starts_late_and_starts_anew(port):
    async def run():
        async with world(port=port) as w:
            await w.server.stop()
            troubles = []
            sending = asyncio.create_task(
                send([adt(n) for n in range(5)], Target("127.0.0.1", port), on_trouble=troubles.append)
            )
            await until(lambda: troubles)
            async with world(port=port) as again:
                tally = await sending
                assert again.intake.contents == [adt(n) for n in range(5)]
                assert tally.resent >= 1

    asyncio.run(run())


def test_a_disk_in_trouble_behind_the_receiver_loses_nothing():
    async def run():
        async with world(patience=0.02) as w:
            w.intake.refusals = 5
            sent = [adt(number) for number in range(10)]
            tally = await send(sent, Target("127.0.0.1", w.port), connections=2)
            assert sorted(w.intake.contents) == sorted(sent)
            assert (tally.sent, tally.refused) == (10, 0)
            assert tally.resent >= 1

    asyncio.run(run())


def test_a_receiver_that_is_not_there_is_told(port):
    async def run():
        tally = Tally()
        with pytest.raises(Unanswered, match="no answer from"):
            await send(
                [adt(1)],
                Target("127.0.0.1", port),
                patience=Patience(message_seconds=30),
                tally=tally,
                on_trouble=lambda _: leap(30),
            )
        assert (tally.sent, tally.resent) == (0, 1)

    asyncio.run(run())


def test_speed_keeps_the_times_of_the_messages_and_passes_over_what_has_none():
    def at(second):
        return adt(second).replace(b"20260301115900", b"202603011159%02d" % second, 1)

    async def run():
        loop, times = asyncio.get_running_loop(), []
        async with world() as w:
            intake_take = w.intake.take

            async def take(messages, position=None):
                times.append(loop.time())
                await intake_take(messages)

            w.intake.take = take
            sent = [at(10), at(30), adt("x").replace(b"20260301115900", b"soon", 1), at(20), at(40)]
            start = loop.time()
            await send(sent, Target("127.0.0.1", w.port), speed=100)
            assert w.intake.contents == sent
        waits = [time - start for time in times]
        assert 0.19 < waits[1] <= waits[2] <= waits[3] < 20
        assert 0.29 < waits[4] < 30

    asyncio.run(run())


def test_an_error_in_the_source_of_messages_ends_the_sending():
    def broken():
        yield adt(1)
        raise ZeroDivisionError

    async def run():
        async with world() as w:
            tally = Tally()
            with pytest.raises(ZeroDivisionError):
                await send(broken(), Target("127.0.0.1", w.port), connections=3, tally=tally)
            await until(lambda: w.server.connections == 0)

    asyncio.run(run())


def test_a_cancelled_sending_leaves_nothing_open():
    async def run():
        async with world() as w:
            w.intake.may_take.clear()
            tally = Tally()
            sending = asyncio.create_task(send([adt(1)], Target("127.0.0.1", w.port), tally=tally))
            await until(lambda: w.intake.waiting)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            assert tally.seconds > 0
            w.intake.may_take.set()
            await until(lambda: w.server.connections == 0)

    asyncio.run(run())


# --- TLS ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(found / "ca.pem"))
    for name in ("server", "client"):
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
            str(found / f"{name}.pem")
        )
    return found


def test_messages_go_over_tls_with_a_certificate(folder):
    async def run():
        pem = str(folder / "server.pem")
        async with world(tls=server_tls(pem, pem, str(folder / "ca.pem"))) as w:
            tls = client_tls(str(folder / "ca.pem"), str(folder / "client.pem"))
            tally = await send([adt(1), adt(2)], Target("127.0.0.1", w.port, tls))
            assert tally.codes == {"AA": 2}

    asyncio.run(run())


def test_a_receiver_that_is_not_trusted_is_not_tried_again(folder):
    async def run():
        pem = str(folder / "server.pem")
        async with world(tls=server_tls(pem, pem)) as w:
            tally = Tally()
            with pytest.raises(Unanswered, match="CERTIFICATE_VERIFY_FAILED"):
                await send([adt(1)], Target("127.0.0.1", w.port, client_tls()), tally=tally)
            assert tally.resent == 0

    asyncio.run(run())


# --- the command ----------------------------------------------------------------------------------------------


class Background:
    """A world in a loop and thread of its own."""

    def __init__(self, intake=None, **options):
        self._ready, self._done = threading.Event(), None
        self._intake, self._options = intake, options

    def __enter__(self):
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        assert self._ready.wait(LONGEST_SECONDS)
        return self.world

    async def _run(self):
        async with world(self._intake, **self._options) as self.world:
            self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
            self._ready.set()
            await self._done.wait()

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(LONGEST_SECONDS)


def run_command(*argv, stdin=b""):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    streams = Streams(io.BytesIO(stdin), io.StringIO(), io.StringIO())
    code = command.run(parser.parse_args(argv), streams)
    return code, streams.stderr.getvalue()


def test_the_command_sends_files_and_sums_up(tmp_path):
    (tmp_path / "a.hl7").write_bytes(adt(1) + b"\r\n\r\n" + adt(2))
    (tmp_path / "b.hl7.gz").write_bytes(gzip.compress(frame(adt(3)) + b"junk"))
    with Background() as w:
        to = f"mllp://127.0.0.1:{w.port}"
        code, said = run_command(
            "--to", to, str(tmp_path / "a.hl7"), str(tmp_path / "b.hl7.gz"), "-", stdin=adt(4)
        )
        assert (code, w.intake.contents) == (FINE, [adt(n) for n in (1, 2, 3, 4)])
    lines = said.splitlines()
    assert lines[0].endswith("b.hl7.gz: left out 1 piece, not HL7")
    assert lines[1].startswith("handoff: 4 messages sent in ")
    assert lines[1].endswith(": 4 AA")
    assert len(lines) == 2


def test_the_command_says_what_was_refused():
    registry = Registry(sources={"ADT/HOSP": Source(rejects="AE")})
    with Background(FakeIntake(registry)) as w:
        data = b"\r".join(adt(n, patient="" if n > 1 else "7") for n in range(1, 21))
        code, said = run_command("--to", f"mllp://127.0.0.1:{w.port}", "--connections", "2", "-", stdin=data)
    assert code == PROBLEMS
    lines = said.splitlines()
    assert len(lines) == 11
    assert "AE no-patient: " in lines[0]
    assert lines[-1].endswith(": 1 AA, 19 AE")


def test_the_command_over_tls(folder):
    pem = str(folder / "server.pem")
    ca, client = str(folder / "ca.pem"), str(folder / "client.pem")
    with Background(tls=server_tls(pem, pem, ca)) as w:
        to = f"mllp://127.0.0.1:{w.port}"
        code, _ = run_command("--to", to, "--tls", "--ca", ca, "--cert", client, "-", stdin=adt(1))
        assert (code, w.intake.contents) == (FINE, [adt(1)])


def test_the_command_gives_up_where_nobody_listens(port):
    with pytest.raises(Failed, match="no answer from") as failed:
        run_command("--to", f"mllp://127.0.0.1:{port}", "--give-up", "0.2", "-", stdin=adt(1))
    assert failed.value.code == UNABLE


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["--ca", "ca.pem"], USAGE),
        (["--cert", "c.pem"], USAGE),
        (["--tls", "--key", "k.pem"], USAGE),
        (["--tls", "--ca", "missing.pem"], UNABLE),
    ],
)
def test_certificates_that_cannot_be_used_are_told(argv, code):
    with pytest.raises(Failed) as failed:
        run_command("--to", "mllp://127.0.0.1:1", *argv, "-")
    assert failed.value.code == code


@pytest.mark.parametrize(
    "argv",
    [
        ["--to", "127.0.0.1:2575", "-"],
        ["--to", "http://127.0.0.1:2575", "-"],
        ["--to", "mllp://127.0.0.1", "-"],
        ["--to", "mllp://127.0.0.1:99999", "-"],
        ["--to", "mllp://127.0.0.1:1/path", "-"],
        ["--to", "mllp://127.0.0.1:1", "--speed", "0", "-"],
        ["--to", "mllp://127.0.0.1:1", "--speed", "nan", "-"],
        ["--to", "mllp://127.0.0.1:1", "--connections", "0", "-"],
        ["--to", "mllp://127.0.0.1:1"],
    ],
)
def test_arguments_that_make_no_sense_are_wrong_usage(argv, capsys):
    with pytest.raises(SystemExit) as exit_:
        run_command(*argv)
    assert exit_.value.code == 2
    assert capsys.readouterr().err


def test_control_c_ends_the_command_with_what_was_done():
    program = (
        "import sys, argparse, io\n"
        "from monitor.commands import send\n"
        "from monitor.commands.streams import Streams\n"
        "parser = argparse.ArgumentParser(); send.add_arguments(parser)\n"
        "try:\n"
        "    send.run(parser.parse_args(), Streams(sys.stdin.buffer, sys.stdout, sys.stderr))\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(130)\n"
    )
    with Background() as w:
        to = f"mllp://127.0.0.1:{w.port}"
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", program, "--to", to, "--speed", "0.001", "-"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        later = adt(2).replace(b"20260301115900", b"20260301120000", 1)
        process.stdin.write(adt(0) + b"\r" + adt(1) + b"\r" + later)
        process.stdin.close()
        process.stdin = None
        while len(w.log.codes) < 2 and process.poll() is None:
            threading.Event().wait(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=LONGEST_SECONDS)
    assert process.returncode == 130
    assert re.fullmatch(r"handoff: (1 message|2 messages) sent in .*: [12] AA\n", said.decode())
