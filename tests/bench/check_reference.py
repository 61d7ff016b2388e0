"""The book's 12 features of every payment, through the real pipeline and through Feast's historical path.

    APPLIANCE_HOME=… python -m tests.bench.check_reference --data FOLDER [--until 2018-10-01]

On an appliance of its own (its sample business database is emptied): commits payments and labels to PostgreSQL in the
order of time, waits until the stores have them, and reads every payment's 12 features at its own position: from Redis,
as the scorer does, and from Feast's ``get_historical_features``. Before 2018-06-01 they must be the published ones,
later ones those of the book's method, computed here with pandas.

Payments of one customer in the same second: the book counts one without the other; which one is not in the data. They
are committed in the order that the published counts imply (later months: by id, and the method counts them so).
``--snapshot`` lets the appliance find the rows instead of seeing them committed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from appliance import context as contexts
from appliance import users
from appliance.clients import postgres, redis
from appliance.parts.base import Context
from stream_jobs import plan as plans
from stream_jobs.feature_store import feature_store
from stream_jobs.lake import reading
from stream_jobs.online import reached
from stream_jobs.online.hbase_read import HBaseHistory
from stream_jobs.online.reader import OnlineReader, RowInHand
from stream_jobs.plan import Plan
from stream_jobs.sample import clock
from tests.bench import machine, reference

_LABEL_DELAY = pd.Timedelta(days=7)
_PUBLISHED_UNTIL = pd.Timestamp("2018-06-01")
_COMMIT_ROWS = 500
_READ_ROWS = 1_000
_FEAST_ROWS = 200_000
_QUIET_PARTS = ("scorer", "alerter", "triton-watch")
"""Stopped meanwhile: nobody asked for a score of these payments."""
_INSERT = {
    "transactions": "INSERT INTO transactions SELECT * FROM"
    " unnest(%s::bigint[], %s::timestamptz[], %s::bigint[], %s::bigint[], %s::numeric[])",
    "transaction_labels": "INSERT INTO transaction_labels SELECT * FROM"
    " unnest(%s::bigint[], %s::bigint[], %s::int[], %s::timestamptz[])",
}
Say = Callable[[str], None]


def _appliance(context: Context, *words: str) -> None:
    done = subprocess.run([context.layout.bin / "appliance", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"appliance {' '.join(words)}: {done.stderr}"


def empty(context: Context) -> None:
    """Take the source away and empty its tables."""
    listed = subprocess.run(
        [context.layout.bin / "appliance", "source", "list", "--json"], capture_output=True, text=True, check=True
    )
    if any(each["name"] == "bank" for each in json.loads(listed.stdout)):
        _appliance(context, "source", "remove", "bank")
    with postgres.sample(context) as bank:
        bank.execute(b"TRUNCATE customers, terminals, transactions, transaction_labels")


def commit(context: Context, rows: pd.DataFrame, say: Say) -> None:
    """Payments, and each one's label 7 days later, in the order of time; at one time labels come first.

    Goes on after what an earlier call has committed.
    """
    end = rows["tx_datetime"].max()
    labels = rows.assign(labelled_at=rows["tx_datetime"] + _LABEL_DELAY)
    labels = labels[labels["labelled_at"] <= end]
    times = np.concatenate([labels["labelled_at"].to_numpy(), rows["tx_datetime"].to_numpy()])
    is_payment = np.repeat([0, 1], [len(labels), len(rows)])
    place = np.concatenate([np.arange(len(labels)), np.arange(len(rows))])
    order = np.lexsort((place, is_payment, times))
    columns = {"transactions": _payments(rows), "transaction_labels": _labels(labels)}
    began = told = time.monotonic()
    with postgres.sample(context, autocommit=False) as bank:
        found = bank.execute(
            b"SELECT (SELECT count(*) FROM transactions) + (SELECT count(*) FROM transaction_labels)"
        ).fetchone()
        there = int(found[0]) if found else 0
        for first in range(there, len(order), _COMMIT_ROWS):
            some = order[first : first + _COMMIT_ROWS]
            runs = np.flatnonzero(np.diff(is_payment[some])) + 1
            with bank.pipeline():
                for run in np.split(some, runs):
                    table = "transactions" if is_payment[run[0]] else "transaction_labels"
                    values = [[column[n] for n in place[run].tolist()] for column in columns[table]]
                    bank.execute(_INSERT[table].encode(), values)
            bank.commit()
            if time.monotonic() - told > 10:
                told = time.monotonic()
                say(f"{first} of {len(order)} rows committed, {(first - there) / (told - began):,.0f}/s")
    say(f"{len(order)} rows committed in {time.monotonic() - began:.0f} s")


def _payments(rows: pd.DataFrame) -> list[list[Any]]:
    amounts = [f"{amount:.2f}" for amount in rows["tx_amount"]]
    ids, customers, terminals = (rows[name].tolist() for name in ("transaction_id", "customer_id", "terminal_id"))
    return [ids, _utc(rows["tx_datetime"]), customers, terminals, amounts]


def _labels(rows: pd.DataFrame) -> list[list[Any]]:
    ids, terminals, frauds = (rows[name].tolist() for name in ("transaction_id", "terminal_id", "tx_fraud"))
    return [ids, terminals, frauds, _utc(rows["labelled_at"])]


def _utc(times: pd.Series) -> list[str]:
    return (times.astype(str) + "+00").tolist()


def wait(context: Context, plan: Plan, rows: int, say: Say) -> float:
    """Until Redis and the lake have everything; returns the seconds."""
    began = time.monotonic()
    views = [view for view in plan.views if view.source == "bank"]
    table = next(each for each in plan.tables if each.table == "public.transactions")
    with redis.connect(context, users.ADMINISTRATOR) as store:
        while True:
            with reading.connect(context.run("reference-scratch")) as connection:
                reading.changes(context, connection, table).create_view("changes")
                found = connection.execute(
                    "SELECT count(DISTINCT after_transaction_id), max(position) FROM changes"
                    " WHERE op IN ('c', 'r') AND after_tx_datetime < '2019-01-01'"
                ).fetchone()
            known = reached.read(store, context.names, views).values()
            lowest = min(one.position if one else "" for one in known)
            assert found is not None
            if found[0] >= rows and lowest > str(found[1]):
                return time.monotonic() - began
            say(f"the lake has {found[0]} of {rows} payments")
            time.sleep(5)


def at_their_positions(context: Context, plan: Plan, rows: pd.DataFrame) -> pd.DataFrame:
    """The payments with the position each was first seen at."""
    table = next(each for each in plan.tables if each.table == "public.transactions")
    with reading.connect(context.run("reference-scratch")) as connection:
        reading.changes(context, connection, table).create_view("changes")
        positions = connection.execute(
            "SELECT after_transaction_id AS transaction_id, max(position) AS position FROM changes"
            " WHERE op IN ('c', 'r') AND after_tx_datetime < '2019-01-01' GROUP BY 1"
        ).df()
    return rows.merge(positions, on="transaction_id", validate="one_to_one")


def online(context: Context, plan: Plan, rows: pd.DataFrame) -> pd.DataFrame:
    """The 12 features of each payment at its own position, as the scorer reads them."""
    service = plan.service("card_fraud")
    reader = OnlineReader(redis.connect(context, users.ADMINISTRATOR), context.names, plan, HBaseHistory.of(context))
    names = {f"{view}:{feature}": feature for view in service.views for feature in reference.FEATURES}
    made: dict[str, list[Any]] = {feature: [] for feature in reference.FEATURES}
    times = rows["tx_datetime"].astype("int64").tolist()
    hands = [
        RowInHand(
            at,
            {"transaction_id": number, "tx_datetime": at, "customer_id": customer, "terminal_id": terminal,
             "tx_amount": f"{amount:.2f}"},
            position,
        )
        for number, at, customer, terminal, amount, position in zip(
            rows["transaction_id"].tolist(), times, rows["customer_id"].tolist(), rows["terminal_id"].tolist(),
            rows["tx_amount"].tolist(), rows["position"].tolist(), strict=True,
        )
    ]  # fmt: skip
    for first in range(0, len(hands), _READ_ROWS):
        for vector in reader.vectors(service, hands[first : first + _READ_ROWS]):
            assert not vector.behind
            for name, value in vector.features.items():
                made[names[name]].append(value.value)
    return pd.DataFrame({"transaction_id": rows["transaction_id"].to_numpy(), **made})


def historical(context: Context, plan: Plan, rows: pd.DataFrame) -> pd.DataFrame:
    """The same from Feast's historical features."""
    store = feature_store(context)
    views = plan.service("card_fraud").views
    names = [f"{view}:{f.name}" for view in views for f in plan.view(view).features if f.name in reference.FEATURES]
    found = []
    for first in range(0, len(rows), _FEAST_ROWS):
        some = rows.iloc[first : first + _FEAST_ROWS]
        frame = some[["transaction_id", "customer_id", "terminal_id", "position"]].assign(
            event_timestamp=some["tx_datetime"].dt.tz_localize("UTC")
        )
        found.append(store.get_historical_features(frame, names).to_df()[["transaction_id", *reference.FEATURES]])
    return pd.concat(found, ignore_index=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the two Parquet files")
    parser.add_argument("--until", default="2018-06-01", help="payments before this date (2018-06-01; all: 2018-10-01)")
    parser.add_argument("--snapshot", action="store_true", help="the rows are there before the source is added")
    parser.add_argument("--go-on", action="store_true", help="after what an earlier call has committed")
    parser.add_argument("--out", type=Path, help="folder of reference.json and .md (a new one in /tmp)")
    arguments = parser.parse_args()
    out: Path = arguments.out or Path(tempfile.mkdtemp(prefix="reference-"))
    began = time.monotonic()

    def say(text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - began:8.1f} s  {text}\n")
        sys.stderr.flush()

    context = contexts.current()
    plan = plans.read(context.layout.plan_file)
    rows = reference.payments(arguments.data, arguments.until)
    ties = reference.tied(rows)
    say(f"{len(rows)} payments; {ties}")
    _appliance(context, "down", *_QUIET_PARTS)
    try:
        if not arguments.go_on:
            empty(context)
            if arguments.snapshot:
                commit(context, rows, say)
            clock.hold(context, int(rows["tx_datetime"].astype("int64").max()))
            _appliance(context, "source", "add", "bank", "--sample")
        commit(context, rows, say)
        waited = wait(context, plan, len(rows), say)
        say(f"every store has them, {waited:.0f} s after the last commit")
        rows = at_their_positions(context, plan, rows)
        results = compare(context, plan, rows, arguments.data, say)
    finally:
        _appliance(context, "up")
    text = markdown(arguments, len(rows), ties, results)
    machine.write(out, "reference", {"payments": len(rows), "ties": ties, "results": results}, text)
    sys.stdout.write(f"{text}\n{out}/reference.json, reference.md\n")
    return 1 if any(each["different"] for each in results) else 0


def compare(context: Context, plan: Plan, rows: pd.DataFrame, folder: Path, say: Say) -> list[dict[str, Any]]:
    """Both ways against the published values and, where there are none, the book's method."""
    expected = reference.by_the_books_method(rows)
    say("the book's method has computed every payment's features")
    published = reference.published(folder)
    early = rows["tx_datetime"] < _PUBLISHED_UNTIL
    published = published[published["transaction_id"].isin(rows.loc[early, "transaction_id"])]
    method = reference.different(published, expected[expected["transaction_id"].isin(published["transaction_id"])])
    results = [_result("the book's method here, against its published values", len(published), method)]
    for what, ask in (("Redis", online), ("Feast's historical features", historical)):
        before = time.monotonic()
        got = ask(context, plan, rows)
        taken = time.monotonic() - before
        known = got[got["transaction_id"].isin(published["transaction_id"])]
        results.append(
            _result(f"{what}, against the published values", len(known), reference.different(published, known))
        )
        later = set(rows.loc[~early, "transaction_id"])
        if later:
            ours, book = (each[each["transaction_id"].isin(later)] for each in (got, expected))
            results.append(
                _result(f"{what}, later months, against the method", len(ours), reference.different(book, ours))
            )
        say(
            f"{what}: {len(got)} payments in {taken:.0f} s, {sum(r['different'] for r in results[1:])} different so far"
        )
    return results


def _result(what: str, rows: int, wrong: pd.DataFrame) -> dict[str, Any]:
    return {"what": what, "rows": rows, "different": len(wrong), "first": wrong.head(10).to_dict("records")}


def markdown(arguments: argparse.Namespace, rows: int, ties: dict[str, int], results: list[dict[str, Any]]) -> str:
    way = "found by a snapshot" if arguments.snapshot else "committed in the order of time and streamed"
    lines = [
        f"12 features of {rows:,} payments before {arguments.until}, {way}, each at its own position.",
        "",
        "| | payments | with a different value |",
        "|---|---|---|",
        *(f"| {each['what']} | {each['rows']:,} | {each['different']} |" for each in results),
        "",
        f"{ties['payments']} payments share customer and second with another; {ties['not_in_id_order']} of them were "
        "counted by the book in another order than that of their ids, and were committed in the book's order.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
