"""Event logs as tables: rows to events, rejects for rows that cannot be used, and the same ids on every reading."""

import gzip
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from monitor.core.event import Event
from monitor.formats.reject import Reject
from monitor.formats.table import Mapping, read_csv, read_xes

SEPSIS = Path(__file__).parents[3] / "shared/data/sepsis/sepsis.csv.gz"
PLAIN = {"patient": "case", "type": "activity", "occurred_at": "time"}


def rows(text, *, zone="UTC", **mapping):
    found = read_csv(text.splitlines(keepends=True), Mapping.model_validate(PLAIN | mapping), ZoneInfo(zone))
    return [each for _, each in found]


def row(text, **options):
    [only] = rows(text, **options)
    return only


def xes(body, *, chunk=7, **mapping):
    document = f'<?xml version="1.0"?><log xmlns="http://www.xes-standard.org/">{body}</log>'.encode()
    chunks = [document[at : at + chunk] for at in range(0, len(document), chunk)]
    return [each for _, each in read_xes(chunks, Mapping.model_validate(mapping), ZoneInfo("UTC"))]


def test_each_row_is_an_event_with_its_columns_as_mapped():
    found = row(
        "case,activity,time,told,visit,ward from,ward to,his\n"
        "1,Move,2024-01-01T10:00:00+01:00,2024-01-01T10:05:00+01:00,v1,ICU,A1,hospital\n",
        types={"Move": "transfer"},
        recorded_at="told",
        encounter="visit",
        source="his",
        **{"from": "ward from", "to": "ward to"},
    )
    assert (found.patient, found.type, found.encounter, found.source) == ("1", "transfer", "v1", "hospital")
    assert (found.from_, found.to) == ("ICU", "A1")
    assert found.occurred_at == datetime(2024, 1, 1, 9, tzinfo=UTC)
    assert found.recorded_at == datetime(2024, 1, 1, 9, 5, tzinfo=UTC)


def test_an_activity_may_tell_type_and_place():
    found = row(
        "case,activity,time\n1,Admission IC,2024-01-01T10:00Z\n",
        types={"Admission IC": {"type": "transfer", "to": "icu"}},
    )
    assert (found.type, found.to) == ("transfer", "icu")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found_in_the_header(separator):
    text = "case,activity,time\n1,a,2024-01-01T10:00Z\n".replace(",", separator)
    assert isinstance(row(text), Event)


def test_a_separator_in_quotes_is_part_of_the_cell():
    assert row('case;activity;time;"a,b,c,d,e"\n1;"x;y";2024-01-01T10:00Z;\n').type == "x;y"


def test_a_quoted_cell_may_hold_a_line_end():
    assert row('case,activity,time\n1,"a\nb",2024-01-01T10:00Z\n').type == "a\nb"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-07-01 12:00:00", "2024-07-01T10:00:00+00:00"),
        ("2024-10-27 02:30:00", "2024-10-27T00:30:00+00:00"),  # occurs twice: the first
        ("2024-03-31 02:30:00", "2024-03-31T01:30:00+00:00"),  # never occurs: moved on, to 03:30
        ("2024-07-01 12:00:00-04:00", "2024-07-01T16:00:00+00:00"),
    ],
)
def test_local_times_are_read_in_the_zone_of_the_mapping(text, expected):
    found = row(f"case,activity,time\n1,a,{text}\n", timezone="Europe/Amsterdam")
    assert found.occurred_at.isoformat() == expected


def test_the_zone_of_a_column_stands_before_that_of_the_mapping_and_that_before_the_default():
    text = "case,activity,time\n1,a,2024-07-01 12:00:00\n"
    column = {"column": "time", "timezone": "Asia/Tokyo"}
    assert row(text, occurred_at=column, timezone="Europe/Paris").occurred_at.hour == 3
    assert row(text, timezone="Europe/Paris", zone="Asia/Tokyo").occurred_at.hour == 10
    assert row(text, zone="Asia/Tokyo").occurred_at.hour == 3


@pytest.mark.parametrize(
    ("form", "text", "precision"),
    [
        ("iso", "2024-07-01T12:00:00.5", "second"),
        ("iso", "2024-07-01 12:00", "minute"),
        ("iso", "2024-07-01T12", "hour"),
        ("iso", "2024-07-01", "day"),
        ("iso", "20240701T1200", "minute"),
        ("iso", "2024-07-01T12:00+02:00", "minute"),
        ("%d/%m/%Y %H:%M", "01/07/2024 12:00", "minute"),
        ("%d.%m.%Y", "01.07.2024", "day"),
        ("%d.%m.%Y %H", "01.07.2024 12", "hour"),
        ("%Y/%m/%d %H:%M:%S.%f", "2024/07/01 12:00:00.000", "second"),
        ("epoch", "1719828000.5", "second"),
    ],
)
def test_precision_is_what_was_written(form, text, precision):
    found = row(f"case,activity,time\n1,a,{text}\n", occurred_at={"column": "time", "format": form})
    assert found.precision == precision


def test_precision_may_be_stated():
    column = {"column": "time", "precision": "minute"}
    assert row("case,activity,time\n1,a,2024-07-01T12:00:00\n", occurred_at=column).precision == "minute"


def test_a_date_and_a_time_of_day_may_be_two_columns():
    column = {"column": ["day", "time"], "format": "%d.%m.%Y %H:%M"}
    found = row("case,activity,day,time\n1,a,01.07.2024,12:30\n", occurred_at=column)
    assert found.occurred_at == datetime(2024, 7, 1, 12, 30, tzinfo=UTC)


def test_attributes_are_typed_as_the_mapping_says():
    found = row(
        'case;activity;time;crp;age;icu;note\n1;a;2024-01-01T10:00Z;"2,5";85;TRUE;x\n',
        attributes=[
            "note",
            {"column": "crp", "type": "number"},
            {"column": "age", "name": "years", "type": "number"},
            {"column": "icu", "type": "boolean"},
        ],
        decimal=",",
    )
    assert found.attributes == {"note": "x", "crp": 2.5, "years": 85, "icu": True}


def test_all_means_each_column_that_is_named_nowhere_else_and_has_a_value():
    found = row("case,activity,time,a,b,c\n1,x,2024-01-01T10:00Z,1,,3\n", attributes="all")
    assert found.attributes == {"a": "1", "c": "3"}


def test_constants_are_fields_or_attributes_of_every_row():
    found = row(
        "case,activity,time,where\n1,a,2024-01-01T10:00Z,\n",
        to="where",
        constants={"source": "log", "to": "ward", "class": "E"},
    )
    assert (found.source, found.to, found.attributes) == ("log", "ward", {"class": "E"})


def test_the_same_row_has_the_same_id_on_every_reading_and_equal_rows_have_ids_of_their_own():
    text = "case,activity,time\n1,a,2024-01-01T10:00Z\n1,a,2024-01-01T10:00Z\n2,a,2024-01-01T10:00Z\n"
    first, again = rows(text), rows(text)
    assert first == again
    assert len({event.id for event in first}) == 3
    turned_round = rows(text.splitlines()[0] + "\n" + "\n".join(reversed(text.splitlines()[1:])) + "\n")
    assert {event.id for event in turned_round} == {event.id for event in first}


@pytest.mark.parametrize(
    ("text", "options", "reject"),
    [
        ("case,activity,time\n,a,2024-01-01T10:00Z\n", {}, ("missing-value", "case")),
        ("case,activity,time\n1,,2024-01-01T10:00Z\n", {}, ("missing-value", "activity")),
        ("case,activity,time\n1,a,\n", {}, ("missing-value", "time")),
        ("case,activity,time\n1,a\n", {}, ("missing-value", "time")),
        ("case,activity,time\n1,a,yesterday\n", {}, ("bad-time", "time")),
        ("case,activity,time\n1,a,0001-01-01T00:00Z\n", {}, ("not-an-event", None)),
        ("case,activity,time\n1,a,2024-01-01T10:00Z,more\n", {}, ("too-many-cells", None)),
        ("case,what,time\n1,a,2024-01-01T10:00Z\n", {}, ("missing-column", "activity")),
        ("case,activity,time,time\n1,a,2024-01-01T10:00Z,\n", {}, ("ambiguous-column", "time")),
        (
            "case,activity,time,crp\n1,a,2024-01-01T10:00Z,>100\n",
            {"attributes": [{"column": "crp", "type": "number"}]},
            ("bad-number", "crp"),
        ),
        (
            "case,activity,time,icu\n1,a,2024-01-01T10:00Z,maybe\n",
            {"attributes": [{"column": "icu", "type": "boolean"}]},
            ("bad-boolean", "icu"),
        ),
        ("case,activity,time,no\n1,a,2024-01-01T10:00Z,\n", {"id": "no"}, ("missing-value", "no")),
        ("case,activity,time\n1,\udcff,2024-01-01T10:00Z\n", {}, ("encoding", None)),
    ],
)
def test_a_row_that_cannot_be_used_is_a_reject_that_names_the_column(text, options, reject):
    found = row(text, **options)
    assert isinstance(found, Reject)
    assert (found.reason, found.field) == reject


def test_rows_are_numbered_as_in_a_spreadsheet_and_a_bad_one_stops_nothing():
    text = "case,activity,time\n1,a,2024-01-01T10:00Z\n\n1,a,never\n1,b,2024-01-01T10:00Z\n"
    found = list(read_csv(text.splitlines(keepends=True), Mapping.model_validate(PLAIN), UTC))
    assert [(number, type(each)) for number, each in found] == [(2, Event), (4, Reject), (5, Event)]


def test_a_mapping_names_what_it_does_not_know():
    with pytest.raises(ValidationError, match="patientt"):
        Mapping.model_validate({"patientt": "case"})


@given(st.lists(st.text(max_size=40), max_size=6), st.sampled_from([None, ",", ";"]))
def test_any_lines_are_events_or_rejects(lines, separator):
    mapping = Mapping.model_validate(PLAIN | {"separator": separator, "attributes": "all"})
    for header in ([], ["case,activity,time\n"]):
        for _, found in read_csv([*header, *lines], mapping, UTC):
            assert isinstance(found, Event | Reject)


TRACE = """
<string key="source" value="the log's own attributes are not an event's"/>
<trace>
  <event>
    <string key="concept:name" value="ER Triage"/>
    <date key="time:timestamp" value="2014-10-22T11:15:41.000+02:00"/>
    <float key="CRP" value="21.5"><string key="nested" value="x"/></float>
    <boolean key="Infusion" value="true"/>
  </event>
  <string key="concept:name" value="A"/>
</trace>
"""


@pytest.mark.parametrize("chunk", [1, 7, 100_000])
def test_xes_needs_no_mapping_for_its_standard_keys(chunk):
    [found] = xes(TRACE, attributes="all", chunk=chunk)
    assert (found.patient, found.type) == ("A", "ER Triage")
    assert found.occurred_at == datetime(2014, 10, 22, 9, 15, 41, tzinfo=UTC)
    assert found.attributes == {"CRP": 21.5, "Infusion": True}


def test_an_xes_event_without_a_time_is_a_reject():
    [found] = xes('<trace><event><string key="concept:name" value="a"/></event></trace>')
    assert (found.reason, found.field) == ("missing-value", "time:timestamp")


def test_xml_with_a_document_type_is_refused_before_any_entity_grows():
    bomb = b'<!DOCTYPE log [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><log>&b;</log>'
    assert [each.reason for _, each in read_xes([bomb], Mapping(), UTC)] == ["document-type"]


def test_traces_before_broken_xml_stand():
    found = xes(TRACE + "<trace></event>")
    assert [type(each) for each in found] == [Event, Reject]
    assert found[1].reason == "not-xml"


@given(st.binary(max_size=200))
def test_any_bytes_as_xes_are_events_or_rejects(data):
    for _, found in read_xes([data] if data else [], Mapping(), UTC):
        assert isinstance(found, Event | Reject)


@pytest.mark.skipif(not SEPSIS.exists(), reason="needs the public sepsis log in ../shared/data")
def test_the_sepsis_log_is_read_whole():
    mapping = Mapping.model_validate(
        {
            "patient": "Case ID",
            "type": "Activity",
            "occurred_at": {"column": "Complete Timestamp", "format": "%Y/%m/%d %H:%M:%S.%f"},
            "timezone": "Europe/Amsterdam",
            "attributes": ["*", {"column": "CRP", "type": "number"}],
        }
    )
    with gzip.open(SEPSIS, "rt", encoding="utf-8", newline="") as lines:
        found = [each for _, each in read_csv(lines, mapping, UTC)]
    assert len(found) == 15_214
    assert all(isinstance(each, Event) for each in found)
    assert len({each.id for each in found}) == 15_214
    assert len({each.patient for each in found}) == 1_050
    assert sum(each.patient == "NA" for each in found) == 24
    first = found[0]
    assert (first.type, first.occurred_at) == (
        "ER Registration",
        datetime(2014, 10, 22, 9, 15, 41, tzinfo=UTC),
    )
