"""``GET /v1/models``: versions, everything known of one, and its plots."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get
from litestar.params import Parameter

from gateway.alerts.search import iso
from gateway.errors import NotFoundError
from gateway.http.auth import Caller
from models.errors import RegistryError
from models.registry import ModelVersion, Registry

_SVG_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, max-age=3600",
}
_Name = Annotated[str, Parameter(max_length=64, pattern="^[A-Za-z0-9_][A-Za-z0-9_-]*$")]
_Version = Annotated[int, Parameter(ge=1)]


class VersionView(msgspec.Struct, frozen=True):
    """state: candidate, champion or retired. origin: trained or imported. refused: by the gate, why; "" if it was not.

    Measures are those of the later period. plots: names under which ``…/plots/{name}`` has an SVG.
    """

    model: str
    version: int
    service: str
    state: str
    origin: str
    created_at: str
    auc_roc: float
    average_precision: float
    top_precision: float
    brier: float | None
    refused: str
    plots: list[str]


def _plots(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.svg"))


def view(registry: Registry, record: ModelVersion) -> VersionView:
    """A version as the list shows it."""
    judged = record.evaluation
    return VersionView(
        record.model, record.version, record.service, registry.state(record.model, record.version), record.origin,
        iso(record.created_at), judged.auc_roc, judged.average_precision, judged.top_precision, judged.brier,
        record.refused, _plots(registry.path(record.model, record.version)),
    )  # fmt: skip


def views(registry: Registry, services: tuple[str, ...] | None) -> list[VersionView]:
    """Every version of models of these services (None: of all), each model's newest first."""
    records = [
        record
        for model in registry.models()
        if registry.numbers(model)
        for record in reversed(registry.versions(model))
    ]
    return [view(registry, record) for record in records if services is None or record.service in services]


def found(registry: Registry, model: str, version: int) -> ModelVersion:
    """The record. Raises NotFoundError."""
    try:
        return registry.get(model, version)
    except RegistryError as error:
        raise NotFoundError(error.code, error.message, hint="GET /v1/models") from error


@get("/v1/models", summary="The models and their versions", tags=["models"])
async def get_models(request: Request[Caller, Any, Any], registry: Registry) -> list[VersionView]:
    """Versions of the models of services that the caller may use, each model's newest first."""
    app = request.user.app
    return await asyncio.to_thread(views, registry, None if app is None else app.services)


@get("/v1/models/{model:str}/versions/{version:int}", summary="Everything known of a version", tags=["models"])
async def get_version(
    request: Request[Caller, Any, Any], registry: Registry, model: _Name, version: _Version
) -> dict[str, Any]:
    """The registry's record: data, recipe, measures and those of the baseline, calibration, thresholds, the gate's
    questions and answers, curves; and its state."""
    record = await asyncio.to_thread(found, registry, model, version)
    request.user.may_use(record.service)
    return {**msgspec.to_builtins(record), "state": await asyncio.to_thread(registry.state, model, version)}


@get("/v1/models/{model:str}/versions/{version:int}/plots/{name:str}", summary="A plot of a version", tags=["models"])
async def get_plot(
    request: Request[Caller, Any, Any], registry: Registry, model: _Name, version: _Version, name: _Name
) -> Response[bytes]:
    """An SVG: `loss`, `reliability` or `precision_recall`."""
    record = await asyncio.to_thread(found, registry, model, version)
    request.user.may_use(record.service)
    folder = registry.path(model, version)
    known = await asyncio.to_thread(_plots, folder)
    if name not in known:
        raise NotFoundError("model.no_plot", f"version {version} of {model} has no plot {name!r}, only {known}")
    content = await asyncio.to_thread((folder / f"{name}.svg").read_bytes)
    return Response(content, media_type="image/svg+xml", headers=_SVG_HEADERS)
