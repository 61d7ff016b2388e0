"""Addresses, the administrator's SQL, and the connector's configuration, without a server."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

import pytest

from appliance.errors import UsageError
from appliance.installation import Installation
from appliance.layout import Layout
from appliance.parts.base import Context
from appliance.secrets import Secrets
from appliance.settings import Settings
from stream_jobs.source import binlog, binlog_sql, connector, postgres_sql, record, scram, service
from stream_jobs.source.record import Address, Source, Table

_SOURCE = Source(
    "bank", Address("postgresql", "db.example", 5432, "bank"),
    (Table("public.payments", True, "INDEX"), Table("other.people", False)),
)  # fmt: skip


@pytest.fixture
def context(tmp_path: Path) -> Context:
    layout = Layout.below(tmp_path)
    return Context(
        layout, Installation("0", 40_000, "u", "main", "s", "c", {}, {}), Settings(), Secrets(layout.secrets)
    )


def test_an_address_is_understood() -> None:
    address = record.parse_address("postgresql://cdc@db.example/shop?sslmode=verify-full")
    assert address == Address("postgresql", "db.example", 5432, "shop", "cdc", "verify-full")
    assert record.parse_address("mysql://h/x").port == 3306


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError) as refused:
        record.parse_address("postgresql://cdc:hunter2@db.example/shop")
    assert refused.value.code == "source.password_in_url"
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("url", ["db.example/shop", "postgresql://db.example", "oracle://h/x", "postgresql://h:p/x"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        record.parse_address(url)


@pytest.mark.parametrize("name", ["", "Bank", "1st", "a-b", "a" * 40])
def test_names_that_cannot_be_part_of_a_slot_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        record.check_name(name)


def test_the_verifier_is_what_rfc_5802_says() -> None:
    """The exchange of RFC 7677, section 3: user ``user``, password ``pencil``."""
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    stored, server = scram.verifier("pencil", salt).split("$")[2].split(":")
    message = (
        b"n=user,r=rOprNGfwEbeRWgbNEkqO,"
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    )
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    signature = hmac.digest(base64.b64decode(stored), message, "sha256")
    client = bytes(left ^ right for left, right in zip(proof, signature, strict=True))
    assert hashlib.sha256(client).digest() == base64.b64decode(stored)
    expected = "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    assert base64.b64encode(hmac.digest(base64.b64decode(server), message, "sha256")).decode() == expected


def test_the_sql_never_shows_the_password_and_every_step_is_taken_back(context: Context) -> None:
    password = context.secrets.get(_SOURCE.secret)
    script = service.administrators_script(context, _SOURCE)
    assert password not in script
    assert 'ALTER TABLE "public"."payments" REPLICA IDENTITY FULL' in script
    assert 'ALTER TABLE "other"."people" REPLICA IDENTITY' not in script
    undo = postgres_sql.undo(_SOURCE)
    assert "pg_drop_replication_slot" in undo[0]
    assert 'ALTER TABLE "public"."payments" REPLICA IDENTITY INDEX' in undo
    assert undo[-1] == 'DROP ROLE IF EXISTS "appliance_cdc"'
    assert [line.split()[0:2] for line in undo[1:]].count(["DROP", "SCHEMA"]) == 1


def test_the_connector_keeps_the_contract_and_holds_no_password(context: Context) -> None:
    config = connector.config(context, _SOURCE, "77")
    assert context.secrets.get(_SOURCE.secret) not in config.values()
    contract = {
        "topic.prefix": "main.cdc.bank", "decimal.handling.mode": "string",
        "time.precision.mode": "microseconds", "binary.handling.mode": "base64",
        "skipped.operations": "none", "tombstones.on.delete": "false", "exactly.once.support": "required",
        "publication.autocreate.mode": "disabled",
        "transforms.base.static.value": "77",
    }  # fmt: skip
    assert contract.items() <= config.items()
    included = config["table.include.list"].split(",")
    assert included[:2] == ["public\\.payments", "other\\.people"]
    assert {"appliance_cdc\\.heartbeat", "appliance_cdc\\.signal"} < set(included)


_SHOP = Source("shop", Address("mariadb", "db.example", 3306, "shop"), (Table("shop.orders", True),))


def test_mariadbs_stored_form_of_a_password_is_the_servers() -> None:
    """From MariaDB's documentation of PASSWORD(): ``SELECT PASSWORD('notagoodpwd')``."""
    assert binlog_sql.verifier("notagoodpwd") == "*3A70EE9FC6594F88CE9E959CD51C5A1C002DC937"


def test_the_sql_for_mariadb_never_shows_the_password_and_quotes_names(context: Context) -> None:
    script = service.administrators_script(context, _SHOP)
    assert context.secrets.get(_SHOP.secret) not in script
    assert "GRANT SELECT ON `shop`.`orders` TO 'appliance_cdc'@'%';" in script
    assert script.rstrip().endswith("DROP DATABASE IF EXISTS `appliance_cdc`;")
    assert binlog_sql.quoted("a`b", "c") == "`a``b`.`c`"


def test_the_connector_for_mariadb_keeps_its_history_for_good_and_holds_no_password(context: Context) -> None:
    config = connector.config(context, _SHOP, "0")
    secrets = {context.secrets.get(_SHOP.secret), context.secrets.get("kafka.connect")}
    assert not [value for value in config.values() for secret in secrets if secret in value]
    history = "main.connect.schema-history.shop"
    contract = {
        "connector.class": "io.debezium.connector.mariadb.MariaDbConnector", "database.ssl.mode": "disable",
        "database.include.list": "appliance_cdc,shop", "time.precision.mode": "microseconds",
        "schema.history.internal.kafka.topic": history, "exactly.once.support": "required",
        "table.include.list": "shop\\.orders,appliance_cdc\\.heartbeat,appliance_cdc\\.signal",
    }  # fmt: skip
    assert contract.items() <= config.items()
    topics = binlog.Binlog().topics(context, _SHOP)
    assert topics[history]["retention.ms"] == "-1"
    assert config["database.server.id"] == str(binlog.server_id(context, _SHOP))


def test_tables_without_a_schema_are_in_mariadbs_database(context: Context) -> None:
    source = service.describe(context, "shop", _SHOP.address, ["a", "s.b"], sample=False)
    assert [table.name for table in source.tables] == ["shop.a", "s.b"]


def test_without_plan_and_tables_nothing_can_be_captured(context: Context) -> None:
    with pytest.raises(UsageError, match="names no table"):
        service.describe(context, "bank", _SOURCE.address, None, sample=False)


def test_tables_without_schema_are_public(context: Context) -> None:
    source = service.describe(context, "bank", _SOURCE.address, ["a", "s.b"], sample=False)
    assert [table.name for table in source.tables] == ["public.a", "s.b"]
