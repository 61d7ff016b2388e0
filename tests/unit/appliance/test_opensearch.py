"""OpenSearch: certificates, roles, configuration, without a server."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from appliance.installation import Installation
from appliance.layout import Layout
from appliance.parts import opensearch, opensearch_security
from appliance.parts.base import Context
from appliance.secrets import Secrets
from appliance.settings import Settings


@pytest.fixture
def context(tmp_path: Path) -> Context:
    layout = Layout.below(tmp_path)
    installation = Installation("0", 40_000, "u", "other", "s", "c", {}, {})
    return Context(layout, installation, Settings(), Secrets(layout.secrets))


def test_certificates_are_private_signed_and_made_once(context: Context) -> None:
    opensearch_security.write_certificates(context)
    folder = context.layout.etc / "opensearch"
    for holder in ("node", "admin"):
        done = subprocess.run(
            ["openssl", "verify", "-CAfile", "ca.pem", "-verify_ip", "127.0.0.1", f"{holder}.pem"],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert {modes["ca.key"], modes["node.key"], modes["admin.key"]} == {0o600}
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    opensearch_security.write_certificates(context)
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_authority_key_stays_out_of_what_the_node_reads(context: Context, tmp_path: Path) -> None:
    opensearch_security.write_certificates(context)
    opensearch_security.copy_certificates(context, tmp_path / "copy")
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == ["ca.pem", "node.key", "node.pem"]


def test_roles_name_only_the_tenants_indexes(context: Context) -> None:
    for role in opensearch_security.roles(context).values():
        for permission in role["index_permissions"]:
            assert all(pattern.startswith("other-") for pattern in permission["index_patterns"])


def test_settings_keep_to_loopback_and_their_ports(context: Context) -> None:
    settings = opensearch.settings(context)
    assert settings["network.host"] == "127.0.0.1"
    assert (settings["http.port"], settings["transport.port"]) == (40_007, 40_008)
