"""Who a prediction is: an id that a retry of the same row gives again."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence

_SEPARATOR = b"\x1f"


def _digest(parts: Sequence[str]) -> bytes:
    return hashlib.sha256(_SEPARATOR.join(part.encode() for part in parts)).digest()


def prediction_id(
    tenant: str, service: str, way: str, event_key: str, position_or_request: str, first_attempt_us: int
) -> str:
    """UUIDv7 (RFC 9562): ``first_attempt_us`` as 48 bits of milliseconds, then 74 bits of the identity's SHA-256.

    The same identity and first attempt give the same id; for a captured row the first attempt is its commit time.
    """
    random = int.from_bytes(_digest((tenant, service, way, event_key, position_or_request)), "big")
    value = (first_attempt_us // 1000 & (1 << 48) - 1) << 80
    value |= 0x7 << 76 | (random >> 180 & 0xFFF) << 64
    value |= 0b10 << 62 | random & (1 << 62) - 1
    return str(uuid.UUID(int=value))


def alert_id(tenant: str, service: str, event_key: str) -> str:
    """The same for every way and every retry of one event. 32 hex digits."""
    return _digest((tenant, service, event_key)).hex()[:32]
