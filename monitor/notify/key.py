"""The name of one delivery, the same each time it is sent, by which the other side can tell that it has it already."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from hashlib import blake2b

import msgspec

from monitor.notify.notice import Delivery


def key(deliveries: Sequence[Delivery]) -> str:
    """Made of alert, sequence and receiver of each; 32 hexadecimal digits."""
    digest = blake2b(digest_size=16)
    for each in deliveries:
        generation, at, number = each.notice.sequence
        name = [each.notice.alert, generation, at.astimezone(UTC).isoformat(), number, each.receiver]
        digest.update(msgspec.json.encode(name))
    return digest.hexdigest()
