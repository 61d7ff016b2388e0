"""Errors of the gateway room. ``status`` is the HTTP status a caller of the API sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from appliance.errors import ApplianceError


@dataclass(frozen=True)
class Fault:
    """One wrong field of a request. field: its path, such as ``rows[0].amount``."""

    field: str
    expected: str
    got: str

    def __str__(self) -> str:
        return f"{self.field}: expected {self.expected}, got {self.got}"


class GatewayError(ApplianceError):
    """Base of this room's errors."""

    status = 500


class MalformedError(GatewayError):
    """The body is not what the endpoint reads at all (not JSON, not an object)."""

    status = 400


class InvalidError(GatewayError):
    """The body can be read, and some of its fields are wrong; ``context.fields`` names every one of them."""

    status = 422

    def __init__(self, what: str, faults: list[Fault], *, hint: str = "") -> None:
        shown = "; ".join(str(fault) for fault in faults[:20]) + (" …" if len(faults) > 20 else "")
        super().__init__(
            "request.invalid",
            f"{what}: {len(faults)} wrong field{'s' if len(faults) != 1 else ''}: {shown}",
            context={"fields": [{"field": f.field, "expected": f.expected, "got": f.got} for f in faults]},
            hint=hint or "GET /v1/services says which fields a row has",
        )


class TooLargeError(GatewayError):
    """The request has more rows or bytes than one request may have."""

    status = 413


class UnauthorizedError(GatewayError):
    """Who asks is not known. Says nothing of what was wrong."""

    status = 401

    def __init__(self) -> None:
        super().__init__(
            "access.unauthorized",
            "this request is not authenticated",
            hint="send X-App-Id and Authorization: Bearer TOKEN of an app made with `appliance app create`",
        )


class ForbiddenError(GatewayError):
    """Who asks is known and may not do this."""

    status = 403


class NotFoundError(GatewayError):
    """What is asked for does not exist."""

    status = 404


class ConflictError(GatewayError):
    """A request id has been used for another request."""

    status = 409


class TooManyError(GatewayError):
    """Too many failed attempts; ``context.retry_after_s`` says when to try again."""

    status = 429


class PartDownError(GatewayError):
    """A part that the answer needs does not answer; ``context.part`` names it."""

    status = 503

    def __init__(self, part: str, cause: Any) -> None:
        super().__init__(
            f"{part}.unavailable",
            f"{part} does not answer: {str(cause)[:200]}",
            context={"part": part},
            hint=f"appliance status {part}; appliance logs {part}",
        )
        self.part = part


class UnusableRowError(GatewayError):
    """A row that cannot be scored; goes to the dead-letter topic when it came by Kafka."""

    status = 422


class StaleError(UnusableRowError):
    """The features are older than the request accepts; ``context.retry_after_s`` says when to try again."""

    status = 503


class RequestTimeoutError(GatewayError):
    """The answer was not there in time."""

    status = 504


class BatchError(GatewayError):
    """A batch cannot be scored as asked, or not now."""
