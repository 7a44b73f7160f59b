"""What happens when the disk, the file or the process fails: an error for people, nothing half-written, and it goes on after."""

import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from storing import START, at, case, fact, kept, notice

from monitor.runtime.batch import Batch
from monitor.runtime.database import FILE, StoreError
from monitor.runtime.reader import Reader
from monitor.runtime.schema import MIGRATIONS
from monitor.runtime.store import Store

SECRET = "SMITH^JANE"


def large(number, patient="7001"):
    """A batch that needs more than a megabyte."""
    facts = [fact(number * 1_000 + each, patient, attributes={"note": "x" * 1_000}) for each in range(1_000)]
    return Batch(clock=at(number), facts=facts, notices=[notice(f"a{number}")])


def numbers(store):
    return [int(event.id.removeprefix("m-")) for event in store.events()]


def refused(folder):
    with pytest.raises(StoreError) as caught:
        Store.open(folder)
    return caught.value


@contextmanager
def files_no_larger_than(size):
    """As a full disk or a quota: the system refuses to let any file of this process grow beyond it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def as_a_user_without_rights():
    """Root may write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


# Writing fails


def test_when_a_file_may_not_grow_the_batch_is_refused_whole_and_taken_later(store):
    store.write(Batch(clock=at(0), facts=[fact(1)]))
    before = store.clock()
    with files_no_larger_than(300_000):
        for _ in range(3):
            with pytest.raises(StoreError, match=r"cannot write to .*the disk") as caught:
                store.write(large(1))
            assert caught.value.kind in ("full", "disk")
            assert numbers(store) == [1]
        assert store.clock() == before
        store.write(Batch(clock=at(1), facts=[fact(2)]))
    store.write(large(1))
    assert numbers(store) == [1, 2, *range(1_000, 2_000)]
    assert [each.alert for each in store.alerts_known()] == ["a1"]


def test_a_full_database_says_that_the_disk_is_full_and_goes_on_when_there_is_room(store):
    store.write(Batch(clock=at(0), facts=[fact(1)]))
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages + 20}")
    with pytest.raises(StoreError, match="the disk is full; free some space") as caught:
        store.write(large(1))
    assert caught.value.kind == "full"
    assert numbers(store) == [1]
    store._connection.execute(f"PRAGMA max_page_count = {pages + 100_000}")
    store.write(large(1))
    assert len(numbers(store)) == 1_001


def test_a_batch_that_cannot_be_written_leaves_nothing_behind(store):
    store.write(Batch(clock=at(0), facts=[fact(1)]))
    with pytest.raises(ValueError, match="arrived_at"):
        store.write(Batch(clock=at(5), facts=[fact(2, "7002"), fact(3, arrived_at=None)], verdicts=[case(1)]))
    assert numbers(store) == [1]
    assert store.hot() == ["7001"]
    assert store.clock() == at(0)
    store.write(Batch(clock=at(5), facts=[fact(2, "7002")]))
    assert numbers(store) == [1, 2]
    assert store.hot() == ["7001", "7002"]


def test_while_another_program_holds_the_database_nothing_is_written_and_then_all(store):
    store.write(Batch(clock=at(0), facts=[fact(1)]))
    store._connection.execute("PRAGMA busy_timeout = 20")
    other = sqlite3.connect(store.folder / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="another program holds it locked") as caught:
        store.write(Batch(clock=at(1), facts=[fact(2)]))
    assert caught.value.kind == "locked"
    other.execute("ROLLBACK")
    other.close()
    store.write(Batch(clock=at(1), facts=[fact(2)]))
    assert numbers(store) == [1, 2]


@pytest.mark.parametrize("instead", ["another file", "nothing"])
def test_when_the_file_is_taken_away_nothing_more_is_acknowledged(folder, instead):
    store = Store.open(folder)
    store.write(Batch(clock=at(0), facts=[fact(1)]))
    (folder / FILE).rename(folder / "elsewhere")
    if instead == "another file":
        (folder / FILE).write_bytes(b"")
    with pytest.raises(StoreError, match=FILE) as caught:
        store.write(Batch(clock=at(1), facts=[fact(2)]))
    assert caught.value.kind == "gone"
    (folder / "elsewhere").replace(folder / FILE)
    store.write(Batch(clock=at(1), facts=[fact(2)]))
    assert numbers(store) == [1, 2]
    store.close()


# Opening fails


@pytest.mark.parametrize("content", [b"no database " * 500, b"SQLite format 3\0" + b"\xff" * 4_000])
def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(folder, content):
    folder.mkdir()
    (folder / FILE).write_bytes(content)
    error = refused(folder)
    assert error.kind == "not-a-database"
    assert str(folder / FILE) in str(error)
    assert "last backup" in str(error)
    assert (folder / FILE).read_bytes() == content
    (folder / FILE).unlink()
    Store.open(folder).close()


def test_a_database_of_another_program_is_refused_and_left_as_it_is(folder):
    folder.mkdir()
    other = sqlite3.connect(folder / FILE)
    other.execute("CREATE TABLE bookmarks (url)")
    other.commit()
    other.close()
    before = (folder / FILE).read_bytes()
    assert refused(folder).kind == "not-a-database"
    assert (folder / FILE).read_bytes() == before


def test_tables_of_a_later_version_are_refused_by_service_and_reader(folder):
    Store.open(folder).close()
    other = sqlite3.connect(folder / FILE)
    other.execute("PRAGMA user_version = 99")
    other.close()
    error = refused(folder)
    assert error.kind == "newer"
    assert f"tables 99, this one knows {len(MIGRATIONS)}" in str(error)
    assert "install that version" in str(error)
    with pytest.raises(StoreError, match="version 99"):
        Reader(folder)


def test_tables_of_an_earlier_version_become_those_of_this_one(folder, monkeypatch):
    store = Store.open(folder)
    store.write(Batch(clock=at(0), facts=[fact(1)]))
    store.close()
    later = (*MIGRATIONS, "ALTER TABLE facts ADD COLUMN colour TEXT; CREATE TABLE paints (colour)")
    monkeypatch.setattr("monitor.runtime.database.MIGRATIONS", later)
    store = Store.open(folder)
    assert store._all("SELECT number, colour FROM facts") == [(1, None)]
    assert store._all("PRAGMA user_version") == [(len(later),)]
    store.close()
    Store.open(folder).close()


def test_a_migration_that_fails_changes_nothing(folder, monkeypatch):
    store = Store.open(folder)
    store.write(Batch(clock=at(0), facts=[fact(1)]))
    store.close()
    broken = (*MIGRATIONS, "CREATE TABLE paints (colour); INSERT INTO nowhere VALUES (1)")
    with monkeypatch.context() as patched:
        patched.setattr("monitor.runtime.database.MIGRATIONS", broken)
        refused(folder)
    store = Store.open(folder)
    assert numbers(store) == [1]
    assert store._all("SELECT 1 FROM sqlite_schema WHERE name = 'paints'") == []
    store.close()


def damaged(folder):
    """A database whose pages, but for the first few, hold nothing of sense."""
    path = folder / FILE
    content = bytearray(path.read_bytes())
    assert len(content) > 400_000
    content[len(content) // 2 :] = random.Random(1).randbytes(len(content) - len(content) // 2)
    path.write_bytes(content)


def test_a_damaged_database_is_found_at_the_start_when_the_service_was_cut_off(folder):
    store = Store.open(folder)
    store.write(large(1))
    store.close()
    damaged(folder)
    writes = folder / f"{FILE}-wal"
    writes.write_bytes(b"\0" * 100)  # as after a crash: there is a log; this one holds nothing
    error = refused(folder)
    assert error.kind == "corrupt"
    assert "last backup" in str(error)


def test_damage_that_is_met_later_is_told_and_shows_nothing_of_what_is_there(folder):
    store = Store.open(folder)
    store.write(large(1, SECRET))
    store.close()
    damaged(folder)
    store = Store.open(folder)
    with pytest.raises(StoreError, match="it is damaged") as caught:
        numbers(store)
    assert caught.value.kind == "corrupt"
    assert SECRET not in str(caught.value)
    store.close()


def test_a_directory_that_cannot_be_written_is_refused(request):
    folder = Path(tempfile.mkdtemp())  # the user without rights may not look into pytest's own
    request.addfinalizer(
        lambda: (folder.chmod(0o700), [each.unlink() for each in folder.iterdir()], folder.rmdir())
    )
    Store.open(folder).close()
    for each in folder.iterdir():
        each.chmod(0o444)
    folder.chmod(0o555)
    with as_a_user_without_rights():
        error = refused(folder)
        below = refused(folder / "below")
    assert (error.kind, below.kind) == ("read-only", "read-only")
    assert "see who owns the directory" in str(below)


def test_a_directory_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    assert refused(tmp_path / "file" / "data").kind == "gone"


# One service at a time


def service(folder, program):
    """Another process that has the directory."""
    code = f"import sys\nfrom storing import *\nfrom monitor.runtime.store import *\n{program}"
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{here}:{here.parent.parent}"}
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True, env=environment
    )


def test_two_services_never_share_a_directory(folder):
    holder = service(
        folder, "store = Store.open(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    )
    with holder:
        assert holder.stdout.readline() == "open\n"
        error = refused(folder)
        assert error.kind == "in-use"
        assert f"(process {holder.pid})" in str(error)
        Reader(folder).close()  # who only looks may
        holder.send_signal(signal.SIGKILL)
    store = Store.open(folder)
    assert refused(folder).kind == "in-use"
    store.close()
    Store.open(folder).close()


WRITES = """
store = Store.open(Path(sys.argv[1]))
first = len(list(store.events())) // 5
for number in range(first, first + 100_000):
    facts = [fact(5 * number + each, str(each)) for each in range(5)]
    store.write(Batch(clock=at(number), facts=facts, verdicts=[case(number)], notices=[notice(f"a{number}")]))
    print(number, flush=True)
"""


def test_a_process_that_is_killed_leaves_exactly_what_it_had_committed(folder):
    acknowledged = -1
    for lines in (20, 70):
        with service(folder, WRITES) as writer:
            for _ in range(lines):
                acknowledged = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            rest = writer.stdout.read().split()
        acknowledged = int(rest[-1]) if rest else acknowledged
        store = Store.open(folder)
        there = numbers(store)
        batches = len(there) // 5
        assert there == list(range(5 * batches))
        assert batches - 1 in (acknowledged, acknowledged + 1)
        assert store.clock() == at(batches - 1)
        assert len(list(store.alerts_known())) == batches
        assert store._all("SELECT count(*) FROM verdicts") == [(batches,)]
        store.close()


# Nothing of a patient is said


def test_no_error_says_anything_of_what_was_to_be_written(store):
    store._connection.execute("PRAGMA max_page_count = 60")
    batch = large(1, SECRET)
    batch.rejects = [kept(1, content=SECRET.encode())]
    with pytest.raises(StoreError) as caught:
        store.write(batch)
    said = str(caught.value)
    assert SECRET not in said
    assert "7001" not in said
    assert said.startswith(f"cannot write to {store.folder / FILE}: ")
    assert START.isoformat() not in said
