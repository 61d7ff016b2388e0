"""Kafka Connect's REST interface: https://kafka.apache.org/documentation/#connect_rest."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from appliance import users
from appliance.errors import ApplianceError, NotReadyError, PartError
from appliance.parts.base import Context
from appliance.ports import Port

_BUSY = 409
"""Connect answers this while its workers rebalance; the same request is right a moment later."""

_LOG = logging.getLogger("connect")


def secret(context: Context, name: str) -> str:
    """What a connector's configuration says in place of a secret of ours; only Connect's worker resolves it.

    Creates the secret if there is none. REST answers show the reference, never the value.
    """
    context.secrets.get(name)
    return f"${{secret:{context.layout.secrets}:{name}}}"


def login(context: Context) -> str:
    """``sasl.jaas.config`` of a Kafka client inside a connector: user connect, its password by reference."""
    password = secret(context, "kafka.connect")
    return f'org.apache.kafka.common.security.scram.ScramLoginModule required username="connect" password="{password}";'


def _call(
    context: Context, method: str, path: str, body: Any = None, seconds: float = 30.0, **query: str
) -> httpx.Response:
    """Raises NotReadyError when Connect does not answer or is busy, PartError when it refuses."""
    address = f"http://127.0.0.1:{context.port(Port.CONNECT)}{path}"
    login = (users.ADMINISTRATOR, context.secrets.get("connect.rest"))
    try:
        answer = httpx.request(method, address, json=body, params=query, auth=login, timeout=seconds, trust_env=False)
    except httpx.HTTPError as error:
        raise NotReadyError(
            "connect.down", f"{method} {address}: {type(error).__name__} {error}", hint="appliance status connect"
        ) from error
    if answer.status_code == _BUSY or answer.status_code >= 500:
        raise NotReadyError("connect.busy", f"{method} {address}: {answer.status_code} {_reason(answer)}")
    if answer.is_error:
        raise PartError(
            "connect.refused", f"{method} {address}: {answer.status_code} {_reason(answer)}",
            context={"status": answer.status_code}, hint="appliance logs connect",
        )  # fmt: skip
    return answer


def _reason(answer: httpx.Response) -> str:
    """Connect's own message; its web server answers with a page of HTML, of which the status says enough."""
    if "json" not in answer.headers.get("content-type", ""):
        return answer.reason_phrase
    return str(answer.json().get("message", ""))[:1000]


def connectors(context: Context, seconds: float = 30.0) -> dict[str, dict[str, Any]]:
    """Name → status (``connector`` and ``tasks``, each with ``state``) of every connector."""
    answer = _call(context, "GET", "/connectors", seconds=seconds, expand="status").json()
    return {name: each["status"] for name, each in answer.items()}


def put(context: Context, name: str, config: Mapping[str, str]) -> None:
    """Create the connector or give it this configuration; it starts by itself.

    Unless ``config`` says otherwise, a topic that is missing is created: without that, the first record for a topic
    that nobody has made would hold up all others, and nothing would say so.
    """
    creation = {
        "topic.creation.default.replication.factor": "1",
        "topic.creation.default.partitions": str(context.settings.kafka.partitions),
    }
    _call(context, "PUT", f"/connectors/{quote(name, safe='')}/config", body=creation | dict(config), seconds=90)


def config(context: Context, name: str) -> dict[str, str] | None:
    """The connector's configuration, None if there is no such connector."""
    return _found(context, f"/connectors/{quote(name, safe='')}/config")


def status(context: Context, name: str) -> dict[str, Any] | None:
    """The connector's status, None if there is no such connector. It says RUNNING for a while after a crash."""
    return _found(context, f"/connectors/{quote(name, safe='')}/status")


def _found(context: Context, path: str) -> dict[str, Any] | None:
    try:
        answer: dict[str, Any] = _call(context, "GET", path).json()
    except PartError as error:
        if error.context.get("status") == 404:
            return None
        raise
    return answer


def pause(context: Context, name: str) -> None:
    """Stop reading, keep the tasks."""
    _call(context, "PUT", f"/connectors/{quote(name, safe='')}/pause")


def resume(context: Context, name: str) -> None:
    """Go on after ``pause`` or ``stop``."""
    _call(context, "PUT", f"/connectors/{quote(name, safe='')}/resume")


def stop(context: Context, name: str) -> None:
    """End the tasks; configuration and offsets stay. Offsets can be changed only in this state."""
    _call(context, "PUT", f"/connectors/{quote(name, safe='')}/stop")


def delete(context: Context, name: str) -> None:
    """Take the connector away. Its offsets stay, so that one with the same name goes on where it was."""
    try:
        _call(context, "DELETE", f"/connectors/{quote(name, safe='')}")
    except PartError as error:
        if error.context.get("status") != 404:
            raise


def offsets(context: Context, name: str) -> list[dict[str, Any]]:
    """How far the connector has read, an entry a partition of its source; empty if it has not begun."""
    found = _found(context, f"/connectors/{quote(name, safe='')}/offsets") or {}
    return [each["offset"] for each in found.get("offsets", []) if each.get("offset")]


def delete_offsets(context: Context, name: str) -> None:
    """Forget how far a connector in state ``stop`` has read: the next start takes a new snapshot."""
    _call(context, "DELETE", f"/connectors/{quote(name, safe='')}/offsets")


def restart_failed(context: Context) -> list[str]:
    """Start again what has FAILED; returns the names of those connectors, each with its failure in the log."""
    restarted = []
    for name, state in connectors(context).items():
        failed = [each for each in (state["connector"], *state["tasks"]) if each["state"] == "FAILED"]
        if not failed:
            continue
        _LOG.warning("restarting connector %s: %s", name, failed[0].get("trace", "")[:1000])
        try:
            _call(
                context, "POST", f"/connectors/{quote(name, safe='')}/restart", includeTasks="true", onlyFailed="true"
            )
        except ApplianceError as error:
            _LOG.warning("connector %s could not be restarted: %s", name, error.message)
        else:
            restarted.append(name)
    return restarted
