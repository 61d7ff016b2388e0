"""Edits of an entity as known at any position, from HBase."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from appliance import position as positions
from appliance.clients import hbase
from appliance.names import Names
from appliance.parts.base import Context
from appliance.records import Edit
from stream_jobs.online import hbase_table
from stream_jobs.plan import View

_DECODER = msgspec.json.Decoder(Edit)
_SCAN_ROWS = 100
_SCAN_CELLS = 200
"""Of one row in one answer: a row with more comes in several."""


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

    def scan(self, view: View, entities: Sequence[str]) -> Iterator[tuple[str, list[Edit]]]:
        """Every edit of many entities, by event time; those never seen are left out.

        entities: in the order of ``hbase_table.row_key``. One scan goes on from row to row, and begins again at the
        next entity where none of the rows read last was asked for. No answer of HBase holds more than some thousand
        edits, however many an entity has. A scan that HBase's restart breaks raises.
        """
        table = self._table(view)
        wanted = [hbase_table.row_key(entity) for entity in entities]
        at = 0
        while at < len(wanted):
            edits: list[Edit] = []
            missed = 0
            rows = table.scan(
                row_start=wanted[at], row_stop=wanted[-1] + b"\0", batch_size=_SCAN_ROWS, scan_batching=_SCAN_CELLS
            )
            for key, cells in rows:
                while at < len(wanted) and wanted[at] < key:
                    if edits:
                        yield entities[at], edits
                    at, edits = at + 1, []
                if at == len(wanted):
                    break
                if key != wanted[at]:
                    missed += 1
                    if missed == _SCAN_ROWS:
                        break
                    continue
                missed = 0
                edits += _up_to(cells, positions.LAST)
            else:
                if edits:
                    yield entities[at], edits
                return
            rows.close()


def _up_to(cells: dict[bytes, bytes], cut: str) -> list[Edit]:
    prefix = len(hbase_table.FAMILY) + 1
    return [
        _DECODER.decode(value) for name, value in sorted(cells.items()) if hbase_table.position_of(name[prefix:]) <= cut
    ]
