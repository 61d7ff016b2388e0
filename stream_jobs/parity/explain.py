"""Why a value differs: the edits that HBase has and those that the lake's changes make, side by side."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import duckdb
import msgspec

from appliance.records import Edit, Value
from stream_jobs.lake.reading import literal
from stream_jobs.parity.compare import Close, Difference, distance
from stream_jobs.plan import CapturedTable, View
from stream_jobs.rebuild import from_lake
from stream_jobs.windows.values import exact

LOGGED, HBASE, LAKE = "logged", "hbase", "lake"
_MOST_SHOWN = 200


class SourceEdit(msgspec.Struct, frozen=True):
    """An edit of the entity with an event time in the longest window and a position up to the cut."""

    sign: int
    row_id: str
    position: str
    event_time: int
    assumed: bool
    columns: dict[str, Value]

    @property
    def name(self) -> tuple[str, str, int]:
        return self.row_id, self.position, self.sign


class Explanation(msgspec.Struct, frozen=True):
    """values: leg → value. verdict: which leg stands alone, and what that says.

    edits: those that both sides have, at most 200; edits_in_all: how many there are. differing: pairs (HBase, lake) of
    one edit with other contents.
    """

    prediction_id: str
    feature: str
    way: str
    as_of: int
    cut: str
    entity: str | None
    values: dict[str, Any]
    assumed: bool
    verdict: str
    edits: tuple[SourceEdit, ...] = ()
    edits_in_all: int = 0
    only_in_hbase: tuple[SourceEdit, ...] = ()
    only_in_lake: tuple[SourceEdit, ...] = ()
    differing: tuple[tuple[SourceEdit, SourceEdit], ...] = ()


def explain(
    difference: Difference,
    close: Close,
    view: View,
    table: CapturedTable,
    hbase: Iterable[Edit],
    connection: duckdb.DuckDBPyConnection,
    changes: str,
) -> Explanation:
    """hbase: the entity's edits. changes: relation in the schema of the table's changes."""
    question = difference.question
    longest = max(feature.window_us for feature in view.features)
    begin = question.as_of - longest
    inside = [edit for edit in hbase if begin < edit.event_time <= question.as_of and edit.position <= question.cut]
    stored = {edit.name: edit for edit in map(_source, inside)}
    captured = {edit.name: edit for edit in map(_source, _of_lake(connection, changes, view, table, difference, begin))}
    both = [stored[name] for name in sorted(stored.keys() & captured.keys(), key=_order)]
    differing = tuple((one, captured[one.name]) for one in both if not _same(one, captured[one.name], view))
    only_in_hbase = tuple(stored[name] for name in sorted(stored.keys() - captured.keys(), key=_order))
    only_in_lake = tuple(captured[name] for name in sorted(captured.keys() - stored.keys(), key=_order))
    return Explanation(
        prediction_id=question.prediction_id,
        feature=difference.feature,
        way=question.way,
        as_of=question.as_of,
        cut=question.cut,
        entity=question.entity,
        values=difference.values,
        assumed=difference.assumed,
        verdict=_verdict(difference.values, close, bool(differing or only_in_hbase or only_in_lake)),
        edits=tuple(both[:_MOST_SHOWN]),
        edits_in_all=len(both),
        only_in_hbase=only_in_hbase[:_MOST_SHOWN],
        only_in_lake=only_in_lake[:_MOST_SHOWN],
        differing=differing[:_MOST_SHOWN],
    )


def without_sources(difference: Difference) -> Explanation:
    """Of a feature of the row in hand, which has no source rows."""
    question = difference.question
    verdict = "the function gives another value now than when the row was scored, or Feast's view computes another one"
    return Explanation(
        question.prediction_id, difference.feature, question.way, question.as_of, question.cut, question.entity,
        difference.values, difference.assumed, verdict,
    )  # fmt: skip


def _order(name: tuple[str, str, int]) -> tuple[str, str, int]:
    row_id, position, sign = name
    return position, row_id, sign


def _of_lake(
    connection: duckdb.DuckDBPyConnection,
    changes: str,
    view: View,
    table: CapturedTable,
    difference: Difference,
    begin: int,
) -> list[Edit]:
    """The edits that the lake's changes make of the entity, in the window and up to the cut."""
    question = difference.question
    if question.entity is None:
        return []
    made = from_lake.edits_sql(view, table, changes)
    wanted = (
        f"entity = {literal(question.entity)} AND position <= {literal(question.cut)}"
        f" AND event_time > {begin} AND event_time <= {question.as_of}"
    )
    batches = connection.sql(f"SELECT * FROM ({made}) WHERE {wanted}").to_arrow_reader(10_000)
    return [edit for batch in batches for edit in from_lake.edits_of(view, batch)]


def _source(edit: Edit) -> SourceEdit:
    return SourceEdit(edit.sign, edit.row_id, edit.position, edit.event_time, edit.assumed, dict(edit.columns))


def _same(one: SourceEdit, other: SourceEdit, view: View) -> bool:
    columns = {column.name: column for column in view.columns}
    return one.event_time == other.event_time and all(
        exact(columns[name], value) == exact(columns[name], other.columns[name]) for name, value in one.columns.items()
    )


def _verdict(values: dict[str, Any], close: Close, sources_differ: bool) -> str:
    def agree(*legs: str) -> bool:
        return distance([values[leg] for leg in legs], close)[0]

    if agree(HBASE, LAKE):
        text = "HBase and the lake agree: the value served was another one, so what Redis held then was wrong"
    elif agree(LOGGED, LAKE):
        text = "the value served and the lake agree: HBase gives another one"
    elif agree(LOGGED, HBASE):
        text = "the value served and HBase agree: the lake, which training reads, gives another one"
    else:
        text = "no two of the three agree"
    if sources_differ:
        return f"{text}; HBase and the lake do not have the same edits in the window"
    return f"{text}; HBase and the lake have the same edits in the window, so the values were computed differently"


def lines(one: Explanation) -> list[str]:
    """For a person to read."""
    knowledge = "assumed" if one.assumed else "observed"
    text = [
        f"first difference: {one.feature} of prediction {one.prediction_id} ({one.way})",
        f"  entity {one.entity}, as of {one.as_of} µs, cut {one.cut}, knowledge {knowledge}",
        *(f"  {leg:<8} {value!r}" for leg, value in one.values.items()),
        f"  {one.verdict}",
    ]
    for title, edits in (("only in HBase", one.only_in_hbase), ("only in the lake", one.only_in_lake)):
        text += [f"  {title}: {_shown(edit)}" for edit in edits[:10]]
        text += [f"  {title}: {len(edits) - 10} more"] if len(edits) > 10 else []
    text += [f"  not the same: HBase {_shown(a)}; lake {_shown(b)}" for a, b in one.differing[:10]]
    text.append(f"  {one.edits_in_all} edits in the window are on both sides")
    return text


def _shown(edit: SourceEdit) -> str:
    sign = "+" if edit.sign > 0 else "-"
    return f"{sign} row {edit.row_id} at {edit.position}, event time {edit.event_time} µs, {edit.columns}"
