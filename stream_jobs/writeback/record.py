"""Where the predictions of a service are written back to: ``data/writeback/<service>.json``. No secret stands in it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from appliance.parts.base import Context
from stream_jobs.errors import WritebackError
from stream_jobs.source.record import Address

By = Literal["event", "prediction"]


class Target(msgspec.Struct, frozen=True):
    """table: ``schema.name``. by: a row an event (the newest prediction of it) or a row a prediction.

    made_at: Unix time, µs: who adds it again begins again with the oldest prediction in Kafka. sample: it is in the
    sample business database, whose administrator we are.
    """

    service: str
    address: Address
    table: str
    by: By
    made_at: int
    sample: bool = False

    @property
    def secret(self) -> str:
        """Name of the secret with the role's password."""
        return f"writeback.{self.service}.password"

    @property
    def key(self) -> str:
        """The column that tells rows apart."""
        return "event_key" if self.by == "event" else "prediction_id"


def role(service: str) -> str:
    """The database role that writes for a service; at most 63 characters, PostgreSQL's limit."""
    return f"appliance_writeback_{service}"[:63]


def folder(context: Context) -> Path:
    return context.data("writeback")


def write(context: Context, target: Target) -> None:
    path = folder(context) / f"{target.service}.json"
    temporary = path.with_suffix(".new")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(target), indent=1))
    temporary.rename(path)


def everyone(context: Context) -> list[Target]:
    return [msgspec.json.decode(path.read_bytes(), type=Target) for path in sorted(folder(context).glob("*.json"))]


def read(context: Context, service: str) -> Target | None:
    """None when the predictions of that service are not written back."""
    return next((each for each in everyone(context) if each.service == service), None)


def registered(context: Context, service: str) -> Target:
    """Raises WritebackError when there is none."""
    target = read(context, service)
    if target is None:
        raise WritebackError(
            "writeback.unknown",
            f"predictions of {service!r} are not written back; those of {[t.service for t in everyone(context)]} are",
            hint=f"appliance writeback add {service} --table schema.name",
        )
    return target


def forget(context: Context, service: str) -> None:
    (folder(context) / f"{service}.json").unlink(missing_ok=True)


def changed(context: Context) -> tuple[tuple[str, int], ...]:
    """Another value whenever a target has been added, changed or removed."""
    return tuple((path.name, path.stat().st_mtime_ns) for path in sorted(folder(context).glob("*.json")))
