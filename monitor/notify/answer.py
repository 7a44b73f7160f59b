"""HTTP out, as the sinks that use it share it: one client, and what an answer means."""

from __future__ import annotations

import ssl
from typing import Final

import httpx

from monitor.notify.notice import NotDelivered

ABOUT_US: Final = frozenset({401, 403, 404, 407, 408, 425, 429})
"""Refusals that say nothing of the notice: a wrong token or address, or too much at once. They end when somebody mends that."""


def client(tls: ssl.SSLContext | None) -> httpx.AsyncClient:
    """Follows no redirect, since what it sends is for one address only; waits ten seconds at most.

    Without `tls` it trusts what the machine trusts (`SSL_CERT_FILE` names another file of authorities).
    """
    return httpx.AsyncClient(
        verify=tls or ssl.create_default_context(),
        follow_redirects=False,
        timeout=httpx.Timeout(10.0, connect=5.0),
    )


async def post(client: httpx.AsyncClient, url: str, body: bytes, headers: dict[str, str]) -> None:
    """Post JSON; returns on an answer of 200 to 299. Raises `NotDelivered`, without the address, which may hold a secret."""
    try:
        response = await client.post(
            url, content=body, headers={"Content-Type": "application/json"} | headers
        )
    except httpx.TimeoutException:
        raise NotDelivered("no answer in time") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NotDelivered(f"no connection: {type(error).__name__}") from None
    status = response.status_code
    if 200 <= status < 300:
        return
    is_final = 400 <= status < 500 and status not in ABOUT_US
    raise NotDelivered(f"answered with status {status}", retry=not is_final)


def bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}
