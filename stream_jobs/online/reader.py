"""Vectors from the online store: one MGET, then the window algebra. The scorer's three ways in all read through here.

    reader = OnlineReader(redis, names, plan, history)       # history: hbase_read.History or None
    vectors = reader.vectors(service, [RowInHand(as_of=…, row={…}, position=None), …])
    vectors[0].features["customer_payments:amount_mean_7d"].value

A caller with an event loop of its own fetches the bytes itself:

    lookup = reader.lookup(service, rows)
    vectors = lookup.vectors(await async_redis.mget(lookup.keys))

The row in hand: ``as_of`` is its event time; its entities, id and columns are taken from ``row`` by the names the plan
gives. It is added to the views in ``service.row_views`` (by id: a stored row with its id is replaced), to no others.
``position``: the row's own for CDC, None for HTTP and Kafka.

The cut of each view: the position reached, and for CDC not above the row's own. So a CDC row that is scored before the
view has reached it (``behind``) uses what is known to be complete, and the recorded cut gives the same vector again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance import position as positions
from appliance.names import Names
from appliance.records import Edit, FeatureValue, Value
from stream_jobs.online import reached as reached_positions
from stream_jobs.online.packed import RowLayout
from stream_jobs.online.reached import Reached
from stream_jobs.online.view_reader import Found, History, ViewReader, Want
from stream_jobs.plan import Plan, Service, View

SEPARATOR = "\x1f"


@dataclass(frozen=True)
class RowInHand:
    """A row to score. as_of: its event time, µs UTC. row: columns by name. position: 32 hex digits, None if not CDC."""

    as_of: int
    row: Mapping[str, Value]
    position: str | None = None


@dataclass(frozen=True)
class Vector:
    """features: "view:feature" → value. cuts: view → cut used. reached: view → position reached ("" if none).

    behind: a CDC row was scored before every view had reached its position.
    """

    features: dict[str, FeatureValue]
    cuts: dict[str, str]
    reached: dict[str, str]
    behind: bool


def entity_text(view: View, row: Mapping[str, Value]) -> str | None:
    """The Kafka and Redis key of a row's entity: join key values as text, joined by U+001F; None if one is null."""
    keys = [row.get(key) for key in view.join_keys]
    return None if None in keys else SEPARATOR.join(_text(key) for key in keys)


def _text(value: Value) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


class Lookup:
    """One read: ``keys`` to MGET, in order, and what makes vectors of the answer."""

    def __init__(self, names: Names, readers: Sequence[ViewReader], wants: Mapping[str, Sequence[Want]]) -> None:
        self._readers, self._wants = readers, wants
        places: dict[str, int] = {}
        for reader in readers:
            places.setdefault(reached_positions.key(names, reader.view), len(places))
        self._entities: dict[str, list[int | None]] = {}
        for reader in readers:
            self._entities[reader.view.name] = [
                None if want.entity is None else places.setdefault(reader.key(want.entity), len(places))
                for want in wants[reader.view.name]
            ]
        self.keys = list(places)

    def found(self, raw: Sequence[bytes | None]) -> dict[str, tuple[Reached | None, list[Found]]]:
        """View → position reached and what each row finds. raw: the values of ``keys``, in their order."""
        found = {}
        for place, reader in enumerate(self._readers):
            name = reader.view.name
            reached = reached_positions.decode(raw[place])
            logs = [None if at is None else raw[at] for at in self._entities[name]]
            found[name] = (reached, reader.find(self._wants[name], logs, reached))
        return found

    def vectors(self, raw: Sequence[bytes | None]) -> list[Vector]:
        """A vector for each row. raw: the values of ``keys``, in their order."""
        found = self.found(raw)
        reached = {name: one.position if one else "" for name, (one, _) in found.items()}
        vectors = []
        for row, wants in enumerate(zip(*self._wants.values(), strict=True)):
            features, cuts = {}, {}
            for name, (_, rows) in found.items():
                cuts[name] = rows[row].cut
                for feature, value in rows[row].values.items():
                    features[f"{name}:{feature}"] = value
            own = wants[0].position
            behind = own is not None and any(position < own for position in reached.values())
            vectors.append(Vector(features, cuts, reached, behind))
        return vectors


class OnlineReader:
    """Reads vectors of the plan's views. redis: a redis-py client that returns bytes. One thread at a time."""

    def __init__(self, redis: Any, names: Names, plan: Plan, history: History | None = None) -> None:
        self._redis, self._names, self._plan = redis, names, plan
        self._views = {view.name: ViewReader(view, RowLayout.of(plan, view), names, history) for view in plan.views}

    def reached(self, service: Service) -> dict[str, Reached | None]:
        """View → position reached, for the views of a service."""
        return reached_positions.read(self._redis, self._names, [self._views[name].view for name in service.views])

    def wait_reached(self, service: Service, position: str, timeout_ms: int) -> bool:
        """Whether all views of a service reach ``position`` within ``timeout_ms``."""
        views = [self._views[name].view for name in service.views]
        return reached_positions.wait(self._redis, self._names, views, position, timeout_ms)

    def lookup(self, service: Service, rows: Sequence[RowInHand]) -> Lookup:
        """The keys to read for rows of a service, and what makes vectors of them.

        Raises EditError for a value of a row that does not fit its column.
        """
        wants = {}
        for name in service.views:
            view = self._views[name].view
            wants[name] = [_want(view, row, name in service.row_views) for row in rows]
        return Lookup(self._names, [self._views[name] for name in service.views], wants)

    def vectors(self, service: Service, rows: Sequence[RowInHand]) -> list[Vector]:
        """A vector for each row. Raises redis-py's errors when Redis does not answer, CutTooOldError as it says."""
        lookup = self.lookup(service, rows)
        return lookup.vectors(self._redis.mget(lookup.keys) if lookup.keys else [])

    def values(self, view: str, entities: Sequence[str | None], as_of: int) -> list[dict[str, FeatureValue]]:
        """Feature → value of each entity of one view; as ``values_of``."""
        return self.values_of({view: entities}, as_of)[view][1]

    def values_of(
        self, entities: Mapping[str, Sequence[str | None]], as_of: int
    ) -> dict[str, tuple[Reached | None, list[dict[str, FeatureValue]]]]:
        """View → position reached and each entity's values, as of one time at the position reached, no row in hand.

        entities: view → entity texts (see ``entity_text``). as_of: µs UTC. One MGET for all.
        """
        wants = {view: [Want(entity, as_of) for entity in some] for view, some in entities.items()}
        lookup = Lookup(self._names, [self._views[view] for view in entities], wants)
        found = lookup.found(self._redis.mget(lookup.keys))
        return {view: (reached, [one.values for one in rows]) for view, (reached, rows) in found.items()}


def hand(view: View, row: RowInHand) -> Edit | None:
    """The row in hand as an edit of a view of its table; None when a join key is null."""
    entity = entity_text(view, row.row)
    if entity is None:
        return None
    row_id = row.row.get(view.row_id)
    return Edit(
        sign=1,
        position=row.position or positions.LAST,
        known_at=row.as_of,
        entity=entity,
        row_id="" if row_id is None else _text(row_id),
        event_time=row.as_of,
        columns={column.name: row.row.get(column.name) for column in view.columns},
    )


def _want(view: View, row: RowInHand, in_hand: bool) -> Want:
    return Want(entity_text(view, row.row), row.as_of, row.position, hand(view, row) if in_hand else None)
