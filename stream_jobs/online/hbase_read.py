"""Edits of an entity as known at any position, from HBase."""

from __future__ import annotations

from typing import Any

import msgspec

from appliance.names import Names
from appliance.records import Edit
from stream_jobs.online import hbase_table
from stream_jobs.plan import View

_DECODER = msgspec.json.Decoder(Edit)


class HBaseHistory:
    """What ``writer-hbase`` has written. connection: ``appliance.clients.hbase.connect``. One thread at a time."""

    def __init__(self, connection: Any, names: Names) -> None:
        self._connection, self._names = connection, names

    def edits(self, view: View, entity: str, cut: str) -> list[Edit]:
        """The entity's edits with position ≤ cut (32 hex digits), in event time order; none if it was never seen."""
        table = self._connection.table(self._names.hbase_table(view.name, view.version))
        return _up_to(table.row(hbase_table.row_key(entity)), cut)

    def edits_of(self, view: View, entities: list[str], cut: str) -> dict[str, list[Edit]]:
        """The same for many entities in one call; those never seen are left out."""
        table = self._connection.table(self._names.hbase_table(view.name, view.version))
        names = {hbase_table.row_key(entity): entity for entity in entities}
        return {names[key]: _up_to(cells, cut) for key, cells in table.rows(list(names))}


def _up_to(cells: dict[bytes, bytes], cut: str) -> list[Edit]:
    prefix = len(hbase_table.FAMILY) + 1
    return [
        _DECODER.decode(value) for name, value in sorted(cells.items()) if hbase_table.position_of(name[prefix:]) <= cut
    ]
