"""`handoff worker`: judges what `handoff ingest` has put into Kafka. As many may run as there are partitions."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Final

from monitor.board.app import Parts, make_app
from monitor.board.auth import Access
from monitor.board.server import Web
from monitor.commands.run import SETTINGS_FILE, loaded_of, settings_of
from monitor.commands.serving import ended_by_signals, listening
from monitor.commands.streams import FINE, UNABLE, USAGE, Failed, Streams
from monitor.commands.topics import cluster_of, refuse_differences
from monitor.log import get_logger, logged_to
from monitor.runtime.clock import LiveClock
from monitor.runtime.working import Working
from monitor.settings import Cluster

_LEAST_SECRET: Final = 16
"""Bytes."""
_log = get_logger("worker")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command; those that are keys of the settings have their names."""
    parser.add_argument("--settings", metavar="FILE", help=f"default: {SETTINGS_FILE}, if it is there")
    parser.add_argument("--data", metavar="DIR", help="where its notes are kept; default: handoff-data")
    parser.add_argument("--rules", nargs="+", metavar="PATH", help="rule files, directories or pack:NAME")
    parser.add_argument(
        "--microsystems", metavar="FILE", help="the registry: microsystems, their locations, sources"
    )
    parser.add_argument("--http-host", metavar="HOST", help="default: 127.0.0.1")
    parser.add_argument("--http-port", metavar="PORT", help="metrics and health; default: 8080")
    parser.add_argument("--log-level", metavar="LEVEL", help="debug, info, warning or error; default: info")


def run(args: argparse.Namespace, streams: Streams) -> int:
    """Run until SIGTERM or SIGINT."""
    settings = settings_of(args, streams)
    if not settings.rules:
        raise Failed(USAGE, "worker: which rules? Name them with --rules, or as `rules` in the settings")
    cluster = cluster_of(settings)
    secret = _secret_of(cluster)
    loaded = loaded_of(settings, streams)
    refuse_differences(cluster)
    with logged_to(streams.stderr, level=settings.log_level):
        try:
            asyncio.run(_serve(lambda: Working(settings, cluster, loaded, secret, LiveClock())))
        except OSError as error:
            raise Failed(UNABLE, f"cannot listen: {error.strerror or error}") from error
    return FINE


def _secret_of(cluster: Cluster) -> bytes:
    """The key by which pseudonyms are made: the same for all workers, or a patient would have two."""
    if cluster.secret_file is None:
        raise Failed(
            USAGE,
            "worker: name a file with the key of pseudonyms, `secret_file` under `cluster` in the settings",
        )
    try:
        secret = Path(cluster.secret_file).read_bytes().strip()
    except OSError as error:
        raise Failed(UNABLE, f"{cluster.secret_file} cannot be read: {error.strerror}") from error
    if len(secret) < _LEAST_SECRET:
        raise Failed(UNABLE, f"{cluster.secret_file} must hold {_LEAST_SECRET} bytes or more")
    return blake2b(secret, digest_size=32).digest()


async def _serve(make: Callable[[], Working]) -> None:
    ended = ended_by_signals()
    service = make()
    web = Web(make_app(_parts(service)), service.settings.http)
    with listening("http", service.settings.http.host, service.settings.http.port):
        await web.start()
    try:
        _log.info("web_started", host=service.settings.http.host, port=web.port)
        service.start()
        await ended.wait()
        _log.info("service_stopping")
    finally:
        await service.stop()
        await web.stop()


def _parts(service: Working) -> Parts:
    """What the web application is made of: health and metrics, nothing to ask and no way in."""
    return Parts(
        intake=None,
        access=Access(None),
        health=service,
        metrics=service.metrics.exposition,
        now=service.clock.now,
        on_gap=lambda *_: None,
        on_fault=lambda error: _log.error("request_failed", exc_info=error),
    )
