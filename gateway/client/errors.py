"""What a call can end with besides its answer."""

from __future__ import annotations

from typing import Any

from appliance.errors import ApplianceError


class ApiError(ApplianceError):
    """The API refused. status: of HTTP. retry_after_s: how long it asked to wait, None if it did not.

    code, message, context, hint: as the API's problem details say (docs/api.md lists them).
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        context: dict[str, Any] | None = None,
        hint: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(code, message, context=context, hint=hint)
        self.status = status
        self.retry_after_s = retry_after_s


class UnreachableError(ApplianceError):
    """No answer came: no connection, or it broke, or the time was over."""

    def __init__(self, address: str, cause: Exception) -> None:
        super().__init__(
            "client.unreachable",
            f"no answer from {address}: {cause or type(cause).__name__}",
            context={"address": address},
            hint="appliance status gateway, on the appliance's machine",
        )
