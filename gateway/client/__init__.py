"""The Python client of the HTTP API: ``Client`` for plain code, ``AsyncClient`` for asyncio.

    from gateway.client import Client

    with Client("http://127.0.0.1:21000", app_id, token) as client:
        answer = client.predict("card_fraud", [{"transaction_id": 4711, …}])
        answer.predictions[0].score

Needs httpx, msgspec and tenacity, nothing else of the appliance's environment.
"""

from gateway.answers import EntityFeatures, FeatureWords, FieldView, PredictAnswer, Scored, ServiceView
from gateway.client.calls import Row
from gateway.client.clients import AsyncClient, Client
from gateway.client.errors import ApiError, UnreachableError
from gateway.client.retries import Retries

__all__ = [
    "ApiError",
    "AsyncClient",
    "Client",
    "EntityFeatures",
    "FeatureWords",
    "FieldView",
    "PredictAnswer",
    "Retries",
    "Row",
    "Scored",
    "ServiceView",
    "UnreachableError",
]
