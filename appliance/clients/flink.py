"""Flink's REST interface."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from appliance.errors import NotReadyError
from appliance.parts.base import Context
from appliance.ports import Port

_TIMEOUT_SECONDS = 10.0


def address(context: Context) -> str:
    return f"http://127.0.0.1:{context.port(Port.FLINK_REST)}"


def call(context: Context, path: str, method: str = "GET", body: Any = None) -> Any:
    """The decoded JSON answer, None when it is empty.

    Raises NotReadyError (``flink.rest``) when the job manager does not answer, or answers with an error.
    """
    request = urllib.request.Request(
        address(context) + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace")[:500]
        raise NotReadyError(
            "flink.rest", f"Flink answered {method} {path} with {error.code}: {said}", context={"status": error.code}
        ) from error
    except OSError as error:
        raise NotReadyError(
            "flink.rest", f"Flink's job manager does not answer {method} {path}: {error}",
            hint="appliance logs flink-jobmanager",
        ) from error  # fmt: skip
    return json.loads(text) if text else None


def jobs(context: Context) -> list[dict[str, Any]]:
    """Every job the job manager knows: ``jid``, ``name``, ``state``, ``start-time`` (ms) and more."""
    listed: list[dict[str, Any]] = call(context, "/jobs/overview")["jobs"]
    return listed


def cancel(context: Context, job: str) -> None:
    """Ask for a job to be cancelled; its retained checkpoints stay."""
    call(context, f"/jobs/{job}?mode=cancel", "PATCH")
