"""Views without windows: the newest row of a file source at a time, by ASOF join."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from feast import FileSource
from feast.data_format import DeltaFormat
from feast.data_source import DataSource

from stream_jobs.errors import OfflineStoreError
from stream_jobs.lake import delta
from stream_jobs.lake.reading import literal, quote
from stream_jobs.offline import asked
from stream_jobs.offline.sums import BLOCK


@dataclass(frozen=True)
class Source:
    """relation: SQL of its rows. timestamp, created: columns; created is empty where there is none."""

    relation: str
    timestamp: str
    created: str = ""


def source(data_source: DataSource | None, repo_path: str, timestamp: str = "", created: str | None = None) -> Source:
    """A file source (Delta, a parquet file or a folder of them) as SQL. Raises OfflineStoreError for any other source.

    timestamp, created: columns that count instead of those that the source names.
    """
    if not isinstance(data_source, FileSource):
        raise OfflineStoreError(
            "offline.source", f"this store reads file sources, not a {type(data_source).__name__}",
            hint="give the view a FileSource (Delta or parquet) as its batch source",
        )  # fmt: skip
    path = Path(FileSource.get_uri_for_file_path(repo_path=Path(repo_path), uri=data_source.path))
    if isinstance(data_source.file_format, DeltaFormat):
        files = delta.active_files(delta.open_table(path))
    else:
        files = [str(file) for file in sorted(path.rglob("*.parquet"))] if path.is_dir() else [str(path)]
    if not files:
        raise OfflineStoreError("offline.source", f"source {data_source.name!r} has no files at {path}")
    there = {name for file in files for name in pq.read_schema(file).names}
    renamed = [
        f", {quote(old)} AS {quote(new)}" for old, new in data_source.field_mapping.items() if old in there - {new}
    ]
    listed = ", ".join(literal(file) for file in files)
    stored = f"read_parquet([{listed}], union_by_name = true, hive_partitioning = {path.is_dir()})"
    timestamp = timestamp or data_source.timestamp_field
    at = quote(timestamp)
    relation = f"(SELECT * REPLACE ({at}::TIMESTAMPTZ AS {at}) FROM (SELECT *{''.join(renamed)} FROM {stored}))"
    return Source(relation, timestamp, created or data_source.created_timestamp_column or "")


def asof_features(
    connection: duckdb.DuckDBPyConnection,
    stored: Source,
    join_keys: Mapping[str, str],
    features: Sequence[str],
    ttl_us: int,
    questions: str,
    known_by_then: bool,
    count: int,
) -> Iterator[pa.Table]:
    """The features of the newest row with time ≤ as-of (and > as-of less ttl, where ttl is not 0), one row a question.

    A table for each BLOCK of the ``count`` questions, at least one.

    join_keys: the source's key → the column of ``questions``, a relation with ``asked.QUESTION`` and ``asked.AS_OF``.
    known_by_then: only rows whose created time is ≤ as-of. Of rows with one time the last created counts.
    """
    at, created = f"epoch_us({quote(stored.timestamp)})", f"epoch_us({quote(stored.created)}::TIMESTAMPTZ)"
    keys = "".join(f"{quote(key)}, " for key in join_keys)
    same = "".join(f"q.k{i} = s.{quote(key)} AND " for i, key in enumerate(join_keys))
    mine = "".join(f", {quote(column)} AS k{i}" for i, column in enumerate(join_keys.values()))
    asked_of = f"(SELECT {quote(asked.QUESTION)} AS question, {quote(asked.AS_OF)} AS as_of{mine} FROM {questions})"
    values = ", ".join(quote(feature) for feature in features)
    answers = ", ".join(
        f"CASE WHEN s.row_us > q.as_of - {ttl_us} OR {ttl_us} = 0 THEN s.{quote(feature)} END AS {quote(feature)}"
        for feature in features
    )
    selected = f"{keys}{values}, {at} AS row_us" + (f", {created} AS created_us" if stored.created else "")
    if known_by_then and stored.created:
        sql = f"""
        SELECT q.question, {answers} FROM {asked_of} q LEFT JOIN (SELECT {selected} FROM {stored.relation}) s
        ON {same}s.row_us <= q.as_of AND s.created_us <= q.as_of
        QUALIFY row_number() OVER (PARTITION BY q.question ORDER BY s.row_us DESC, s.created_us DESC) = 1"""
    else:
        order = ", created_us DESC" if stored.created else ""
        sql = f"""
        SELECT q.question, {answers} FROM {asked_of} q ASOF LEFT JOIN (
            SELECT {selected} FROM {stored.relation}
            QUALIFY row_number() OVER (PARTITION BY {keys}row_us ORDER BY row_us{order}) = 1
        ) s ON {same}q.as_of >= s.row_us"""
    connection.execute(f"CREATE OR REPLACE TEMP TABLE plain_answers AS {sql}")
    for start in range(0, max(count, 1), BLOCK):
        block = f"question >= {start} AND question < {start + BLOCK}"
        yield connection.sql(f"SELECT {values} FROM plain_answers WHERE {block} ORDER BY question").to_arrow_table()


def rows_between(
    connection: duckdb.DuckDBPyConnection,
    stored: Source,
    join_keys: Sequence[str],
    features: Sequence[str],
    start: datetime | None,
    end: datetime | None,
    latest: bool,
) -> Iterator[pa.Table]:
    """The source's rows with start ≤ time ≤ end; with ``latest`` the newest one of each key. At least one table."""
    names = [*join_keys, *features, stored.timestamp, *([stored.created] if stored.created else [])]
    at = quote(stored.timestamp)
    within = [f"{at} {sign} {time_sql(each)}" for sign, each in ((">=", start), ("<=", end)) if each is not None]
    sql = f"SELECT {', '.join(map(quote, names))} FROM {stored.relation} WHERE {' AND '.join(within) or 'true'}"
    if latest:
        order = f"{at} DESC" + (f", {quote(stored.created)} DESC" if stored.created else "")
        by = f"PARTITION BY {', '.join(map(quote, join_keys))} " if join_keys else ""
        sql += f" QUALIFY row_number() OVER ({by}ORDER BY {order}) = 1"
    reader = connection.sql(sql).to_arrow_reader(BLOCK)
    yield reader.schema.empty_table()
    for batch in reader:
        yield pa.Table.from_batches([batch])


def time_sql(at: datetime) -> str:
    """A time as an SQL literal; one without a zone is UTC."""
    utc = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return f"'{utc.isoformat()}'::TIMESTAMPTZ"
