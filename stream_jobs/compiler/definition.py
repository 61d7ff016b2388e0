"""The canonical definition of a view, a feature or a service, its hash, and the version that the hash was given."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from appliance.parts.base import Context
from stream_jobs.plan import Service, View, WindowFeature

_DROPPED = "dropped:"


def definition_hash(definition: Any) -> str:
    """SHA-256 (hex) of the definition as JSON with sorted keys. Descriptions, owners and addresses stay out of it."""
    return hashlib.sha256(msgspec.json.encode(msgspec.to_builtins(definition), order="sorted")).hexdigest()


def feature_hash(view: View, feature: WindowFeature) -> str:
    """Of all that a feature's value depends on; two versions of a view must agree where it is the same."""
    columns = {column.name: column for column in view.columns}
    expressions = {one.name: one.meaning for one in view.derived if one.name in (feature.column, feature.where)}
    if view.rows is not None:
        expressions[""] = view.rows.meaning
    return definition_hash(
        {
            "source": view.source,
            "table": view.table,
            "join_keys": view.join_keys,
            "row_id": view.row_id,
            "event_time": view.event_time,
            "column": columns.get(feature.column or ""),
            "where": columns.get(feature.where or ""),
            "feature": feature,
            "expressions": expressions,
        }
    )


def inputs_hash(service: Service, views: Mapping[str, View]) -> str:
    """Of a model's inputs: their order and what each one means. A model serves the inputs that it was trained with."""
    meant = {f"{name}:{f.name}": feature_hash(views[name], f) for name in service.views for f in views[name].features}
    meant |= {f"request:{feature.name}": feature.function for feature in service.request_features}
    return definition_hash([[name, meant[name]] for name in service.features])


def service_hash(service: Service, views: Mapping[str, View]) -> str:
    """Of a service with these versions of its views: it is in every prediction."""
    return definition_hash(
        {
            "service": service.name,
            "events": [service.source, service.event_table, service.event_key, service.event_time],
            "features": service.features,
            "views": {view: views[view].definition_hash for view in service.views},
            "request": service.request_features,
        }
    )


def versions_file(context: Context) -> Path:
    """Where the versions given to definitions are kept."""
    return context.layout.plan_file.with_name("versions.json")


class Versions:
    """View → definition hash → version, kept in a file, so that a definition seen before keeps its version."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, dict[str, int]] = (
            msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, int]]) if path.exists() else {}
        )

    def version(self, view: str, digest: str) -> int:
        """The version of this definition: 1, or one more than the highest for a definition not seen before."""
        known = self._known.setdefault(view, {})
        return known.setdefault(digest, max(known.values(), default=0) + 1)

    def forget(self, view: str, version: int) -> None:
        """Give this number to no definition again: what was stored under it is being removed."""
        known = self._known.get(view, {})
        self._known[view] = {
            (f"{_DROPPED}{number}" if number == version else digest): number for digest, number in known.items()
        }

    def save(self) -> None:
        """Replace the file in one step."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".new")
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(self._known, order="sorted"), indent=1))
        temporary.rename(self._path)
