"""Calls without a connection: what is sent, and what an answer means. Both clients share them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar

import httpx
import msgspec

from gateway.answers import EntityFeatures, PredictAnswer, ServiceView
from gateway.client.errors import ApiError

Row = Mapping[str, str | int | float | bool | Decimal | datetime | None]
"""Fields by name. A Decimal goes out as its exact text, a datetime (which must have a zone) as ISO 8601."""

Answer = TypeVar("Answer")


class _Problem(msgspec.Struct, frozen=True):
    """RFC 9457 with the API's members."""

    code: str = ""
    message: str = ""
    context: dict[str, Any] = {}
    hint: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Call(Generic[Answer]):
    """One call of the API. Safe to send again: reading changes nothing, and a scoring request carries its id."""

    method: str
    path: str
    answer: type[Answer]
    params: Mapping[str, str | int]
    body: bytes | None = None

    def read(self, response: httpx.Response) -> Answer:
        """The typed answer. Raises ApiError when the API refused, or when what came is not its answer."""
        if response.is_success:
            try:
                return msgspec.json.decode(response.content, type=self.answer)
            except msgspec.MsgspecError as error:
                raise ApiError(
                    response.status_code,
                    "client.answer",
                    f"{self.path} answered something else than {self.answer}: {error}",
                    hint="is the client of the same version as the appliance?",
                ) from error
        raise _refusal(response)


def predict(
    service: str, rows: Sequence[Row], request_id: str | None, max_staleness_ms: int | None = None
) -> Call[PredictAnswer]:
    """Without a request id, one is made up, so that sending again never scores twice."""
    body: dict[str, Any] = {"request_id": request_id or str(uuid.uuid4()), "rows": [_plain(row) for row in rows]}
    if max_staleness_ms is not None:
        body["max_staleness_ms"] = max_staleness_ms
    return Call("POST", f"/v1/services/{service}/predict", PredictAnswer, {}, msgspec.json.encode(body))


def services() -> Call[list[ServiceView]]:
    return Call("GET", "/v1/services", list[ServiceView], {})


def features(service: str, entity: Mapping[str, str | int], as_of_us: int | None) -> Call[EntityFeatures]:
    params = dict(entity) if as_of_us is None else {**entity, "as_of_us": as_of_us}
    return Call("GET", f"/v1/services/{service}/features", EntityFeatures, params)


def _plain(row: Row) -> dict[str, Any]:
    return {name: _value(name, value) for name, value in row.items()}


def _value(name: str, value: Any) -> Any:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"field {name!r}: a time must have a zone, got {value!r}")
        return value.isoformat()
    return format(value, "f") if isinstance(value, Decimal) else value


def _refusal(response: httpx.Response) -> ApiError:
    try:
        problem = msgspec.json.decode(response.content, type=_Problem)
    except msgspec.MsgspecError:
        problem = _Problem()
    wait = response.headers.get("retry-after", "")
    return ApiError(
        response.status_code,
        problem.code or f"http.{response.status_code}",
        problem.message or problem.detail or f"HTTP {response.status_code} {response.reason_phrase}",
        context=problem.context,
        hint=problem.hint,
        retry_after_s=float(wait) if wait.isdecimal() else None,
    )
