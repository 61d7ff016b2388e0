"""How far a change table has been filled: a small file beside its Delta log, written by ``writer-lake``.

The table's own log says which offsets it holds, and moves only with rows. This file follows the markers too, so that a
reader knows up to which position the table is complete while its source is quiet. It never claims too much: it is
written after the commit, and replaced in one step.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from appliance import position as positions

FILE = "_reached.json"


class Reached(msgspec.Struct, frozen=True):
    """Every change with a position up to ``position`` is in the table; known_at: commit time there, µs.

    offsets: partition → offset; every change that stands before it in the table's topic is in the table.
    """

    position: str = positions.ZERO
    known_at: int = 0
    offsets: dict[int, int] = {}


def read(table: Path) -> Reached:
    """Of the change table in that folder; nothing at all if nothing has been said yet."""
    path = table / FILE
    return msgspec.json.decode(path.read_bytes(), type=Reached) if path.exists() else Reached()


def write(table: Path, reached: Reached) -> None:
    temporary = table / f"{FILE}.new"
    temporary.write_bytes(msgspec.json.encode(reached))
    temporary.replace(table / FILE)
