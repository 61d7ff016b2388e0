"""Who may do what on Kafka: the SCRAM users and the ACLs of each, no more than its work needs.

Groups and transactional ids of a user start with ``<tenant>.<user>``.
A SCRAM user is never deleted: on Kafka 4.3 that can lose every SCRAM credential at the next start of the broker.
All of them are written again at each ``up``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)

from appliance import users
from appliance.clients import kafka as clients
from appliance.errors import PartError
from appliance.parts.base import Context

SCRAM_USERS = (*users.OURS, "connect")
_ITERATIONS = 8192

_EVERY_ACL = AclBindingFilter(
    ResourceType.ANY,
    None,  # type: ignore[arg-type]  # None means any, in the library's own documentation
    ResourcePatternType.ANY,
    None,  # type: ignore[arg-type]
    None,  # type: ignore[arg-type]
    AclOperation.ANY,
    AclPermissionType.ANY,
)

_SEE = (AclOperation.DESCRIBE,)
_READ = (AclOperation.READ, AclOperation.DESCRIBE)
_WRITE = (AclOperation.WRITE, AclOperation.DESCRIBE)
_OWN = (
    AclOperation.READ, AclOperation.WRITE, AclOperation.CREATE, AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS,
)  # fmt: skip


@dataclass(frozen=True)
class _Rights:
    """Topics by what may be done with them; a name that ends in a dot is a prefix. sees: their metadata."""

    sees: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    owns: tuple[str, ...] = ()


def _rights(tenant: str) -> dict[str, _Rights]:
    cdc, edits, requests = f"{tenant}.cdc.", f"{tenant}.edits.", f"{tenant}.requests."
    predictions, feedback, alerts = f"{tenant}.predictions.", f"{tenant}.feedback.", f"{tenant}.alerts"
    shadow = f"{tenant}.shadow."
    return {
        "connect": _Rights(owns=(cdc, f"{tenant}.connect.")),
        "flink": _Rights(reads=(cdc,), writes=(edits,)),
        "marker": _Rights(reads=(cdc,), writes=(cdc,)),
        "mender": _Rights(reads=(cdc, f"{tenant}.connect.notifications."), writes=(cdc,)),
        "writer-redis": _Rights(sees=(cdc,), reads=(edits,)),
        "writer-hbase": _Rights(sees=(cdc,), reads=(edits,)),
        "writer-lake": _Rights(reads=(cdc, predictions, feedback, shadow)),
        "learner": _Rights(reads=(predictions,), writes=(shadow,)),
        "writeback": _Rights(reads=(predictions,)),
        "scorer": _Rights(reads=(cdc, requests), writes=(predictions, alerts)),
        "alerter": _Rights(reads=(alerts, predictions)),
        "gateway": _Rights(
            sees=(cdc, edits), reads=(predictions, alerts), writes=(predictions, alerts, requests, feedback)
        ),
    }


def bindings(tenant: str) -> set[AclBinding]:
    """Every ACL there should be."""
    found: set[AclBinding] = set()
    for user, rights in _rights(tenant).items():
        own = f"{tenant}.{user}"
        grants = ((rights.sees, _SEE), (rights.reads, _READ), (rights.writes, _WRITE), (rights.owns, _OWN))
        for names, operations in grants:
            for name in names:
                found |= _allow(user, ResourceType.TOPIC, name, operations, prefixed=name.endswith("."))
        if user in users.OURS:
            found |= _allow(user, ResourceType.TOPIC, f"{tenant}.dead-letters.{user}", _WRITE)
        found |= _allow(user, ResourceType.GROUP, own, _READ, prefixed=True)
        transactions = (own,) if user != "connect" else (own, f"connect-cluster-{own}")
        for name in transactions:
            found |= _allow(user, ResourceType.TRANSACTIONAL_ID, name, _WRITE, prefixed=True)
        found |= _allow(user, ResourceType.BROKER, "kafka-cluster", (AclOperation.IDEMPOTENT_WRITE,))
    return found


def _allow(
    user: str, kind: ResourceType, name: str, operations: Iterable[AclOperation], *, prefixed: bool = False
) -> set[AclBinding]:
    pattern = ResourcePatternType.PREFIXED if prefixed else ResourcePatternType.LITERAL
    return {
        AclBinding(kind, name, pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW)
        for operation in operations
    }


def provision(context: Context) -> None:
    """Write all users and make the ACLs exactly those of ``bindings``; returns when the broker applies them."""
    control = clients.admin(context)
    _write_users(context, control)
    _write_acls(control, bindings(context.installation.tenant))


def _write_users(context: Context, control: AdminClient) -> None:
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, _ITERATIONS)
    changes: list[UserScramCredentialAlteration] = [
        UserScramCredentialUpsertion(user, info, context.secrets.get(f"kafka.{user}").encode()) for user in SCRAM_USERS
    ]
    for user, future in control.alter_user_scram_credentials(changes).items():
        clients.result(future, f"write user {user}")
    for user in SCRAM_USERS:
        _log_in(context, user)


def _log_in(context: Context, user: str) -> None:
    """Poll until the user's password is taken. Raises PartError if it never is."""
    deadline = time.monotonic() + 20
    while True:
        probe = AdminClient(clients.client(context, user))
        try:
            probe.list_topics(timeout=2)
        except KafkaException as error:
            if time.monotonic() > deadline:
                raise PartError(
                    "kafka.login", f"Kafka does not let user {user} in: {error.args[0]}", hint="appliance restart kafka"
                ) from error
        else:
            return


def _write_acls(control: AdminClient, wanted: set[AclBinding]) -> None:
    def now() -> set[AclBinding]:
        return set(clients.result(control.describe_acls(_EVERY_ACL), "list ACLs"))

    present = now()
    if missing := wanted - present:
        for future in control.create_acls(list(missing)).values():
            clients.result(future, "create ACLs")
    if extra := present - wanted:
        filters = [
            AclBindingFilter(
                acl.restype,
                acl.name,
                acl.resource_pattern_type,
                acl.principal,
                acl.host,
                acl.operation,
                acl.permission_type,
            )
            for acl in extra
        ]
        for future in control.delete_acls(filters).values():
            clients.result(future, "delete ACLs")
    clients.until(lambda: now() == wanted, "the ACLs to apply")
