"""Vectors from the online store: one MGET, then the window algebra. The scorer's three ways in all read through here.

    reader = OnlineReader(redis, names, plan, history)       # history: hbase_read.History or None
    vectors = reader.vectors(service, [RowInHand(as_of=…, row={…}, position=None), …])
    vectors[0].features["customer_payments:amount_mean_7d"].value
    vectors.matrix(["customer_payments:amount_mean_7d", …])   # float64 [rows, features]

A caller that fetches the bytes itself (the tiles of dense entities are fetched by the reader):

    lookup = reader.lookup(service, rows)
    vectors = lookup.vectors(await async_redis.mget(lookup.keys))

The row in hand: ``as_of`` is its event time; its entities, id and columns are taken from ``row`` by the names the plan
gives. It is added to the views in ``service.row_views`` (by id: a stored row with its id is replaced), to no others.
``position``: the row's own for CDC, None for HTTP and Kafka.

The cut of each view: the position reached, and for CDC not above the row's own. So a CDC row that is scored before the
view has reached it (``behind``) uses what is known to be complete, and the recorded cut gives the same vector again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from appliance.names import Names
from appliance.records import Edit, FeatureValue, Value
from stream_jobs.errors import PackedError
from stream_jobs.online import reached as reached_positions
from stream_jobs.online.answers import Answer, Answers, mget
from stream_jobs.online.packed import RowLayout
from stream_jobs.online.reached import Reached
from stream_jobs.online.view_reader import Fetch, History, Values, ViewReader, Wants, text
from stream_jobs.plan import Plan, Service, View

SEPARATOR = "\x1f"
_TRIES = 5


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


class Vectors(Sequence[Vector]):
    """The vectors of some rows, in their order, each made when it is asked for.

    ages_ms: view → age of the position reached, None if it has reached none. also: values of the further keys that were
    read with them.
    """

    def __init__(
        self,
        found: Mapping[str, tuple[Reached | None, Values]],
        own: Sequence[str | None],
        also: Sequence[bytes | None] = (),
    ) -> None:
        self._found, self._own, self.also = found, own, also
        self.ages_ms = {name: values.age_ms for name, (_, values) in found.items()}
        self._reached = {name: one.position if one else "" for name, (one, _) in found.items()}
        self._full: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return len(self._own)

    @overload
    def __getitem__(self, row: int) -> Vector: ...
    @overload
    def __getitem__(self, row: slice) -> list[Vector]: ...
    def __getitem__(self, row: int | slice) -> Vector | list[Vector]:
        if isinstance(row, slice):
            return [self[one] for one in range(*row.indices(len(self)))]
        row = range(len(self))[row]
        features: dict[str, FeatureValue] = {}
        cuts = {}
        for name, (_, values) in self._found.items():
            of_row = values.of(row)
            if name not in self._full:
                self._full[name] = [f"{name}:{feature}" for feature in of_row]
            features.update(zip(self._full[name], of_row.values(), strict=True))
            cuts[name] = values.cuts[row]
        own = self._own[row]
        behind = own is not None and any(position < own for position in self._reached.values())
        return Vector(features, cuts, self._reached, behind)

    def __iter__(self) -> Iterator[Vector]:
        return (self[row] for row in range(len(self)))

    def matrix(self, features: Sequence[str]) -> NDArray[np.float64]:
        """float64 [rows, features] of "view:feature" names, NaN for null. Raises TypeError for a list of values."""
        matrix = np.empty((len(self), len(features)))
        for column, name in enumerate(features):
            view, _, feature = name.partition(":")
            matrix[:, column] = self._found[view][1].number(feature)
        return matrix


def entity_text(view: View, row: Mapping[str, Value]) -> str | None:
    """The Kafka and Redis key of a row's entity: join key values as text, joined by U+001F; None if one is null."""
    (found,) = entity_texts(view, (row,))
    return found


def entity_texts(view: View, rows: Iterable[Mapping[str, Value]]) -> list[str | None]:
    """``entity_text`` of many rows."""
    if len(view.join_keys) == 1:
        (key,) = view.join_keys
        values = [row.get(key) for row in rows]
        return [
            str(value) if type(value) is int else value if value is None or type(value) is str else text(value)
            for value in values
        ]
    keys = ([row.get(key) for key in view.join_keys] for row in rows)
    return [None if None in of_row else SEPARATOR.join(map(text, of_row)) for of_row in keys]


class Lookup:
    """One read: the keys to MGET, in order, and what makes values of the answer. also: further keys to read with it.

    The tiles that the last read of a dense entity took are read along: nearly always they are those that this one
    takes, and it needs no second round trip.
    """

    def __init__(
        self,
        names: Names,
        readers: Sequence[ViewReader],
        wants: Mapping[str, Wants],
        fetch: Fetch,
        also: Sequence[str] = (),
    ) -> None:
        self._readers, self._wants, self._fetch, self._also = readers, wants, fetch, also
        self._reached = [reached_positions.key(names, reader.view) for reader in readers]
        self._texts, self._places, self._ends = list[Sequence[str]](), list[Sequence[int]](), list[int]()
        end = len(readers)
        for reader in readers:
            entities = wants[reader.view.name].entities
            texts: Sequence[str]
            if None in (unique := dict.fromkeys(entities)) or len(unique) < len(entities):
                unique.pop(None, None)
                texts = [one for one in unique if one is not None]
                at: dict[str | None, int] = {one: place for place, one in enumerate(texts, start=end)}
                self._places.append([at.get(entity, -1) for entity in entities])
            else:
                texts = entities  # type: ignore[assignment]
                self._places.append(range(end, end + len(texts)))
            self._texts.append(texts)
            end += len(texts)
            self._ends.append(end)
        self._also_end = end + len(self._also)
        pairs = zip(readers, self._texts, strict=True)
        self._tiles = [key for reader, texts in pairs if reader.tiles for key in reader.tiles.of(texts)]

    @property
    def keys(self) -> list[str]:
        """The keys to read."""
        pairs = zip(self._readers, self._texts, strict=True)
        features = (reader.key_prefix + text for reader, texts in pairs for text in texts)
        return [*self._reached, *features, *self._also, *self._tiles]

    @property
    def count(self) -> int:
        return self._also_end + len(self._tiles)

    @property
    def command(self) -> bytes:
        """MGET of the keys, packed."""
        prefixes = (reader.key_prefix for reader in self._readers)
        entities = zip(prefixes, self._texts, strict=True)
        return mget(self.count, [("", self._reached), *entities, ("", self._also), ("", self._tiles)])

    def found(self, answer: Answer) -> dict[str, tuple[Reached | None, Values]]:
        """View → position reached and what each row finds. answer: the values of ``keys``."""
        found = {}
        for place, reader in enumerate(self._readers):
            answer.need(self._ends[place])
            reached = reached_positions.decode(answer.value(place))
            name = reader.view.name
            found[name] = (reached, reader.find(self._wants[name], answer, self._places[place], reached))
        answer.need(self.count)
        self._resolve({name: values for name, (_, values) in found.items()}, answer)
        return found

    def _resolve(self, found: Mapping[str, Values], answer: Answer) -> None:
        """Fetch the tiles of dense entities that are not in the answer, of all views at once; again for those that were
        written anew meanwhile."""
        tiles = {key: answer.value(place) for place, key in enumerate(self._tiles, start=self._also_end)}
        for _ in range(_TRIES):
            if not any(values.pending for values in found.values()):
                return
            keys = [key for values in found.values() for one in values.pending for key in one.asked.keys]
            missing = [key for key in keys if tiles.get(key) is None]
            tiles |= zip(missing, self._fetch(missing) if missing else (), strict=True)
            for reader in self._readers:
                reader.resolve(found[reader.view.name], self._wants[reader.view.name], self._fetch, tiles)
        raise PackedError(
            "packed.torn", f"tiles of a dense entity are gone, and still were after {_TRIES} reads of its key"
        )

    def vectors(self, raw: Sequence[bytes | None]) -> Vectors:
        """A vector for each row. raw: the values of ``keys``, in their order."""
        return self.made(Answer.of(raw))

    def made(self, answer: Answer) -> Vectors:
        """A vector for each row. answer: the values of ``keys``."""
        wants = next(iter(self._wants.values()), Wants((), ()))
        own = wants.positions or [None] * len(wants.entities)
        found = self.found(answer)
        also = range(self._also_end - len(self._also), self._also_end)
        return Vectors(found, own, [answer.value(place) for place in also])


class OnlineReader:
    """Reads vectors of the plan's views. redis: a redis-py client that returns bytes. One thread at a time."""

    def __init__(self, redis: Any, names: Names, plan: Plan, history: History | None = None) -> None:
        self._redis, self._names, self._plan = redis, names, plan
        self._answers = Answers(redis)
        self._views = {view.name: ViewReader(view, RowLayout.of(plan, view), names, history) for view in plan.views}

    def reached(self, service: Service) -> dict[str, Reached | None]:
        """View → position reached, for the views of a service."""
        return reached_positions.read(self._redis, self._names, [self._views[name].view for name in service.views])

    def wait_reached(self, service: Service, position: str, timeout_ms: int) -> bool:
        """Whether all views of a service reach ``position`` within ``timeout_ms``."""
        views = [self._views[name].view for name in service.views]
        return reached_positions.wait(self._redis, self._names, views, position, timeout_ms)

    def _fetch(self, keys: Sequence[str]) -> list[bytes | None]:
        values: list[bytes | None] = self._redis.mget(keys)
        return values

    def lookup(self, service: Service, rows: Sequence[RowInHand], also: Sequence[str] = ()) -> Lookup:
        """The keys to read for rows of a service, and what makes vectors of them. also: further keys to read."""
        as_of, in_hand = [row.as_of for row in rows], [row.row for row in rows]
        positions = [row.position for row in rows]
        own = None if not any(positions) else positions
        wants = {}
        for name in service.views:
            view = self._views[name].view
            entities = entity_texts(view, in_hand)
            wants[name] = Wants.of(view, entities, as_of, own, in_hand if name in service.row_views else None)
        return Lookup(self._names, [self._views[name] for name in service.views], wants, self._fetch, also)

    def vectors(
        self, service: Service, rows: Sequence[RowInHand], also: Sequence[str] = (), deadline: float | None = None
    ) -> Vectors:
        """A vector for each row. also: further keys, read in the same round trip. deadline: of ``time.monotonic``.

        Raises redis-py's errors when Redis does not answer in time, EditError for a value of a row that does not fit
        its column, and CutTooOldError when neither the store nor a history holds what a read needs.
        """
        lookup = self.lookup(service, rows, also)
        if not lookup.count:
            return lookup.vectors([])
        return self._answers.read(lookup.command, lookup.count, lookup.made, deadline)

    def values(self, view: str, entities: Sequence[str | None], as_of: int) -> list[dict[str, FeatureValue]]:
        """Feature → value of each entity of one view; as ``values_of``."""
        return self.values_of({view: entities}, as_of)[view][1]

    def values_of(
        self, entities: Mapping[str, Sequence[str | None]], as_of: int
    ) -> dict[str, tuple[Reached | None, list[dict[str, FeatureValue]]]]:
        """View → position reached and each entity's values, as of one time at the position reached, no row in hand.

        entities: view → entity texts (see ``entity_text``). as_of: µs UTC. One MGET for all.
        """
        wants = {view: Wants(some, [as_of] * len(some)) for view, some in entities.items()}
        lookup = Lookup(self._names, [self._views[view] for view in entities], wants, self._fetch)
        found = self._answers.read(lookup.command, lookup.count, lookup.found)
        return {
            view: (reached, [values.of(row) for row in range(len(entities[view]))])
            for view, (reached, values) in found.items()
        }


def hand(view: View, row: RowInHand) -> Edit | None:
    """The row in hand as an edit of a view of its table; None when a join key is null.

    A row that the view's filter leaves out is an edit that takes a stored row with its id out.
    """
    wants = Wants.of(view, [entity_text(view, row.row)], [row.as_of], [row.position], [row.row])
    return wants.hand(view, 0)
