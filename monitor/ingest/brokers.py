"""How the brokers of a Kafka cluster are reached, by whatever client, and why they are not.

kafka-python has no types, and is imported only by who uses Kafka.
"""

from __future__ import annotations

import logging
import re
import ssl
from functools import cache
from pathlib import Path
from socket import socket
from typing import Any, Final

from monitor.settings import Brokers

ANSWER_MILLISECONDS: Final = 5_000
"""Brokers that answer nothing for so long are taken as gone."""
_SECURITY: Final = {"none": "PLAINTEXT", "tls": "SSL", "sasl": "SASL_PLAINTEXT", "sasl-tls": "SASL_SSL"}
_NOT_CONNECTED = re.compile(r"onnection (?:to \S+ )?failed: (.*?)(?: \(backoff .*)?$")


class Trouble(Exception):  # noqa: N818 - it says what is the matter
    """Why a cluster cannot be used, for people."""


def connected(kind: Any, source: Brokers, *topics: str, **options: Any) -> Any:
    """A client of the library, of a kind such as `kafka.KafkaConsumer`, that has reached the brokers.

    Raises what the library, the system or `Trouble` has to say when that is not possible.
    """
    made = []

    def client(**config: Any) -> Any:
        made.append(kind.DEFAULT_CONFIG["kafka_client"](**config))
        return made[-1]

    try:
        return kind(
            *topics,
            bootstrap_servers=source.brokers,
            kafka_client=client,
            proxy_url=_tidy(),
            bootstrap_timeout_ms=ANSWER_MILLISECONDS,
            reconnect_backoff_max_ms=ANSWER_MILLISECONDS,
            **security(source),
            **options,
        )
    except BaseException:
        for each in made:  # a client that could not be made leaves its thread behind
            each.close()
        raise


@cache
def _tidy() -> str:
    """By its proxies the library lets others connect its sockets: ours is none, but closes those that could not be connected.

    The library leaves them to the garbage collector, which hardly ever runs here; in an outage there would soon be too many.
    """
    from kafka.net import KafkaNetSocket  # type: ignore[import-untyped]  # noqa: PLC0415 - only who uses Kafka pays for it

    class Tidy(KafkaNetSocket):  # type: ignore[misc]  # the library has no types
        SCHEMES = ("tidy",)

        async def sock_connect(self, net: Any, sock: socket, *rest: Any, **more: Any) -> Any:
            try:
                return await super().sock_connect(net, sock, *rest, **more)
            except BaseException:
                sock.close()
                raise

    return "tidy://"


def security(source: Brokers) -> dict[str, Any]:
    """Files are read anew for each connection, so that secrets and certificates may be renewed. Raises `OSError`, `Trouble`."""
    options: dict[str, Any] = {"security_protocol": _SECURITY[source.security]}
    if source.security in ("tls", "sasl-tls"):
        context = ssl.create_default_context(cafile=source.ca)
        if source.certificate is not None:
            context.load_cert_chain(source.certificate, source.key)
        options["ssl_context"] = context
    if source.security in ("sasl", "sasl-tls") and source.password_file is not None:
        options["sasl_mechanism"] = source.mechanism
        options["sasl_plain_username"] = source.user
        options["sasl_plain_password"] = Path(source.password_file).read_text(encoding="utf-8").rstrip()
        if not options["sasl_plain_password"]:
            raise Trouble(f"{source.password_file} is empty")
    return options


def why(error: Exception, source: Brokers, said: Complaints) -> str:
    """What an error means, without anything of a message."""
    from kafka.errors import KafkaError  # type: ignore[import-untyped]  # noqa: PLC0415 - only who uses Kafka pays for it

    if isinstance(error, KafkaError) and error.retriable:
        because = said.last
        if "disconnected" in because and source.security.startswith("sasl"):
            because += ": are `user` and `password_file` right?"  # brokers hang up on strangers
        return f"no answer from {', '.join(source.brokers)}" + (f" ({because})" if because else "")
    if isinstance(error, (KafkaError, OSError, Trouble)):
        return str(error)
    return f"the Kafka client failed ({type(error).__name__})"


class Complaints(logging.Handler):
    """Why a client of the library could not connect, the last time that it said so: its errors only tell that time was up.

    Its threads have its `client_id` in their names.
    """

    def __init__(self, client_id: str) -> None:
        super().__init__(logging.WARNING)
        self.last = ""
        self._client_id = client_id

    def listen(self) -> None:
        logging.getLogger("kafka").addHandler(self)

    def end(self) -> None:
        logging.getLogger("kafka").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        said = _NOT_CONNECTED.search(record.getMessage())
        if said is None or self._client_id not in str(record.threadName):
            return
        if (
            not self.last or "timed out" not in said[1]
        ):  # the time that it gives itself runs out at last anyway
            self.last = said[1]
