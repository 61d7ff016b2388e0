"""The point-in-time join of one windowed view: questions → features, in DuckDB."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import duckdb
import pyarrow as pa

from stream_jobs.lake import schema
from stream_jobs.lake.reading import quote, sql_type
from stream_jobs.offline import asked
from stream_jobs.offline.compile import additive_sql, candidates_sql, feature_sql, is_additive, longest_us
from stream_jobs.offline.sums import BLOCK, answer_unchanged, answers_sql, changed_rows
from stream_jobs.offline.transformed import rows_condition, transformed, view_values
from stream_jobs.offline.versions import Span, versions_sql, view_column
from stream_jobs.plan import CapturedTable, View

Cut = Literal["all", "position", "known_at"]


@dataclass(frozen=True)
class Questions:
    """A relation with a row for each question: ``asked.QUESTION`` (0 … count - 1), ``AS_OF``, the view's join keys.

    cut: "position": it has ``POSITION``, the row changes up to it count; "known_at": ``KNOWN_US``, what was committed
    by then counts; "all": everything the lake has counts.
    in_hand: it has ``IN_HAND`` (row id, may be null) and the view's columns: that row is added, in place of a stored
    row of its id.
    """

    relation: str
    count: int
    cut: Cut
    in_hand: bool = False


def window_features(
    connection: duckdb.DuckDBPyConnection, view: View, table: CapturedTable, changes: str, questions: Questions
) -> Iterator[pa.Table]:
    """A column a feature, one row a question, in their order: a table for each BLOCK of questions, at least one.

    changes: relation in the schema of the table's changes. Uses temporary tables ``window_*`` of the connection.
    """
    _questions(connection, view, table, questions)
    table, changes = transformed(view, table, changes)
    span = _span(connection, view)
    candidates = f"({_candidates(view, questions)})"
    if all(is_additive(view, feature) for feature in view.features):
        additive = additive_sql(view)
        changed_rows(connection, view, changes, questions.in_hand)
        answer_unchanged(connection, view, table, changes, additive, questions.cut, span)
        _versions(connection, view, table, changes, span, "window_changed")
        answers = answers_sql(additive, candidates)
    else:
        _versions(connection, view, table, changes, span, None)
        features = feature_sql(view)
        values = ", ".join(f"{f.value} AS {quote(f.name)}" for f in features)
        answers = f"""
            WITH aggregated AS ({candidates_sql(features, candidates)})
            SELECT question, {values} FROM asked LEFT JOIN aggregated USING (question) ORDER BY question"""
    for start in range(0, max(questions.count, 1), BLOCK):
        connection.execute(
            "CREATE OR REPLACE TEMP VIEW asked AS SELECT * FROM window_questions"
            f" WHERE question >= {start} AND question < {start + BLOCK}"
        )
        yield connection.sql(answers).to_arrow_table().drop_columns("question")


def _questions(connection: duckdb.DuckDBPyConnection, view: View, table: CapturedTable, questions: Questions) -> None:
    """``window_entities``: the keys asked for, k0… in the table's types, each with its ``code`` 0, 1, …

    ``window_questions``: the questions with their entity's code, and the row in hand's values as versions have them.
    """
    types = {column.name: column for column in table.columns}
    key_types = [sql_type(schema.arrow_type(types[key])) for key in view.join_keys]
    selected = [f"{quote(asked.QUESTION)}::BIGINT AS question", f"{quote(asked.AS_OF)}::BIGINT AS as_of"]
    selected += [
        f"try_cast({quote(key)} AS {kind}) AS k{i}"
        for i, (key, kind) in enumerate(zip(view.join_keys, key_types, strict=True))
    ]
    if questions.cut == "position":
        selected.append(f"{quote(asked.POSITION)} AS position")
    if questions.cut == "known_at":
        selected.append(f"{quote(asked.KNOWN_US)}::BIGINT AS known_us")
    if questions.in_hand:
        row_id = sql_type(schema.arrow_type(types[view.row_id]))
        selected.append(f"{quote(asked.IN_HAND)}::{row_id} AS in_hand")

        def given(name: str) -> str:
            return f"({quote(name)}::{sql_type(schema.arrow_type(types[name]))})"

        selected += [f"{value} AS {view_column(name)}" for name, value in view_values(view, types, given).items()]
        selected.append(f"{rows_condition(view, types, given)} AS of_view")
    keys = ", ".join(f"k{i}" for i in range(len(view.join_keys)))
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE window_asked AS SELECT {', '.join(selected)} FROM {questions.relation}"
    )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE window_entities AS"
        f" SELECT {keys}, row_number() OVER (ORDER BY {keys}) - 1 AS code"
        f" FROM (SELECT DISTINCT {keys} FROM window_asked)"
    )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE window_questions AS"
        f" SELECT window_asked.* EXCLUDE ({keys}), code FROM window_asked LEFT JOIN window_entities USING ({keys})"
    )
    connection.execute("DROP TABLE window_asked")


def _span(connection: duckdb.DuckDBPyConnection, view: View) -> Span:
    bounds = "SELECT coalesce(min(as_of), 0), coalesce(max(as_of), 0) FROM window_questions"
    first, last = connection.execute(bounds).fetchall()[0]
    return Span(first - longest_us(view), last)


def _versions(
    connection: duckdb.DuckDBPyConnection, view: View, table: CapturedTable, changes: str, span: Span, rows: str | None
) -> None:
    """``window_versions``: the row versions that some question can see, with the bucket of their event time."""
    sql = versions_sql(view, table, changes, "window_entities", span, rows)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE window_versions AS"
        f" SELECT *, event_us // {longest_us(view)} AS bucket FROM ({sql})"
    )


def _candidates(view: View, questions: Questions) -> str:
    """SELECT of each question's live rows of the longest window.

    A window reaches into at most two buckets of the longest window's width, so that an equality join on entity and
    bucket finds it, however many rows the entity has outside.
    """
    longest = longest_us(view)
    columns = "".join(f", {view_column(column.name)}" for column in view.columns)
    seen = ["v.event_us <= q.as_of", f"v.event_us > q.as_of - {longest}"]
    if questions.cut == "position":
        seen += ["v.added <= q.position", "(v.removed IS NULL OR v.removed > q.position)"]
    elif questions.cut == "known_at":
        seen += ["v.added_us <= q.known_us", "(v.removed_us IS NULL OR v.removed_us > q.known_us)"]
    else:
        seen.append("v.removed IS NULL")
    if questions.in_hand:
        seen.append("v.row_id IS DISTINCT FROM q.in_hand")
    asked_columns = "question, as_of, code" + (", position" if questions.cut == "position" else "")
    asked_columns += (", known_us" if questions.cut == "known_at" else "") + (", in_hand" if questions.in_hand else "")
    stored = f"""
        SELECT q.question, q.as_of - v.event_us AS age_us, v.added, v.row_id{columns}
        FROM (SELECT {asked_columns}, unnest([as_of // {longest}, as_of // {longest} - 1]) AS bucket FROM asked) q
        JOIN window_versions v USING (code, bucket) WHERE {" AND ".join(seen)}"""
    if not questions.in_hand:
        return stored
    last = "f" * 32
    return f"""{stored} UNION ALL
        SELECT question, 0 AS age_us, '{last}' AS added, in_hand AS row_id{columns}
        FROM asked WHERE in_hand IS NOT NULL AND of_view"""
