"""``Client`` and ``AsyncClient``: the same calls, over connections that are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self, TypeVar

import httpx
from tenacity import AsyncRetrying, Retrying

from gateway.answers import EntityFeatures, PredictAnswer, ServiceView
from gateway.client import calls
from gateway.client.calls import Call, Row
from gateway.client.errors import UnreachableError
from gateway.client.retries import Retries

_DEFAULT = Retries()
_Answer = TypeVar("_Answer")


def _headers(app_id: str, token: str) -> dict[str, str]:
    return {"X-App-Id": app_id, "Authorization": f"Bearer {token}", "Content-Type": "application/json"}


class Client:
    """base_url: of the gateway. app_id, token: from ``appliance app create``. May be used by several threads.

    Every method raises ApiError when the API refuses and UnreachableError when no answer comes, after ``retries``.
    """

    def __init__(
        self, base_url: str, app_id: str, token: str, *, timeout_s: float = 10.0, retries: Retries = _DEFAULT
    ) -> None:
        self._http = httpx.Client(base_url=base_url, headers=_headers(app_id, token), timeout=timeout_s)
        self._retries = retries

    def predict(
        self,
        service: str,
        rows: Sequence[Row],
        *,
        request_id: str | None = None,
        max_staleness_ms: int | None = None,
    ) -> PredictAnswer:
        """Score rows; ``answer.predictions`` has one for each, in order. The same request id gets the same answer.

        max_staleness_ms: how old the features may be; with older ones the API refuses (``features.stale``).
        """
        return self._send(calls.predict(service, rows, request_id, max_staleness_ms))

    def services(self) -> list[ServiceView]:
        """The services this app may use: the fields of their rows, their features, their thresholds."""
        return self._send(calls.services())

    def features(self, service: str, entity: Mapping[str, str | int], *, as_of_us: int | None = None) -> EntityFeatures:
        """The windowed features of an entity (``{"customer_id": 42}``), now or as of a time (µs since 1970 UTC)."""
        return self._send(calls.features(service, entity, as_of_us))

    def _send(self, call: Call[_Answer]) -> _Answer:
        policy = self._retries
        retrying = Retrying(retry=policy.again, stop=policy.stop, wait=policy.wait, reraise=True)
        answer: _Answer = retrying(self._once, call)
        return answer

    def _once(self, call: Call[_Answer]) -> _Answer:
        try:
            response = self._http.request(call.method, call.path, params=dict(call.params), content=call.body)
        except httpx.TransportError as error:
            raise UnreachableError(str(self._http.base_url), error) from error
        return call.read(response)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient:
    """As ``Client``, for asyncio."""

    def __init__(
        self, base_url: str, app_id: str, token: str, *, timeout_s: float = 10.0, retries: Retries = _DEFAULT
    ) -> None:
        self._http = httpx.AsyncClient(base_url=base_url, headers=_headers(app_id, token), timeout=timeout_s)
        self._retries = retries

    async def predict(
        self,
        service: str,
        rows: Sequence[Row],
        *,
        request_id: str | None = None,
        max_staleness_ms: int | None = None,
    ) -> PredictAnswer:
        """As ``Client.predict``."""
        return await self._send(calls.predict(service, rows, request_id, max_staleness_ms))

    async def services(self) -> list[ServiceView]:
        """As ``Client.services``."""
        return await self._send(calls.services())

    async def features(
        self, service: str, entity: Mapping[str, str | int], *, as_of_us: int | None = None
    ) -> EntityFeatures:
        """As ``Client.features``."""
        return await self._send(calls.features(service, entity, as_of_us))

    async def _send(self, call: Call[_Answer]) -> _Answer:
        policy = self._retries
        retrying = AsyncRetrying(retry=policy.again, stop=policy.stop, wait=policy.wait, reraise=True)
        return await retrying(self._once, call)

    async def _once(self, call: Call[_Answer]) -> _Answer:
        try:
            response = await self._http.request(call.method, call.path, params=dict(call.params), content=call.body)
        except httpx.TransportError as error:
            raise UnreachableError(str(self._http.base_url), error) from error
        return call.read(response)

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
