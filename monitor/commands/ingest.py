"""`handoff ingest`: takes messages over into Kafka, where workers judge them. It keeps nothing itself, so several may run."""

from __future__ import annotations

import argparse
import asyncio
import gc
from pathlib import Path

from monitor.board.app import Parts, make_app
from monitor.board.auth import Access, Tokens, TokensError
from monitor.board.server import Web
from monitor.commands.run import SETTINGS_FILE, settings_of
from monitor.commands.serving import ended_by_signals, listening
from monitor.commands.streams import FINE, PROBLEMS, UNABLE, USAGE, Failed, Streams
from monitor.commands.topics import cluster_of, refuse_differences
from monitor.ingest.body import Limits
from monitor.log import get_logger, logged_to
from monitor.rulefile.problem import as_text
from monitor.runtime.clock import LiveClock
from monitor.runtime.ingesting import Ingesting
from monitor.runtime.live import Loaded
from monitor.runtime.rules import load
from monitor.settings import Settings

_log = get_logger("ingest")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command; those that are keys of the settings have their names."""
    parser.add_argument("--settings", metavar="FILE", help=f"default: {SETTINGS_FILE}, if it is there")
    parser.add_argument(
        "--microsystems", metavar="FILE", help="the registry: of it the sources, which say how to read them"
    )
    parser.add_argument("--mllp-host", metavar="HOST", help="default: 127.0.0.1")
    parser.add_argument(
        "--mllp-port", metavar="PORT", help="HL7 v2 over MLLP; default: 2575, 0: any that is free"
    )
    parser.add_argument("--http-host", metavar="HOST", help="default: 127.0.0.1")
    parser.add_argument("--http-port", metavar="PORT", help="events, FHIR, metrics; default: 8080")
    parser.add_argument("--log-level", metavar="LEVEL", help="debug, info, warning or error; default: info")


def run(args: argparse.Namespace, streams: Streams) -> int:
    """Run until SIGTERM or SIGINT."""
    settings = settings_of(args, streams)
    cluster = cluster_of(settings)
    if settings.follow:
        raise Failed(
            USAGE, "ingest: it keeps no note of how far files were read: `follow` is for `handoff run`"
        )
    refuse_differences(cluster)
    try:
        access = Access(Tokens(Path(settings.http.tokens)) if settings.http.tokens else None)
    except TokensError as error:
        raise Failed(UNABLE, str(error)) from error
    gc.set_threshold(50_000, 10, 10)  # each connection to a broker that fails leaves cycles behind
    service = Ingesting(settings, cluster, _registry_of(settings, streams), LiveClock())
    with logged_to(streams.stderr, level=settings.log_level):
        try:
            asyncio.run(_serve(service, access))
        except OSError as error:
            raise Failed(UNABLE, f"cannot listen: {error.strerror or error}") from error
    return FINE


def _registry_of(settings: Settings, streams: Streams) -> Loaded:
    """The registry, and no rules: those are for workers."""
    loaded, problems = load((), settings.microsystems)
    streams.note("".join(as_text(problem) + "\n" for problem in problems))
    if loaded is None:
        raise Failed(PROBLEMS)
    return loaded


async def _serve(service: Ingesting, access: Access) -> None:
    ended = ended_by_signals()
    try:
        with listening("mllp", service.settings.mllp.host, service.settings.mllp.port):
            await service.start()
        web = Web(make_app(_parts(service, access)), service.settings.http)
        with listening("http", service.settings.http.host, service.settings.http.port):
            await web.start()
        _log.info("web_started", host=service.settings.http.host, port=web.port)
        await ended.wait()
        _log.info("service_stopping")
        await web.stop()
    finally:
        await service.stop()


def _parts(service: Ingesting, access: Access) -> Parts:
    """What the web application is made of: no desk, for nothing is known here that could be asked for."""
    return Parts(
        intake=service.intake,
        access=access,
        health=service,
        metrics=service.metrics.exposition,
        now=service.clock.now,
        on_gap=service.gap,
        on_fault=lambda error: _log.error("request_failed", exc_info=error),
        limits=Limits(largest_bytes=service.settings.http.largest_kilobytes * 1024),
    )
