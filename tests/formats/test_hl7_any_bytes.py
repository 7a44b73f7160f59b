"""Whatever a feed sends is events, ignored, or a reject: never an exception, and the same every time."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from monitor.core.event import canonical_bytes
from monitor.core.place import Registry
from monitor.formats.hl7 import MOVES, decode
from monitor.formats.hl7_message import parse_time
from monitor.formats.mllp import messages
from monitor.formats.reject import Reject

STANDARD = Registry()
PROFILED = Registry.model_validate(
    {
        "timezone": "Europe/London",
        "sources": {
            "A/B": {
                "patient_id": {"authority": "H", "type": "MR"},
                "update_moves": "true",
                "a12_restored": "PV1-6",
                "test_patients": ["T*"],
                "classes": {"I": "inpatient"},
            }
        },
    }
)
TRIGGERS = [
    *MOVES,
    *[
        "A17",
        "A18",
        "A20",
        "A23",
        "A24",
        "A29",
        "A30",
        "A34",
        "A35",
        "A36",
        "A37",
        "A39",
        "A40",
        "A41",
        "A42",
        "A43",
        "A44",
        "A45",
        "A47",
        "A49",
        "A50",
        "A51",
        "A99",
        "Z99",
    ],
]
TIMES = st.sampled_from(
    [
        "",
        '""',
        "2026",
        "202603290130",
        "20261025013000",
        "20260301120000+9900",
        "20260301+0215",
        "x",
        "99999999",
    ]
) | st.text("0123456789+-.TZ: ", max_size=26)
VALUES = st.sampled_from(
    ["", '""', "1", "P^^^H^MR", "A~B", "ED^1^2^H", "I", "Y", "\\F\\", "\\X4\\", "T"]
) | st.text('AB1^~&\\"| é\r\n\x0b\x1c', max_size=8)


def line(name: str, fields: list[str]) -> str:
    return "|".join((name, *fields))


SEGMENTS = st.builds(
    line,
    st.sampled_from(["EVN", "PID", "pid", "MRG", "PV1", "PV2", "ZBE", "ZZZ", "BTS", "MSH", ""]),
    st.lists(VALUES | TIMES, max_size=50),
)


@st.composite
def plausible_messages(draw: st.DrawFn) -> bytes:
    end = draw(st.sampled_from(["\r", "\n", "\r\n", "\r\r\n"]))
    encoding = draw(st.sampled_from(["^~\\&", "^~", "", "^~\\\\&", "^^^^", "|"]))
    kind = draw(st.sampled_from([f"ADT^{each}" for each in TRIGGERS]) | VALUES)
    head = f"MSH|{encoding}|A|B|||{draw(TIMES)}||{kind}|{draw(VALUES)}|{draw(VALUES)}|2.5||||||{draw(VALUES)}"
    common = [
        f"EVN||{draw(TIMES)}||||{draw(TIMES)}",
        f"PID|||{draw(VALUES)}" + "|" * 15 + draw(VALUES),
        f"MRG|{draw(VALUES)}||{draw(VALUES)}||{draw(VALUES)}",
        f"PV1||I|{draw(VALUES)}|||{draw(VALUES)}" + "|" * 13 + draw(VALUES),
        f"ZBE|{draw(VALUES)}|{draw(TIMES)}||{draw(st.sampled_from(['INSERT', 'UPDATE', 'CANCEL', 'REFERENCE', '']))}||A02",
    ]
    kept = draw(st.lists(st.sampled_from(common), max_size=6))
    text = end.join([head, *kept, *draw(st.lists(SEGMENTS, max_size=4))])
    return text.encode(draw(st.sampled_from(["utf-8", "latin-1", "utf-16"])))


def check(data: bytes, registry: Registry) -> None:
    found = decode(data, registry)
    if isinstance(found, Reject):
        assert found.reason
        assert found.detail
        return
    assert len({each.id for each in found}) == len(found)
    again = decode(data, registry)
    assert isinstance(again, list)
    assert [canonical_bytes(each) for each in found] == [canonical_bytes(each) for each in again]


@given(st.binary(), st.sampled_from([STANDARD, PROFILED]))
def test_any_bytes(data, registry):
    check(data, registry)
    check(b"MSH|^~\\&|A|B|||2026||ADT^A01|1|P|2.5\r" + data, registry)


@given(plausible_messages(), st.sampled_from([STANDARD, PROFILED]))
def test_messages_that_look_real(data, registry):
    check(data, registry)
    for each in messages(data):
        check(each, registry)


@given(plausible_messages(), st.data())
def test_messages_with_bytes_changed(message, data):
    place = data.draw(st.integers(0, len(message) - 1))
    check(message[:place] + data.draw(st.binary(max_size=3)) + message[place + 1 :], PROFILED)
    check(message[:place], STANDARD)


@given(st.binary() | plausible_messages())
def test_no_byte_of_a_file_is_lost(data):
    """All that is not blank, frame bytes or a batch wrapper comes out, as a message or beside one."""
    pieces = list(messages(data))
    assert all(pieces)
    if b"\xff\xfe" in data[:3] or b"\xfe\xff" in data[:3] or b"\0" in data:
        return
    letters = set(string.ascii_letters.encode())
    wrapped = any(each in data for each in (b"FHS", b"BHS", b"BTS", b"FTS"))
    told = [each for each in b"".join(pieces) if each in letters]
    sent = [each for each in data if each in letters]
    assert told == sent or wrapped


@given(st.text(max_size=30) | TIMES)
def test_any_text_is_a_time_or_not(text):
    found = parse_time(text, STANDARD.timezone)
    assert found is None or found.at.tzinfo is not None
