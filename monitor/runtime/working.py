"""`handoff worker`, put together: a share of the partitions, the engine of each, and what watches them.

What comes of the records of a moment is sent and written together, for all partitions, and only then are they done with:
first what the world is told, then what other partitions are, then the cells of the table, then the acknowledgment. A worker that dies between, or loses its
partitions, leaves records that the next owner takes once more, which changes nothing.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Final, TypeVar

import msgspec

from monitor.core.change import CaseVerdict
from monitor.core.event import Event
from monitor.core.rule import CaseRule
from monitor.formats.envelope import Envelope, Told, decode, encode, partition_of
from monitor.formats.reject import Reject
from monitor.ingest.brokers import Trouble
from monitor.log import count_dropped, get_logger
from monitor.metrics import Metrics
from monitor.notify.notice import Notice
from monitor.runtime import cell
from monitor.runtime.batch import Kept
from monitor.runtime.clock import LiveClock
from monitor.runtime.counting import Counting
from monitor.runtime.faust_app import SESSION_SECONDS, Outgoing, Place, Record, Stream
from monitor.runtime.kafka_intake import REJECT_HEADERS
from monitor.runtime.live import Loaded
from monitor.runtime.partition import Outcome, Partition, Way
from monitor.runtime.reader import OpenCases
from monitor.runtime.rereading import between, whole
from monitor.runtime.rocks import DiskTable
from monitor.runtime.rules import load_again, watched
from monitor.runtime.table import Abandoned, Table, catch_up
from monitor.runtime.tasks import Tasks
from monitor.runtime.waiting import counted
from monitor.runtime.watch import watch
from monitor.runtime.writer import pseudonym
from monitor.settings import Cluster, Settings

_TICK_SECONDS: Final = 0.05
_GATHER_SECONDS: Final = 0.03
"""How long records are gathered whose journeys are then written together."""
_GATHER_BEHIND_SECONDS: Final = 0.25
_AMID_SECONDS: Final = 1.0
"""How long to wait for the rest of what arrived at one instant."""
_PASSED_OVER_SECONDS: Final = 5.0
"""When records have waited for so long, and none came, the stream has passed over them."""
_MOST_PASSED_OVER: Final = 10_000
"""Records that are read at once where it has."""
_TIDY_SECONDS: Final = 1.0
_COUNT_SECONDS: Final = 5.0
"""Between two counts of the open cases, of which there may be very many."""
_MARGIN: Final = timedelta(seconds=1)
"""How far clocks may be apart: what the broker stamps now may be so much earlier than now here."""
_MOST_PENDING: Final = 1_000
"""Records that may wait for what comes of them to be sent."""
_WARM_SECONDS: Final = 0.05
_WARM_ALONE_SECONDS: Final = 0.5
"""At a time, while nothing else is to be done: health is asked meanwhile."""
_WARM_AT_ONCE: Final = 20
_MOST_IN_MEMORY: Final = 5_000
_AGAIN_SECONDS: Final = 0.5
_TOLD_BY: Final = "partition"
"""The header of an alert that says which partition told it."""
_ALERTS: Final = "alerts"
"""The sink, as it is called in metrics, that the topic of alerts is."""
_UNPROCESSABLE: Final = Reject("not-processed", "the engine failed over it; please report it")
_log = get_logger("worker")

_notice: Final = msgspec.json.Decoder(Notice)
_encode: Final = msgspec.json.Encoder().encode


class Verdict(msgspec.Struct):
    """A case as it is told on the topic of verdicts."""

    case: str
    pseudonym: str
    verdict: CaseVerdict


_verdict: Final = msgspec.json.Decoder(Verdict)


@dataclass(eq=False)
class _Share:
    """A partition that is ours, and what waits for what comes of its records."""

    number: int
    table: Table
    partition: Partition
    next: int
    """The offset of the record that comes next."""
    is_whole: bool = True
    """Not while its partition failed over a record, and another is being made from the table."""
    taking: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while records are shown to its partition, by the stream or from beside it."""
    pending: list[Callable[[], object]] = field(default_factory=list)
    at: float = 0.0
    """When the last record arrived."""
    taken_at: float = 0.0
    """When it was taken, by the steady clock."""
    stands_at: int | None = None
    """The offset at which nothing comes, though the brokers have more; None: there is no more, or some of it has come."""
    stands_since: float = 0.0
    is_cut: bool = False
    """Whether more may come that arrived then, so that nothing can be told yet of that instant."""
    outcomes: list[Outcome] = field(default_factory=list)
    """What has come of records before that."""
    settled: int = 0
    """How many of those that are pending it came of."""
    rejects: list[tuple[Record, Reject]] = field(default_factory=list)
    taken: list[Event] = field(default_factory=list)
    """Not counted yet."""


_T = TypeVar("_T")


class _Lost(Exception):  # noqa: N818 - it is no fault of ours
    """We join anew, and own nothing until then."""


class Working:
    """Everything but the web application, which is made from its parts."""

    def __init__(
        self, settings: Settings, cluster: Cluster, loaded: Loaded, secret: bytes, clock: LiveClock
    ) -> None:
        """`secret`: by which pseudonyms are made."""
        self.settings = settings
        self.clock = clock
        self.metrics = Metrics(clock.now, [_ALERTS])
        self.counting = Counting(self.metrics, clock)
        self._cluster = cluster
        self._events = cluster.topic("events")
        self._loaded = loaded
        self._next_rules: Loaded | None = None
        self._secret = secret
        self._shares: dict[int, _Share] = {}
        self._stream: Stream | None = None
        self._room = asyncio.Event()
        self._something = asyncio.Event()
        self._full = asyncio.Event()
        """Whether nothing more is taken before what waits has gone."""
        self._stopping = False
        self._has_left = asyncio.Event()
        self._doubtful: set[int] = set()
        """Partitions in which something failed: they begin with a look at every journey."""
        self._revocations = 0
        self._failure: Exception | None = None
        """What came between a record and its partition."""
        self._tidied_at = monotonic()
        self._recovering_since: float | None = monotonic()
        self._is_assigned = False
        """Whether we know which partitions are ours; with more workers than partitions that may be none."""
        self._warnings: dict[str, str] = {}
        self._tasks = Tasks(self.counting.problems)
        self._use(loaded)
        self._open: list[OpenCases] = []
        """The open cases of our partitions as they were counted last; scrapes are answered in another thread."""
        self.metrics.read_from(lambda: self._open, dict)
        count_dropped(self.metrics.log_fields_dropped.inc)

    # Running

    def start(self) -> None:
        """Begin, and join the others in the background."""
        self._tasks.begin(self._run(), "stream")
        self._tasks.begin(self._look_around(), "health")
        paths = watched(self.settings.rules, self.settings.microsystems)
        self._tasks.begin(watch(paths, self.reload), "watcher")
        _log.info("service_started", rules=len(self._loaded.rules))

    async def stop(self) -> None:
        """Finish what has been taken, and leave."""
        self._stopping = True
        self._something.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._has_left.wait(), SESSION_SECONDS)
        await self._tasks.end()
        _log.info("service_stopped")

    async def _run(self) -> None:
        """Join, work, and join anew where that has become doubtful, until it is told to leave; then wait for the end."""
        while not self._stopping:
            folder = Path(self.settings.data) / "faust"
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            stream = self._stream = Stream(self._cluster, folder, self._take, self._assigned, self._revoked)
            joining = asyncio.create_task(stream.start())
            try:
                await self._work(stream, joining)
            except _Lost as lost:
                _log.warning("partitions_lost", why=str(lost), exc_info=lost.__cause__)
            finally:
                self._revoked()
                joining.cancel()
                await asyncio.gather(joining, return_exceptions=True)
                await stream.stop()
            if not self._stopping:
                await asyncio.sleep(_AGAIN_SECONDS)
        self._has_left.set()
        await asyncio.Event().wait()

    async def _work(self, stream: Stream, joining: asyncio.Task[None]) -> None:
        self._failure = None
        while not self._stopping:
            if joining.done() and (error := joining.exception()) is not None:
                raise _Lost("the Kafka client cannot join") from error
            if self._failure is not None:
                raise _Lost("a record could not be taken") from self._failure
            self._look_at_clocks(stream)
            await self._flush(stream)
            await self._look_for_passed_over(stream)
            await self._use_next()
            self._check(stream)
            self._something.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._something.wait(), _TICK_SECONDS if self._is_warm else 0)
                await asyncio.wait_for(self._full.wait(), self._gather_seconds(stream))
        await self._flush(stream)

    def _gather_seconds(self, stream: Stream) -> float:
        """How long to wait for more: longer where very much waits, for each writing takes its time, however little is written."""
        ends = ((share.next, stream.seen(share.number)) for share in self._shares.values())
        is_behind = any(seen is not None and seen.end - next_ > _MOST_PENDING for next_, seen in ends)
        return _GATHER_BEHIND_SECONDS if is_behind else _GATHER_SECONDS

    def _check(self, stream: Stream) -> None:
        if stream.has_ended:
            raise _Lost("the Kafka client has given up")

    # Which partitions are ours

    def _revoked(self) -> None:
        """Nothing is ours now: what has not been sent will be by others."""
        if self._shares:
            _log.info("partitions_revoked", count=len(self._shares))
        for share in self._shares.values():
            share.table.close()
        self._shares = {}
        self._is_assigned = False
        self._revocations += 1
        self._recovering_since = monotonic()
        self._room.set()

    async def _assigned(self, owned: set[int]) -> None:
        stream, revocations = self._stream, self._revocations
        assert stream is not None
        tables: dict[int, Table] = {}
        shares: dict[int, _Share] = {}
        try:
            await self._reading(lambda _: self._open_tables(owned, tables))
            await self._reading(
                lambda cluster: catch_up(cluster, tables, lambda: self._revocations == revocations)
            )
            told = await self._told()
            first = await stream.first(owned)
            for number, table in tables.items():
                shares[number] = _Share(
                    number, table, await self._make(table, number, told), first[number].offset
                )
                await asyncio.sleep(0)
            if self._revocations == revocations:  # else it was all taken from us meanwhile
                self._shares = shares
                self._is_assigned = True
                if expired := sum(each.expired for each in first.values()):
                    self.metrics.expired.inc(expired)
                    _log.error("records_expired", count=expired)
                _log.info("partitions_assigned", count=len(shares), journeys=self.journeys)
        except Abandoned:
            return
        finally:
            if self._shares is not shares:
                for table in tables.values():
                    table.close()

    def _open_tables(self, owned: Iterable[int], tables: dict[int, Table]) -> None:
        """Raises `Trouble` where one is in use."""
        folder = Path(self.settings.data) / "journeys"
        for number in owned:
            if number not in tables:
                on_disk = self._cluster.store == "rocksdb"
                tables[number] = DiskTable(folder / str(number), self.clock.now) if on_disk else Table()

    async def _told(self) -> Mapping[int, Sequence[Notice]]:
        """How each alert was told last, by the partition that did."""
        found: defaultdict[int, list[Notice]] = defaultdict(list)
        for number, notice in await self._reading(_last_notices):
            found[number].append(notice)
        return found

    async def _reading(self, read: Callable[[Cluster], _T]) -> _T:
        """What a topic says. Asks until the brokers answer, or our partitions have been taken from us: then it raises `Abandoned`."""
        revocations = self._revocations
        while True:
            if self._revocations != revocations:
                raise Abandoned
            try:
                found = await asyncio.to_thread(read, self._cluster)
            except Abandoned:
                raise
            except Exception as error:  # noqa: BLE001 - whatever the library says, there is nothing to do but to ask again
                self._warn("brokers", error)
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                self._warnings.pop("brokers", None)
                return found

    async def _make(self, table: Table, number: int, told: Mapping[int, Sequence[Notice]]) -> Partition:
        partition = Partition(table.cells, self._way(number), self.counting)
        cases: list[tuple[str, str]] = []
        if partition.has_other_rules:
            cases = await self._reading(_last_cases)
        partition.begin(
            [
                each
                for teller, some in told.items()
                for each in some
                if teller == number
                # because of merges it may have been told elsewhere
                or (each.state == "resolved" and cell.journey_key(each.patient) in table.cells)
            ],
            cases,
            [
                each
                for teller, some in told.items()
                for each in some
                if teller != number and each.state == "firing"
            ],
            looks_at_all=number in self._doubtful,
        )
        return partition

    def _way(self, number: int) -> Way:
        return Way(
            number,
            self._cluster.partitions,
            self._loaded,
            pseudonym=lambda patient: pseudonym(patient, self._secret),
            link=self.settings.link,
            horizon=self.settings.horizon,
            most_in_memory=_MOST_IN_MEMORY // max(1, len(self._shares) or 1),
        )

    # Records in

    async def _take(self, record: Record) -> None:
        """Take a record of the stream; waits while too many are not done with. Nothing is passed over, whatever fails."""
        share = self._shares.get(record.partition)
        if share is None:
            return  # it is no longer ours, and is read again by whoever has it
        try:
            async with share.taking:
                if record.offset > share.next:
                    await self._fill(share, record.offset)
                if record.offset >= share.next:
                    await self._apply(share, record)
        except Abandoned:
            return
        except Exception as error:  # noqa: BLE001 - Faust would pass over the record
            self._failure = error
            return
        share.pending.append(record.done)
        self._something.set()
        if self._pending > _MOST_PENDING:
            self._room.clear()
            self._full.set()
            await self._room.wait()

    @property
    def _pending(self) -> int:
        return sum(len(share.pending) for share in self._shares.values())

    async def _look_for_passed_over(self, stream: Stream) -> None:
        """Read the last records of a partition where the stream does not bring them: no later one shows that they are left out."""
        for share, end in self._passed_over(stream):
            try:
                async with share.taking:
                    if share.next < end:
                        await self._fill(share, end)
            except Abandoned:
                return
            except Exception as error:
                raise _Lost("a record could not be taken") from error

    def _passed_over(self, stream: Stream) -> list[tuple[_Share, int]]:
        """Partitions of which nothing has come for some time, though the brokers have more; and up to where to read that."""
        found = []
        for share in self._shares.values():
            seen = stream.seen(share.number)
            if seen is None or share.next >= seen.end or share.pending or share.taking.locked():
                share.stands_at = None
            elif share.stands_at != share.next:
                share.stands_at, share.stands_since = share.next, monotonic()
            elif monotonic() - share.stands_since > _PASSED_OVER_SECONDS:
                found.append((share, min(seen.end, share.next + _MOST_PASSED_OVER)))
        return found

    async def _fill(self, share: _Share, end: int) -> None:
        """Read what the stream left out."""
        topic = self._events
        while self._is_ours(share):
            try:
                found = await asyncio.to_thread(between, self._cluster, topic, share.number, share.next, end)
                break
            except Exception as error:  # noqa: BLE001 - as above
                self._warn("brokers", error)
                await asyncio.sleep(_AGAIN_SECONDS)
        else:
            return
        if found:  # some offsets hold none, as those where transactions end
            self.metrics.offset_gaps.inc()
            _log.warning("records_left_out", count=len(found))
        for each in found:
            record = Record(share.number, each.offset, each.timestamp / 1000, each.value, lambda: None)
            await self._apply(share, record)
        share.next = end

    async def _apply(self, share: _Share, record: Record) -> None:
        """Show a record to its partition. What cannot be used becomes a reject; nothing is passed over."""
        if share.is_cut and record.timestamp > share.at:
            self._settle(share)
        share.next, share.at, share.taken_at = record.offset + 1, record.timestamp, monotonic()
        at = datetime.fromtimestamp(record.timestamp, UTC)
        envelope = decode(record.value)
        if isinstance(envelope, Reject):
            share.rejects.append((record, envelope))
            return
        for is_second in (False, True):
            try:
                why = share.partition.take(envelope, at)
                break
            except Exception as error:  # noqa: BLE001 - one record must not stop all that come after it
                _log.error("record_failed", exc_info=error)
                await self._begin_again(share, envelope)
                why = _UNPROCESSABLE if is_second else None
        if why is not None:
            share.rejects.append((record, why))
        elif isinstance(envelope, Told):
            share.taken += [envelope.event, *envelope.more]

    async def _begin_again(self, share: _Share, failed: Envelope) -> None:
        """Have the partition begin from its table, without a record; it need not be the record's fault: time passes before it."""
        self._doubtful.add(share.number)
        events = [failed.event, *failed.more] if isinstance(failed, Told) else []
        share.outcomes.append(share.partition.rescue(events))
        share.is_whole = False
        share.partition = await self._make(share.table, share.number, await self._told())
        share.is_whole = True

    # Time

    def _look_at_clocks(self, stream: Stream) -> None:
        """Let time pass in each partition, as far as all is known that arrived until then; and warm those that are new."""
        ends = monotonic() + (_WARM_SECONDS if self._pending else _WARM_ALONE_SECONDS)
        latest = self.clock.now() - _MARGIN
        shares = [share for share in self._shares.values() if share.is_whole]
        for share in shares:
            seen = stream.seen(share.number)
            # not where we are further: a new leader may know at first of less than there is
            if seen is not None and share.next == seen.end:
                with self._doubting(share):
                    share.partition.advance(min(latest, seen.at - _MARGIN))
        for share in shares:
            while not share.partition.is_warm and monotonic() < ends:
                share.partition.warm(_WARM_AT_ONCE)
        if self._recovering_since is not None and self._is_assigned and self._is_warm:
            self.metrics.recovery_seconds.set(monotonic() - self._recovering_since)
            self._recovering_since = None
            _log.info("partitions_ready", count=len(self._shares), journeys=self.journeys)

    @contextmanager
    def _doubting(self, share: _Share) -> Iterator[None]:
        """Where time cannot pass because of some journey, join anew, and look at every journey of the partition then."""
        try:
            yield
        except Exception as error:
            self._doubtful.add(share.number)
            raise _Lost("time cannot pass in a partition") from error

    @property
    def _is_warm(self) -> bool:
        return all(share.is_whole and share.partition.is_warm for share in self._shares.values())

    # What comes of it

    async def _flush(self, stream: Stream) -> None:
        """Send and write what has come since the last time; then the records that it came of are done with."""
        began = monotonic()
        shares = [share for share in self._shares.values() if share.is_whole]
        done: list[tuple[_Share, list[Callable[[], object]], list[Outcome]]] = []
        tells: list[Outgoing] = []
        sends: list[Outgoing] = []
        writes: list[Outgoing] = []
        journeys, revocations = self._cluster.topic("journeys"), self._revocations
        is_full = self._pending > _MOST_PENDING
        for share in shares:
            share.is_cut = not is_full and self._is_amid(stream, share)
            if not share.is_cut:
                self._settle(share)
            outcomes, rejects = share.outcomes, share.rejects
            pending, share.pending = share.pending[: share.settled], share.pending[share.settled :]
            if share.taken:
                self.counting.took(share.taken, (), self.clock.now())
            share.outcomes, share.rejects, share.taken, share.settled = [], [], [], 0
            if not pending and not rejects and not any(outcomes):
                continue
            done.append((share, pending, outcomes))
            for outcome in outcomes:
                tells += self._records(share, outcome)
                sends += (self._by_key(self._events, key, encode(each)) for key, each in outcome.sends)
                writes += (Outgoing(journeys, share.number, *cell) for cell in outcome.cells.items())
            tells += (self._dead_letter(record, why) for record, why in rejects)
        self._full.clear()
        self._room.set()
        if done:
            await self._until_sent(stream, tells, revocations)
            await self._until_sent(stream, sends, revocations)
            ends = await self._until_sent(stream, writes, revocations)
            for share, pending, outcomes in done:
                if self._is_ours(share):
                    self._keep(share, outcomes, ends.get((journeys, share.number), 0))
                    self._is_done(pending, outcomes)
            self.counting.wrote(monotonic() - began)
        self._full.clear()
        self._room.set()
        if began - self._tidied_at > _TIDY_SECONDS or not self._is_warm:
            self._tidied_at = began
            for share in shares:
                if share.is_whole:
                    share.partition.tidy()

    def _is_amid(self, stream: Stream, share: _Share) -> bool:
        """Whether more may come that arrived together with the last record: the brokers have more, and it comes."""
        seen = stream.seen(share.number)
        is_known = seen is None or share.next >= seen.end
        return bool(share.pending) and not is_known and monotonic() - share.taken_at < _AMID_SECONDS

    def _settle(self, share: _Share) -> None:
        """Draw the conclusions from all records until now; what arrives later arrives at another instant."""
        with self._doubting(share):
            share.outcomes.append(share.partition.drain())
        share.settled, share.is_cut = len(share.pending), False

    def _is_ours(self, share: _Share) -> bool:
        return self._shares.get(share.number) is share

    def _keep(self, share: _Share, outcomes: Iterable[Outcome], end: int) -> None:
        """The brokers have these cells, before an offset of the changelog."""
        cells = {key: value for outcome in outcomes for key, value in outcome.cells.items()}
        try:
            share.table.written(cells, end)
        except Exception as error:
            raise _Lost("the journeys on disk cannot be written") from error

    async def _until_sent(
        self, stream: Stream, records: Sequence[Outgoing], revocations: int
    ) -> Mapping[Place, int]:
        """Send until the brokers have it all, and up to where; again from the start where some did not go, for repeats change nothing.

        What is ours no longer, for there were more `revocations` meanwhile, is left to its next owner.
        """
        while True:
            try:
                ends = await stream.send(records, lambda: self._revocations == revocations)
            except Exception as error:  # noqa: BLE001 - as above
                self._check(stream)
                self.counting.failed("brokers", error)
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                self.counting.mended("brokers")
                return ends

    def _is_done(self, pending: Iterable[Callable[[], object]], outcomes: Iterable[Outcome]) -> None:
        """The brokers have all that came of these records."""
        for each in pending:
            each()
        self._told_all(outcomes)

    def _records(self, share: _Share, outcome: Outcome) -> Iterable[Outgoing]:
        """What the world is told."""
        alerts, verdicts = self._cluster.topic("alerts"), self._cluster.topic("verdicts")
        teller = [(_TOLD_BY, str(share.number).encode())]
        for notice in outcome.notices:
            yield self._by_key(alerts, notice.alert.encode(), _encode(notice), teller)
        for case, verdict in outcome.verdicts.items():
            value = None
            if verdict is not None:
                value = _encode(Verdict(case, pseudonym(verdict.patient, self._secret), verdict))
            yield self._by_key(verdicts, case.encode(), value)

    def _by_key(
        self, topic: str, key: bytes, value: bytes | None, headers: list[tuple[str, bytes]] | None = None
    ) -> Outgoing:
        return Outgoing(topic, partition_of(key, self._cluster.partitions), key, value, headers or [])

    def _dead_letter(self, record: Record, why: Reject) -> Outgoing:
        """A record that was of no use, as its bytes and headers."""
        topic = self._events
        kept = Kept(
            origin="kafka",
            where=f"{topic}/{record.partition}@{record.offset}",
            source="",
            reason=why.reason,
            detail=why.detail,
            segment=why.segment,
            field=why.field,
            content=record.value or b"",
            arrived_at=datetime.fromtimestamp(record.timestamp, UTC),
        )
        self.counting.took((), [kept], kept.arrived_at)
        said = {name: getattr(kept, name) for name in REJECT_HEADERS}
        headers = [(name, str(text).encode(errors="replace")) for name, text in said.items() if text]
        return Outgoing(self._cluster.topic("rejects"), record.partition, None, kept.content, headers)

    def _told_all(self, outcomes: Iterable[Outcome]) -> None:
        now = self.clock.now()
        for outcome in outcomes:
            for notice in outcome.notices:
                if not notice.after_outage:
                    self.metrics.alert_latency.of(_ALERTS).observe(
                        max(0.0, (now - notice.at).total_seconds())
                    )

    # Rules

    async def reload(self) -> None:
        """Read rules and registry again; with an error the old ones stay in use."""
        loaded = await load_again(
            self.settings.rules, self.settings.microsystems, self._warnings, self.metrics
        )
        if loaded is not None and loaded.digest != self._loaded.digest:
            self._next_rules = loaded
            self._something.set()

    async def _use_next(self) -> None:
        """Put changed rules in use, between two batches: each partition begins anew from its table."""
        loaded, self._next_rules = self._next_rules, None
        if loaded is None:
            return
        self._loaded = loaded
        self._use(loaded)
        self.metrics.rule_reloads.of("taken").inc()
        _log.info("rules_reloaded", rules=len(loaded.rules))
        raise _Lost("other rules are in use")

    def _use(self, loaded: Loaded) -> None:
        self.counting.use(loaded.rules, loaded.registry)
        self.metrics.rules_loaded.set(self.clock.now().timestamp())

    # Health

    def is_alive(self) -> bool:
        """Whether the work goes on."""
        return self._tasks.all_go_on

    def problems(self) -> list[tuple[str, str]]:
        """What keeps it from judging."""
        found = [each for each in self.counting.problems.items() if each[0] != "journey"]
        if self._recovering_since is not None:
            found.append(
                ("recovering", "it joins the other workers, and reads the journeys of its partitions")
            )
        return found

    def warnings(self) -> list[tuple[str, str]]:
        """What should be looked at, though it judges."""
        found = list(self._warnings.items())
        if "journey" in self.counting.problems:
            found.append(("journey", "what is known of a patient cannot be read; the log says why"))
        return found

    @property
    def journeys(self) -> int:
        return sum(share.partition.journeys for share in self._shares.values())

    async def _look_around(self) -> None:
        counts_at = 0.0
        while True:
            metrics, stream = self.metrics, self._stream
            metrics.ready.set(0 if self.problems() else 1)
            metrics.journeys.set(self.journeys)
            metrics.partitions.set(len(self._shares))
            metrics.intake_queue.set(self._pending)
            lag = skewed = 0
            for share in self._shares.values():
                seen = stream.seen(share.number) if stream is not None else None
                lag += max(0, seen.end - share.next) if seen is not None else 0
                skewed += share.partition.skewed
                share.partition.skewed = 0
            metrics.lag.set(lag)
            metrics.skewed.inc(skewed)
            if monotonic() >= counts_at:
                self._open = counted(
                    [share.partition.waiting for share in self._shares.values()],
                    [rule.id for rule in self._loaded.rules if isinstance(rule, CaseRule)],
                )
                counts_at = monotonic() + _COUNT_SECONDS
            await asyncio.sleep(1.0)

    def _warn(self, name: str, error: Exception) -> None:
        text = str(error) if isinstance(error, Trouble) else type(error).__name__
        if self._warnings.get(name) != text:
            self._warnings[name] = text
            _log.warning("kafka_failed", why=text)


def _last_notices(cluster: Cluster) -> list[tuple[int, Notice]]:
    """How each alert was told last, which its sequence says, not where it lies; and by which partition."""
    found: dict[str, tuple[int, Notice]] = {}
    for each in whole(cluster, cluster.topic("alerts")):
        teller = dict(each.headers).get(_TOLD_BY)
        if each.value is not None and teller is not None:
            told = _notice.decode(each.value)
            if told.alert not in found or found[told.alert][1].sequence <= told.sequence:
                found[told.alert] = (int(teller), told)
    return list(found.values())


def _last_cases(cluster: Cluster) -> list[tuple[str, str]]:
    """The cases of which there are verdicts, each with its patient."""
    found: dict[bytes, str] = {}
    for each in whole(cluster, cluster.topic("verdicts")):
        if each.key is not None and each.value is not None:
            found[each.key] = _verdict.decode(each.value).verdict.patient
        elif each.key is not None:
            found.pop(each.key, None)
    return [(case.decode(), patient) for case, patient in found.items()]
