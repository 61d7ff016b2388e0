"""A real MariaDB through the running Connect, Kafka and Flink: what may be captured, and that what comes is right."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from appliance import position
from appliance.clients import kafka
from appliance.errors import ApplianceError
from appliance.parts.base import Context
from appliance.records import ChangeSource
from stream_jobs import plan
from stream_jobs.source import binlog_checks, connector, former, record, service
from stream_jobs.source.record import Source
from tests.integration import mariadb
from tests.integration.flink_job import job, read

pytestmark = pytest.mark.integration

_COLUMNS = (plan.Column("amount", "decimal", 2), plan.Column("paid", "bool"), plan.Column("seen", "timestamp_us"))
_DECLARED = {
    "id": "int64", "customer": "int64", "at": "timestamptz", "amount": "decimal", "paid": "bool", "seen": "timestamp",
}  # fmt: skip
_MANY = 3000


@dataclass(frozen=True)
class Shop:
    """A MariaDB with the tables of a shop, and how it is to be captured."""

    server: mariadb.Server
    source: Source


@pytest.fixture(scope="module")
def shop(live: Context) -> Iterator[Shop]:
    name = f"shop{uuid.uuid4().hex[:8]}"
    with mariadb.server() as server:
        server.run(
            "CREATE DATABASE shop; USE shop;"
            "CREATE TABLE shop.orders (id bigint PRIMARY KEY, customer int NOT NULL, at timestamp(6) NOT NULL,"
            " amount decimal(12, 2), paid boolean, seen datetime, note varchar(20));"
            "CREATE TABLE shop.log (line text);"
            "CREATE TABLE shop.items (id int PRIMARY KEY, of bigint,"
            " FOREIGN KEY (of) REFERENCES shop.orders (id) ON DELETE CASCADE);"
            "CREATE TABLE shop.old (id int PRIMARY KEY) ENGINE = Aria;"
            "INSERT INTO shop.orders SELECT seq, seq % 7, '2018-04-01 00:00:31.5', seq / 4, seq % 2,"
            " '2018-04-01 00:00:31', 'old' FROM seq_1_to_500"
        )
        address = record.parse_address(f"mariadb://127.0.0.1:{server.port}/shop")
        source = service.describe(live, name, address, ["orders"], sample=False)
        yield Shop(server, source)
        known = record.read(live, name)
        if known is not None:
            service.remove(live, known, lambda text: None)
    topics = [topic for topic in kafka.admin(live).list_topics(timeout=10).topics if f".{name}." in f"{topic}."]
    kafka.admin(live).delete_topics(topics)


def _failed(live: Context, source: Source) -> dict[str, str]:
    return {each.point: each.found for each in service.check(live, source).checks if not each.ok}


def test_what_cannot_be_captured_is_refused_with_what_to_do(live: Context, shop: Shop) -> None:
    address = shop.source.address
    with pytest.raises(ApplianceError) as refused:
        service.add(live, shop.source, lambda text: None)
    assert refused.value.code == "source.no_connection"
    more = service.describe(live, shop.source.name, address, ["orders", "log", "items", "old"], sample=False)
    script = service.administrators_script(live, more)
    assert live.secrets.get(shop.source.secret) not in script
    shop.server.run(script)
    assert _failed(live, more) == {
        "primary key of shop.log": "none",
        "foreign keys of shop.items": "items_ibfk_1",
        "engine of shop.old": "Aria",
    }
    shop.server.run("SET GLOBAL binlog_format = MIXED; SET GLOBAL binlog_row_image = MINIMAL")
    shop.server.run(f"REVOKE RELOAD ON *.* FROM '{address.user}'@'%'")
    user = f"user {address.user} has RELOAD"
    assert _failed(live, shop.source) == {"binlog_format": "MIXED", "binlog_row_image": "MINIMAL", user: "False"}
    with pytest.raises(ApplianceError) as unchecked:
        service.add(live, shop.source, lambda text: None)
    assert unchecked.value.context["failed"] == ["binlog_format", "binlog_row_image", user]
    shop.server.run("SET GLOBAL binlog_format = ROW; SET GLOBAL binlog_row_image = FULL")
    shop.server.run(f"GRANT RELOAD ON *.* TO '{address.user}'@'%'")
    assert _failed(live, shop.source) == {}


def test_every_change_comes_at_a_position_that_grows_and_folds_to_the_table(live: Context, shop: Shop) -> None:
    run, source = shop.server.run, shop.source
    service.add(live, source, lambda text: None)
    row = "'2018-04-02 10:00:00', 1.50, true, '2018-04-02 10:00:00.4', 'new'"
    run(f"INSERT INTO shop.orders VALUES (1001, 1, {row}), (1002, 2, {row}), (1003, 3, {row})")
    run("UPDATE shop.orders SET amount = amount + 1, at = '2018-04-03 00:00:00' WHERE id IN (1001, 1002, 7)")
    run("UPDATE shop.orders SET id = 2003 WHERE id = 1003")
    run("UPDATE shop.orders SET customer = 6 WHERE id = 1002")
    run("FLUSH BINARY LOGS")
    run("DELETE FROM shop.orders WHERE id IN (1001, 8, 9)")
    run(
        "USE shop; BEGIN; INSERT INTO shop.orders SELECT seq, seq % 7, '2018-04-05', seq, NULL, NULL, NULL "
        f"FROM seq_10001_to_{10_000 + _MANY}; UPDATE shop.orders SET paid = true WHERE id > 10000; COMMIT"
    )
    topic = live.names.cdc(source.name, "shop.orders")
    wanted = 500 + 3 + 3 + 2 + 1 + 3 + 2 * _MANY
    changes = [value for _, _, value in read(live, topic, wanted, 60) if value["op"] != "m"]
    places = [_position(change) for change in changes]
    assert places == sorted(places)
    streamed = [(place, change["op"]) for place, change in zip(places, changes, strict=True) if change["op"] != "r"]
    assert len(set(streamed)) == len(streamed) == wanted - 500
    assert [change["op"] for change in changes[:508]] == ["r"] * 500 + ["c"] * 3 + ["u"] * 3 + ["d", "c"]
    assert changes[503]["before"] == {
        "id": 7, "customer": 0, "at": "2018-04-01T00:00:31.500000Z", "amount": "1.75", "paid": True,
        "seen": 1_522_540_831_000_000, "note": "old",
    }  # fmt: skip
    assert changes[503]["after"] == changes[503]["before"] | {"amount": "2.75", "at": "2018-04-03T00:00:00.000000Z"}

    with job(live, source.name, topic, ("customer",), _COLUMNS, _DECLARED, 1) as running:
        edits = [value for _, _, value in read(live, running.edits, wanted + 4 + _MANY, 60) if value["sign"] != 0]
    assert {edit["position"] for edit in edits} == set(places)
    table = run("SELECT id, customer, amount, paid FROM shop.orders")
    assert _folded(edits) == {
        str(id_): (str(customer), str(amount), None if paid is None else bool(paid))
        for id_, customer, amount, paid in table
    }
    assert len(table) == 500 + 3 - 3 + _MANY


def _position(change: dict[str, Any]) -> str:
    origin = {field: change["source"][field] for field in ("sequence", "snapshot", "file", "pos", "row")}
    return position.of(ChangeSource(**origin), change["appliance_base"])


def _folded(edits: list[dict[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """row id → entity and values of the rows that are in."""
    rows: dict[str, tuple[Any, ...]] = {}
    for edit in sorted(edits, key=lambda edit: (edit["position"], edit["sign"])):
        if edit["sign"] < 0:
            rows.pop(edit["row_id"], None)
        else:
            rows[edit["row_id"]] = (edit["entity"], edit["columns"]["amount"], edit["columns"]["paid"])
    return rows


def test_a_server_that_counts_its_files_anew_fails_the_connector_and_begins_above_when_added_again(
    live: Context, shop: Shop
) -> None:
    run, source = shop.server.run, shop.source
    service.add(live, source, lambda text: None)
    run("FLUSH BINARY LOGS; UPDATE appliance_cdc.heartbeat SET at = now(6)")
    before = former.highest(live, source)
    record.forget(live, source.name)  # so that it is not mended behind the test's back
    run("RESET MASTER")
    run("INSERT INTO shop.orders VALUES (9001, 1, now(6), 1, true, NULL, NULL)")
    kafka.until(lambda: bool(_connector_failed(live, source)), "the connector to fail", 60)
    with binlog_checks.connect(live, source) as connection:
        assert binlog_checks.now(connection)[0].endswith(".000001")
    connector.remove(live, source)
    service.add(live, source, lambda text: None)
    again = former.highest(live, source)
    assert before is not None
    assert again is not None
    assert again > before


def _connector_failed(live: Context, source: Source) -> list[str]:
    report = service.live(live, service.check(live, source))
    return [each.found for each in report.checks if not each.ok and each.point.startswith("connector")]
