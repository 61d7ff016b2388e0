"""Who may do what in OpenSearch: its certificates, and the users and roles of the security plugin."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from opensearchpy import OpenSearch

from appliance.clients.opensearch import certificates
from appliance.errors import PartError
from appliance.parts.base import Context

_DAYS = "3650"
_ORGANISATION = "appliance"
_HOLDERS = ("node", "admin")
USERS = ("alerter", "gateway")


def distinguished_name(holder: str) -> str:
    """Name in the certificate of ``node`` or ``admin``, as OpenSearch writes it."""
    return f"CN={holder},O={_ORGANISATION}"


def ready_index(context: Context) -> str:
    """Index of the readiness check."""
    return f"{context.installation.tenant}-ready"


def write_certificates(context: Context) -> None:
    """Make an authority and the certificates of node and administrator (P-256, ten years) unless they are there.

    Raises PartError when openssl is missing or fails.
    """
    folder = certificates(context)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (folder / "ca.pem").exists():
        _issue(folder, "ca", "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign,cRLSign")
    for holder in _HOLDERS:
        if not (folder / f"{holder}.pem").exists():
            _issue(
                folder, holder, "-CA", "ca.pem", "-CAkey", "ca.key",
                "-addext", "basicConstraints=CA:FALSE",
                "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                "-addext", "extendedKeyUsage=serverAuth,clientAuth",
            )  # fmt: skip


def _issue(folder: Path, holder: str, *arguments: str) -> None:
    """Make ``<holder>.key`` (mode 600) and ``<holder>.pem``; the certificate gets its name last, when all is well."""
    command = (
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", _DAYS,
        "-subj", f"/O={_ORGANISATION}/CN={holder}", "-keyout", f"{holder}.key", "-out", f"{holder}.new", *arguments,
    )  # fmt: skip
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, umask=0o077)
    except FileNotFoundError as error:
        raise PartError("opensearch.no_openssl", "no openssl on PATH", hint="run ./install again") from error
    if done.returncode:
        raise PartError(
            "opensearch.certificate", f"openssl could not make the certificate of {holder}: {done.stderr[-500:]}"
        )
    (folder / f"{holder}.new").rename(folder / f"{holder}.pem")


def copy_certificates(context: Context, target: Path) -> None:
    """Put what the node needs (not the authority's key) below its configuration, the only place it may read."""
    target.mkdir(mode=0o700, exist_ok=True)
    for name in ("ca.pem", "node.pem", "node.key"):
        raw = (certificates(context) / name).read_bytes()
        with os.fdopen(os.open(target / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(raw)


def roles(context: Context) -> dict[str, dict[str, Any]]:
    """Each user's role, which has the user's name."""
    tenant = context.installation.tenant
    probe = {"index_patterns": [ready_index(context)], "allowed_actions": ["crud", "create_index"]}
    alerts = [f"{tenant}-alerts-*"]
    return {
        "alerter": {
            "cluster_permissions": [
                "cluster_composite_ops", "cluster_monitor", "indices:admin/index_template/*",
            ],
            "index_permissions": [probe, {"index_patterns": alerts, "allowed_actions": ["indices_all"]}],
        },
        "gateway": {
            "cluster_permissions": ["cluster_composite_ops_ro", "cluster_monitor"],
            "index_permissions": [
                {"index_patterns": alerts, "allowed_actions": ["read", "indices_monitor", "indices:admin/get"]},
            ],
        },
    }  # fmt: skip


def apply(context: Context, administrator: OpenSearch) -> None:
    """Bring users, roles and who has which role to what this file says. Raises opensearchpy's exceptions."""
    for name, role in roles(context).items():
        _put(administrator, f"roles/{name}", role)
    for user in USERS:
        _put(administrator, f"internalusers/{user}", {"password": context.secrets.get(f"opensearch.{user}")})
        _put(administrator, f"rolesmapping/{user}", {"users": [user]})


def _put(administrator: OpenSearch, path: str, body: dict[str, Any]) -> None:
    administrator.transport.perform_request("PUT", f"/_plugins/_security/api/{path}", body=body)
