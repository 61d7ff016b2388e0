"""The ledger's predictions → questions about one view, spilled to disk and read back in the order of HBase's rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from appliance import position as positions
from appliance.records import FeatureValue, Value
from stream_jobs.lake.reading import literal
from stream_jobs.online import hbase_table
from stream_jobs.online.reader import entity_text
from stream_jobs.plan import Service, View

REQUEST = "request"
"""The name under which the features of the row in hand stand beside the views."""

_COLUMNS = "prediction_id, way, source_position, epoch_us(as_of) AS as_of, row, features, cuts, definition_hash"
_POSITION = re.compile("[0-9a-f]{32}")
_BATCH_ROWS = 10_000
_ROW = msgspec.json.Decoder(dict[str, Value])
_FEATURES = msgspec.json.Decoder(dict[str, FeatureValue])
_CUTS = msgspec.json.Decoder(dict[str, str])
_LOGGED = msgspec.json.Decoder(list[Any])

_SCHEMA = pa.schema(
    [
        ("prediction_id", pa.string()),
        ("way", pa.string()),
        ("as_of", pa.int64()),
        ("cut", pa.string()),
        ("entity", pa.string()),
        ("row_key", pa.binary()),
        ("stored", pa.bool_()),
        ("row", pa.string()),
        ("logged", pa.string()),
    ]
)


@dataclass(frozen=True)
class Selection:
    """Which predictions. sample: so many, chosen by ``seed``; None: all. since, until: of the time of scoring, µs."""

    sample: int | None
    seed: int
    since: int
    until: int
    way: str = ""

    def sql(self, ledger: str, columns: str = _COLUMNS) -> str:
        """SELECT of the predictions of a relation in the ledger's schema. The same seed gives the same rows."""
        where = f"epoch_us(scored_at) >= {self.since} AND epoch_us(scored_at) <= {self.until}"
        if self.way:
            where += f" AND way = {literal(self.way)}"
        chosen = f"SELECT prediction_id FROM {ledger} WHERE {where} ORDER BY md5(prediction_id || '{self.seed}')"
        kept = f" AND prediction_id IN ({chosen} LIMIT {self.sample})" if self.sample is not None else ""
        return f"SELECT {columns} FROM {ledger} WHERE {where}{kept}"


@dataclass(frozen=True)
class Question:
    """One prediction's vector of one view.

    entity: None when a join key is null. stored: at the cut the row itself is in the stores, so it is not given to them
    as the row in hand. logged: values in the order of ``Group.features``.
    """

    prediction_id: str
    way: str
    as_of: int
    cut: str
    entity: str | None
    stored: bool
    row: dict[str, Value]
    logged: list[Any]


@dataclass
class Group:
    """The questions about one view, or about the features of the row in hand (view None).

    features: names in the ledger. left_out: reason → number of predictions that cannot be compared.
    """

    name: str
    view: View | None
    features: tuple[str, ...]
    path: Path
    rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def groups(service: Service, views: Sequence[View], folder: Path) -> list[Group]:
    """What a service's predictions are compared in: its views, and its request features if it has any."""
    found = []
    for view in views:
        features = tuple(name for name in service.features if name.partition(":")[0] == view.name)
        found.append(Group(view.name, view, features, folder / f"{view.name}.parquet"))
    requested = tuple(f"{REQUEST}:{feature.name}" for feature in service.request_features)
    if requested:
        found.append(Group(REQUEST, None, requested, folder / f"{REQUEST}.parquet"))
    return found


def load(
    connection: duckdb.DuckDBPyConnection,
    selected: str,
    service: Service,
    wanted: Sequence[Group],
    same_definition: Callable[[str, Group], bool],
) -> int:
    """Write the questions of every group to its file; returns how many predictions there were.

    selected: SQL (see ``Selection.sql``). same_definition: whether predictions of a service's definition hash were
    made with the group's present definition.
    """
    writers = {group.name: pq.ParquetWriter(group.path, _SCHEMA) for group in wanted}
    known: dict[tuple[str, str], bool] = {}
    total = 0
    try:
        for batch in connection.sql(selected).to_arrow_reader(_BATCH_ROWS):
            rows = batch.to_pylist()
            total += len(rows)
            for row in rows:
                row["row"], row["features"] = _ROW.decode(row["row"]), _FEATURES.decode(row["features"])
                row["cuts"] = _CUTS.decode(row["cuts"])
            for group in wanted:
                questions = []
                for row in rows:
                    made = (row["definition_hash"], group.name)
                    if made not in known:
                        known[made] = same_definition(row["definition_hash"], group)
                    question = asked(group, row, service, known[made])
                    if isinstance(question, str):
                        group.left_out[question] += 1
                    else:
                        questions.append(question)
                group.rows += len(questions)
                writers[group.name].write_table(pa.Table.from_pylist(questions, _SCHEMA))
    finally:
        for writer in writers.values():
            writer.close()
    return total


def asked(group: Group, row: Mapping[str, Any], service: Service, same_definition: bool) -> dict[str, Any] | str:
    """A prediction as a question (what ``question`` reads), or why it is none.

    row: prediction_id, way, source_position, as_of (µs), row, features and cuts of the prediction.
    """
    if not same_definition:
        return "made with another definition than the plan now has"
    if missing := [name for name in group.features if name not in row["features"]]:
        return f"the ledger has no value of {', '.join(missing)}"
    view, cut, entity = group.view, "", None
    stored = True
    if view is not None:
        cut = row["cuts"].get(view.name, "")
        if not _POSITION.fullmatch(cut):
            return "the ledger has no position cut"
        entity = entity_text(view, row["row"])
        if view.name in service.row_views:
            stored = row["way"] == "cdc" and cut == row["source_position"]
            if not stored and row["row"].get(view.row_id) is None:
                return "the row in hand had no id"
    return {
        "prediction_id": row["prediction_id"],
        "way": row["way"],
        "as_of": row["as_of"],
        "cut": cut,
        "entity": entity,
        "row_key": b"" if entity is None else hbase_table.row_key(entity),
        "stored": stored,
        "row": msgspec.json.encode(row["row"]).decode(),
        "logged": msgspec.json.encode([row["features"][name].value for name in group.features]).decode(),
    }


def highest_cut(connection: duckdb.DuckDBPyConnection, group: Group) -> str:
    """Of the group's questions; the lowest position there is if it has none."""
    sql = f"SELECT coalesce(max(cut), {literal(positions.ZERO)}) FROM read_parquet({literal(str(group.path))})"
    return str(connection.execute(sql).fetchall()[0][0])


def blocks(connection: duckdb.DuckDBPyConnection, group: Group, rows: int) -> Iterator[list[Question]]:
    """The group's questions, ``rows`` at a time, by HBase's row keys, then time."""
    ordered = f"SELECT * FROM read_parquet({literal(str(group.path))}) ORDER BY row_key, as_of, prediction_id"
    for batch in connection.sql(ordered).to_arrow_reader(rows):
        yield [question(row) for row in batch.to_pylist()]


def question(row: Mapping[str, Any]) -> Question:
    """Of what ``asked`` has made."""
    return Question(
        row["prediction_id"], row["way"], row["as_of"], row["cut"], row["entity"], row["stored"],
        _ROW.decode(row["row"]), _LOGGED.decode(row["logged"]),
    )  # fmt: skip
