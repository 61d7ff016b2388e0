"""How much more write-ahead log capturing causes: reasoned, not measured, from PostgreSQL's own statistics.

A table with REPLICA IDENTITY FULL logs the whole old row with every update and delete, where it logged the key before.
Rates are those since the statistics were last reset; widths are the planner's averages. The heartbeat updates one row.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.parts.base import Context
from stream_jobs.source.postgres_checks import Connection
from stream_jobs.source.record import Source

_RECORD_BYTES = 48
"""Tuple header, item and alignment of an old row in the log (PostgreSQL 15, ``xl_heap_header`` and ``htup``)."""
_HEARTBEAT_BYTES = 250
"""One update of the heartbeat row with its commit, without full-page images."""
_DAY_SECONDS = 86_400


@dataclass(frozen=True)
class Growth:
    """More bytes of write-ahead log a day. changes_per_day: updates and deletes. width: mean bytes of a row."""

    what: str
    bytes_per_day: int
    changes_per_day: float = 0.0
    width: int = 0


_QUERY = b"""
SELECT coalesce(s.n_tup_upd + s.n_tup_del, 0)
         / greatest(extract(epoch FROM now() - coalesce(d.stats_reset, pg_postmaster_start_time())), 60) * 86400,
       coalesce((SELECT sum(avg_width) FROM pg_stats w WHERE w.schemaname = n.nspname AND w.tablename = c.relname), 0)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
LEFT JOIN pg_stat_database d ON d.datname = current_database()
WHERE c.oid = to_regclass(%s)
"""


def expected(context: Context, connection: Connection, source: Source) -> list[Growth]:
    """Growth by each thing that is touched."""
    found = []
    for table in source.tables:
        row = connection.execute(_QUERY, (table.name,)).fetchone()
        if row is None or not table.full_identity:
            continue
        changes, width = float(row[0]), int(row[1])
        found.append(
            Growth(f"replica identity FULL of {table.name}", round(changes * (width + _RECORD_BYTES)), changes, width)
        )
    beats = _DAY_SECONDS * 1000 / context.settings.cdc.heartbeat_interval_ms
    return [*found, Growth("heartbeat", round(beats * _HEARTBEAT_BYTES), beats)]
