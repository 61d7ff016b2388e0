"""Edits of an entity as known at any position, from HBase."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec

from appliance.clients import hbase
from appliance.names import Names
from appliance.parts.base import Context
from appliance.records import Edit
from stream_jobs.online import hbase_table
from stream_jobs.plan import View

_DECODER = msgspec.json.Decoder(Edit)


class HBaseHistory:
    """What ``writer-hbase`` has written, read over a connection a thread, opened when first needed.

    Calls raise one of ``appliance.clients.hbase.FAILURES`` when HBase does not answer.
    """

    def __init__(self, connect: Callable[[], Any], names: Names) -> None:
        self._connect, self._names = connect, names
        self._local = threading.local()

    @classmethod
    def of(cls, context: Context) -> HBaseHistory:
        return cls(lambda: hbase.connect(context), context.names)

    def _table(self, view: View) -> Any:
        if not hasattr(self._local, "connection"):
            self._local.connection = self._connect()
        return self._local.connection.table(self._names.hbase_table(view.name, view.version))

    def edits(self, view: View, entity: str, cut: str) -> list[Edit]:
        """The entity's edits with position ≤ cut (32 hex digits), in event time order; none if it was never seen."""
        return _up_to(self._table(view).row(hbase_table.row_key(entity)), cut)

    def edits_of(self, view: View, entities: list[str], cut: str) -> dict[str, list[Edit]]:
        """The same for many entities in one call; those never seen are left out."""
        names = {hbase_table.row_key(entity): entity for entity in entities}
        return {names[key]: _up_to(cells, cut) for key, cells in self._table(view).rows(list(names))}


def _up_to(cells: dict[bytes, bytes], cut: str) -> list[Edit]:
    prefix = len(hbase_table.FAMILY) + 1
    return [
        _DECODER.decode(value) for name, value in sorted(cells.items()) if hbase_table.position_of(name[prefix:]) <= cut
    ]
