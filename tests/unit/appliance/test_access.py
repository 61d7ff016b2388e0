"""What each user may do on Kafka and Redis: no more than its work needs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from confluent_kafka.admin import AclOperation, ResourcePatternType, ResourceType

from appliance import users
from appliance.clients import kafka
from appliance.installation import Installation
from appliance.layout import Layout
from appliance.parts import redis
from appliance.parts.base import Context
from appliance.parts.kafka_access import bindings
from appliance.secrets import Secrets
from appliance.settings import Settings


@pytest.fixture
def context(tmp_path: Path) -> Context:
    layout = Layout.below(tmp_path)
    installation = Installation("1", 40_000, "nobody", "main", "card_fraud", "/nowhere", {}, {})
    return Context(layout, installation, Settings(), Secrets(layout.secrets))


def may(user: str, operation: AclOperation, topic: str) -> bool:
    """Whether the ACLs allow it, by Kafka's rules for literal and prefixed names."""
    return any(
        acl.restype == ResourceType.TOPIC
        and acl.principal == f"User:{user}"
        and acl.operation == operation
        and (
            topic.startswith(acl.name)
            if acl.resource_pattern_type == ResourcePatternType.PREFIXED
            else topic == acl.name
        )
        for acl in bindings("main")
    )


CDC, EDITS, PREDICTIONS = "main.cdc.bank.public.payments", "main.edits.customer.v1", "main.predictions.card_fraud"


@pytest.mark.parametrize(
    ("user", "operation", "topic", "allowed"),
    [
        ("connect", AclOperation.WRITE, CDC, True),
        ("connect", AclOperation.WRITE, EDITS, False),
        ("marker", AclOperation.WRITE, CDC, True),
        ("flink", AclOperation.READ, CDC, True),
        ("flink", AclOperation.WRITE, CDC, False),
        ("flink", AclOperation.WRITE, EDITS, True),
        ("writer-redis", AclOperation.READ, EDITS, True),
        ("writer-redis", AclOperation.READ, CDC, False),
        ("writer-redis", AclOperation.WRITE, EDITS, False),
        ("scorer", AclOperation.READ, CDC, True),
        ("scorer", AclOperation.WRITE, CDC, False),
        ("scorer", AclOperation.WRITE, PREDICTIONS, True),
        ("scorer", AclOperation.WRITE, "main.alerts", True),
        ("scorer", AclOperation.WRITE, "main.dead-letters.scorer", True),
        ("scorer", AclOperation.WRITE, "main.dead-letters.alerter", False),
        ("alerter", AclOperation.READ, "main.alerts", True),
        ("alerter", AclOperation.READ, PREDICTIONS, True),
        ("gateway", AclOperation.READ, CDC, False),
        ("gateway", AclOperation.WRITE, CDC, False),
        ("scorer", AclOperation.READ, "other.cdc.bank.public.payments", False),
    ],
)
def test_topics(user: str, operation: AclOperation, topic: str, allowed: bool) -> None:
    assert may(user, operation, topic) is allowed


def test_nobody_but_connect_may_create_topics() -> None:
    creators = {acl.principal for acl in bindings("main") if acl.operation == AclOperation.CREATE}
    assert creators == {"User:connect"}


def test_kept_times_follow_the_kind_of_topic(context: Context) -> None:
    day = 86_400_000
    assert kafka.topic_config(context, CDC)["retention.ms"] == str(45 * day)
    assert kafka.topic_config(context, "main.alerts")["retention.ms"] == str(45 * day)
    assert {kafka.topic_config(context, topic)["cleanup.policy"] for topic in (CDC, EDITS, "main.alerts")} == {"delete"}


def test_only_the_administrator_sends_its_password_in_the_clear(context: Context) -> None:
    assert kafka.client(context, users.ADMINISTRATOR)["sasl.mechanism"] == "PLAIN"
    assert {kafka.client(context, user)["sasl.mechanism"] for user in users.OURS} == {"SCRAM-SHA-512"}


def test_redis_acl_holds_no_password_and_switches_the_anonymous_user_off(context: Context) -> None:
    text = redis.acl(context)
    lines = dict(line.removeprefix("user ").split(" ", 1) for line in text.splitlines())
    state, passwords, *_ = lines["default"].split()
    assert (state, passwords) == ("off", "resetpass"), "nobody may log in as default, as whom Redis replays its file"
    for user in users.OURS:
        password = context.secrets.get(f"redis.{user}")
        assert password not in text
        assert f"#{hashlib.sha256(password.encode()).hexdigest()}" in lines[user]
        assert " ~main:* " in lines[user]
        assert "-@admin" in lines[user]
