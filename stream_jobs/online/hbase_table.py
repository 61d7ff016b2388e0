"""How edits lie in HBase: a table for each view, a row for each entity, a column for each edit.

    row key    2 bytes of SHA-256(entity), which spread entities over regions, then the entity's UTF-8 text
    column     e:<qualifier>; qualifier = event time (8 bytes, big-endian, sign bit turned, so that bytes sort as times)
               · position (16 bytes) · sign (1 byte: 0 for -1, 1 for +1) · row id (UTF-8)
    cell       the edit as JSON (``records.Edit``), as it came: the table can be read by anything

A qualifier names its edit, so writing an edit again writes the same cell, and nothing is ever overwritten by another.
"""

from __future__ import annotations

import hashlib

from appliance.records import Edit

FAMILY = "e"
OPTIONS = {FAMILY: {"max_versions": 1, "compression": "NONE"}}

_SIGN_BIT = 2**63


def row_key(entity: str) -> bytes:
    raw = entity.encode()
    return hashlib.sha256(raw).digest()[:2] + raw


def column(edit: Edit) -> bytes:
    """Family and qualifier of an edit's cell."""
    return (
        b"e:"
        + time_prefix(edit.event_time)
        + bytes.fromhex(edit.position)
        + bytes([edit.sign > 0])
        + edit.row_id.encode()
    )


def time_prefix(event_time: int) -> bytes:
    """The first 8 bytes of every qualifier with this event time (int64 µs)."""
    return (event_time + _SIGN_BIT).to_bytes(8, "big")


def position_of(qualifier: bytes) -> str:
    """The position in a qualifier (without its family), 32 hex digits."""
    return qualifier[8:24].hex()
