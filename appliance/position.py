"""Positions: 16 bytes that grow in commit order across one source, written as 32 lower-case hex digits.

PostgreSQL: the last commit's LSN, then the row's own LSN, 8 bytes each, big-endian, from Debezium's
``source.sequence`` (``["<last commit LSN or null>","<own LSN>"]``, both decimal).
"""

from __future__ import annotations

import json

ZERO = "0" * 32
LAST = "f" * 32


def from_postgres(sequence: str) -> str:
    """Position of a PostgreSQL change. Raises ValueError when ``sequence`` is not Debezium's."""
    last_commit, own = json.loads(sequence)
    return f"{int(last_commit or 0):016x}{int(own or 0):016x}"


def pack(position: str) -> bytes:
    """32 hex digits → 16 bytes. Their order is the positions' order."""
    raw = bytes.fromhex(position)
    if len(raw) != 16:
        raise ValueError(f"a position has 32 hex digits, got {position!r}")
    return raw


def unpack(raw: bytes) -> str:
    return raw.hex()
