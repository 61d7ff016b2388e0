"""Positions: 16 bytes that grow in commit order across one source, written as 32 lower-case hex digits.

They are read from Debezium's ``source`` block; ADR 0012 says what stands there when, and why the order is right.

- PostgreSQL: the last commit's LSN, then the record's own LSN, u64 each. Until the connector has seen a commit there is
  no last one: rows of its snapshot then have its base, and changes of the first transaction its base + 1. The base is
  an LSN read before the connector's slot was made; the connector writes it into every record.
- MariaDB and MySQL: number of the binlog file u32, offset of the event in it u64, number of the row in the event u32.
  The base is added to the file's number: 0, unless the server began to count its files anew.

``stream_jobs/compiler/sql.py`` says the same in SQL; ``tests/integration/flink_oracle.py`` holds both to one truth.
"""

from __future__ import annotations

import re

from appliance.records import ChangeSource

ZERO = "0" * 32
LAST = "f" * 32

STREAMED = ("false", "incremental")
"""Values of ``source.snapshot`` of records that stand in the order of the stream."""

SEQUENCE = r'^\[(null|"[0-9]{1,19}"), ?"([0-9]{1,19})"\]$'
FILE_NUMBER = r"[.]([0-9]{1,9})$"
FIRST_EVENT = 4
"""Offset of the first event in a binlog file. MariaDB 11.4 can write 0 into events: those have no place."""
MOST_OFFSET, MOST_ROW = 10**18 - 1, 10**9 - 1

_LARGEST = 2**63 - 1


def of(source: ChangeSource, base: str = "0") -> str:
    """Position of a change; ``base`` is its ``appliance_base``, in decimal an LSN or a number of files.

    Raises ValueError when the block has none, or one that is not Debezium's.
    """
    return _binlog(source, base) if source.sequence is None else _postgres(source, source.sequence, base)


def _postgres(source: ChangeSource, sequence: str, base: str) -> str:
    """``sequence``: ``["<last commit LSN or null>","<own LSN>"]``, both decimal."""
    found = re.match(SEQUENCE, sequence)
    if found is None:
        raise ValueError(f"sequence {sequence} is no pair of LSNs")
    first = int(base) + (source.snapshot in STREAMED)
    last_commit, own = first if found[1] == "null" else int(found[1].strip('"')), int(found[2])
    if not (0 <= last_commit <= _LARGEST and own <= _LARGEST):
        raise ValueError(f"sequence {sequence} with base {base} is beyond 63 bits")
    return f"{last_commit:016x}{own:016x}"


def _binlog(source: ChangeSource, base: str) -> str:
    file, offset, row = source.file or "", source.pos or 0, -1 if source.row is None else source.row
    found = re.search(FILE_NUMBER, file)
    if found is None or not (FIRST_EVENT <= offset <= MOST_OFFSET and 0 <= row <= MOST_ROW):
        raise ValueError(f"neither a pair of LSNs nor a place in a binlog: file {file!r}, pos {offset}, row {row}")
    return f"{int(found[1]) + int(base):08x}{offset:016x}{row:08x}"


def pack(position: str) -> bytes:
    """32 hex digits → 16 bytes. Their order is the positions' order."""
    raw = bytes.fromhex(position)
    if len(raw) != 16:
        raise ValueError(f"a position has 32 hex digits, got {position!r}")
    return raw


def unpack(raw: bytes) -> str:
    return raw.hex()
