"""The log: what is harmless is told, in one form; what may hold a patient never is, whoever says it."""

import ast
import asyncio
import gc
import io
import json
import logging
import re
import threading
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from monitor.log import FIELDS, Refused, count_dropped, get_logger, logged_to

PRODUCT = Path(__file__).parents[2] / "monitor"
SECRET = "MRN-4711 SMITH^JOHN"
log = get_logger("tests")


@pytest.fixture
def stream():
    return io.StringIO()


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_time_level_and_event_first(stream):
    with logged_to(stream):
        log.info(
            "rules_reloaded", rules=12, since=datetime(2026, 3, 2, tzinfo=UTC), seconds=timedelta(seconds=2)
        )
    (line,) = lines(stream)
    assert list(line) == ["time", "level", "event", "logger", "rules", "since", "seconds"]
    assert datetime.fromisoformat(line.pop("time")).tzinfo == UTC
    assert line == {
        "level": "info",
        "event": "rules_reloaded",
        "logger": "tests",
        "rules": 12,
        "since": "2026-03-02T00:00:00+00:00",
        "seconds": 2.0,
    }


def test_what_is_less_grave_than_asked_for_is_not_told(stream):
    with logged_to(stream, level="warning"):
        log.info("message_taken")
        log.warning("sink_failed")
    assert [line["event"] for line in lines(stream)] == ["sink_failed"]


def test_a_field_that_nobody_listed_is_left_out_and_counted(stream):
    dropped = []
    with logged_to(stream):
        count_dropped(lambda: dropped.append(1))
        log.info("message_taken", patient=SECRET, text=SECRET, source="PAS/RGH")
    assert SECRET not in stream.getvalue()
    assert lines(stream)[0]["source"] == "PAS/RGH"
    assert len(dropped) == 2


def test_the_name_of_an_event_cannot_carry_anything(stream):
    with logged_to(stream):
        log.info(f"took {SECRET}")  # noqa: G004 - what a careless line would do
        log.info("took %s", SECRET)
    assert [line["event"] for line in lines(stream)] == ["event_withheld"] * 2
    assert SECRET not in stream.getvalue()


@pytest.mark.parametrize("fields", [{"patient": SECRET}, {"why": object()}, {"text": "of no alert"}])
def test_in_tests_it_is_an_error(stream, fields):
    with logged_to(stream, is_strict=True), pytest.raises(Refused):
        log.info("message_taken", **fields)


def test_an_alert_is_told_with_its_text_and_level(stream):
    with logged_to(stream, is_strict=True):
        log.info("alert_told", level=2, text="boarding in ED", rule="boarding")
    assert lines(stream)[0] | {"time": ""} == {
        "time": "",
        "level": "info",
        "event": "alert_told",
        "logger": "tests",
        "alert_level": 2,
        "text": "boarding in ED",
        "rule": "boarding",
    }


def test_of_an_exception_only_the_kind_and_the_place_are_told(stream):
    with logged_to(stream, is_strict=True):
        try:
            int(SECRET)
        except ValueError:
            log.exception("message_failed")
    (line,) = lines(stream)
    assert (line["level"], line["error"]) == ("error", "ValueError")
    assert re.fullmatch(r"test_log\.py:\d+", line["trace"][-1])
    assert SECRET not in stream.getvalue()


def test_the_systems_own_word_for_an_error_is_told(stream):
    with logged_to(stream):
        try:
            Path("/nowhere/at/all").read_bytes()
        except OSError as error:
            log.warning("file_unreadable", exc_info=error)
    assert lines(stream)[0]["why"] == "No such file or directory"


def test_texts_are_cut_and_stay_on_one_line(stream):
    with logged_to(stream):
        log.info("sink_failed", why="x\n" * 2000)
    (line,) = lines(stream)
    assert len(line["why"]) == 503


def test_libraries_are_told_by_name_and_place_alone(stream):
    with logged_to(stream):
        logging.getLogger("httpx").info("HTTP Request: POST https://hooks.example/%s", SECRET)
        logging.getLogger("apprise.plugins").warning(f"Failed to send {SECRET}")  # noqa: G004 - as libraries do
        logging.getLogger("kafka.conn").error("body %s", SECRET)
    assert [(line["library"], line["level"]) for line in lines(stream)] == [
        ("apprise.plugins", "warning"),
        ("kafka.conn", "error"),
    ]
    assert all(re.fullmatch(r"test_log\.py:\d+", line["where"]) for line in lines(stream))
    assert SECRET not in stream.getvalue()


def test_the_web_server_is_told_without_what_it_fills_in(stream):
    with logged_to(stream):
        logging.getLogger("uvicorn.error").warning("Invalid HTTP request received from %s", SECRET)
        logging.getLogger("uvicorn.error").error(OSError(98, "address already in use"))
        logging.getLogger("uvicorn.access").critical("GET /api/journeys?%s", SECRET)
    first, second = lines(stream)
    assert first["what"] == "Invalid HTTP request received from %s"
    assert second["why"] == "address already in use"
    assert SECRET not in stream.getvalue()


def test_a_request_that_fails_does_not_tell_its_address(stream):
    async def call():
        async with httpx.AsyncClient() as client:
            await client.post("http://127.0.0.1:9/token-4711", content=SECRET)

    with logged_to(stream, level="debug"):
        try:
            asyncio.run(call())
        except httpx.HTTPError:
            log.exception("sink_failed", sink="teams")
    assert "4711" not in stream.getvalue()
    assert lines(stream)[-1]["error"] == "ConnectError"


def test_a_task_that_nobody_asked_about_is_told_without_its_text(stream):
    async def fail():
        raise ValueError(SECRET)

    async def forget():
        task = asyncio.create_task(fail())
        await asyncio.sleep(0)
        del task
        gc.collect()

    with logged_to(stream):
        asyncio.run(forget())
    (line,) = lines(stream)
    assert (line["library"], line["error"]) == ("asyncio", "ValueError")
    assert SECRET not in stream.getvalue()


def test_a_thread_that_fails_is_told_without_its_text(stream):
    def fail():
        raise ValueError(SECRET)

    with logged_to(stream):
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    assert [(line["event"], line["error"]) for line in lines(stream)] == [("thread_failed", "ValueError")]
    assert SECRET not in stream.getvalue()


def test_warnings_of_python_are_told_without_their_text(stream):
    with logged_to(stream), warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(SECRET, stacklevel=1)
    assert [line["library"] for line in lines(stream)] == ["py.warnings"]
    assert SECRET not in stream.getvalue()


def test_afterwards_all_is_as_before(stream):
    root = logging.getLogger()
    before = (root.handlers, root.level, threading.excepthook, warnings.showwarning)
    with logged_to(stream):
        assert root.handlers != before[0]
    assert (root.handlers, root.level, threading.excepthook, warnings.showwarning) == before


def test_a_stream_that_is_gone_stops_nothing():
    stream = io.StringIO()
    with logged_to(stream):
        stream.close()
        log.info("message_taken")


def test_on_a_terminal_lines_are_for_people(stream):
    stream.isatty = lambda: True
    with logged_to(stream):
        log.warning("sink_failed", sink="mail")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    assert re.search(r"warning.*sink_failed.*sink=mail", plain)
    assert not plain.startswith("{")


def test_before_anything_is_set_up_nothing_leaks_to_stdout(capsys):
    log.info("message_taken", count=1, patient=SECRET)
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["count"] == 1
    assert SECRET not in err


def calls():
    """Every call of a logger in the product: file and line, the name of the event if it is a plain text, its fields."""
    for path in sorted(PRODUCT.rglob("*.py")):
        if path == PRODUCT / "log.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if re.search(r"(^|[._])log(\.(debug|info|warning|error|exception|critical))?$", called):
                event = node.args[0].value if isinstance(node.args[0], ast.Constant) else None
                yield f"{path.name}:{node.lineno}", event, [each.arg for each in node.keywords]


def test_what_the_product_logs_is_listed():
    listed = FIELDS | {"exc_info"}
    for where, event, fields in calls():
        assert event is None or re.fullmatch(r"[a-z]+(_[a-z0-9]+)+", event), f"{where}: {event}"
        allowed = listed | ({"text"} if event == "alert_told" else set())
        assert set(fields) <= allowed, f"{where}: {set(fields) - allowed} not in FIELDS of monitor/log.py"
    assert list(calls())
