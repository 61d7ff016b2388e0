"""Plain views in Redis through Feast: written, pushed, materialized and read, with and without asyncio.

A Redis server and a home of its own: nothing here needs the running appliance.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pandas as pd
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, PushSource, RepoConfig, ValueType
from feast.types import Float64, String

from appliance import context as contexts
from appliance.installation import Installation
from appliance.layout import Layout
from appliance.parts.redis import acl
from appliance.ports import Port
from tests import redis_server

pytestmark = pytest.mark.integration

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FeatureStore]:
    monkeypatch.setenv("APPLIANCE_HOME", str(tmp_path))
    layout = Layout.below(tmp_path)
    layout.etc.mkdir()
    port = redis_server.free_port()
    installation = Installation("0", port - Port.REDIS, "root", "main", "test", "", {}, {})
    layout.installation_file.write_bytes(msgspec.json.encode(installation))
    (tmp_path / "users.acl").write_text(acl(contexts.current()))
    with redis_server.running(tmp_path, port, aclfile=str(tmp_path / "users.acl")):
        yield _applied(tmp_path)


def _applied(folder: Path) -> FeatureStore:
    rows = pd.DataFrame({"name": ["zoë"], "segment": ["a"], "limit": [10.5], "at": [NOW - timedelta(hours=1)]})
    rows.to_parquet(folder / "profiles.parquet")
    files = FileSource(name="profiles", path=str(folder / "profiles.parquet"), timestamp_field="at")
    name = Entity(name="name", join_keys=["name"], value_type=ValueType.STRING)
    view = FeatureView(
        name="profile", entities=[name], ttl=timedelta(days=1), source=PushSource(name="pushed", batch_source=files),
        schema=[Field(name="name", dtype=String), Field(name="segment", dtype=String),
                Field(name="limit", dtype=Float64)],
    )  # fmt: skip
    store = FeatureStore(
        config=RepoConfig(
            project="test", provider="local", registry=str(folder / "registry.db"), entity_key_serialization_version=3,
            offline_store={"type": "stream_jobs.offline.store.ApplianceOfflineStore", "memory_mib": 256},
            online_store={"type": "stream_jobs.online.feast_store.ApplianceOnlineStore"},
            batch_engine={"type": "stream_jobs.offline.engine.ApplianceComputeEngine"},
        )
    )  # fmt: skip
    store.apply([name, view])
    return store


def _read(store: FeatureStore) -> list[object]:
    found = store.get_online_features(["profile:segment", "profile:limit"], [{"name": "zoë"}, {"name": "nobody"}])
    return [found.to_dict()[name] for name in ("segment", "limit")]


async def _read_async(store: FeatureStore) -> list[object]:
    found = await store.get_online_features_async(
        ["profile:segment", "profile:limit"], [{"name": "zoë"}, {"name": "nobody"}]
    )
    return [found.to_dict()[name] for name in ("segment", "limit")]


def test_materialized_pushed_and_read_in_both_ways(store: FeatureStore) -> None:
    store.materialize(NOW - timedelta(days=1), NOW)
    assert _read(store) == [["a", None], [10.5, None]]
    assert asyncio.run(_read_async(store)) == _read(store), "an event loop of its own"
    newer = pd.DataFrame({"name": ["zoë"], "segment": ["b"], "limit": [20.0], "at": [NOW]})
    store.push("pushed", newer)
    assert _read(store) == [["b", None], [20.0, None]]
    asyncio.run(store.push_async("pushed", newer.assign(segment="c", at=NOW + timedelta(seconds=1))))
    assert asyncio.run(_read_async(store)) == [["c", None], [20.0, None]], "and another event loop"
    store.push("pushed", newer.assign(segment="late"))
    assert _read(store) == [["c", None], [20.0, None]], "an older value does not overwrite a newer one"
