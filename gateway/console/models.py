"""The console's pages of models: all versions, and one with its measures and plots. The API gives the same figures."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from litestar import Request, Response, get
from litestar.params import Parameter
from litestar.response import Redirect

from gateway.alerts.search import iso
from gateway.console import templates
from gateway.console.pages import HEADERS, OPEN, Console, page
from gateway.http.models import found, view, views
from models.registry import ModelVersion, Registry

_Name = Annotated[str, Parameter(max_length=64, pattern="^[A-Za-z0-9_][A-Za-z0-9_-]*$")]
_MEASURES = (
    ("AUC ROC", "auc_roc"), ("average precision", "average_precision"), ("precision at the top", "top_precision"),
    ("Brier score (lower is better)", "brier"),
)  # fmt: skip


def _measures(record: ModelVersion) -> list[tuple[str, str, str]]:
    """(name, the version's, the baseline's)."""
    rows = []
    for name, measure in _MEASURES:
        value = getattr(record.evaluation, measure)
        other = None if record.baseline is None else getattr(record.baseline.evaluation, measure)
        if value is not None:
            rows.append((name, f"{value:.4f}", "" if other is None else f"{other:.4f}"))
    return rows


def _figures(record: ModelVersion) -> dict[str, str]:
    """Everything else, in words."""
    split, rows, suggested, judged = record.split, record.frame.rows, record.thresholds, record.evaluation
    days = [iso(time)[:10] for time in (split.train_from, split.train_to - 1, split.test_from, split.test_to - 1)]
    lines = {
        "Trained on": f"{days[0]} … {days[1]}, {rows['fit']:,} rows and {rows['tail']:,} of the tail",
        "Judged on": f"{days[2]} … {days[3]}, {judged.rows:,} rows, {judged.positives:,} positive",
        "Data": ", ".join(f"{name} at version {number}" for name, number in record.frame.lake_versions.items()),
        "Made": f"{record.origin}, {record.train_seconds:.0f} s on {record.device}, seed {record.seed}",
        "Review suggested from": f"{suggested.review:.3f}",
    }
    if suggested.by_cost is not None:
        cost = suggested.by_cost
        lines["Review of least cost from"] = f"{cost.review:.3f} ({cost.cost_per_day:,.0f} a day in all)"
    return lines


@get("/console/models", include_in_schema=False, opt=OPEN)
async def models_page(request: Request[Any, Any, Any], console: Console, registry: Registry) -> Response[Any]:
    session = await asyncio.to_thread(console.session, request)
    if session is None:
        return Redirect("/login", status_code=303, headers=HEADERS)
    versions = await asyncio.to_thread(views, registry, None)
    return page(templates.render("models.html", user=session.user, csrf=session.csrf, versions=versions))


@get("/console/models/{model:str}/{version:int}", include_in_schema=False, opt=OPEN)
async def model_page(
    request: Request[Any, Any, Any], console: Console, registry: Registry, model: _Name, version: int
) -> Response[Any]:
    session = await asyncio.to_thread(console.session, request)
    if session is None:
        return Redirect("/login", status_code=303, headers=HEADERS)
    record = await asyncio.to_thread(found, registry, model, version)
    shown = await asyncio.to_thread(view, registry, record)
    return page(
        templates.render(
            "model.html",
            user=session.user,
            csrf=session.csrf,
            view=shown,
            measures=_measures(record),
            figures=_figures(record),
            checks=record.checks,
            baseline=record.baseline.kind.replace("_", " ") if record.baseline else "",
        )
    )


HANDLERS = [models_page, model_page]
