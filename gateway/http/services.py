"""``GET /v1/services`` and the features of an entity now."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from litestar import Request, get
from litestar.params import Parameter

from gateway import words
from gateway.alerts.search import iso
from gateway.answers import EntityFeatures, FeatureWords, FieldView, ServiceView
from gateway.errors import Fault, InvalidError
from gateway.http.auth import Caller
from gateway.http.serving import Serving
from gateway.scoring.validate import FIRST_TIME_US, LAST_TIME_US

_AsOf = Annotated[int | None, Parameter(ge=FIRST_TIME_US, le=LAST_TIME_US)]


def _view(serving: Serving, name: str) -> ServiceView:
    service = serving.scorer(name).service
    views = [serving.plan.view(view) for view in service.views]
    return ServiceView(
        name=service.name,
        model=service.model,
        rows=service.event_table.rpartition(".")[2].replace("_", " "),
        row=[FieldView(c.name, c.type, c.scale, c.name != service.event_time) for c in service.row],
        event_key=service.event_key,
        event_time=service.event_time,
        entities={view.entity: list(view.join_keys) for view in views},
        features=[FeatureWords(key, text) for key, text in words.features(serving.plan, service).items()],
        review=service.policy.review,
        decline=service.policy.decline,
        daily_review_capacity=service.policy.daily_review_capacity,
        definition_hash=service.definition_hash,
    )


@get("/v1/services", summary="The services and what their rows have", tags=["scoring"])
async def get_services(request: Request[Caller, Any, Any], serving: Serving) -> list[ServiceView]:
    """The services the caller may use."""
    return [_view(serving, name) for name in request.user.services(serving.services())]


@get("/v1/services/{service:str}/features", summary="The features of entities now", tags=["scoring"])
async def get_features(
    request: Request[Caller, Any, Any], serving: Serving, service: str, as_of_us: _AsOf = None
) -> EntityFeatures:
    """The windowed features of the entities that the other parameters name (`customer_id=42&terminal_id=7`, one or
    more join keys of the service), as of `as_of_us` (µs since 1970-01-01 UTC), else of the appliance clock."""
    request.user.may_use(service)
    scorer = serving.scorer(service)
    given = {name: value for name, value in request.query_params.items() if name != "as_of_us"}
    known = {key for view in scorer.service.views for key in serving.plan.view(view).join_keys}
    faults = [Fault(name, f"one of {sorted(known)}", "unknown") for name in sorted(given.keys() - known)]
    if not given:
        faults.append(Fault("query", f"one or more of {sorted(known)}", "nothing"))
    if faults:
        raise InvalidError("query", faults)
    as_of = serving.now_us() if as_of_us is None else as_of_us
    features = await asyncio.to_thread(scorer.entity_features, given, as_of)
    return EntityFeatures(service, given, iso(as_of), features)
