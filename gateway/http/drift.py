"""``GET /v1/drift``: the last comparison of what is served with what the model learned from."""

from __future__ import annotations

import asyncio
from typing import Any

from litestar import Request, get

from appliance.parts.base import Context
from gateway.http.auth import Caller
from gateway.http.serving import Serving
from models.drift import kept
from models.drift.kept import Drift


class DriftDesk:
    """What the comparisons have left behind."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def read(self) -> list[Drift]:
        return kept.read(self._context)

    def prometheus(self) -> str:
        """The same figures as Prometheus' text."""
        return kept.prometheus(self.read())


@get("/v1/drift", summary="Whether what is served is like what the model learned from", tags=["console"])
async def get_drift(request: Request[Caller, Any, Any], serving: Serving, drift_desk: DriftDesk) -> list[Drift]:
    """The last comparison of each service that the caller may use; made every `drift.interval_minutes`, and by
    `appliance drift SERVICE`. A service that was not compared yet is left out."""
    mine = request.user.services(serving.services())
    return [one for one in await asyncio.to_thread(drift_desk.read) if one.service in mine]
