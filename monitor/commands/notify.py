"""`handoff notify`: tells the alerts that workers put into Kafka. Several may run, and share the work."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from monitor.board.app import Parts, make_app
from monitor.board.auth import Access, Tokens, TokensError
from monitor.board.desk import Desk
from monitor.board.server import Web
from monitor.commands.run import SETTINGS_FILE, loaded_of, settings_of
from monitor.commands.serving import ended_by_signals, listening
from monitor.commands.streams import FINE, UNABLE, Failed, Streams
from monitor.commands.topics import cluster_of, refuse_differences
from monitor.log import get_logger, logged_to
from monitor.runtime.clock import LiveClock
from monitor.runtime.database import StoreError
from monitor.runtime.notify_service import NotifyService

_ANSWERS = ("/api/alerts", "/api/audit", "/api/rules")
_log = get_logger("notify")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command; those that are keys of the settings have their names."""
    parser.add_argument("--settings", metavar="FILE", help=f"default: {SETTINGS_FILE}, if it is there")
    parser.add_argument(
        "--data", metavar="DIR", help="a directory for this notifier alone; default: handoff-data"
    )
    parser.add_argument("--rules", nargs="+", metavar="PATH", help="rule files, directories or pack:NAME")
    parser.add_argument("--microsystems", metavar="FILE", help="the registry, for who answers for a place")
    parser.add_argument("--http-host", metavar="HOST", help="default: 127.0.0.1")
    parser.add_argument("--http-port", metavar="PORT", help="alerts, metrics; default: 8080")
    parser.add_argument("--log-level", metavar="LEVEL", help="debug, info, warning or error; default: info")
    parser.add_argument(
        "--open-to-loopback",
        action="store_true",
        help="programs on this machine may read without a token, as a viewer: pseudonyms and places",
    )


def run(args: argparse.Namespace, streams: Streams) -> int:
    """Run until SIGTERM or SIGINT."""
    settings = settings_of(args, streams)
    cluster = cluster_of(settings)
    loaded = loaded_of(settings, streams)
    refuse_differences(cluster)
    try:
        tokens = Tokens(Path(settings.http.tokens)) if settings.http.tokens else None
        access = Access(tokens, open_to_loopback=args.open_to_loopback)
        with logged_to(streams.stderr, level=settings.log_level):
            asyncio.run(_serve(NotifyService(settings, cluster, loaded, LiveClock()), access))
    except (StoreError, TokensError) as error:
        raise Failed(UNABLE, str(error)) from error
    except OSError as error:
        raise Failed(UNABLE, f"cannot listen: {error.strerror or error}") from error
    return FINE


async def _serve(service: NotifyService, access: Access) -> None:
    ended = ended_by_signals()
    try:
        service.start()
        web = Web(make_app(parts_of(service, access)), service.settings.http)
        with listening("http", service.settings.http.host, service.settings.http.port):
            await web.start()
        _log.info("web_started", host=service.settings.http.host, port=web.port)
        await ended.wait()
        _log.info("service_stopping")
        await web.stop()
    finally:
        await service.stop()


def parts_of(service: NotifyService, access: Access) -> Parts:
    """What the web application is made of: the alerts of the partitions that this notifier has, and nothing else."""
    return Parts(
        intake=None,
        access=access,
        health=service,
        metrics=service.metrics.exposition,
        now=service.clock.now,
        on_gap=lambda *_: None,
        on_fault=lambda error: _log.error("request_failed", exc_info=error),
        desk=Desk(service.reader, service.ledger, StoreError),
        rules=lambda: service.rules,
        answers=_ANSWERS,
    )
