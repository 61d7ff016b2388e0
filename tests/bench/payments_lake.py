"""A lake folder with the change tables of the card_fraud scenario, in the writer's schema, without an appliance.

Payments come from a parquet file (columns transaction_id, tx_datetime, customer_id, terminal_id, tx_amount, tx_fraud)
or from the sample's generator. Each payment is labelled seven days later. Unless they are to stay undisturbed, 1 in 500
payments is committed an hour late, 1 in 500 changed and 1 in 1,000 deleted later; positions rise in commit order over
both tables, labels before payments of the same time, and rows of one time by their id.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from appliance import context as contexts
from appliance.installation import Installation
from appliance.layout import Layout
from appliance.names import Names
from feature_repo.card_fraud.sample.generator import Parameters, generate
from stream_jobs import plan as plans
from stream_jobs.lake import delta, schema

DAY = 86_400_000_000
LABEL_DELAY = 7 * DAY
_HOUR = 3_600_000_000
_FIRST_LSN = 1 << 24


def payments(data: Path | None, rows: int) -> dict[str, np.ndarray[Any, Any]]:
    """Columns of at most ``rows`` payments in the order of time: id, at (µs), customer, terminal, cents, fraud."""
    if data is None:
        made = generate(Parameters(customers=max(rows // 350, 50), terminals=max(rows // 175, 100), days=183))
        columns = {
            "id": np.arange(1, len(made.time_us) + 1), "at": made.time_us, "customer": made.customer_id,
            "terminal": made.terminal_id, "cents": made.amount_cents, "fraud": (made.kind > 0).astype(np.int64),
        }  # fmt: skip
    else:
        read = pq.read_table(data)
        columns = {
            "id": read["transaction_id"].to_numpy(),
            "at": read["tx_datetime"].cast(pa.timestamp("us")).cast(pa.int64()).to_numpy(),
            "customer": read["customer_id"].to_numpy(),
            "terminal": read["terminal_id"].to_numpy(),
            "cents": np.rint(read["tx_amount"].to_numpy() * 100),
            "fraud": read["tx_fraud"].to_numpy(),
        }
    order = np.lexsort((columns["id"], columns["at"]))[:rows]
    return {name: values[order].astype(np.int64) for name, values in columns.items()}


def make(home: Path, data: Path | None, rows: int, *, disturbed: bool = True) -> pa.Table:
    """Lays down settings, plan and change tables below ``home`` (``APPLIANCE_HOME`` must name it).

    Returns the payments as an entity frame: keys, ``event_timestamp``, the payment's own ``position``.
    """
    from stream_jobs.versions import applying

    layout = Layout.below(home)
    layout.etc.mkdir(parents=True)
    layout.installation_file.write_bytes(
        msgspec.json.encode(Installation("0", 1, "root", "main", "card_fraud", "", {}, {}))
    )
    scenario, _ = applying.compiled(contexts.current())
    plans.write(scenario, layout.plan_file)

    paid, chance = payments(data, rows), np.random.default_rng(1)
    count = len(paid["id"])
    late = chance.random(count) < 1 / 500
    committed = paid["at"] + np.where(late & disturbed, _HOUR, 0)
    parts = [_changes("labels", "c", paid, paid["at"] + LABEL_DELAY), _changes("transactions", "c", paid, committed)]
    for share, op in ((1 / 500, "u"), (1 / 1000, "d")) if disturbed else ():
        picked = chance.random(count) < share
        chosen = {name: values[picked] for name, values in paid.items()}
        parts.append(_changes("transactions", op, chosen | {"cents": chosen["cents"] + 1}, chosen["at"] + 2 * DAY))
    everything = pa.concat_tables(parts).sort_by(
        [("committed", "ascending"), ("table", "ascending"), ("id", "ascending")]
    )
    lsn = pa.array(_FIRST_LSN + np.arange(everything.num_rows) * 120)
    everything = everything.append_column("position", pa.array([f"{n:016x}{n:016x}" for n in lsn.to_numpy().tolist()]))
    _write(layout, scenario, "transactions", everything)
    _write(layout, scenario, "labels", everything)
    first = everything.filter(pc.and_(pc.equal(everything["table"], "transactions"), pc.equal(everything["op"], "c")))
    return pa.table(
        {
            "transaction_id": first["id"], "customer_id": first["customer"], "terminal_id": first["terminal"],
            "event_timestamp": first["at"].cast(schema.TIMESTAMP), "position": first["position"],
        }
    )  # fmt: skip


def _changes(table: str, op: str, paid: dict[str, np.ndarray[Any, Any]], committed: np.ndarray[Any, Any]) -> pa.Table:
    count = len(committed)
    return pa.table({"table": [table] * count, "op": [op] * count, "committed": committed, **paid})


def _write(layout: Layout, scenario: plans.Plan, name: str, everything: pa.Table) -> None:
    """One commit, and so one file, for each day."""
    wanted = "public.transactions" if name == "transactions" else "public.transaction_labels"
    table = next(each for each in scenario.tables if each.table == wanted)
    rows = everything.filter(pc.equal(everything["table"], name))
    at = rows["at"] if name == "transactions" else pc.add(rows["at"], LABEL_DELAY)
    values = {
        "transaction_id": rows["id"], "customer_id": rows["customer"], "terminal_id": rows["terminal"],
        "tx_datetime": at.cast(schema.TIMESTAMP), "labelled_at": at.cast(schema.TIMESTAMP), "is_fraud": rows["fraud"],
        "tx_amount": pc.multiply(rows["cents"].cast(pa.decimal128(20, 0)), pa.scalar(Decimal("0.01"))),
    }  # fmt: skip
    kept = pc.not_equal(rows["op"], "d")
    columns: dict[str, Any] = {
        "op": rows["op"], "position": rows["position"], "known_at": rows["committed"].cast(schema.TIMESTAMP),
        "assumed": pa.array(np.zeros(rows.num_rows, bool)),
        "partition": pa.array(np.zeros(rows.num_rows, np.int32)),
        "offset": pa.array(np.arange(rows.num_rows)),
        schema.PARTITION: pc.divide(rows["committed"], DAY).cast(pa.int32()).cast(pa.date32()),
    }  # fmt: skip
    for column in table.columns:
        kind = schema.arrow_type(column)
        value = values[column.name].cast(kind)
        none = pa.nulls(rows.num_rows, kind)
        columns[f"after_{column.name}"] = pc.if_else(kept, value, none)
        columns[f"before_{column.name}"] = pc.if_else(kept, none, value)
    of = schema.changes(table)
    written = pa.table([columns[field.name] for field in of], schema=of)
    target = delta.create(layout.lake / Names("main").lake_changes(table.source, table.table), of, schema.PARTITION)
    days = pc.unique(written[schema.PARTITION])
    for n, day in enumerate(days):
        part = written.filter(pc.equal(written[schema.PARTITION], day)).combine_chunks()
        delta.append(target, part.to_batches(), of, {f"{table.topic}/0": n})
