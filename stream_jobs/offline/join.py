"""The point-in-time join of one windowed view: questions → features, in DuckDB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import duckdb
import pyarrow as pa

from stream_jobs.lake import schema
from stream_jobs.lake.reading import quote, sql_type
from stream_jobs.offline.compile import candidates_sql, feature_sql, longest_us
from stream_jobs.offline.versions import Span, column_sql, versions_sql
from stream_jobs.plan import CapturedTable, View

BLOCK = 100_000
"""Questions answered at a time, which bounds what lists of values can hold."""

Cut = Literal["all", "position", "known_at"]


@dataclass(frozen=True)
class Questions:
    """A relation with a row for each question: ``question`` (0 … count - 1), ``as_of`` (µs), the view's join keys.

    cut: "position": column ``position``, the row changes up to it count; "known_at": column ``known_us``, what was
    committed by then counts; "all": everything the lake has counts.
    in_hand: it has ``in_hand`` (row id, may be null) and the view's columns: that row is added, in place of a stored
    row of its id.
    """

    relation: str
    count: int
    cut: Cut
    in_hand: bool = False


def window_features(
    connection: duckdb.DuckDBPyConnection, view: View, table: CapturedTable, changes: str, questions: Questions
) -> pa.Table:
    """``question`` and a column a feature, one row a question, in their order.

    changes: relation in the schema of the table's changes. Uses and drops the temporary tables ``window_*``.
    """
    _questions(connection, view, table, questions)
    _versions(connection, view, table, changes)
    features = feature_sql(view)
    values = ", ".join(f"{f.value} AS {quote(f.name)}" for f in features)
    aggregated = candidates_sql(features, f"({_candidates(view, questions)})")
    blocks = []
    for start in range(0, max(questions.count, 1), BLOCK):
        block = f"question >= {start} AND question < {start + BLOCK}"
        answers = connection.sql(
            f"WITH asked AS (SELECT * FROM window_questions WHERE {block}), aggregated AS ({aggregated})"
            f" SELECT question, {values} FROM asked LEFT JOIN aggregated USING (question) ORDER BY question"
        )
        blocks.append(answers.to_arrow_table())
    connection.execute("DROP TABLE window_versions; DROP TABLE window_questions")
    return pa.concat_tables(blocks)


def _questions(connection: duckdb.DuckDBPyConnection, view: View, table: CapturedTable, questions: Questions) -> None:
    """``window_questions``: keys k0… in the types of the table, and the row in hand's values as versions have them."""
    types = {column.name: column for column in table.columns}
    key_types = [sql_type(schema.arrow_type(types[key])) for key in view.join_keys]
    selected = ["question::BIGINT AS question", "as_of::BIGINT AS as_of"]
    selected += [
        f"try_cast({quote(key)} AS {kind}) AS k{i}"
        for i, (key, kind) in enumerate(zip(view.join_keys, key_types, strict=True))
    ]
    if questions.cut == "position":
        selected.append("position")
    if questions.cut == "known_at":
        selected.append("known_us::BIGINT AS known_us")
    if questions.in_hand:
        row_id = sql_type(schema.arrow_type(types[view.row_id]))
        selected.append(f"in_hand::{row_id} AS in_hand")
        for column in view.columns:
            value = f"({quote(column.name)}::{sql_type(schema.arrow_type(types[column.name]))})"
            selected.append(f"{column_sql(types[column.name], value)} AS {quote(column.name)}")
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE window_questions AS SELECT {', '.join(selected)} FROM {questions.relation}"
    )


def _versions(connection: duckdb.DuckDBPyConnection, view: View, table: CapturedTable, changes: str) -> None:
    """``window_versions``: the row versions that some question can see, with the bucket of their event time."""
    longest = longest_us(view)
    bounds = "SELECT coalesce(min(as_of), 0), coalesce(max(as_of), 0) FROM window_questions"
    first, last = connection.execute(bounds).fetchall()[0]
    keys = ", ".join(f"k{i}" for i in range(len(view.join_keys)))
    sql = versions_sql(
        view, table, changes, f"(SELECT DISTINCT {keys} FROM window_questions)", Span(first - longest, last)
    )
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE window_versions AS SELECT *, event_us // {longest} AS bucket FROM ({sql})"
    )


def _candidates(view: View, questions: Questions) -> str:
    """SELECT of each question's live rows of the longest window.

    A window reaches into at most two buckets of the longest window's width, so that an equality join on entity and
    bucket finds it, however many rows the entity has outside.
    """
    longest = longest_us(view)
    columns = "".join(f", {quote(column.name)}" for column in view.columns)
    keys = ", ".join(f"k{i}" for i in range(len(view.join_keys)))
    seen = ["v.event_us <= q.as_of", f"v.event_us > q.as_of - {longest}"]
    if questions.cut == "position":
        seen += ["v.added <= q.position", "(v.removed IS NULL OR v.removed > q.position)"]
    elif questions.cut == "known_at":
        seen += ["v.added_us <= q.known_us", "(v.removed_us IS NULL OR v.removed_us > q.known_us)"]
    else:
        seen.append("v.removed IS NULL")
    if questions.in_hand:
        seen.append("v.row_id IS DISTINCT FROM q.in_hand")
    asked_columns = "question, as_of, " + keys + (", position" if questions.cut == "position" else "")
    asked_columns += (", known_us" if questions.cut == "known_at" else "") + (", in_hand" if questions.in_hand else "")
    stored = f"""
        SELECT q.question, q.as_of - v.event_us AS age_us, v.added, v.row_id{columns}
        FROM (SELECT {asked_columns}, unnest([as_of // {longest}, as_of // {longest} - 1]) AS bucket FROM asked) q
        JOIN window_versions v USING ({keys}, bucket) WHERE {" AND ".join(seen)}"""
    if not questions.in_hand:
        return stored
    last = "f" * 32
    return f"""{stored} UNION ALL
        SELECT question, 0 AS age_us, '{last}' AS added, in_hand AS row_id{columns}
        FROM asked WHERE in_hand IS NOT NULL"""
