"""OpenSearch: the alerts, searchable. TLS on both of its ports; the security plugin decides who may do what."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

from opensearchpy.exceptions import AuthenticationException, AuthorizationException

from appliance.clients import opensearch as client
from appliance.errors import NotReadyError
from appliance.parts import opensearch_security as security
from appliance.parts.base import BasePart, Context, Process
from appliance.ports import Port

_JVM = """\
-XX:+UseG1GC
-XX:G1ReservePercent=25
-XX:InitiatingHeapOccupancyPercent=30
-Djava.io.tmpdir=${OPENSEARCH_TMPDIR}
-XX:+ExitOnOutOfMemoryError
-javaagent:agent/opensearch-agent.jar
-Dorg.apache.lucene.store.MMapDirectory.sharedArenaMaxPermits=1
"""

_LOG4J = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] %marker%m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
"""

# Logins are the internal users' names and passwords; the administrator comes with a certificate.
_SECURITY_CONFIG = {
    "_meta": {"type": "config", "config_version": 2},
    "config": {
        "dynamic": {
            "http": {"anonymous_auth_enabled": False},
            "authc": {
                "internal": {
                    "http_enabled": True,
                    "order": 0,
                    "http_authenticator": {"type": "basic", "challenge": True},
                    "authentication_backend": {"type": "intern"},
                }
            },
        }
    },
}
_EMPTY = {
    "internal_users": "internalusers",
    "roles": "roles",
    "roles_mapping": "rolesmapping",
    "action_groups": "actiongroups",
    "tenants": "tenants",
    "nodes_dn": "nodesdn",
}


def settings(context: Context) -> dict[str, object]:
    """``opensearch.yml``: one node, loopback only."""
    node = {"pemcert_filepath": "node.pem", "pemkey_filepath": "node.key", "pemtrustedcas_filepath": "ca.pem"}
    tls = {
        f"plugins.security.ssl.{side}.{key}": f"certificates/{value}"
        for side in ("http", "transport")
        for key, value in node.items()
    }
    return {
        "cluster.name": f"{context.installation.tenant}-appliance",
        "node.name": "node",
        "path.data": str(context.data("opensearch")),
        "path.logs": str(context.layout.logs),
        "network.host": "127.0.0.1",
        "http.port": context.port(Port.OPENSEARCH),
        "transport.port": context.port(Port.OPENSEARCH_TRANSPORT),
        "discovery.type": "single-node",
        "bootstrap.memory_lock": False,
        "cluster.default_number_of_replicas": 0,
        "cluster.routing.allocation.disk.watermark.low": "2gb",
        "cluster.routing.allocation.disk.watermark.high": "1gb",
        "cluster.routing.allocation.disk.watermark.flood_stage": "512mb",
        **tls,
        "plugins.security.ssl.http.enabled": True,
        "plugins.security.ssl.transport.enforce_hostname_verification": True,
        "plugins.security.nodes_dn": [security.distinguished_name("node")],
        "plugins.security.authcz.admin_dn": [security.distinguished_name("admin")],
        "plugins.security.allow_default_init_securityindex": True,
    }


class OpenSearch(BasePart):
    """Single node. Its users and roles come from ``opensearch_security``."""

    name = "opensearch"
    listens = Port.OPENSEARCH
    ready_timeout_seconds = 600

    def prepare(self, context: Context) -> None:
        security.write_certificates(context)
        folder = _configuration(context)
        (folder / "opensearch-security").mkdir(mode=0o700, parents=True, exist_ok=True)
        (context.run(self.name) / "tmp").mkdir(exist_ok=True)
        security.copy_certificates(context, folder / "certificates")
        heap = context.settings.memory.opensearch_heap_mib
        (folder / "jvm.options").write_text(f"-Xms{heap}m\n-Xmx{heap}m\n{_JVM}")
        (folder / "log4j2.properties").write_text(_LOG4J)
        # JSON is YAML.
        (folder / "opensearch.yml").write_text(json.dumps(settings(context), indent=1))
        _write_first_security(context, folder / "opensearch-security")

    def process(self, context: Context) -> Process:
        return Process(
            (f"{context.installation.part('opensearch')}/bin/opensearch",),
            environment={
                "OPENSEARCH_JAVA_HOME": str(context.installation.part("jdk25")),
                "OPENSEARCH_PATH_CONF": str(_configuration(context)),
                "OPENSEARCH_TMPDIR": str(context.run(self.name) / "tmp"),
            },
            stop_wait_seconds=60,
        )

    def ready(self, context: Context) -> None:
        """Write a document and read it back as ``alerter``, who is no administrator."""
        index, value = security.ready_index(context), time.time_ns()
        try:
            with client.connect(context, "alerter") as alerter:
                try:
                    alerter.index(index=index, id="1", body={"at": value})
                except (AuthenticationException, AuthorizationException):
                    with client.administrator(context) as administrator:
                        security.apply(context, administrator)
                    alerter.index(index=index, id="1", body={"at": value})
                got = alerter.get(index=index, id="1")["_source"]["at"]
        except client.FAILURES as error:
            raise NotReadyError(
                "opensearch.not_ready", f"OpenSearch does not write and read a document: {error!r}"[:500],
                hint="appliance logs opensearch",
            ) from error  # fmt: skip
        if got < value:
            raise NotReadyError("opensearch.mismatch", f"OpenSearch gave {got!r}, older than {value!r} just written")

    def provision(self, context: Context) -> None:
        """Bring users and roles up to date."""
        with client.administrator(context) as administrator:
            security.apply(context, administrator)


def _configuration(context: Context) -> Path:
    return context.run("opensearch") / "config"


def _write_first_security(context: Context, folder: Path) -> None:
    """What the security plugin's tables hold when it makes them: no user, no role but its own.

    Users and roles are put in through its API, so that no hash of a password is ever in a file of ours.
    """
    shipped = context.installation.part("opensearch") / "plugins" / "opensearch-security" / "config"
    shutil.copy2(shipped / "allowlist.yml", folder)
    (folder / "config.yml").write_text(json.dumps(_SECURITY_CONFIG))
    for name, kind in _EMPTY.items():
        (folder / f"{name}.yml").write_text(json.dumps({"_meta": {"type": kind, "config_version": 2}}))
    for path in folder.iterdir():
        path.chmod(0o600)
