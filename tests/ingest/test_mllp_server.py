"""The MLLP server over real sockets: what is acknowledged when, and what bad senders and bad times do to it."""

from __future__ import annotations

import asyncio
import os
import resource
import ssl
import warnings
from pathlib import Path

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mllp_world import LONGEST_SECONDS, FakeIntake, adt, leap, until, world

from monitor.core.place import Registry, Source
from monitor.formats.mllp import FIRST_BYTES, frame
from monitor.ingest.mllp_server import server_tls


def strict(source="ADT/HOSP"):
    return Registry(sources={source: Source(rejects="AE")})


# --- what is answered -----------------------------------------------------------------------------------------


def test_a_message_is_taken_and_answered():
    async def run():
        async with world() as w:
            sender = await w.sender()
            assert await sender.ask(adt(1)) == ("AA", "1")
            (message,) = w.intake.taken
            assert (message.origin, message.content, message.reject) == ("mllp", adt(1), None)
            assert [event.type for event in message.events] == ["admit"]
            assert message.where.startswith("127.0.0.1:")
            assert w.log.codes == ["AA"]

    asyncio.run(run())


def test_an_answer_has_a_number_of_its_own_and_the_time_of_the_clock():
    async def run():
        async with world() as w:
            sender = await w.sender()
            await sender.write(frame(adt(1)) + frame(adt(2)))
            headers = [(await sender.raw()).split(b"\r")[0].split(b"|") for _ in range(2)]
            assert [each[6] for each in headers] == [b"20260301120000+0000"] * 2
            first, second = (each[9] for each in headers)
            assert first != second
            assert len(first) <= 20

    asyncio.run(run())


def test_nothing_is_answered_before_it_is_durable():
    async def run():
        async with world() as w:
            w.intake.may_take.clear()
            sender = await w.sender()
            await sender.write(frame(adt(1)))
            await until(lambda: w.intake.waiting)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(sender.reader.read(1), 0.05)
            w.intake.may_take.set()
            assert await sender.answer() == ("AA", "1")

    asyncio.run(run())


@pytest.mark.parametrize(
    ("accept", "application", "bad", "code"),
    [
        ("", "", False, "AA"),
        ("", "", True, "AE"),
        ("AL", "", False, "CA"),
        ("AL", "NE", True, "CE"),
        ("AL", "AL", False, "CA"),
        ("ER", "", True, "CE"),
        ("ER", "", False, None),
        ("SU", "", False, "CA"),
        ("SU", "", True, None),
        ("NE", "", True, None),
        ("NE", "AL", False, "AA"),
        ("NE", "ER", True, "AE"),
        ("", "SU", True, None),
        ("", "NE", False, None),
        ("xx", "", False, "CA"),
    ],
)
def test_the_sender_chooses_the_mode_and_when_it_wants_an_answer(accept, application, bad, code):
    async def run():
        async with world(FakeIntake(strict())) as w:
            sender = await w.sender()
            asked = adt(1, accept=accept, application=application, patient="" if bad else "7")
            await sender.write(frame(asked) + frame(adt(2)))
            answers = [("AA", "2")] if code is None else [(code, "1"), ("AA", "2")]
            assert [await sender.answer() for _ in answers] == answers
            assert w.intake.contents == [asked, adt(2)]

    asyncio.run(run())


def test_a_dead_letter_is_taken_over_unless_the_profile_says_refused():
    async def run():
        async with world(FakeIntake(strict("STRICT/HOSP"))) as w:
            sender = await w.sender()
            assert await sender.ask(adt(1, patient="")) == ("AA", "1")
            await sender.write(frame(adt(2, patient="", sender="STRICT")))
            lines = (await sender.raw()).split(b"\r")
            assert lines[1].startswith(b"MSA|AE|2|no-patient")
            assert lines[2].startswith(b"ERR||PID^1^3|101^")
            assert [each.reject.reason for each in w.intake.taken] == ["no-patient"] * 2
            assert [each.source for each in w.intake.taken] == ["ADT/HOSP", "STRICT/HOSP"]

    asyncio.run(run())


def test_what_the_monitor_has_no_use_for_is_accepted():
    async def run():
        async with world(FakeIntake(strict())) as w:
            sender = await w.sender()
            unknown = adt(1, "Z99").replace(b"|P|2.5", b"|X|9.9") + b"\rZZZ|1|2"
            assert await sender.ask(unknown) == ("AA", "1")
            assert await sender.ask(adt(2).replace(b"ADT^A01", b"ORU^R01")) == ("AA", "2")
            assert [each.reject for each in w.intake.taken] == [None, None]

    asyncio.run(run())


def test_an_acknowledgment_is_not_acknowledged():
    async def run():
        async with world() as w:
            sender = await w.sender()
            await sender.write(frame(b"MSH|^~\\&|A|B|||2026||ACK^A01|9|P|2.5\rMSA|AA|1"))
            assert await sender.ask(adt(1)) == ("AA", "1")

    asyncio.run(run())


def test_an_empty_frame_and_bytes_that_are_no_message_become_dead_letters():
    async def run():
        async with world(FakeIntake(strict(""))) as w:
            sender = await w.sender()
            assert await sender.ask(b"") == ("AE", "")
            assert await sender.ask(b"\xff\x00 junk \x1c") == ("AE", "")
            assert [each.reject.reason for each in w.intake.taken] == ["no-msh", "no-msh"]

    asyncio.run(run())


@pytest.mark.parametrize("codec", ["utf-8", "latin-1", "cp1252", "utf-16", "shift_jis"])
def test_any_encoding_is_answered(codec):
    async def run():
        async with world() as w:
            sender = await w.sender()
            message = (adt(1).decode() + "\rNK1||Müller" * (codec != "shift_jis")).encode(codec)
            assert await sender.ask(message) == ("AA", "1")
            assert w.intake.taken[0].events[0].patient == "7"

    asyncio.run(run())


def test_a_batch_in_one_frame_gives_an_answer_for_each_message_in_one_frame():
    async def run():
        async with world() as w:
            sender = await w.sender()
            await sender.write(frame(b"BHS|^~\\&|A\r" + adt(1) + b"\r" + adt(2) + b"\rBTS|2\r"))
            answer = await sender.raw()
            assert answer.count(b"\rMSA|AA|1\r") == answer.count(b"\rMSA|AA|2\r") == 1
            assert w.intake.contents == [adt(1), adt(2)]

    asyncio.run(run())


def test_a_fault_of_ours_in_reading_a_message_makes_it_a_dead_letter(monkeypatch):
    def fail(content, registry):
        raise KeyError("SECRET")

    monkeypatch.setattr("monitor.formats.hl7.decode", fail)

    async def run():
        async with world() as w:
            sender = await w.sender()
            assert await sender.ask(adt(1)) == ("AA", "1")
            (reject,) = (each.reject for each in w.intake.taken)
            assert reject.reason == "fault"
            assert "KeyError" in reject.detail
            assert "SECRET" not in reject.detail

    asyncio.run(run())


# --- order and batches ----------------------------------------------------------------------------------------


def test_bytes_may_come_one_by_one():
    async def run():
        async with world() as w:
            sender = await w.sender()
            for byte in frame(adt(1)) + frame(adt(2)):
                await sender.write(bytes([byte]))
                await asyncio.sleep(0)
            assert [await sender.answer(), await sender.answer()] == [("AA", "1"), ("AA", "2")]
            assert w.intake.contents == [adt(1), adt(2)]

    asyncio.run(run())


def test_messages_sent_without_waiting_are_answered_in_their_order_and_taken_together():
    async def run():
        async with world() as w:
            sender = await w.sender()
            sent = [adt(number) for number in range(300)]
            await sender.write(b"".join(map(frame, sent)))
            assert [await sender.answer() for _ in sent] == [("AA", str(number)) for number in range(300)]
            assert w.intake.contents == sent
            assert len(w.intake.batches) < 30

    asyncio.run(run())


def test_many_frames_of_one_read_are_handed_over_in_batches_of_a_bounded_size():
    async def run():
        async with world() as w:
            sender = await w.sender()
            await sender.write(frame(b"x") * 5000)
            for _ in range(5000):
                await sender.raw()
            assert sum(map(len, w.intake.batches)) == 5000
            assert max(map(len, w.intake.batches)) <= 1000

    asyncio.run(run())


def test_the_server_does_not_read_on_while_the_disk_is_slow():
    async def run():
        async with world() as w:
            w.intake.may_take.clear()
            sender = await w.sender()
            sender.writer.write(frame(adt(1)))
            await until(lambda: w.intake.waiting)
            sender.writer.write(frame(b"x" * 1_000_000) * 30)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(sender.writer.drain(), 0.2)
            assert w.server.held < 1000
            w.intake.may_take.set()
            assert [(await sender.answer())[0] for _ in range(31)] == ["AA"] * 31

    asyncio.run(run())


def test_one_sender_that_waits_does_not_keep_the_others():
    async def run():
        async with world() as w:
            half = await w.sender()
            await half.write(frame(adt(1))[:20])
            other = await w.sender()
            assert await other.ask(adt(2)) == ("AA", "2")
            await half.write(frame(adt(1))[20:])
            assert await half.answer() == ("AA", "1")

    asyncio.run(run())


def test_two_hundred_senders_at_once():
    async def run():
        async with world() as w:
            senders = [await w.sender() for _ in range(200)]
            for turn in range(3):
                found = await asyncio.gather(*(each.ask(adt(turn)) for each in senders))
                assert found == [("AA", str(turn))] * 200
            assert (len(w.intake.taken), w.log.open, w.server.connections) == (600, 200, 200)

    asyncio.run(run())


# --- trouble with the disk ------------------------------------------------------------------------------------


def test_a_short_trouble_of_the_disk_is_waited_for():
    async def run():
        async with world() as w:
            w.intake.refusals = 2
            sender = await w.sender()
            assert await sender.ask(adt(1)) == ("AA", "1")
            assert w.intake.contents == [adt(1)]

    asyncio.run(run())


def test_what_cannot_be_made_durable_is_not_answered_but_the_connection_reset():
    async def run():
        async with world(patience=0.1) as w:
            w.intake.refusals = 1000
            sender = await w.sender()
            await sender.write(frame(adt(1)) + frame(adt(2)))
            assert await sender.is_reset()
            assert (w.log.codes, w.log.refusals) == ([], ["not-taken"])
            w.intake.refusals = 0
            again = await w.sender()
            assert await again.ask(adt(1)) == ("AA", "1")

    asyncio.run(run())


def test_an_error_behind_the_server_ends_one_connection_and_is_told_without_data():
    async def run():
        async with world() as w:

            async def fail(messages, position=None):
                raise ValueError("SECRET")

            w.intake.take = fail
            sender = await w.sender()
            await sender.write(frame(adt(1)))
            assert await sender.is_reset()
            assert w.log.refusals == ["fault"]
            assert "ValueError" in w.log.details[0]
            assert "SECRET" not in w.log.details[0]
            del w.intake.take
            assert await (await w.sender()).ask(adt(1)) == ("AA", "1")

    asyncio.run(run())


# --- size and memory ------------------------------------------------------------------------------------------


def test_a_message_that_is_too_large_is_refused_and_its_beginning_kept():
    async def run():
        async with world(largest=100_000) as w:
            sender = await w.sender()
            large = adt(1) + b"\rOBX|1|ED||" + b"z" * 150_000
            await sender.write(frame(large) + frame(adt(2)))
            lines = (await sender.raw()).split(b"\r")
            assert lines[1].startswith(b"MSA|AE|1|too-large: the message has 150")
            assert lines[2].startswith(b"ERR|||207^")
            assert await sender.answer() == ("AA", "2")
            first, second = w.intake.taken
            assert (first.reject.reason, first.content) == ("too-large", large[:FIRST_BYTES])
            assert second.content == adt(2)
            assert w.log.noise == 0

    asyncio.run(run())


def test_a_message_that_is_too_large_is_refused_in_enhanced_mode_too():
    async def run():
        async with world(largest=1000) as w:
            sender = await w.sender()
            assert await sender.ask(adt(1, accept="AL") + b"\rNTE|||" + b"z" * 1000) == ("CE", "1")

    asyncio.run(run())


def test_a_batch_of_too_many_messages_is_refused_and_its_beginning_kept():
    async def run():
        async with world() as w:
            sender = await w.sender()
            batch = b"BHS|^~\\&|A\r" + adt(1) + b"\rMSH|^~\\&|" * 1500
            await sender.write(frame(batch) + frame(adt(2)))
            assert b"\rMSA|AE||too-large: the frame has more than 1000 messages" in await sender.raw()
            assert await sender.answer() == ("AA", "2")
            assert w.intake.contents == [batch[:FIRST_BYTES], adt(2)]

    asyncio.run(run())


def test_a_large_message_is_read_while_others_are_served():
    async def run():
        async with world() as w:
            large, small = await w.sender(), await w.sender()
            message = adt(1) + b"\rNTE|||" + b"line\r" * 600_000
            await large.write(frame(message))
            assert await small.ask(adt(2)) == ("AA", "2")
            assert await large.answer() == ("AA", "1")
            assert w.intake.taken[-1].events[0].patient == "7"

    asyncio.run(run())


def grown(before):
    """Bytes by which the largest memory that this process ever had has grown."""
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def test_a_message_of_a_hundred_megabytes_costs_no_more_than_the_largest_allowed():
    async def run():
        async with world(largest=2**20) as w:
            sender = await w.sender()
            assert await sender.ask(adt(1)) == ("AA", "1")
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            chunk = b"z" * 100_000
            await sender.write(b"\x0b" + adt(2) + b"\rNTE|||")
            for _ in range(1000):
                await sender.write(chunk)
                assert w.server.held <= 2**20 + 400_000
            await sender.write(b"\x1c\r")
            assert await sender.answer() == ("AE", "2")
            assert grown(before) < 20 * 2**20

    asyncio.run(run())


def test_half_messages_of_many_senders_keep_to_one_limit_and_the_largest_goes_first():
    async def run():
        async with world(largest=2**20, held=0) as w:  # four of the largest, then
            small = await w.sender()
            await small.write(b"\x0b" + adt(1))
            large = await w.sender()
            await large.write(b"\x0b" + b"z" * 900_000)
            await until(lambda: w.server.held > 900_000)
            others = [await w.sender() for _ in range(40)]
            for each in others:
                each.writer.write(b"\x0b" + b"z" * 500_000)
            assert await large.is_reset()
            await until(lambda: len(w.log.refusals) >= 33)
            assert set(w.log.refusals) == {"memory"}
            assert w.server.held <= 4 * 2**20
            await small.write(b"\x1c\r")
            assert await small.answer() == ("AA", "1")

    asyncio.run(run())


# --- bad senders ----------------------------------------------------------------------------------------------


def test_more_connections_than_allowed_are_ended_at_once():
    async def run():
        async with world(connections=2) as w:
            first, second = await w.sender(), await w.sender()
            assert await first.ask(adt(1)) == ("AA", "1")
            assert await second.ask(adt(2)) == ("AA", "2")
            assert await (await w.sender()).is_reset()
            assert w.log.refusals == ["connections"]
            await first.close()
            await until(lambda: w.server.connections == 1)
            assert await (await w.sender()).ask(adt(3)) == ("AA", "3")

    asyncio.run(run())


async def trickled(sender, data):
    for byte in data:
        await sender.write(bytes([byte]))
        await asyncio.sleep(0.005)
        leap(1)


def test_a_message_that_trickles_in_is_given_up():
    async def run():
        async with world(message_within=30) as w:
            sender = await w.sender()
            trickle = asyncio.create_task(trickled(sender, frame(adt(1)) * 5))
            with pytest.raises(ConnectionError):
                await trickle
            assert w.log.refusals == ["slow"]
            assert w.intake.taken == []

    asyncio.run(run())


def test_what_speaks_another_protocol_is_given_up():
    async def run():
        async with world(message_within=0.05) as w:
            sender = await w.sender()
            await sender.write(b"GET / HTTP/1.1\r\n\r\n")
            assert await sender.is_reset()
            assert (w.log.refusals, w.log.noise) == (["slow"], 12)

    asyncio.run(run())


def test_the_time_that_the_disk_takes_is_not_counted_against_a_sender():
    async def run():
        async with world(message_within=30) as w:
            w.intake.may_take.clear()
            sender = await w.sender()
            await sender.write(frame(adt(1)) + frame(adt(2))[:30])
            await until(lambda: w.intake.waiting)
            leap(40)
            await asyncio.sleep(0.01)
            w.intake.may_take.set()
            assert await sender.answer() == ("AA", "1")
            await sender.write(frame(adt(2))[30:])
            assert await sender.answer() == ("AA", "2")

    asyncio.run(run())


def test_a_connection_over_which_nothing_comes_is_ended():
    async def run():
        async with world(idle_after=30) as w:
            sender = await w.sender()
            assert await sender.ask(adt(1)) == ("AA", "1")
            leap(40)
            assert await sender.is_reset()
            assert w.log.refusals == ["idle"]

    asyncio.run(run())


def test_a_sender_that_reads_no_answers_is_ended():
    async def run():
        async with world(message_within=30) as w:
            sender = await w.sender(limit=1024)
            frames = frame(adt("9" * 4000)) * 100
            while not waits_for_its_reader(w.server):
                assert w.log.refusals == []
                sender.writer.write(frames)
                await asyncio.wait({asyncio.create_task(sender.writer.drain())}, timeout=0.02)
            leap(40)
            await until(lambda: w.log.refusals)
            assert w.log.refusals == ["unread"]

    asyncio.run(run())


def waits_for_its_reader(server):
    """Whether so many answers are unread that a connection reads no more."""
    return any(each._writer.transport.get_write_buffer_size() > 2**16 for each in server._connections)


def test_a_sender_that_resets_in_the_middle_harms_nobody():
    async def run():
        async with world() as w:
            for data in (b"", b"\x0bMSH|", frame(adt(1)), frame(adt(1)) + b"\x0bMSH"):
                sender = await w.sender()
                await sender.write(data)
                sender.writer.transport.abort()
            assert await (await w.sender()).ask(adt(2)) == ("AA", "2")
            await until(lambda: w.server.connections == 1)

    asyncio.run(run())


def test_a_sender_that_goes_while_the_disk_writes_harms_nobody():
    async def run():
        async with world() as w:
            w.intake.may_take.clear()
            sender = await w.sender()
            await sender.write(frame(adt(1)))
            await until(lambda: w.intake.waiting)
            sender.writer.transport.abort()
            w.intake.may_take.set()
            await until(lambda: w.server.connections == 0)
            assert w.intake.contents == [adt(1)]

    asyncio.run(run())


def test_a_sender_that_closes_its_side_still_gets_its_last_answer():
    async def run():
        async with world() as w:
            w.intake.may_take.clear()
            sender = await w.sender()
            await sender.write(frame(adt(1)) + frame(adt(2)))
            sender.writer.write_eof()
            await until(lambda: w.intake.waiting)
            w.intake.may_take.set()
            assert [await sender.answer(), await sender.answer()] == [("AA", "1"), ("AA", "2")]
            assert await sender.reader.read() == b""
            await until(lambda: w.server.connections == 0)

    asyncio.run(run())


def test_half_a_message_at_the_end_is_dropped_and_counted():
    async def run():
        async with world() as w:
            sender = await w.sender()
            await sender.write(b"noise" + frame(adt(1)) + b"\x0b1234")
            assert await sender.answer() == ("AA", "1")
            await sender.close()
            await until(lambda: w.server.connections == 0)
            assert (w.intake.contents, w.log.noise) == ([adt(1)], 9)

    asyncio.run(run())


PIECES = st.sampled_from(
    [
        frame(adt(1)),
        frame(b""),
        b"\x0b",
        b"\x1c",
        b"\r",
        b"\x1c\r",
        b"\x0bMSH|^~\\&|A",
        frame(b"\xfe\xffM"),
        b"MSA|",
    ]
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(PIECES | st.binary(max_size=30), max_size=12))
def test_whatever_a_sender_writes_the_next_is_served(pieces):
    async def run():
        async with world(largest=200) as w:
            sender = await w.sender()
            await sender.write(b"".join(pieces))
            sender.writer.write_eof()
            await asyncio.wait_for(sender.reader.read(), LONGEST_SECONDS)
            assert await (await w.sender()).ask(adt("last")) == ("AA", "last")
            assert "fault" not in w.log.refusals
            assert all(each.reject is None or each.reject.reason != "fault" for each in w.intake.taken)

    asyncio.run(run())


# --- the end --------------------------------------------------------------------------------------------------


def test_stopping_answers_what_was_read_and_accepts_nothing_more():
    async def run():
        async with world() as w:
            w.intake.may_take.clear()
            busy, idle = await w.sender(), await w.sender()
            assert idle.reader.at_eof() is False
            await busy.write(frame(adt(1)))
            await until(lambda: w.intake.waiting)
            stopping = asyncio.create_task(w.server.stop())
            await asyncio.sleep(0.02)
            assert not stopping.done()
            w.intake.may_take.set()
            assert await busy.answer() == ("AA", "1")
            assert await busy.is_reset()
            assert await idle.is_reset()
            await stopping
            with pytest.raises(OSError):
                await w.sender()

    asyncio.run(run())


def test_stopping_does_not_wait_for_ever():
    async def run():
        async with world() as w:
            w.intake.may_take.clear()
            sender = await w.sender()
            await sender.write(frame(adt(1)))
            await until(lambda: w.intake.waiting)
            await asyncio.wait_for(w.server.stop(within=0.05), 9)  # of the ten that it would have
            assert await sender.is_reset()
            assert (w.intake.taken, w.log.codes) == ([], [])

    asyncio.run(run())


def test_stopping_does_not_wait_for_a_disk_that_refuses():
    async def run():
        async with world(patience=100) as w:
            w.intake.refusals = 10_000
            sender = await w.sender()
            await sender.write(frame(adt(1)))
            await until(lambda: w.intake.refusals < 9_999)
            await asyncio.wait_for(w.server.stop(), 9)  # of the ten that it has
            assert await sender.is_reset()
            assert w.log.codes == []

    asyncio.run(run())


def test_a_port_that_is_taken_is_an_error():
    async def run():
        async with world() as w:
            with pytest.raises(OSError):
                await w.server.start("127.0.0.1", w.port)

    asyncio.run(run())


# --- TLS ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """PEM files: of the authority, of the server, of a client, and of one whom another authority signed."""
    folder = tmp_path_factory.mktemp("certificates")
    authority, other = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    for name, signer, subject in (
        ("server", authority, "127.0.0.1"),
        ("client", authority, "engine.example"),
        ("stranger", other, "engine.example"),
    ):
        found = signer.issue_cert(subject)
        found.private_key_pem.write_to_path(str(folder / f"{name}.key"))
        for number, pem in enumerate(found.cert_chain_pems):
            pem.write_to_path(str(folder / f"{name}.pem"), append=number > 0)
    return folder


def client_side(folder: Path, name=None):
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    if name:
        context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return context


def old_client_side(folder: Path):
    context = client_side(folder)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that is what this one is for
        context.maximum_version = context.minimum_version = ssl.TLSVersion.TLSv1_1
    return context


def server_side(folder: Path, *, asks_clients=False):
    ca = str(folder / "ca.pem") if asks_clients else None
    return server_tls(str(folder / "server.pem"), str(folder / "server.key"), ca)


def test_messages_over_tls(certificates):
    async def run():
        async with world(tls=server_side(certificates)) as w:
            sender = await w.sender(ssl=client_side(certificates))
            assert await sender.ask(adt(1)) == ("AA", "1")
            await sender.write(b"".join(frame(adt(number)) for number in range(200)))
            assert [await sender.answer() for _ in range(200)] == [("AA", str(n)) for n in range(200)]

    asyncio.run(run())


def test_a_client_certificate_is_asked_for_where_an_authority_is_given(certificates):
    async def run():
        async with world(tls=server_side(certificates, asks_clients=True)) as w:
            known = await w.sender(ssl=client_side(certificates, "client"))
            assert await known.ask(adt(1)) == ("AA", "1")
            for name in (None, "stranger"):
                with pytest.raises((OSError, EOFError)):  # in TLS 1.3 the client learns of it when it reads
                    await (await w.sender(ssl=client_side(certificates, name))).ask(adt(2))
            assert w.intake.contents == [adt(1)]

    asyncio.run(run())


def test_who_does_not_speak_tls_or_an_old_one_harms_nobody(certificates):
    async def run():
        async with world(tls=server_side(certificates)) as w:
            plain = await w.sender()
            await plain.write(frame(adt(1)))
            with pytest.raises((OSError, EOFError)):
                await plain.answer()
            old = old_client_side(certificates)
            with pytest.raises(OSError):
                await w.sender(ssl=old)
            assert await (await w.sender(ssl=client_side(certificates))).ask(adt(2)) == ("AA", "2")

    asyncio.run(run())


def test_connections_over_tls_are_ended_by_limits_and_stopping_too(certificates):
    async def run():
        async with world(tls=server_side(certificates), idle_after=0.1) as w:
            sender = await w.sender(ssl=client_side(certificates))
            await until(lambda: w.log.refusals == ["idle"])
            with pytest.raises((OSError, EOFError)):
                await sender.answer()
            other = await w.sender(ssl=client_side(certificates))
            await w.server.stop()
            with pytest.raises((OSError, EOFError)):
                await other.answer()

    asyncio.run(run())


def test_a_missing_certificate_is_an_error_of_the_system(tmp_path):
    with pytest.raises(OSError):
        server_tls(str(tmp_path / "no.pem"), os.devnull)
