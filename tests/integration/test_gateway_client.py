"""The Python client at the running gateway, with and without asyncio, as docs/api.md shows it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from appliance.parts.base import Context
from gateway.answers import PredictAnswer
from gateway.client import ApiError, AsyncClient, Client
from tests.integration import gateway_api as api

pytestmark = pytest.mark.integration


@pytest.fixture
def app(live: Context) -> Iterator[tuple[str, str]]:
    with api.an_app(live, [api.SERVICE]) as made:
        yield made


@pytest.fixture
def payment(live: Context) -> dict[str, Any]:
    return api.payment(live, tx_amount=Decimal("87.65"))


def test_a_prediction_its_service_and_its_entity(live: Context, app: tuple[str, str], payment: dict[str, Any]) -> None:
    with Client(api.base_url(live), *app) as client:
        (service,) = client.services()
        request = uuid.uuid4().hex
        answer = client.predict(service.name, [payment], request_id=request)
        again = client.predict(service.name, [payment], request_id=request)
        entity = client.features(service.name, {"customer_id": payment["customer_id"]})
        with pytest.raises(ApiError) as refused:
            client.predict(service.name, [payment | {"tx_amount": "much"}])
    (prediction,) = answer.predictions
    assert service.name == api.SERVICE and (answer.repeated, again.repeated) == (False, True)
    assert again.predictions == answer.predictions
    assert 0 <= prediction.score <= 1 and prediction.decision in ("approve", "review", "decline")
    counted = prediction.features["customer_payments:customer_tx_count_30d"].value
    known = entity.features["customer_payments:customer_tx_count_30d"].value
    assert isinstance(counted, int) and isinstance(known, int) and counted >= 1 and known >= 1
    assert (refused.value.status, refused.value.code) == (422, "request.invalid")


def test_asyncio_asks_side_by_side(live: Context, app: tuple[str, str]) -> None:
    payments = [api.payment(live) for _ in range(8)]

    async def every() -> list[PredictAnswer]:
        async with AsyncClient(api.base_url(live), *app) as client:
            return await asyncio.gather(*(client.predict(api.SERVICE, [payment]) for payment in payments))

    answers = asyncio.run(every())
    assert len({answer.predictions[0].prediction_id for answer in answers}) == len(payments)
