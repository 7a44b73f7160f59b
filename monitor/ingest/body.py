"""Bodies of HTTP requests: read as they come, unzipped, and never larger or slower than allowed."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Final, NamedTuple

from monitor.ingest.problem import Refused

_PIECE: Final = 1 << 18
"""How much is unzipped at once."""
_BOM: Final = b"\xef\xbb\xbf"


class Limits(NamedTuple):
    """What a request may cost."""

    largest_bytes: int = 64 * 2**20
    """The largest body, also after it was unzipped."""
    held_bytes: int = 128 * 2**20
    """How much of all bodies together may be in memory; one of the largest always may."""
    idle_seconds: float = 30
    """A sender from which nothing comes for so long is given up."""


class Bodies:
    """Reads the bodies of requests within limits that hold for each of them, and for all together."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits._replace(held_bytes=max(limits.held_bytes, limits.largest_bytes))
        self._held = 0

    async def whole(self, chunks: AsyncIterator[bytes], encoding: str, announced: str | None) -> bytes:
        """A whole body. Raises `Refused` when it is too large, too slow, or not what `Content-Encoding` says."""
        gathered: list[bytes] = []
        size = 0
        try:
            async for chunk in self._pieces(chunks, encoding, announced):
                self._hold(len(chunk))
                size += len(chunk)
                gathered.append(chunk)
            return b"".join(gathered)
        finally:
            self._held -= size

    async def lines(
        self, chunks: AsyncIterator[bytes], encoding: str, announced: str | None, at_most: int
    ) -> AsyncIterator[list[bytes]]:
        """The lines of a body, without their ends, in lists of about `at_most`, while it is still coming.

        A last line without an end counts if the body is complete. Raises `Refused`, after all whole lines before.
        """
        begun: list[bytes] = []
        held = 0
        lines: list[bytes] = []
        is_first = True
        try:
            async for chunk in self._pieces(chunks, encoding, announced):
                self._hold(len(chunk))
                held += len(chunk)
                first, *others = (chunk.removeprefix(_BOM) if is_first else chunk).split(b"\n")
                is_first = False
                begun.append(first)
                if others:
                    lines += [b"".join(begun), *others[:-1]]
                    begun = others[-1:]
                if len(lines) >= at_most:
                    full = len(lines) // at_most * at_most
                    for start in range(0, full, at_most):
                        yield lines[start : start + at_most]
                    lines = lines[full:]
                    rest = sum(map(len, lines)) + sum(map(len, begun))
                    self._held -= held - rest
                    held = rest
        except Refused:
            if lines:
                yield lines
            raise
        finally:
            self._held -= held
        yield [*lines, b"".join(begun)]

    async def _pieces(
        self, chunks: AsyncIterator[bytes], encoding: str, announced: str | None
    ) -> AsyncIterator[bytes]:
        """What a body holds, piece by piece."""
        if encoding not in ("", "identity", "gzip"):
            raise Refused(
                415, "Content-Encoding must be gzip, or left out", headers={"Accept-Encoding": "gzip"}
            )
        if announced is not None and announced.isdecimal() and int(announced) > self._limits.largest_bytes:
            raise self._too_large()
        unzip = _Unzip() if encoding == "gzip" else None
        size = 0
        while (chunk := await self._next(chunks)) is not None:
            for piece in (chunk,) if unzip is None else unzip.feed(chunk):
                size += len(piece)
                if size > self._limits.largest_bytes:
                    raise self._too_large()
                yield piece
        if unzip is not None and not unzip.is_complete():
            raise Refused(400, "the gzip data of the body break off")

    async def _next(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        try:
            async with asyncio.timeout(self._limits.idle_seconds):
                return await anext(chunks, None)
        except TimeoutError:
            raise Refused(
                408,
                f"nothing more of the body came for {self._limits.idle_seconds:g} seconds",
                headers={"Connection": "close"},
            ) from None

    def _hold(self, size: int) -> None:
        if self._held + size > self._limits.held_bytes:
            raise Refused(
                503,
                "too many large bodies are being read at once; send this one again, or send JSON lines",
                headers={"Retry-After": "5"},
            )
        self._held += size

    def _too_large(self) -> Refused:
        """What is left of the body is not looked at, but let come for a while: else its sender might never see this answer."""
        largest = self._limits.largest_bytes
        return Refused(413, f"a body may have {largest:,} bytes at most (unzipped, too): send it in parts")


class _Unzip:
    """Unzips a stream in pieces of bounded size, so that a small body cannot fill the memory."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What these bytes add; gzip members may follow one another. Raises `Refused`."""
        while data:
            if self._member.eof:
                self._member = zlib.decompressobj(wbits=31)
            while piece := self._piece(data):
                yield piece
                data = self._member.unconsumed_tail
                if self._member.eof:
                    break
            data = self._member.unused_data if self._member.eof else b""

    def _piece(self, data: bytes) -> bytes:
        try:
            return self._member.decompress(data, _PIECE)
        except zlib.error:
            raise Refused(400, "the gzip data of the body are broken") from None

    def is_complete(self) -> bool:
        """Whether the last member has ended."""
        return self._member.eof
