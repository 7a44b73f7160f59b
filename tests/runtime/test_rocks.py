"""The cells of a partition on disk: what the brokers have lasts, what they do not have yet does not."""

import warnings
from datetime import UTC, datetime, timedelta

import pytest

from monitor.ingest.brokers import Trouble

with warnings.catch_warnings():
    # kafka-python reads its protocol by functions of the standard library that Python 3.11 and 3.12 call deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    from monitor.runtime.rocks import FRESH_FOR, DiskTable

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def opened(tmp_path, clock):
    """Opens the table again and again; closed at the end."""
    tables = []

    def again(close=True):
        if tables and close:
            tables[-1].close()
        tables.append(DiskTable(tmp_path / "journeys" / "3", clock))
        return tables[-1]

    yield again
    for each in tables:
        each.close()


def test_what_the_changelog_has_is_there_again_with_how_far_it_was_read(opened):
    table = opened()
    table.keep({b"pann": b"1", b"pbob": b"2"}, 5)
    table.keep({b"pbob": None, b"pcat": b"3"}, 9)
    again = opened()
    assert dict(again.cells) == {b"pann": b"1", b"pcat": b"3"}
    assert len(again.cells) == 2
    assert again.next == 9
    with pytest.raises(KeyError):
        again.cells[b"pbob"]


def test_what_a_partition_writes_is_seen_at_once_but_does_not_last_before_the_brokers_have_it(opened):
    table = opened()
    table.keep({b"pann": b"1", b"pbob": b"2", b"pcat": b"3"}, 3)
    table.cells[b"pann"] = b"1 new"
    del table.cells[b"pbob"]
    table.cells[b"pdan"] = b"4"
    assert dict(table.cells) == {b"pann": b"1 new", b"pcat": b"3", b"pdan": b"4"}
    assert b"pbob" not in table.cells
    assert dict(opened().cells) == {b"pann": b"1", b"pbob": b"2", b"pcat": b"3"}


def test_what_was_written_meanwhile_lies_over_what_the_brokers_have_by_now(opened):
    table = opened()
    first, second = b"1", b"2"
    table.cells[b"pann"] = first
    table.cells[b"pbob"] = b"gone"
    del table.cells[b"pbob"]
    table.cells[b"pann"] = second
    table.written({b"pann": first, b"pbob": None}, 7)
    assert dict(table.cells) == {b"pann": second}
    again = opened()
    assert dict(again.cells) == {b"pann": first}
    assert again.next == 7


def test_a_copy_that_nobody_looked_after_for_too_long_is_not_used(opened, clock):
    table = opened()
    table.keep({b"pann": b"1"}, 5)
    clock.now += FRESH_FOR
    table.close()  # until now nobody else could have changed anything
    clock.now += FRESH_FOR - timedelta(seconds=1)
    table = opened()
    assert dict(table.cells) == {b"pann": b"1"}
    table.close()
    clock.now += FRESH_FOR
    table = opened()
    assert dict(table.cells) == {}
    assert table.next == 0


def test_a_directory_is_for_one_worker(opened):
    opened()
    with pytest.raises(Trouble, match="in use by another worker"):
        opened(close=False)


def test_what_cannot_be_read_is_begun_anew(opened, tmp_path):
    opened().keep({b"pann": b"1"}, 5)
    opened().close()
    for file in (tmp_path / "journeys" / "3").glob("MANIFEST*"):
        file.write_bytes(b"nonsense")
    table = opened()
    assert dict(table.cells) == {}
    assert table.next == 0


def test_a_table_that_was_closed_is_empty_and_keeps_nothing(opened):
    table = opened()
    table.keep({b"pann": b"1"}, 5)
    table.close()
    table.keep({b"pbob": b"2"}, 6)
    table.cells[b"pcat"] = b"3"
    assert b"pann" not in table.cells
    assert dict(opened().cells) == {b"pann": b"1"}


def test_another_topic_begins_with_nothing(opened):
    table = opened()
    table.keep({b"pann": b"1"}, 5)
    table.cells[b"pbob"] = b"2"
    table.clear()
    assert dict(table.cells) == {}
    assert table.next == 0
    assert dict(opened().cells) == {}
