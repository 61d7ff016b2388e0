"""The rule that settles what several sources say of one event.

1. Of what one kind of source says, its latest statement counts: the greatest ``known_at``, then the greatest id (text).
2. A statement without a label takes back what that kind of source said before: it then says nothing.
3. Of the kinds that say something, the one of highest authority counts: the business system's own label table, then a
   person at the console, then an app by HTTP, then a system by Kafka.

So neither the order in which statements come nor repeating one changes the answer, and a late statement counts as if it
had come in time. ``settle`` is the rule in plain Python, ``SQL`` the same for many events in DuckDB; tests hold them
against each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

Source = Literal["table", "console", "http", "kafka"]
AUTHORITY: tuple[Source, ...] = ("table", "console", "http", "kafka")
"""The highest first."""


class Statement(msgspec.Struct, frozen=True):
    """What a source says of one event. label: 1, 0, or None: taken back. known_at: µs UTC."""

    source: Source
    label: int | None
    known_at: int
    statement_id: str


class Settled(msgspec.Struct, frozen=True):
    """The answer, whose it is, and since when it is known. contradicted: another kind of source says the opposite."""

    label: int
    known_at: int
    source: Source
    contradicted: bool


def settle(statements: Iterable[Statement]) -> Settled | None:
    """The answer that follows from statements on one event; None if nobody says anything."""
    latest: dict[Source, Statement] = {}
    for one in statements:
        there = latest.get(one.source)
        if there is None or (one.known_at, one.statement_id) > (there.known_at, there.statement_id):
            latest[one.source] = one
    said = [latest[source] for source in AUTHORITY if source in latest and latest[source].label is not None]
    if not said:
        return None
    first = said[0]
    assert first.label is not None
    return Settled(first.label, first.known_at, first.source, any(one.label != first.label for one in said))


SQL = f"""
SELECT event_key, arg_min(label, authority) AS label, arg_min(known_at, authority) AS known_at,
  arg_min(source, authority) AS source, min(label) <> max(label) AS contradicted
FROM (
  SELECT *, list_position({list(AUTHORITY)!r}, source) AS authority FROM statements
  QUALIFY row_number() OVER (PARTITION BY event_key, source ORDER BY known_at DESC, statement_id DESC) = 1)
WHERE label IS NOT NULL
GROUP BY event_key
"""
"""The rule over a relation ``statements`` (event_key, source, label, known_at, statement_id): a row an event."""
