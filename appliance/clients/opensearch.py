"""Connections to OpenSearch, over TLS checked against the appliance's own authority."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import OpenSearchException

from appliance.parts.base import Context
from appliance.ports import Port

FAILURES: tuple[type[Exception], ...] = (OpenSearchException, OSError)
"""What a call may raise: ``opensearchpy``'s own exceptions (TransportError has ``status_code``), or a missing file."""


def certificates(context: Context) -> Path:
    """Folder (mode 700) of ``ca.pem`` and of the keys and certificates of the node and of the administrator."""
    return context.layout.etc / "opensearch"


def connect(context: Context, user: str, timeout_seconds: float = 10.0) -> OpenSearch:
    """A client that logs in as ``alerter`` or ``gateway``. It connects with its first call."""
    return _client(context, timeout_seconds, http_auth=(user, context.secrets.get(f"opensearch.{user}")))


def administrator(context: Context, timeout_seconds: float = 10.0) -> OpenSearch:
    """A client with the administrator's certificate: it may do everything, users and roles included."""
    folder = certificates(context)
    return _client(
        context, timeout_seconds, client_cert=str(folder / "admin.pem"), client_key=str(folder / "admin.key")
    )


def _client(context: Context, timeout_seconds: float, **login: Any) -> OpenSearch:
    return OpenSearch(
        hosts=[{"host": "127.0.0.1", "port": context.port(Port.OPENSEARCH)}],
        use_ssl=True,
        verify_certs=True,
        ca_certs=str(certificates(context) / "ca.pem"),
        timeout=timeout_seconds,
        **login,
    )
