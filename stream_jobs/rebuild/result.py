"""What a rebuild says while it runs and when it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Progress:
    """what: the step now. done and of: edits, of is 0 while it is not known."""

    what: str = ""
    done: int = 0
    of: int = 0


Tell = Callable[[Progress], None]


@dataclass(frozen=True)
class Result:
    """entities, edits: written. changed: entities whose content was another than the lake says (unknown ones too).

    unknown: entities (Redis) or edits (HBase) that the store had and the lake does not know; they are gone. missing:
    edits that HBase lacked or had otherwise. refused: edits that do not fit the view, as the writer refuses them.
    bytes_before, bytes_after: of the entities' content; HBase: read, and written.
    """

    store: str
    view: str
    entities: int
    edits: int
    changed: int
    unknown: int
    missing: int
    refused: int
    bytes_before: int
    bytes_after: int
    lake_version: int
    position: str
    seconds: float
