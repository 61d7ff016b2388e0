"""A truncate, and a replication slot lost while the business goes on: afterwards every feature of every entity that was
touched is what plain SQL over the business tables says, online, from HBase and from the lake."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import psycopg
import pytest

from appliance.clients import connect, kafka, postgres, redis
from appliance.parts.base import Context
from stream_jobs import plan as plans
from stream_jobs.feature_store import feature_store
from stream_jobs.mending import mends
from stream_jobs.mending.mends import Kind, Mend
from stream_jobs.online import reached
from stream_jobs.online.hbase_read import HBaseHistory
from stream_jobs.parity.arrived import Arrival
from stream_jobs.plan import Plan, View
from tests.e2e import business

pytestmark = pytest.mark.e2e

PAYMENTS = 60
DAYS = (1, 7, 30)
WITHIN = 1e-9
_DAY_US = 86_400_000_000

Connection = psycopg.Connection[tuple[object, ...]]
Values = dict[str, float]


@pytest.fixture
def administrator(live: Context) -> Iterator[Connection]:
    with postgres.sample(live, role="postgres") as connection:
        yield connection


@pytest.fixture
def plan(live: Context) -> Plan:
    return plans.read(live.layout.plan_file)


def _mended(live: Context, kind: Kind, since: float, seconds: float) -> Mend:
    """The mend that began after ``since`` (Unix time, s), when it is finished."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for mend in mends.finished(live):
            if mend.kind == kind and mend.at >= since * 1e6:
                return mend
        time.sleep(0.3)
    pytest.fail(f"no {kind} was mended in {seconds:.0f} s; open: {mends.unfinished(live)}")


def _until_everywhere(live: Context, plan: Plan, position: str) -> None:
    """Redis, HBase and the lake have all that was committed up to there."""
    store = redis.connect(live, "appliance")
    deadline = time.monotonic() + 120
    for view in plan.views:
        while (at := reached.decode(store.get(reached.key(live.names, view)))) is None or at.position <= position:
            assert time.monotonic() < deadline, f"{view.name} has reached {at}, wanted above {position}"
            time.sleep(0.2)
        Arrival(live, 120).wait(view, at.position)


def _until_captured(live: Context, plan: Plan, since: float) -> None:
    """Everything that was committed before ``since`` (Unix time, s) has come through."""
    store = redis.connect(live, "appliance")
    deadline = time.monotonic() + 60
    for view in plan.views:
        while (at := reached.decode(store.get(reached.key(live.names, view)))) is None or at.known_at <= since * 1e6:
            assert time.monotonic() < deadline, f"{view.name} has reached {at}"
            time.sleep(0.2)


def _by_sql(database: Connection, as_of: int, customer: int, terminal: int) -> Values:
    found: Values = {}
    at = datetime.fromtimestamp(as_of / 1e6, UTC)
    for days in DAYS:
        for names, query, key in (
            (
                (f"customer_tx_count_{days}d", f"customer_tx_amount_mean_{days}d"),
                "select count(*), avg(tx_amount) from transactions where customer_id = %s and tx_datetime <= %s"
                f" and tx_datetime > %s - interval '{days} days'",
                customer,
            ),
            (
                (f"terminal_label_count_{days}d", f"terminal_fraud_rate_{days}d"),
                "select count(*), coalesce(avg(is_fraud), 0) from transaction_labels where terminal_id = %s"
                f" and labelled_at <= %s and labelled_at > %s - interval '{days} days'",
                terminal,
            ),
        ):
            row = database.execute(query.encode(), (key, at, at)).fetchone()
            assert row is not None
            found |= {
                name: float("nan") if value is None else float(str(value))
                for name, value in zip(names, row, strict=True)
            }
    return found


def _from_hbase(live: Context, view: View, entity: int, as_of: int) -> dict[str, float]:
    """Counts only, folded in plain Python."""
    last: dict[str, Any] = {}
    edits = HBaseHistory.of(live).edits(view, str(entity), "f" * 32)
    for edit in sorted(edits, key=lambda each: (each.position, each.sign)):
        last[edit.row_id] = edit
    times = [edit.event_time for edit in last.values() if edit.sign > 0]
    counts = {feature.name: feature.window_us for feature in view.features if feature.function == "count"}
    return {name: float(sum(as_of - width < at <= as_of for at in times)) for name, width in counts.items()}


def _same(one: float | None, other: float) -> bool:
    if one is None or one != one:
        return other != other
    return abs(float(one) - other) <= WITHIN * max(1.0, abs(other))


def _compare(live: Context, plan: Plan, database: Connection, as_of: int, pairs: list[tuple[int, int]]) -> list[Values]:
    """Every feature of the pairs by every way; what SQL says of them."""
    expected = [_by_sql(database, as_of, *pair) for pair in pairs]
    names = [f"{view.name}:{feature.name}" for view in plan.views for feature in view.features]
    rows = [{"customer_id": customer, "terminal_id": terminal} for customer, terminal in pairs]
    store = feature_store(live)
    online = store.get_online_features(features=names, entity_rows=rows).to_dict()
    frame = pd.DataFrame(rows).assign(event_timestamp=pd.Timestamp(as_of, unit="us", tz="UTC"), number=range(len(rows)))
    historical = store.get_historical_features(frame, names).to_df().sort_values("number")
    different = []
    for index, values in enumerate(expected):
        for name, value in values.items():
            if not _same(online[name][index], value):
                different.append(("online", pairs[index], name, online[name][index], value))
            if not _same(historical[name].iloc[index], value):
                different.append(("lake", pairs[index], name, historical[name].iloc[index], value))
        for view, entity in zip(
            (plan.view("customer_payments"), plan.view("terminal_labels")), pairs[index], strict=True
        ):
            for name, count in _from_hbase(live, view, entity, as_of).items():
                if count != values[name]:
                    different.append(("hbase", pairs[index], name, count, values[name]))
    assert not different, f"{len(different)} values differ, the first: {different[0]}"
    return expected


def test_truncated_rows_leave_every_feature(
    live: Context, plan: Plan, administrator: Connection, held_clock: int
) -> None:
    found = administrator.execute(
        b"select distinct on (terminal_id) 1, terminal_id from transaction_labels where labelled_at <= %s"
        b" order by terminal_id, labelled_at desc limit 30",
        (datetime.fromtimestamp(held_clock / 1e6, UTC),),
    ).fetchall()
    pairs = [(int(str(row[0])), int(str(row[1]))) for row in found]
    before = [_by_sql(administrator, held_clock, *pair) for pair in pairs]
    administrator.execute(b"create temporary table kept as table transaction_labels")
    started = time.time()
    try:
        administrator.execute(b"truncate transaction_labels")
        administrator.execute(b"insert into transaction_labels select * from kept order by transaction_id limit 5")
        mend = _mended(live, "truncate", started, 60)
        assert mend.written["public.transaction_labels"] > 0
        _until_everywhere(live, plan, mend.position)
        after = _compare(live, plan, administrator, held_clock, pairs)
    finally:
        administrator.execute(b"insert into transaction_labels table kept on conflict do nothing")
    assert sum(each["terminal_label_count_30d"] for each in after) < sum(
        each["terminal_label_count_30d"] for each in before
    )


def test_what_went_while_the_slot_was_lost_leaves_every_feature(
    live: Context, plan: Plan, administrator: Connection, held_clock: int
) -> None:
    payments = business.Payments(live)
    made = [payments.make() for _ in range(PAYMENTS)]
    at = datetime.fromtimestamp(held_clock / 1e6, UTC)
    for number, payment in enumerate(made):
        administrator.execute(business.INSERT.encode(), (payment[0], at, *payment[2:]))
        made[number] = (payment[0], at, *payment[2:])
    first, last = made[0][0], made[-1][0]
    other = made[0][2]
    pairs = [(payment[2], payment[3]) for payment in made]
    _until_captured(live, plan, time.time())
    name = f"{live.installation.tenant}.bank"
    started = time.time()
    connect.stop(live, name)
    kafka.until(lambda: not (connect.status(live, name) or {}).get("tasks"), "the connector to stop", 60)
    mine = b"transaction_id between %s and %s"
    administrator.execute(b"delete from transactions where transaction_id %% 3 = 0 and " + mine, (first, last))
    administrator.execute(
        b"update transactions set customer_id = %s where transaction_id %% 3 = 1 and " + mine, (other, first, last)
    )
    administrator.execute(
        b"update transactions set tx_amount = tx_amount + 1 where transaction_id %% 3 = 2 and " + mine, (first, last)
    )
    deadline = time.monotonic() + 30
    while True:
        try:
            administrator.execute(b"select pg_drop_replication_slot('appliance_bank')")
            break
        except psycopg.errors.ObjectInUse:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    connect.resume(live, name)
    try:
        mend = _mended(live, "lost", started, 240)
        same = sum(payment[0] % 3 == 1 and payment[2] == other for payment in made)
        assert mend.written["public.transactions"] == PAYMENTS - same, "a delete for each row that went or changed"
        _until_everywhere(live, plan, mend.position)
        _compare(live, plan, administrator, held_clock, pairs)
    finally:
        administrator.execute(b"delete from transactions where " + mine, (first, last))
