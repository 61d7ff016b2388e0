"""Feast's online store of the appliance.

A windowed view (a ``StreamFeatureView`` with aggregations) is read as of the appliance clock, at the position it has
reached, with the reader that the gateway uses, so both give the same numbers. Its values are written by the stream jobs
alone. Every other view lies in Feast's own Redis layout and is left to Feast's own store.

Statuses: PRESENT; NULL_VALUE for a null; NOT_FOUND for an entity never seen, with an empty window's value;
OUTSIDE_MAX_AGE, with the value, when the position reached is older than the view's ``ttl``.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from weakref import WeakKeyDictionary

import redis.asyncio
from feast import Entity, FeatureView, RepoConfig, StreamFeatureView, utils
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from feast.type_map import python_values_to_proto_values

from appliance import users
from appliance.clients import redis as redis_clients
from appliance.clock import Clock
from appliance.context import current
from appliance.records import FeatureValue
from stream_jobs import plan as plans
from stream_jobs.errors import OnlineStoreError
from stream_jobs.online.hbase_read import HBaseHistory
from stream_jobs.online.reader import OnlineReader, entity_text
from stream_jobs.online.redis_log import forget
from stream_jobs.plan import Plan, View

ReadRow = tuple[datetime | None, dict[str, ValueProto] | None]


class ApplianceOnlineStoreConfig(RedisOnlineStoreConfig):
    """user: who the store is on Redis. Address and password are the appliance's, found through ``APPLIANCE_HOME``."""

    type: Literal["stream_jobs.online.feast_store.ApplianceOnlineStore"] = (
        "stream_jobs.online.feast_store.ApplianceOnlineStore"  # type: ignore[assignment]
    )
    user: str = users.ADMINISTRATOR


class _Windowed:
    """Reads windowed views as the plan now on disk defines them."""

    def __init__(self, user: str) -> None:
        self._context = current()
        self.redis = redis_clients.connect(self._context, user)
        self.names = self._context.names
        self._clock = Clock(self.redis, self.names.redis_clock())
        self._history = HBaseHistory.of(self._context)
        self._local = threading.local()

    def _current(self) -> tuple[Plan, OnlineReader]:
        """The plan that is on disk, and this thread's reader of it: Feast may read in many threads at once."""
        path = self._context.layout.plan_file
        written = path.stat().st_mtime_ns if path.exists() else -1
        if getattr(self._local, "written", None) != written:
            plan = plans.read(path)
            self._local.found = plan, OnlineReader(self.redis, self.names, plan, self._history)
            self._local.written = written
        found: tuple[Plan, OnlineReader] = self._local.found
        return found

    def read(
        self, tables: Sequence[tuple[FeatureView, Sequence[EntityKey]]]
    ) -> list[tuple[datetime | None, list[dict[str, FeatureValue]]]]:
        """For each view and its entities: commit time at the position reached, and each entity's values."""
        plan, reader = self._current()
        wanted = [(_view(plan, table), keys) for table, keys in tables]
        lookup = {view.name: [entity_text(view, _row(key)) for key in keys] for view, keys in wanted}
        found = reader.values_of(lookup, self._clock.now_us())
        return [
            (None if reached is None else datetime.fromtimestamp(reached.known_at / 1e6, UTC), values)
            for reached, values in (found[view.name] for view, _ in wanted)
        ]


def _view(plan: Plan, table: FeatureView) -> View:
    """The plan's view. Raises OnlineStoreError when the plan does not have it."""
    for view in plan.views:
        if view.name == table.name:
            return view
    raise OnlineStoreError(
        "online.no_view", f"windowed view {table.name!r} is not in the compiled plan",
        hint="appliance features apply",
    )  # fmt: skip


class ApplianceOnlineStore(RedisOnlineStore):
    """See the module. Raises redis-py's errors when Redis does not answer, OnlineStoreError for what it does not do."""

    _windows: _Windowed | None = None
    _asynchronous: WeakKeyDictionary[asyncio.AbstractEventLoop, redis.asyncio.Redis] | None = None

    def _windowed(self, config: RepoConfig) -> _Windowed:
        if self._windows is None:
            self._windows = _Windowed(config.online_store.user)
        return self._windows

    def _get_client(self, online_store_config: Any) -> Any:
        """Redis of the appliance for plain views too, instead of the one a connection string names."""
        if self._client is None:
            self._client = redis_clients.connect(current(), online_store_config.user)
        return self._client

    async def _get_client_async(self, online_store_config: Any) -> Any:
        """A client of the running event loop, for plain views."""
        self._asynchronous = WeakKeyDictionary() if self._asynchronous is None else self._asynchronous
        loop = asyncio.get_running_loop()
        if loop not in self._asynchronous:
            self._asynchronous[loop] = redis_clients.connect_async(current(), online_store_config.user)
        return self._asynchronous[loop]

    async def close(self) -> None:
        """Close the running event loop's connections."""
        if self._asynchronous and (client := self._asynchronous.pop(asyncio.get_running_loop(), None)):
            await client.aclose()

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[ReadRow]:
        """(commit time at the position reached, feature → value) of each entity, in the order of ``entity_keys``."""
        if not is_windowed(table):
            plain: list[ReadRow] = super().online_read(config, table, entity_keys, requested_features)
            return plain
        ((at, values),) = self._windowed(config).read([(table, entity_keys)])
        return _protos(table, requested_features or [field.name for field in table.features], at, values)

    async def online_read_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[ReadRow]:
        """As ``online_read``: plain views by an asynchronous client, windowed ones in a thread."""
        if is_windowed(table):
            return await asyncio.to_thread(self.online_read, config, table, entity_keys, requested_features)
        plain: list[ReadRow] = await super().online_read_async(config, table, entity_keys, requested_features)
        return plain

    def _read_features_per_fv(
        self,
        config: RepoConfig,
        grouped_refs: Any,
        join_key_values: Any,
        entity_name_to_join_key_map: Any,
        online_features_response: Any,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool,
    ) -> None:
        """All windowed views of a request in one read, as of one time; the others as Feast reads them."""
        rest = (join_key_values, entity_name_to_join_key_map, online_features_response)
        plain = [(table, names) for table, names in grouped_refs if not is_windowed(table)]
        if plain:
            super()._read_features_per_fv(
                config, plain, *rest, full_feature_names, include_feature_view_version_metadata
            )
        windowed = [(table, names) for table, names in grouped_refs if is_windowed(table)]
        if not windowed:
            return
        unique = [utils._get_unique_entities(table, *rest[:2]) for table, _ in windowed]
        keys = [utils._get_entity_key_protos(entities) for entities, _, _ in unique]
        tables = [table for table, _ in windowed]
        found = self._windowed(config).read(list(zip(tables, keys, strict=True)))
        for (table, names), (_, indexes, length), (at, values) in zip(windowed, unique, found, strict=True):
            begin = len(online_features_response.results)
            utils._populate_response_from_feature_data(
                names, _protos(table, names, at, values), indexes, online_features_response, full_feature_names,
                table, length, include_feature_view_version_metadata,
            )  # fmt: skip
            old = at is None or (bool(table.ttl) and datetime.now(UTC) - at > table.ttl)
            for vector, name in zip(online_features_response.results[begin:], names, strict=True):
                for places, entity in zip(indexes, values, strict=True):
                    for place in places:
                        vector.statuses[place] = _status(entity[name], old)

    async def _read_features_per_fv_async(
        self, config: RepoConfig, grouped_refs: Any, *rest: Any, **named: Any
    ) -> None:
        """As ``_read_features_per_fv``: plain views by an asynchronous client, windowed ones in a thread."""
        plain = [(table, names) for table, names in grouped_refs if not is_windowed(table)]
        if plain:
            await super()._read_features_per_fv_async(config, plain, *rest, **named)
        windowed = [(table, names) for table, names in grouped_refs if is_windowed(table)]
        if windowed:
            await asyncio.to_thread(self._read_features_per_fv, config, windowed, *rest, **named)

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[tuple[EntityKey, dict[str, ValueProto], datetime, datetime | None]],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Plain views only."""
        refuse_windowed(table)
        super().online_write_batch(config, table, data, progress)

    async def online_write_batch_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[tuple[EntityKey, dict[str, ValueProto], datetime, datetime | None]],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Plain views only."""
        refuse_windowed(table)
        await super().online_write_batch_async(config, table, data, progress)

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Take the keys of deleted plain views out of Redis. Nothing has to be made for new ones.

        The versions of windowed views come and go with the plan (``stream_jobs.versions``): one that is no longer
        defined is kept for a while to go back to.
        """
        plain = [table for table in tables_to_delete if not is_windowed(table)]
        super().update(config, plain, tables_to_keep, entities_to_delete, entities_to_keep, partial)

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Take every key of these views out of Redis."""
        self._remove(config, tables)
        super().teardown(config, [table for table in tables if not is_windowed(table)], entities)

    def _remove(self, config: RepoConfig, tables: Sequence[FeatureView]) -> None:
        for table in filter(is_windowed, tables):
            store = self._windowed(config)
            forget(store.redis, store.names, table.name)


def is_windowed(table: FeatureView) -> bool:
    return isinstance(table, StreamFeatureView) and bool(table.aggregations)


def refuse_windowed(table: FeatureView) -> None:
    """Raises OnlineStoreError when values of the view are to be written."""
    if is_windowed(table):
        raise OnlineStoreError(
            "online.write_windowed",
            f"view {table.name!r} is windowed: its values are assembled from the edits of its captured table when "
            "they are read, so there is no value to write",
            hint="write to the captured table; the change is in the next read",
        )


def _row(key: EntityKey) -> dict[str, Any]:
    """Join key → value, as the reader wants it."""
    values = (getattr(value, kind) if (kind := value.WhichOneof("val")) else None for value in key.entity_values)
    return dict(zip(key.join_keys, values, strict=True))


def _protos(
    table: FeatureView, names: Sequence[str], at: datetime | None, values: Sequence[dict[str, FeatureValue]]
) -> list[ReadRow]:
    """Values of the view's declared types; a null is an empty ValueProto. Raises KeyError for an unknown feature."""
    types = {field.name: field.dtype.to_value_type() for field in table.features}
    columns = {}
    for name in names:
        given = [entity[name].value for entity in values]
        columns[name] = python_values_to_proto_values(given, types[name])
    return [(at, {name: columns[name][place] for name in names}) for place in range(len(values))]


def _status(value: FeatureValue, old: bool) -> int:
    if value.status == "missing":
        return int(FieldStatus.NOT_FOUND)
    if old:
        return int(FieldStatus.OUTSIDE_MAX_AGE)
    return int(FieldStatus.NULL_VALUE if value.status == "null" else FieldStatus.PRESENT)
