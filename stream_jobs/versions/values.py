"""The values of one entity of one view, read as a request reads them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from msgspec.structs import replace
from redis.exceptions import RedisError

from appliance import users
from appliance.clients import hbase, redis
from appliance.clock import Clock
from appliance.errors import PartError, UsageError
from appliance.parts.base import Context
from appliance.records import FeatureValue
from stream_jobs.errors import VersionError
from stream_jobs.online.hbase_read import HBaseHistory
from stream_jobs.online.reader import OnlineReader, entity_text
from stream_jobs.plan import Plan, View


class EntityValues(msgspec.Struct, frozen=True):
    """as_of: ISO 8601, UTC. reached: the position read at, "" if nothing is reached."""

    view: str
    version: int
    entity: dict[str, str]
    as_of: str
    reached: str
    features: dict[str, FeatureValue]


def parse_time(text: str) -> int:
    """µs UTC. Raises UsageError."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            "features.time", f"--as-of must be a time such as 2018-06-01T12:00:00Z, got {text!r}",
            hint="appliance features get -h",
        ) from error  # fmt: skip
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return int((at - datetime.fromtimestamp(0, UTC)).total_seconds()) * 1_000_000 + at.microsecond


def read(
    context: Context, plan: Plan, name: str, version: int | None, keys: Sequence[str], as_of: int | None
) -> EntityValues:
    """The values at the position reached. Raises VersionError, UsageError, PartError when a store does not answer."""
    view = _version(plan, name, version)
    if len(keys) != len(view.join_keys):
        raise UsageError(
            "features.key", f"view {name!r} has the keys {', '.join(view.join_keys)}, got {len(keys)}",
            hint=f"appliance features get {name} {' '.join(key.upper() for key in view.join_keys)}",
        )  # fmt: skip
    entity = dict(zip(view.join_keys, keys, strict=True))
    try:
        with redis.connect(context, users.ADMINISTRATOR) as store:
            at = Clock(store, context.names.redis_clock()).now_us() if as_of is None else as_of
            reader = OnlineReader(store, context.names, replace(plan, views=(view,)), HBaseHistory.of(context))
            reached, (features,) = reader.values_of({name: [entity_text(view, entity)]}, at)[name]
    except RedisError as error:
        raise PartError("redis.down", f"Redis does not answer: {error}", hint="appliance up redis") from error
    except hbase.FAILURES as error:
        raise PartError("hbase.down", f"HBase does not answer: {error}", hint="appliance up hbase-thrift") from error
    when = datetime.fromtimestamp(at // 1_000_000, UTC).replace(microsecond=at % 1_000_000)
    shown = when.isoformat().replace("+00:00", "Z")
    return EntityValues(name, view.version, entity, shown, reached.position if reached else "", features)


def _version(plan: Plan, name: str, version: int | None) -> View:
    if version is None:
        return plan.view(name)
    for view in plan.computed:
        if (view.name, view.version) == (name, version):
            return view
    there = [f"{view.name} {view.version}" for view in plan.computed if view.name == name]
    raise VersionError(
        "versions.unknown", f"there is no version {version} of view {name!r}, only {there}",
        hint="appliance features list",
    )  # fmt: skip
