"""Messages out of files and streams, and the acknowledgements that go back."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.place import Registry
from monitor.formats.hl7 import decode
from monitor.formats.mllp import (
    END,
    MOST_IN_FRAME,
    Answered,
    Frame,
    Framer,
    acknowledge,
    answered,
    frame,
    header,
    in_frame,
    messages,
)
from monitor.formats.reject import Reject

ONE = b"MSH|^~\\&|A|B|||2026||ADT^A01|1|P|2.5\rEVN||2026\rPID|||1"
TWO = b"MSH|^~\\&|A|B|||2026||ADT^A02|2|P|2.5\rEVN||2026\rPID|||2"
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def split(data: bytes) -> list[bytes]:
    return list(messages(data))


# --- files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        ONE + b"\r" + TWO,
        ONE + b"\r\r" + TWO + b"\r\r\r",
        b"\r\n \r\n" + ONE + b"\r\n\r\n\t\r\n" + TWO,
        frame(ONE) + frame(TWO),
        frame(ONE) + b"\n" + frame(TWO) + b"\n",
        b"\x0b" + ONE + b"\x1c\x0b" + TWO + b"\x1c",
        b"\xef\xbb\xbf" + ONE + b"\n\xef\xbb\xbf" + TWO,
        b"FHS|^~\\&|A\rBHS|^~\\&|A\r" + ONE + b"\r" + TWO + b"\rBTS|7|x\rFTS|1\r",
        b"FHS|^~\\&\rBHS|^~\\&\r" + ONE + b"\rBTS|1\rBHS|^~\\&\r" + TWO + b"\rBTS|1\rFTS|2",
        ONE + b"\r" + TWO + b"\x1a",
    ],
)
def test_messages_are_found_however_they_are_kept_apart(data):
    assert split(data) == [ONE, TWO]


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
def test_any_line_end(end):
    one, two = ONE.replace(b"\r", end), TWO.replace(b"\r", end)
    assert split(one + end + two + end) == [one, two]
    assert split(one + end + end + two) == [one, two]


@pytest.mark.parametrize("end", [b"\r\r\n", b"\n\n", b"\r\n\r\n"])
def test_blank_lines_between_segments_do_not_cut_a_message(end):
    found = split(ONE.replace(b"\r", end) + end + TWO.replace(b"\r", end))
    assert found == [ONE, TWO]
    own = ONE.translate(bytes.maketrans(b"|", b"#"))
    assert split(own.replace(b"\r", end)) == [own]


def test_blank_lines_in_a_text_do_not_cut_a_message():
    text = ONE + b"\rNTE|||first\r\rsecond\r\rthird\rNTE|2"
    assert split(text + b"\r\r" + TWO) == [text.replace(b"\r\r", b"\r"), TWO]
    framed = ONE + b"\rNTE|||first\r\rlast"
    assert split(frame(framed) + frame(TWO)) == [framed, TWO]


def test_a_blank_line_and_the_evn_of_another_message_begin_what_has_lost_its_header():
    lost = TWO.split(b"\r", 1)[1]
    assert split(ONE + b"\r\r" + lost + b"\r\r" + TWO) == [ONE, lost, TWO]


def test_bytes_that_belong_to_no_message_are_pieces_of_their_own():
    assert split(b"hello\r" + ONE + b"\r\nlog line\r\n\r\n2026 other log\r\n\r\n" + TWO) == [
        b"hello",
        ONE + b"\r\nlog line",
        b"2026 other log",
        TWO,
    ]
    assert split(frame(ONE) + b"junk" + frame(TWO)) == [ONE, b"junk", TWO]
    assert split(b"EVN|A01\rPID|||1") == [b"EVN|A01\rPID|||1"]


@pytest.mark.parametrize(
    "data", [b"", b"\r\n\r\n", b"\xef\xbb\xbf", b"\x0b\x1c\r", b"BHS|^~\\&\rBTS|0\r", b" \t\0"]
)
def test_nothing_is_no_message(data):
    assert split(data) == []


def test_a_word_in_a_text_begins_no_message():
    text = ONE + b"\rNTE|||see MSH|x and\rMSHA and MSH 1"
    assert split(text) == [text]


def test_a_header_cut_short_is_a_message_of_its_own():
    assert split(ONE + b"\rMSH|^~\r" + TWO) == [ONE, b"MSH|^~", TWO]


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be"])
def test_files_of_two_byte_characters(codec):
    assert split((ONE + b"\r\n" + TWO).decode().encode(codec)) == [ONE, TWO]


def test_small_letters():
    assert split((ONE + b"\r" + TWO).lower()) == [ONE.lower(), TWO.lower()]


# --- streams --------------------------------------------------------------------------------------------------


def feed(data: bytes, sizes: list[int], limit: int = 1000) -> tuple[list[bytes], int]:
    framer, found = Framer(limit), []
    while data:
        size = sizes.pop() if sizes else len(data)
        found += framer.feed(data[:size])
        data = data[size:]
    return found, framer.dropped


STREAM = st.lists(
    st.sampled_from(
        [frame(ONE), frame(TWO), b"\x0b", b"\x1c", b"\r", b"\n", b"x", b"MSH|", frame(b""), frame(b"y" * 12)]
    )
).map(b"".join)


@given(STREAM, st.lists(st.integers(1, 9), max_size=200), st.sampled_from([8, 11, 12, 1000]))
def test_frames_are_the_same_however_the_stream_is_cut(data, sizes, limit):
    whole = feed(data, [], limit)
    assert feed(data, sizes, limit) == whole
    assert feed(data, [1] * len(data), limit) == whole


@given(st.lists(st.binary(max_size=40).filter(lambda b: b"\x1c" not in b and b"\x0bMSH" not in b)))
def test_frames_come_out_as_they_went_in(sent):
    assert feed(b"".join(map(frame, sent)), []) == (sent, 0)


def test_a_stream_gives_the_messages_of_the_file():
    data = frame(ONE) + b"\n" + frame(TWO)
    assert feed(data, [1] * len(data))[0] == split(data)


def test_what_stands_between_frames_is_dropped_and_counted():
    assert feed(b"noise" + frame(ONE) + b"\r\n" + b"ab\r" + frame(TWO), []) == ([ONE, TWO], 7)


def test_a_frame_cut_off_by_the_next_is_dropped():
    assert feed(b"\x0bMSH|^~\\&|A" + frame(ONE), []) == ([ONE], len(b"MSH|^~\\&|A"))


def test_a_frame_end_without_its_return_still_ends_the_frame():
    assert feed(b"\x0b" + ONE + b"\x1c" + frame(TWO), []) == ([ONE, TWO], 0)


def test_a_frame_that_is_too_long_is_dropped_and_the_next_one_read():
    framer = Framer(100)
    for _ in range(50):
        assert framer.feed(b"\x0b" if _ == 0 else b"z" * 1000) == []
    assert framer.feed(b"\x1c\r" + frame(ONE)) == [ONE]
    assert framer.dropped == 49_000


def test_of_a_frame_that_is_too_long_the_first_bytes_are_given_and_how_long_it_was():
    framer = Framer(100)
    long = ONE + b"z" * 1000
    assert framer.frames(frame(long) + frame(ONE)) == [Frame(long[:100], len(long)), Frame(ONE, len(ONE))]
    assert (framer.cut, framer.noise, framer.held) == (len(long), 0, 0)


@given(STREAM, st.lists(st.integers(1, 9), max_size=200), st.sampled_from([8, 11, 12, 1000]))
def test_frames_that_are_too_long_are_the_same_however_the_stream_is_cut(data, sizes, limit):
    whole = Framer(limit).frames(data)
    framer, found = Framer(limit), []
    while data:
        size = sizes.pop() if sizes else 1
        found += framer.frames(data[:size])
        data = data[size:]
        assert framer.held <= limit + 2
    assert found == whole
    assert all(each.is_whole == (each.size <= limit) for each in found)


def test_a_framer_can_forget_what_is_not_complete():
    framer = Framer()
    framer.feed(b"\x0b12345")
    assert (framer.held, framer.is_inside) == (5, True)
    framer.forget()
    assert (framer.held, framer.is_inside) == (0, False)
    assert framer.feed(b"6\x1c\r" + frame(ONE)) == [ONE]


def test_a_frame_may_hold_a_batch():
    assert in_frame(b"BHS|^~\\&|A\r" + ONE + b"\r" + TWO + b"\rBTS|2\r") == [ONE, TWO]
    assert in_frame(ONE + b"\r\n" + TWO) == [ONE, TWO]


@pytest.mark.parametrize(
    "content", [b"", b"junk", b"BTS|1", ONE, ONE + b"\rNTE|||the MSH| of old\r\rand more\r"]
)
def test_a_frame_that_holds_no_batch_is_one_message_as_it_is(content):
    assert in_frame(content) == [content]


def test_no_more_messages_of_a_frame_are_looked_for_than_it_may_have():
    assert len(in_frame(b"\r".join([ONE] * 3000))) == MOST_IN_FRAME + 1


@given(st.binary() | STREAM)
def test_any_frame_holds_a_message(content):
    assert in_frame(content)


# --- acknowledgements -----------------------------------------------------------------------------------------

SENT = b"MSH|^~\\&|APP^1.2^ISO|FAC|RAPP|RFAC|20260301115900||ADT^A01^ADT_A01|MSG|7|T|2.3\rEVN||2026"


def test_an_acknowledgement_answers_the_sender():
    message = SENT.replace(b"|MSG|7|", b"|MSG7|")
    assert acknowledge(message, "AA", control_id="C1", at=NOW).split(b"\r") == [
        b"MSH|^~\\&|RAPP|RFAC|APP^1.2^ISO|FAC|20260301120000+0000||ACK^A01^ACK|C1|T|2.3",
        b"MSA|AA|MSG7",
        b"",
    ]


def test_a_refusal_says_what_is_wrong_and_where():
    error = Reject("no-patient", "no identifier | fill it", "PID", "PID-3")
    lines = acknowledge(ONE, "AE", control_id="C2", at=NOW, error=error).split(b"\r")
    assert lines[1] == b"MSA|AE|1|no-patient: no identifier \\F\\ fill it"
    assert lines[2] == (
        b"ERR||PID^1^3|101^Required field missing^HL70357|E|||no-patient: no identifier \\F\\ fill it"
    )


def test_an_acknowledgement_uses_the_senders_delimiters():
    message = ONE.translate(bytes.maketrans(b"|^~\\&", b"#!*%@"))
    error = Reject("odd", "because", "MSH")
    lines = acknowledge(message, "AR", control_id="C#3", at=NOW, error=error).split(b"\r")
    assert lines[0] == b"MSH#!*%@###A#B#20260301120000+0000##ACK!A01!ACK#C%F%3#P#2.5"
    assert lines[2] == b"ERR##MSH!1#207!Application internal error!HL70357#E###odd: because"


@given(st.binary() | STREAM, st.sampled_from(["AA", "AE", "AR", "CA"]))
def test_any_bytes_are_acknowledged(data, code):
    found = acknowledge(data, code, control_id="C", at=NOW, error=Reject("no-msh", "why"))
    assert found.startswith(b"MSH")
    assert decode(found, Registry()) == []


def test_bytes_that_are_no_message_are_refused_without_a_control_id():
    found = acknowledge(b"junk", "AE", control_id="C", at=NOW, error=Reject("no-msh", "why", "MSH"))
    assert found == (
        b"MSH|^~\\&|||||20260301120000+0000||ACK|C|P|2.5\rMSA|AE||no-msh: why\r"
        b"ERR||MSH^1|100^Segment sequence error^HL70357|E|||no-msh: why\r"
    )


def test_the_answer_to_a_long_message_needs_its_beginning_only():
    long = SENT + b"\rOBX|1|ED||" + b"z" * 100_000
    assert acknowledge(long, "AA", control_id="C", at=NOW) == acknowledge(SENT, "AA", control_id="C", at=NOW)
    assert header(b"MSH|^~\\&|" + b"z" * 100_000).source() == "z" * 4087
    assert (
        header(b"\xff\xfe" + (SENT.decode() + "\r" + "x" * 100_000).encode("utf-16-le")).source() == "APP/FAC"
    )


@given(st.binary() | STREAM, st.sampled_from(["AA", "AE", "CA"]))
def test_nothing_that_a_sender_writes_ends_the_frame_of_its_answer(data, code):
    data = b"MSH|^~\\&|A\x1c|B\x0b|||2026||ADT^A01|7\x1c|P|2.5\x1c|" + data
    assert END not in acknowledge(data, code, control_id="C", at=NOW)


def test_an_acknowledgement_can_be_read():
    error = Reject("no-patient", "no identifier | fill it", "PID", "PID-3")
    assert answered(acknowledge(SENT, "AE", control_id="C", at=NOW, error=error)) == Answered(
        "AE", "MSG", "no-patient: no identifier | fill it"
    )
    old = b"MSH|^~\\&|||||||ACK|1|P|2.3\rMSA|ar|7\rERR||||E||||try later"
    assert answered(old) == Answered("AR", "7", "try later")


@given(st.binary() | STREAM)
def test_bytes_that_are_no_acknowledgement_have_no_code(data):
    assert answered(data).code == ""


DATA = Path(__file__).parents[3] / "shared" / "data" / "hl7v2"


@pytest.mark.skipif(not DATA.is_dir(), reason=f"needs the public HL7 sets in {DATA}")
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("batch/single-batch.hl7", 2),
        ("batch/multi-batch-file.hl7", 3),
        ("batch/count-mismatch.hl7", 2),
        ("batch/malformed-mid-batch.hl7", 3),
        ("stream/large-batch.ndhl7", 12),
        ("stream/mixed-terminators.hl7", 2),
        ("vendor-quirks/mllp-framing-stripped.hl7", 1),
        ("malformed/empty-input.hl7", 0),
        ("malformed/no-msh-segment.hl7", 1),
    ],
)
def test_real_batches_and_streams(name, count):
    assert len(split((DATA / "cosyte-edge" / name).read_bytes())) == count
