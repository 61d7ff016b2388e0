"""Settings: defaults in code, then the file, then the environment, then flags; the last one that speaks wins.

Names carry their units. An environment variable is ``APPLIANCE_SETTING_<GROUP>__<KEY>``, its value as in TOML.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from appliance.errors import SettingError

_ENVIRONMENT = "APPLIANCE_SETTING_"

Positive = Annotated[int, msgspec.Meta(ge=1)]
"""Every number is an amount: 0 and less are refused unless a setting says otherwise."""


class Listen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """address: where the gateway listens. Everything else stays on loopback."""

    address: str = "127.0.0.1"


class Memory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Heaps and process sizes, MiB. The defaults keep all parts together below 10 GiB resident."""

    kafka_heap_mib: Positive = 512
    connect_heap_mib: Positive = 512
    hbase_heap_mib: Positive = 512
    hbase_thrift_heap_mib: Positive = 192
    opensearch_heap_mib: Positive = 512
    flink_jobmanager_process_mib: Positive = 768
    flink_taskmanager_process_mib: Positive = 1536
    redis_max_mib: Positive = 1024
    postgres_shared_buffers_mib: Positive = 128


class Kafka(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """partitions: of every captured and edits topic."""

    partitions: Positive = 1
    cdc_retention_days: Positive = 45


class Flink(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    parallelism: Positive = 1
    task_slots: Positive = 8
    checkpoint_interval_ms: Positive = 10_000


class Cdc(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    heartbeat_interval_ms: Positive = 5_000
    max_slot_wal_keep_mib: Positive = 4_096


class Lake(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """flush_interval_ms: longest time a change waits before it is committed to its Delta table."""

    flush_interval_ms: Positive = 2_000
    flush_rows: Positive = 50_000
    state_interval_ms: Positive = 60_000


class Features(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """keep_former_hours: how long the version before the one served is kept up to date, to go back to.

    dense_rows: records of an entity above which its older rows lie in tiles in Redis (ADR 0011); writer-redis reads it
    when it starts.
    """

    keep_former_hours: Positive = 24
    dense_rows: Positive = 2_000


class Scoring(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """catchup_wait_ms: how long CDC scoring waits for the features to reach the row's own position.

    queue_ms: a request by HTTP that would wait longer than about this is refused. spool_max_mib: what the gateway keeps
    on disk while Kafka takes nothing; then it refuses.
    """

    catchup_wait_ms: Annotated[int, msgspec.Meta(ge=0)] = 500
    max_rows_per_request: Positive = 1_000
    request_timeout_ms: Positive = 2_000
    idempotency_hours: Positive = 24
    queue_ms: Positive = 5
    spool_max_mib: Positive = 1_024


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What each app may ask the API for, unless it has limits of its own; 0 for no limit.

    requests_per_second, rows_per_second: a second's worth may come at once.
    """

    requests_per_second: Annotated[int, msgspec.Meta(ge=0)] = 0
    rows_per_second: Annotated[int, msgspec.Meta(ge=0)] = 0
    concurrent_requests: Annotated[int, msgspec.Meta(ge=0)] = 0


class Training(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a job of the queue (training, update, import of a model) may take; it yields the processor to all else.

    memory_mib: a job that takes more is ended. threads: of torch; one is enough for networks of the usual size.
    gpu_memory_share: of a GPU's memory, where there is one.
    """

    memory_mib: Positive = 4_096
    threads: Positive = 1
    gpu_memory_share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.9


class Learning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """interval_minutes: between two rounds of the learning loop; 0 for none by itself.

    lookback_hours: how far back a version new in shadow scores: as long as labels take, and a little more.
    """

    interval_minutes: Annotated[int, msgspec.Meta(ge=0)] = 60
    lookback_hours: Positive = 240


class Parity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """interval_minutes: between two comparisons of served values with the stores; 0 for none on a schedule.

    sample_rows: predictions compared each time. retention_days: of certificates without a difference.
    """

    interval_minutes: Annotated[int, msgspec.Meta(ge=0)] = 60
    sample_rows: Positive = 1_000
    retention_days: Positive = 90


class Alerts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    retention_days: Positive = 400


Share = Annotated[float, msgspec.Meta(gt=0)]


class Drift(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """interval_minutes: between two comparisons of what is served with the training set; 0 for none on a schedule.

    window_hours: predictions of so many last hours of event time, at most max_rows of them; nothing is concluded of
    fewer than min_rows, or while they do not yet cover the window. A notice is posted when a feature's or the scores'
    population stability index is above psi, when so much more is missing than in training (missing_share), so many
    values were not in training (unseen_share), or no label has come for label_silence_hours of the data's own time.
    """

    interval_minutes: Annotated[int, msgspec.Meta(ge=0)] = 60
    window_hours: Positive = 168
    min_rows: Positive = 500
    max_rows: Positive = 20_000
    psi: Share = 0.25
    missing_share: Share = 0.05
    unseen_share: Share = 0.01
    label_silence_hours: Positive = 336


class Triton(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """max_resident_mib: a server that holds more, with its models, is replaced by a new one while it answers."""

    max_resident_mib: Positive = 1024


class Console(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    session_hours: Positive = 12


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings, a group a concern."""

    listen: Listen = Listen()
    memory: Memory = Memory()
    kafka: Kafka = Kafka()
    flink: Flink = Flink()
    cdc: Cdc = Cdc()
    lake: Lake = Lake()
    features: Features = Features()
    scoring: Scoring = Scoring()
    training: Training = Training()
    learning: Learning = Learning()
    limits: Limits = Limits()
    parity: Parity = Parity()
    alerts: Alerts = Alerts()
    drift: Drift = Drift()
    triton: Triton = Triton()
    console: Console = Console()


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``over`` on top, groups merged key by key."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return merged


def from_file(path: Path) -> dict[str, Any]:
    """The file's settings as nested tables; none if there is no file."""
    if not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise SettingError(
            "setting.file", f"{path} is not TOML: {error}", hint="correct the line named, or move the file away"
        ) from error


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """The settings that environment variables give."""
    tables: dict[str, Any] = {}
    for name, text in environment.items():
        if not name.startswith(_ENVIRONMENT):
            continue
        group, _, key = name.removeprefix(_ENVIRONMENT).lower().partition("__")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        tables.setdefault(group, {})[key] = value
    return tables


def load(path: Path, flags: Mapping[str, Any] | None = None) -> Settings:
    """Settings from every layer. Raises SettingError naming the first value that does not fit."""
    tables = _merge(_merge(from_file(path), from_environment(os.environ)), flags or {})
    try:
        return msgspec.convert(tables, Settings)
    except msgspec.ValidationError as error:
        raise SettingError(
            "setting.invalid", f"{path} or an {_ENVIRONMENT}… variable: {error}",
            hint="`appliance config explain` lists every setting with its unit and default",
        ) from error  # fmt: skip
