"""`handoff decode`: files in, canonical events on stdout, rejects on stderr."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SHARED = Path(__file__).parents[3] / "shared/data"

EVENT = '{"id":"1","type":"admit","patient":"p","occurred_at":"2024-01-01T10:00:00+01:00","to":"icu","attributes":{"b":1,"a":true}}\n'
CANONICAL = (
    '{"attributes":{"a":true,"b":1},"id":"1","occurred_at":"2024-01-01T09:00:00.000000Z","patient":"p",'
    '"precision":"second","recorded_at":"2024-01-01T09:00:00.000000Z","source":"","to":"icu","type":"admit"}\n'
)
HL7 = (
    "MSH|^~\\&|HIS|H|||20240101100500+0100||ADT^A02|m1|P|2.5\r"
    "EVN||20240101100400+0100||||20240101100000+0100\r"
    "PID|1||p1^^^H^MR\r"
    "PV1|1|I|WARD^1^2||||||||||||||||v1\r"
)
MAPPING = "patient: case\ntype: activity\noccurred_at: time\ntimezone: Europe/Amsterdam\n"


def test_an_event_is_one_line_of_canonical_json(handoff, write):
    assert handoff("decode", write("a.jsonl", EVENT)) == (0, CANONICAL, "")


def test_a_reject_is_one_line_on_stderr_and_the_exit_code_is_1(handoff, write):
    name = write("a.jsonl", EVENT + "nonsense\n\n" + '{"id":"1"}\n' + EVENT)
    assert handoff("decode", name) == (
        1,
        CANONICAL * 2,
        (
            '{"file":"a.jsonl","message":2,"segment":null,"field":null,"reason":"not-json",'
            '"detail":"JSON is malformed: invalid character (byte 4)"}\n'
            '{"file":"a.jsonl","message":4,"segment":null,"field":null,"reason":"not-an-event",'
            '"detail":"Object missing required field `type`"}\n'
        ),
    )


def test_a_reject_names_the_field(handoff):
    line = EVENT.replace('"2024-01-01T10:00:00+01:00"', '"yesterday"').encode()
    [reject] = map(json.loads, handoff("decode", "-", stdin=line).err.splitlines())
    assert (reject["file"], reject["message"], reject["field"]) == ("-", 1, "occurred_at")


def test_what_is_decoded_decodes_to_itself(handoff):
    assert handoff("decode", "-", stdin=CANONICAL.encode()) == (0, CANONICAL, "")


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + EVENT.encode(),
        gzip.compress(EVENT.encode()),
        b"\n\n  " + EVENT.encode(),
        EVENT.rstrip("\n").encode(),
        EVENT.replace("\n", "\r\n").encode(),
        gzip.compress(EVENT[:40].encode()) + gzip.compress(EVENT[40:].encode()),
    ],
    ids=["byte order mark", "gzip", "blank lines", "no line end", "windows line end", "gzip in two members"],
)
@pytest.mark.parametrize("by_name", [True, False])
def test_json_lines_are_recognised_by_their_content(handoff, write, content, by_name):
    found = (
        handoff("decode", write("any.name", content)) if by_name else handoff("decode", "-", stdin=content)
    )
    assert found == (0, CANONICAL, "")


@pytest.mark.parametrize(
    "content",
    [
        HL7,
        HL7.replace("\r", "\n"),
        HL7.replace("\r", "\r\n"),
        "\x0b" + HL7 + "\x1c\r",
        "FHS|^~\\&|\rBHS|^~\\&|\r" + HL7 + "BTS|1\rFTS|1\r",
    ],
    ids=["standard", "unix", "windows", "MLLP", "batch"],
)
def test_hl7_is_recognised_in_any_framing(handoff, content):
    code, out, err = handoff("decode", "-", stdin=content.encode())
    event = json.loads(out)
    assert (code, err) == (0, "")
    assert (event["type"], event["patient"], event["encounter"], event["to"]) == (
        "transfer",
        "p1",
        "v1",
        "WARD^1^2",
    )
    assert event["occurred_at"] == "2024-01-01T09:00:00.000000Z"


def test_messages_of_a_file_are_numbered(handoff):
    no_patient = HL7.replace("PID|1||p1^^^H^MR\r", "PID|1||\r")
    code, out, err = handoff("decode", "-", stdin=(HL7 + no_patient + HL7.replace("m1", "m3")).encode())
    assert (code, len(out.splitlines())) == (1, 2)
    assert json.loads(err)["message"] == 2


def test_a_csv_needs_a_mapping(handoff, write):
    name = write("log.csv", "case;activity;time\nNA;triage;2024-10-27 02:30\nB;triage;never\n")
    assert handoff("decode", "--mapping", write("map.yaml", MAPPING), name) == (
        1,
        (
            '{"attributes":{},"id":"a365353133b62cb6d8ad5522","occurred_at":"2024-10-27T00:30:00.000000Z","patient":"NA",'
            '"precision":"minute","recorded_at":"2024-10-27T00:30:00.000000Z","source":"","type":"triage"}\n'
        ),
        (
            '{"file":"log.csv","message":3,"segment":null,"field":"time","reason":"bad-time",'
            '"detail":"not a time of the format `iso`"}\n'
        ),
    )
    code, out, err = handoff("decode", name)
    assert (code, out) == (1, "")
    assert "with --mapping, CSV" in json.loads(err)["detail"]


def test_a_csv_may_have_a_byte_order_mark_and_another_encoding(handoff, write):
    text = "case;activity;time\n1;Überführung;2024-01-01T10:00Z\n"
    for encoding, content in [("utf-8", text.encode("utf-8-sig")), ("latin-1", text.encode("latin-1"))]:
        mapping = write("map.yaml", MAPPING + f"encoding: {encoding}\n")
        assert (
            json.loads(handoff("decode", "--mapping", mapping, write("a.csv", content)).out)["type"]
            == "Überführung"
        )
    code, out, err = handoff(
        "decode", "--mapping", write("map.yaml", MAPPING), write("a.csv", text.encode("latin-1"))
    )
    assert (code, out, json.loads(err)["reason"]) == (1, "", "encoding")


def test_xes_needs_none(handoff):
    log = (
        '<?xml version="1.0"?><log><trace><string key="concept:name" value="A"/><event>'
        '<string key="concept:name" value="triage"/><date key="time:timestamp" value="2024-01-01T10:00:00Z"/>'
        "</event></trace></log>"
    )
    code, out, err = handoff("decode", "-", stdin=log.encode())
    assert (code, json.loads(out)["type"], err) == (0, "triage", "")


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"hello", "canonical JSON lines"),
        (b"[1, 2]", "canonical JSON lines"),
        (b"<html></html>", "canonical JSON lines"),
        (b"\x00\x01\x02", "canonical JSON lines"),
    ],
)
def test_what_is_not_recognised_is_a_reject_with_a_hint(handoff, content, hint):
    code, out, err = handoff("decode", "-", stdin=content)
    reject = json.loads(err)
    assert (code, out, reject["reason"]) == (1, "", "format-not-recognised")
    assert hint in reject["detail"]


def test_json_that_is_nested_too_deeply_is_a_reject(handoff):
    deep = b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}\n"
    code, out, err = handoff("decode", "-", stdin=deep + EVENT.encode())
    assert (code, out, json.loads(err)["reason"]) == (1, CANONICAL, "not-json")


def test_an_empty_file_has_no_events(handoff):
    assert handoff("decode", "-") == (0, "", "")


def test_a_broken_mapping_is_shown_with_its_place(handoff, write):
    mapping = write("map.yaml", "patient: case\noccured_at: time\n")
    assert handoff("decode", "--mapping", mapping, write("a.csv", "case\n1\n")) == (
        1,
        "",
        (
            "map.yaml:2:1: error[unknown-key]: unknown key `occured_at`\n"
            "  |\n"
            "2 | occured_at: time\n"
            "  | ^^^^^^^^^^\n"
            "  = hint: did you mean `occurred_at`?\n"
        ),
    )


def test_a_file_that_is_missing_ends_the_command_after_those_before_it(handoff, write):
    found = handoff("decode", write("a.jsonl", EVENT), "gone.jsonl", "a.jsonl")
    assert found == (
        3,
        CANONICAL,
        "handoff: cannot read gone.jsonl: No such file or directory; 1 more after it not read\n",
    )


def test_a_folder_is_no_file(handoff):
    assert handoff("decode", ".") == (3, "", "handoff: cannot read .: Is a directory\n")


@pytest.mark.parametrize("events", [3, 20_000])
def test_of_a_gzip_that_breaks_off_what_could_be_read_counts(handoff, write, events):
    lines = "".join(EVENT.replace('"id":"1"', f'"id":"{number}"') for number in range(events))
    whole = gzip.compress(lines.encode())
    code, out, err = handoff("decode", write("a.gz", whole[: -9 if events == 3 else len(whole) // 2]))
    assert code == 3
    assert err.startswith("handoff: cannot read a.gz: the gzip data is broken (Compressed file ended before")
    assert 3 <= len(out.splitlines()) <= events
    assert all(json.loads(line)["patient"] == "p" for line in out.splitlines())


def test_of_hl7_in_a_gzip_with_a_wrong_checksum_what_could_be_read_counts(handoff, write):
    whole = bytearray(gzip.compress(HL7.encode()))
    whole[-6] ^= 0xFF
    code, out, err = handoff("decode", write("a.gz", bytes(whole)))
    assert (code, len(out.splitlines())) == (3, 1)
    assert "a.gz" in err


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=150,
    deadline=None,
)
@given(
    st.binary(max_size=300)
    | st.builds(
        lambda text, at, junk: text.encode()[:at] + junk + text.encode()[at:],
        st.sampled_from(
            [
                EVENT * 3,
                HL7 * 2,
                "case,activity,time\n1,a,2024-01-01\n",
                gzip.compress(b"x").decode("latin-1"),
            ]
        ),
        st.integers(0, 500),
        st.binary(max_size=20),
    ),
    st.booleans(),
)
def test_any_bytes_are_events_or_rejects(handoff, write, content, mapped):
    options = ["--mapping", write("map.yaml", MAPPING)] if mapped else []
    code, out, err = handoff("decode", *options, "-", stdin=content)
    assert code in {0, 1} or (code == 3 and "cannot read -" in err)
    assert "internal" not in err
    for line in out.split("\n")[:-1]:
        json.loads(line)


@pytest.mark.skipif(not SHARED.exists(), reason="needs the public data in ../shared/data")
def test_no_public_message_file_breaks_it(handoff):
    files = [
        each for each in sorted((SHARED / "hl7v2").rglob("*")) if each.suffix in {".hl7", ".txt", ".out"}
    ]
    assert len(files) > 150
    code, out, err = handoff("decode", *files)
    assert (code, "internal" in err) == (1, False)
    assert len(out.splitlines()) > 400


def test_a_reader_that_has_seen_enough_ends_it_quietly(write, tmp_path):
    write("a.jsonl", EVENT * 20_000)
    command = [sys.executable, "-m", "monitor", "decode", "a.jsonl"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(120) == 0


def test_output_is_utf_8_whatever_the_locale(write, tmp_path):
    name = write("a.jsonl", EVENT.replace('"p"', '"Zoë"'))
    command = [sys.executable, "-m", "monitor", "decode", name]
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, env=environment)
    assert json.loads(found.stdout)["patient"] == "Zoë"


def test_two_events_on_a_line_are_a_reject_and_the_lines_around_them_are_events(handoff, write):
    two = EVENT.replace('"1"', '"2"').strip() + EVENT
    result = handoff("decode", write("log.jsonl", EVENT + two + "\n" + EVENT.replace('"1"', '"4"').strip()))
    assert [json.loads(line)["id"] for line in result.out.splitlines()] == ["1", "4"]
    assert json.loads(result.err)["message"] == 2


def test_a_line_longer_than_what_is_read_at_once_is_one_event(handoff, write):
    long = EVENT.replace("icu", "y" * 200_000)
    result = handoff("decode", write("log.jsonl", long + EVENT.replace('"1"', '"2"')))
    assert [json.loads(line)["id"] for line in result.out.splitlines()] == ["1", "2"]
