"""Counts, sums and means of a windowed view: unchanged rows by timelines, the others by the join of row versions.

A row that was inserted once and never touched again is visible from its position on, for ever. Such rows, nearly all,
are answered as slices of running sums (``timeline``). Rows that were changed, deleted, truncated, delivered twice, that
are in hand, or that came out of the order of their event times, are few: they go through the join of ``join`` and are
added. Which rows are which is found anew for each retrieval, so nothing is assumed of a history.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stream_jobs.errors import OfflineStoreError
from stream_jobs.lake.reading import quote
from stream_jobs.offline.compile import AdditiveSql
from stream_jobs.offline.timeline import LINE, Asked, Ints, Timeline
from stream_jobs.offline.versions import Span, captured_sql, captured_types, keys_sql, row_id_sql, view_column
from stream_jobs.plan import CapturedTable, Column, View

BLOCK = 100_000
"""Questions answered at a time."""

CHUNK_ROWS = 2_000_000
"""Changes whose rows are held in memory at a time: about 120 bytes each."""

_SAFE = 2**62


@dataclass(frozen=True)
class _Series:
    """What features share: which rows count (SQL), and the column summed, None where they are only counted."""

    valid: str
    number: Column | None


_EVERY_ROW = _Series("true", None)


def changed_rows(connection: duckdb.DuckDBPyConnection, view: View, changes: str, in_hand: bool) -> None:
    """``window_changed``: ids of rows with more than one change, with a truncate after them, or in hand."""
    (truncated,) = connection.execute(f"SELECT max(position) FROM {changes} WHERE op = 't'").fetchall()[0]
    before = "" if truncated is None else f" OR min(added) < '{truncated}'"
    added = "" if truncated is None else ", position AS added"
    hands = "UNION SELECT in_hand FROM window_questions WHERE in_hand IS NOT NULL" if in_hand else ""
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE window_changed AS
        SELECT row_id FROM (SELECT {row_id_sql(view)} AS row_id{added} FROM {changes} WHERE op <> 't')
        GROUP BY row_id HAVING count(*) > 1{before} {hands}"""
    )


def answer_unchanged(
    connection: duckdb.DuckDBPyConnection,
    view: View,
    table: CapturedTable,
    changes: str,
    features: Sequence[AdditiveSql],
    cut: str,
    span: Span,
) -> None:
    """``window_answers``: ``question``, and ``<feature>#n``, ``<feature>#s`` over rows that never changed.

    Rows that do not fit a timeline are added to ``window_changed``.
    """
    columns = ", ".join(f"{quote(name)} {kind}" for f in features for name, kind in _parts(f))
    connection.execute(f"CREATE OR REPLACE TEMP TABLE window_answers (question BIGINT, {columns})")
    visible = {"position": "added", "known_at": "added_us"}.get(cut)
    rows = _unchanged_sql(view, table, changes, visible, _series(features), span)
    (entities,) = connection.execute("SELECT count(*) FROM window_entities").fetchall()[0]
    (questions,) = connection.execute("SELECT count(*) FROM window_questions").fetchall()[0]
    chunks = _chunks(connection, changes, entities, span)
    if len(chunks) > 1:
        connection.execute(f"CREATE OR REPLACE TEMP TABLE window_unchanged AS {rows} ORDER BY code")
        rows = "FROM window_unchanged"
    for first, end in chunks:
        within = f"code >= {first} AND code < {end}"
        stored = connection.sql(f"SELECT * FROM ({rows}) WHERE {within}" if len(chunks) > 1 else rows).to_arrow_table()
        chunk = _Chunk(stored, features, first, end - first)
        del stored
        for start in range(0, questions, BLOCK):
            asked = connection.sql(
                f"SELECT question, code, as_of{_asked_cut(cut)} FROM window_questions"
                f" WHERE {within} AND question >= {start} AND question < {start + BLOCK}"
            ).to_arrow_table()
            _insert(connection, "window_answers", chunk.answers(asked))
        _insert(connection, "window_changed", chunk.left_out)
    connection.execute("DROP TABLE IF EXISTS window_unchanged")


def answers_sql(features: Sequence[AdditiveSql], candidates: str) -> str:
    """SELECT of ``question`` and the features of the questions in ``asked``; candidates: rows that changed."""
    added = ", ".join(f"{f.n} AS {quote(f.name + '#n')}, {f.total} AS {quote(f.name + '#s')}" for f in features)
    sums = ", ".join(
        f"coalesce(a.{quote(part)}, 0) + coalesce(c.{quote(part)}, 0) AS {quote(part)}"
        for f in features
        for part, _ in _parts(f)
    )
    values = ", ".join(f"{f.value} AS {quote(f.name)}" for f in features)
    return f"""
        WITH changed AS (SELECT question, {added} FROM {candidates} GROUP BY question),
        summed AS (
            SELECT q.question, {sums} FROM asked q LEFT JOIN window_answers a USING (question)
            LEFT JOIN changed c USING (question)
        ) SELECT question, {values} FROM summed ORDER BY question"""


def _parts(feature: AdditiveSql) -> list[tuple[str, str]]:
    """Columns of ``window_answers`` for a feature, with their types."""
    counted = (f"{feature.name}#n", "BIGINT")
    return [counted] if feature.number is None else [counted, (f"{feature.name}#s", "HUGEINT")]


def _chunks(connection: duckdb.DuckDBPyConnection, changes: str, entities: int, span: Span) -> list[tuple[int, int]]:
    """Ranges of entities whose rows are few enough, and whose times fit one line."""
    (rows,) = connection.execute(f"SELECT count(*) FROM {changes}").fetchall()[0]
    width = max(span.until_us - span.after_us, 0) + 2
    count = max(-(-rows // CHUNK_ROWS), -(-entities // (LINE // width)), 1)
    edges = [entities * n // count for n in range(count + 1)]
    return [(first, end) for first, end in itertools.pairwise(edges) if end > first]


def _asked_cut(cut: str) -> str:
    return {"position": ", position AS visible", "known_at": ", known_us AS visible"}.get(cut, "")


def _unchanged_sql(
    view: View, table: CapturedTable, changes: str, visible: str | None, series: Sequence[_Series], span: Span
) -> str:
    """SELECT of the rows inserted once, of entities asked for and in the span: ``code``, ``row_id``, ``event_us``,
    ``visible``, and ``x<i>`` of each series: the row's number, null where it does not count."""
    types = captured_types(view, table)
    keys = ", ".join(f"k{i}" for i in range(len(view.join_keys)))
    columns = "".join(f", {_unscaled_sql(types[c.name])} AS {view_column(c.name)}" for c in view.columns)
    wanted = ["code::BIGINT AS code", "row_id", "event_us"]
    if visible is not None:
        wanted.append(f"{visible} AS visible")
    for i, each in enumerate(series):
        number = "1::TINYINT" if each.number is None else view_column(each.number.name)
        if each != _EVERY_ROW:
            wanted.append(f"CASE WHEN {each.valid} THEN {number} END AS x{i}")
    at = quote("after_" + view.event_time)
    return f"""
        SELECT {", ".join(wanted)} FROM (
            SELECT {row_id_sql(view)} AS row_id, position AS added, epoch_us(known_at) AS added_us,
                   epoch_us({at}) AS event_us, {keys_sql(view)}{columns}
            FROM {changes} WHERE op NOT IN ('d', 't')
            AND {at} > make_timestamptz({span.after_us}) AND {at} <= make_timestamptz({span.until_us})
        ) ANTI JOIN window_changed USING (row_id) JOIN window_entities USING ({keys})"""


def _unscaled_sql(column: Column) -> str:
    """A captured column as numpy takes it: decimals stay decimals, whose unscaled integers are read from memory."""
    match column.type:
        case "decimal":
            return f"{captured_sql(column)}::DECIMAL(38, {column.scale})"
        case "timestamp_us":
            return f"epoch_us({captured_sql(column)})"
        case _:
            return captured_sql(column)


class _Chunk:
    """The unchanged rows of some entities. left_out: ``row_id`` of those that do not fit a timeline."""

    def __init__(self, stored: pa.Table, features: Sequence[AdditiveSql], first: int, codes: int) -> None:
        self._features, self._first = features, first
        self._cut = "visible" in stored.column_names
        visible = _visible(stored["visible"]) if self._cut else None
        self._line = Timeline(_integers(stored["code"]) - first, _integers(stored["event_us"]), visible, codes)
        self._running = {each: _running(self._line, stored, i, each) for i, each in enumerate(_series(features))}
        self.left_out: pa.Table = stored.select(["row_id"]).take(pa.array(self._line.left_out))

    def answers(self, asked: pa.Table) -> pa.Table:
        """Columns of ``window_answers`` for these questions."""
        code, as_of = _integers(asked["code"]) - self._first, _integers(asked["as_of"])
        cut = _visible(asked["visible"]) if self._cut else None
        end, begins = self._line.windows(Asked(code, as_of, cut), [feature.window_us for feature in self._features])
        columns: dict[str, Any] = {"question": asked["question"]}
        for feature in self._features:
            counted, sums = self._running[_Series(feature.valid, feature.number)]
            begin = begins[feature.window_us]
            columns[f"{feature.name}#n"] = end - begin if counted is None else counted[end] - counted[begin]
            if feature.number is not None:
                columns[f"{feature.name}#s"] = _total([each[end] - each[begin] for each in sums])
        return pa.table(columns)


def _series(features: Sequence[AdditiveSql]) -> list[_Series]:
    return list(dict.fromkeys(_Series(feature.valid, feature.number) for feature in features))


def _insert(connection: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> None:
    if rows.num_rows:
        connection.register("window_chunk", rows)
        connection.execute(f"INSERT INTO {table} FROM window_chunk").fetchall()
        connection.unregister("window_chunk")


def _integers(column: pa.ChunkedArray) -> Ints:
    array: Ints = column.to_numpy()
    return array.astype(np.int64, copy=False)


def _visible(column: pa.ChunkedArray) -> NDArray[Any]:
    """Positions as 32 bytes each, whose order is that of their text; commit times as they are."""
    if not pa.types.is_string(column.type):
        return _integers(column)
    texts = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if not len(texts):
        return np.empty(0, "S32")
    begin = texts.offset
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[begin : begin + len(texts) + 1]
    if int(offsets[-1]) - int(offsets[0]) != 32 * len(texts) or (np.diff(offsets) != 32).any():
        raise OfflineStoreError("offline.position", "a position in the lake has not 32 digits")
    return np.frombuffer(texts.buffers()[2], "S32", len(texts), int(offsets[0]))


def _running(line: Timeline, stored: pa.Table, i: int, series: _Series) -> tuple[Ints | None, list[Ints]]:
    """Running count of a series, None where every row counts, and running sums of its numbers.

    One sum, or two where it may not fit 64 bits: of the numbers' upper and of their lower 32 bits. Raises
    OfflineStoreError for a decimal beyond 64 bits.
    """
    if series == _EVERY_ROW:
        return None, []
    column = stored[f"x{i}"]
    counted = line.running(pc.is_valid(column).cast(pa.int8()).to_numpy()) if column.null_count else None
    if series.number is None:
        return counted, []
    if series.number.type == "decimal":
        numbers = _unscaled(column.fill_null(0) if column.null_count else column, series.number)
    else:
        numbers = _integers(column.cast(pa.int64()).fill_null(0))
    largest = max(int(numbers.max()), -int(numbers.min())) if len(numbers) else 0
    if largest * len(numbers) < _SAFE:
        return counted, [line.running(numbers)]
    return counted, [line.running(numbers >> 32), line.running(numbers & 0xFFFFFFFF)]


def _unscaled(column: pa.ChunkedArray, of: Column) -> Ints:
    """Decimals x 10^scale, from the lower words of their 128 bits."""
    parts = [np.empty(0, np.int64)]
    for chunk in column.chunks:
        words = np.frombuffer(chunk.buffers()[1], np.int64)[2 * chunk.offset : 2 * (chunk.offset + len(chunk))]
        low, high = words[0::2], words[1::2]
        if (high != low >> 63).any():
            raise OfflineStoreError(
                "offline.decimal", f"column {of.name!r} has a value beyond 64 bits at {of.scale} digits after the point"
            )
        parts.append(low)
    return np.concatenate(parts)


def _total(parts: list[Ints]) -> Any:
    """One sum as it is; upper x 2³² + lower as decimal128(38, 0)."""
    if len(parts) < 2:
        return parts[0] if parts else None
    high, low = parts
    shifted = high.astype(np.uint64) << np.uint64(32)
    words = np.empty((len(high), 2), np.uint64)
    words[:, 0] = shifted + low.astype(np.uint64)
    words[:, 1] = (high >> 32).astype(np.uint64) + (words[:, 0] < shifted)
    return pa.Array.from_buffers(pa.decimal128(38, 0), len(high), [None, pa.py_buffer(words.tobytes())])
