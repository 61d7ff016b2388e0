"""Every error an API caller sees: RFC 9457 problem details with code, message, context and hint."""

from __future__ import annotations

import http
import logging
import uuid
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException

from appliance.errors import ApplianceError
from gateway.errors import GatewayError, PartDownError, StaleError, TooManyError, UnauthorizedError

MEDIA_TYPE = "application/problem+json"
_log = logging.getLogger("gateway")
_CODES = {
    400: "request.malformed",
    401: "access.unauthorized",
    404: "request.not_found",
    405: "request.method",
    413: "request.too_large",
    415: "request.media_type",
}


class Problem(msgspec.Struct, frozen=True):
    """RFC 9457, with this API's own members behind."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    message: str
    context: dict[str, Any]
    hint: str


def problem(status: int, code: str, message: str, context: dict[str, Any] | None = None, hint: str = "") -> Problem:
    title = http.HTTPStatus(status).phrase
    return Problem(f"urn:appliance:problem:{code}", title, status, message, code, message, context or {}, hint)


def response(what: Problem, headers: dict[str, str] | None = None) -> Response[bytes]:
    return Response(msgspec.json.encode(what), status_code=what.status, media_type=MEDIA_TYPE, headers=headers or {})


def told(method: str, path: str, error: ApplianceError) -> tuple[Problem, dict[str, str]]:
    """What a caller is told of an error of ours, and with which headers."""
    status = error.status if isinstance(error, GatewayError) else 500
    if status >= 500:
        _log.warning("%s %s: %s", method, path, error.message, extra={"code": error.code})
    headers = {}
    if isinstance(error, UnauthorizedError):
        headers["WWW-Authenticate"] = 'Bearer realm="appliance"'
    if isinstance(error, PartDownError):
        headers["Retry-After"] = "1"
    if isinstance(error, TooManyError | StaleError):
        headers["Retry-After"] = str(error.context.get("retry_after_s", 60))
    return problem(status, error.code, error.message, error.context, error.hint), headers


def fault(method: str, path: str, error: Exception) -> Problem:
    """A fault of ours: the caller gets a number to find it in the log by, and nothing else."""
    number = uuid.uuid4().hex[:12]
    _log.error("%s %s failed (%s)", method, path, number, exc_info=error)
    return problem(
        500, "gateway.internal", "the gateway failed", {"log_id": number}, f"appliance logs gateway | grep {number}"
    )


def of_appliance(request: Request[Any, Any, Any], error: ApplianceError) -> Response[bytes]:
    return response(*told(request.method, request.url.path, error))


def of_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    status = error.status_code
    context = {"fields": error.extra} if error.extra else {}
    code = _CODES.get(status, f"http.{status}")
    return response(problem(status, code, error.detail, context, "GET /v1/schema describes the API"))


def of_anything(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    return response(fault(request.method, request.url.path, error))


HANDLERS: dict[Any, Any] = {ApplianceError: of_appliance, HTTPException: of_http, Exception: of_anything}
