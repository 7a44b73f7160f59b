"""`handoff run`: the live service, on one machine, with nothing else to install."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from monitor.board.app import Parts, make_app
from monitor.board.auth import Access, Tokens, TokensError
from monitor.board.desk import Desk
from monitor.board.server import Web
from monitor.commands.arguments import moment
from monitor.commands.serving import ended_by_signals, listening
from monitor.commands.streams import FINE, PROBLEMS, UNABLE, USAGE, Failed, Streams
from monitor.core.text import found
from monitor.ingest.body import Limits
from monitor.ingest.files import whole
from monitor.log import get_logger, logged_to
from monitor.rulefile.problem import as_text
from monitor.runtime.clock import LiveClock
from monitor.runtime.database import StoreError
from monitor.runtime.live import Loaded
from monitor.runtime.rules import load
from monitor.runtime.service import Service
from monitor.settings import Settings, load_settings, unreadable_files

SETTINGS_FILE: Final = "handoff.yaml"
_log = get_logger("run")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command; those that are keys of the settings have their names."""
    parser.add_argument("--settings", metavar="FILE", help=f"default: {SETTINGS_FILE}, if it is there")
    parser.add_argument("--data", metavar="DIR", help="where everything is kept; default: handoff-data")
    parser.add_argument("--rules", nargs="+", metavar="PATH", help="rule files, directories or pack:NAME")
    parser.add_argument(
        "--microsystems", metavar="FILE", help="the registry: microsystems, their locations, sources"
    )
    parser.add_argument("--mllp-host", metavar="HOST", help="default: 127.0.0.1")
    parser.add_argument(
        "--mllp-port", metavar="PORT", help="HL7 v2 over MLLP; default: 2575, 0: any that is free"
    )
    parser.add_argument("--http-host", metavar="HOST", help="default: 127.0.0.1")
    parser.add_argument("--http-port", metavar="PORT", help="events, FHIR, API, metrics; default: 8080")
    parser.add_argument(
        "--follow", nargs="+", metavar="PATH", help="also read files that grow, or directories"
    )
    parser.add_argument("--log-level", metavar="LEVEL", help="debug, info, warning or error; default: info")
    parser.add_argument(
        "--open-to-loopback",
        action="store_true",
        help="programs on this machine may read without a token, as a viewer: pseudonyms and places",
    )
    parser.add_argument(
        "--speed",
        type=_speed,
        metavar="N",
        help="let the service's clock run N times faster than life; for trials",
    )
    parser.add_argument(
        "--start",
        type=moment,
        metavar="T",
        help="with --speed: the time at which its clock begins; default: now",
    )


def run(args: argparse.Namespace, streams: Streams) -> int:
    """Run until SIGTERM or SIGINT."""
    if args.start is not None and args.speed is None:
        raise Failed(USAGE, "run: --start is for a clock that is not the real one; say --speed, too")
    settings = settings_of(args, streams)
    if not settings.rules:
        raise Failed(USAGE, "run: which rules? Name them with --rules, or as `rules` in the settings")
    loaded = loaded_of(settings, streams)
    with logged_to(streams.stderr, level=settings.log_level):
        return serve(settings, loaded, clock_of(args), args.open_to_loopback)


def settings_of(args: argparse.Namespace, streams: Streams) -> Settings:
    """The settings of file, environment and options; what is wrong with them is told."""
    name = args.settings or SETTINGS_FILE
    content = whole(name, streams.stdin) if args.settings or Path(name).exists() else None
    settings, problems = load_settings(name, content, os.environ, vars(args))
    streams.note("".join(as_text(problem) + "\n" for problem in problems))
    if settings is None:
        raise Failed(PROBLEMS)
    unreadable = unreadable_files(settings)
    if unreadable:
        raise Failed(UNABLE, "\nhandoff: ".join(unreadable))
    return settings


def loaded_of(settings: Settings, streams: Streams) -> Loaded:
    """The rules and the registry; what is wrong with them is told."""
    loaded, problems = load(settings.rules, settings.microsystems)
    streams.note("".join(as_text(problem) + "\n" for problem in problems))
    if loaded is None:
        raise Failed(PROBLEMS)
    return loaded


def clock_of(args: argparse.Namespace) -> LiveClock:
    """The real clock, or one that is faster."""
    if args.speed is None:
        return LiveClock()
    return LiveClock.faster(args.speed, args.start or LiveClock().now())


def serve(
    settings: Settings,
    loaded: Loaded,
    clock: LiveClock,
    open_to_loopback: bool,
    beside: Callable[[Service, int], Awaitable[None]] | None = None,
) -> int:
    """Run the service until a signal ends it, or what runs beside it ends; `beside` is given the service and the HTTP port."""
    try:
        access = Access(
            Tokens(Path(settings.http.tokens)) if settings.http.tokens else None,
            open_to_loopback=open_to_loopback,
        )
        service = Service(settings, loaded, clock)
    except (StoreError, TokensError) as error:
        raise Failed(UNABLE, str(error)) from error
    asyncio.run(_serve(service, access, beside))
    return FINE


async def _serve(
    service: Service, access: Access, beside: Callable[[Service, int], Awaitable[None]] | None
) -> None:
    ended = ended_by_signals()
    try:
        with listening("mllp", service.settings.mllp.host, service.settings.mllp.port):
            await service.start()
        web = Web(make_app(_parts(service, access)), service.settings.http)
        with listening("http", service.settings.http.host, service.settings.http.port):
            await web.start()
        _log.info("web_started", host=service.settings.http.host, port=web.port)
        companion = asyncio.create_task(_companion(service, web.port, beside, ended))
        await ended.wait()
        _log.info("service_stopping")
        companion.cancel()
        [outcome] = await asyncio.gather(companion, return_exceptions=True)
        await web.stop()
        if isinstance(outcome, Exception):
            raise outcome
    finally:
        await service.stop()


async def _companion(
    service: Service,
    port: int,
    beside: Callable[[Service, int], Awaitable[None]] | None,
    ended: asyncio.Event,
) -> None:
    if beside is None:
        return
    try:
        await beside(service, port)
    finally:
        ended.set()


def _parts(service: Service, access: Access) -> Parts:
    """What the web application is made of."""
    return Parts(
        intake=service.intake,
        access=access,
        health=service,
        metrics=service.metrics.exposition,
        now=service.clock.now,
        on_gap=service.gap,
        on_fault=lambda error: _log.error("request_failed", exc_info=error),
        limits=Limits(largest_bytes=service.settings.http.largest_kilobytes * 1024),
        desk=Desk(service.reader, service.ledger, StoreError),
        rules=lambda: service.rules,
    )


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0
    if not 0.01 <= speed <= 100_000:
        raise argparse.ArgumentTypeError(f"{found(text)} is not a number from 0.01 to 100000")
    return speed
