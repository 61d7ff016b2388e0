"""The author's guide on the running appliance: a view added, changed, taken back and removed while rows are scored."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from appliance.clients import kafka, postgres
from appliance.parts.base import Context
from stream_jobs import plan as plans
from stream_jobs.versions import holder
from tests.e2e import business, ledger

pytestmark = pytest.mark.e2e

_VIEW = "customer_terminals"
_ADDED = """

from feast.aggregation import Aggregation  # noqa: E402

customer_terminals = StreamFeatureView(
    name="customer_terminals",
    entities=[customer],
    source=transactions,
    timestamp_field="tx_datetime",
    ttl=_REACHED_TTL,
    schema=[
        Field(name="customer_id", dtype=Int64),
        Field(name="customer_terminals_1h", dtype=Int64),
        MORE_FIELDS
    ],
    aggregations=[
        Aggregation(
            column="terminal_id", function="count_distinct", time_window=timedelta(hours=1),
            name="customer_terminals_1h",
        ),
        MORE_AGGREGATIONS
    ],
    tags=declare.view_tags(columns={"large": "tx_amount > 100"}, where={"customer_large_2h": "large"}) if MORE else {},
)
"""
_MORE = {
    "MORE_FIELDS": 'Field(name="customer_large_2h", dtype=Int64),',
    "MORE_AGGREGATIONS": (
        'Aggregation(column="*", function="count", time_window=timedelta(hours=2), name="customer_large_2h"),'
    ),
    "if MORE": "if True",
}
_LESS = {"MORE_FIELDS": "", "MORE_AGGREGATIONS": "", "if MORE": "if False"}
_DISTINCT = """select count(distinct terminal_id) from transactions
where customer_id = %s and tx_datetime > %s::timestamptz - interval '1 hour' and tx_datetime <= %s::timestamptz"""
_LARGE = """select count(*) from transactions where tx_amount > 100
and customer_id = %s and tx_datetime > %s::timestamptz - interval '2 hours' and tx_datetime <= %s::timestamptz"""


@pytest.fixture
def definitions(live: Context) -> Iterator[Path]:
    """The installed scenario's definitions, put back afterwards, and every trace of the test's versions removed."""
    file = live.layout.code / "feature_repo" / "card_fraud" / "features.py"
    before = file.read_text()
    yield file
    file.write_text(before)
    _features(live, "apply")
    with holder.alone(live):
        plan = plans.read(live.layout.plan_file)
        plans.write(replace(plan, kept_until=dict.fromkeys(plan.kept_until, 1)), live.layout.plan_file)


def _features(context: Context, *words: str) -> Any:
    command = [str(context.layout.bin / "appliance"), "features", *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def _write(file: Path, before: str, parts: dict[str, str]) -> None:
    text = _ADDED
    for name, part in parts.items():
        text = text.replace(name, part)
    file.write_text(before + text)


def _value(context: Context, payment: tuple[Any, ...], feature: str) -> Any:
    found = _features(context, "get", _VIEW, str(payment[2]), "--as-of", payment[1].isoformat())
    return found["version"], found["features"][feature]["value"]


def _asked(context: Context, sql: str, payment: tuple[Any, ...]) -> Any:
    with postgres.sample(context) as database:
        row = database.execute(sql, (payment[2], payment[1], payment[1])).fetchone()
    assert row is not None
    return row[0]


def _payment(context: Context, key: int) -> tuple[Any, ...]:
    with postgres.sample(context) as database:
        row = database.execute("select * from transactions where transaction_id = %s", (key,)).fetchone()
    assert row is not None
    return row


def _states(context: Context) -> dict[int, str]:
    return {one["version"]: one["state"] for one in _features(context, "list")["versions"] if one["view"] == _VIEW}


def _until_reached(context: Context, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for one in _features(context, "list")["versions"]:
            if (one["view"], one["state"]) == (_VIEW, "serving") and (one["age_ms"] or 10**9) < 15_000:
                return
        time.sleep(1)
    raise AssertionError(f"{_VIEW} has not read the past in {seconds} s")


def test_a_view_is_added_changed_taken_back_and_removed_while_every_row_is_scored(
    live: Context, definitions: Path
) -> None:
    before = definitions.read_text()
    with business.committing(live, business.Payments(live), 4) as committed:
        _write(definitions, before, _LESS)
        planned = {change["name"]: change["kind"] for change in _features(live, "plan")["changes"]}
        assert planned[_VIEW] == "new" and planned["customer_payments"] == "unchanged"
        _features(live, "apply")
        _until_reached(live)
        payment = _payment(live, committed[0])
        (first, value), states = _value(live, payment, "customer_terminals_1h"), _states(live)
        assert value == _asked(live, _DISTINCT, payment) and states == {first: "serving"}

        _write(definitions, before, _MORE)
        assert _features(live, "apply")["done"] == "in effect"
        payment = _payment(live, committed[-20])
        second, value = _value(live, payment, "customer_large_2h")
        assert value == _asked(live, _LARGE, payment)
        assert _states(live) == {first: "former", second: "serving"}

        _features(live, "rollback", _VIEW)
        assert _states(live) == {first: "serving", second: "former"}
        assert _value(live, payment, "customer_terminals_1h") == (first, _asked(live, _DISTINCT, payment))
    counts = ledger.wait_for(live, committed, 60)
    assert {key: counts[str(key)] for key in committed} == dict.fromkeys(committed, 1)


def test_afterwards_nothing_of_it_is_left(live: Context) -> None:
    """Runs after the test above, whose fixture has let its versions go."""
    kafka.until(lambda: not plans.read(live.layout.plan_file).dropped, "the versions to be removed", 90)
    assert _states(live) == {}
    topics = kafka.admin(live).list_topics(timeout=10).topics
    assert not [topic for topic in topics if topic.startswith(live.names.edits_prefix(_VIEW))]
