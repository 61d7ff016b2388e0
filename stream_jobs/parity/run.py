"""The comparison of one service: ledger → questions → three legs → certificates."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import duckdb

from appliance import position as positions
from appliance.parts.base import Context
from appliance.records import Edit
from stream_jobs import plan as plans
from stream_jobs.errors import ParityError
from stream_jobs.lake import schema
from stream_jobs.lake.reading import Limits, connect, scan
from stream_jobs.online.packed import RowLayout
from stream_jobs.parity import certificate, requested
from stream_jobs.parity.certificate import Certificate, Different, FeatureResult
from stream_jobs.parity.compare import RULE, Close, Difference, FeatureFound, Found, tolerance
from stream_jobs.parity.explain import HBASE, LAKE, LOGGED, Explanation, explain, without_sources
from stream_jobs.parity.history import HistoryLeg
from stream_jobs.parity.ledger import Group, Question, Selection, blocks, groups, highest_cut, load
from stream_jobs.parity.training import Join, TrainingLeg
from stream_jobs.plan import CapturedTable, Plan, Service, View

BLOCK_ROWS = 50_000
"""Questions held at a time."""

FUNCTION, FEAST = "function", "feast"
_LIMITS = Limits(memory_mib=512, threads=2)

Say = Callable[[str], None]


class History(Protocol):
    """What ``online.hbase_read.HBaseHistory`` is."""

    def scan(self, view: View, entities: Sequence[str]) -> Iterator[tuple[str, list[Edit]]]: ...


@dataclass(frozen=True)
class Legs:
    """Where the values come from. on_demand: Feast's own request features, as ``requested.by_feast``.

    arrived: returns when HBase and the lake hold everything of a view up to a cut.
    """

    history: History
    join: Join
    on_demand: Callable[[Service, Sequence[Question]], dict[str, list[Any]]]
    arrived: Callable[[View, str], None]


def same_definition(service: Service, plan_file: Path) -> Callable[[str, Group], bool]:
    """Whether the predictions made under a service's definition hash had a group's present definition.

    The service's hash changes with any of its views; those that did not change can still be compared.
    """

    def same(made_with: str, group: Group) -> bool:
        if made_with == service.definition_hash:
            return True
        known = plans.definition(plan_file, made_with)
        if known is None:
            return False
        if group.view is None:
            return known.request_features == service.request_features
        return known.views.get(group.view.name) == group.view.definition_hash

    return same


def prove(
    context: Context, plan: Plan, service: Service, selection: Selection, legs: Legs, command: str, say: Say
) -> list[Certificate]:
    """A certificate for each view of the service and one for its request features.

    Memory is bounded by ``BLOCK_ROWS`` questions and the edits of one entity, whatever the number of predictions.
    Raises LakeError, OfflineStoreError, EditError, and what HBase's client raises.
    """
    began = time.monotonic()
    scratch = context.run("parity")
    with (
        tempfile.TemporaryDirectory(dir=scratch) as folder,
        connect(scratch, _LIMITS) as connection,
    ):
        wanted = groups(service, [plan.view(name) for name in service.views], Path(folder))
        ledger = scan(context.layout.lake / context.names.lake_ledger(service.name), schema.LEDGER)
        total = load(
            connection, selection.sql(ledger), service, wanted, same_definition(service, context.layout.plan_file)
        )
        say(f"{total:,} predictions of {service.name}")
        made = []
        for group in wanted:
            if group.view is not None and group.rows:
                legs.arrived(group.view, highest_cut(connection, group))
            comparison = _Comparison(context, plan, service, group, legs, connection)
            found = comparison.found(say)
            made.append(_certificate(comparison, found, total, command, time.monotonic() - began))
    return made


class _Comparison:
    """One group's questions in three legs."""

    def __init__(
        self,
        context: Context,
        plan: Plan,
        service: Service,
        group: Group,
        legs: Legs,
        connection: duckdb.DuckDBPyConnection,
    ) -> None:
        self.service, self.group, self._legs, self._connection = service, group, legs, connection
        self.close: dict[str, Close] = dict.fromkeys(group.features, (0.0, 0.0))
        self._context = context
        if (view := group.view) is None:
            return
        columns = {column.name: column for column in view.columns}
        for feature in view.features:
            self.close[f"{view.name}:{feature.name}"] = tolerance(feature, columns.get(feature.column or ""))
        self._table = _table(plan, view)
        path = context.layout.lake / context.names.lake_changes(view.source, view.table)
        self._changes = scan(path, schema.changes(self._table))
        self._captured_from = _captured_from(connection, self._changes, view)
        self._history = HistoryLeg(view, RowLayout.of(plan, view), lambda entities: legs.history.scan(view, entities))
        self._training = TrainingLeg(service, view, legs.join)

    @property
    def legs(self) -> tuple[str, ...]:
        return (LOGGED, HBASE, LAKE) if self.group.view is not None else (LOGGED, FUNCTION, FEAST)

    def found(self, say: Say) -> Found:
        group = self.group
        found = Found({name: FeatureFound() for name in group.features})
        began = time.monotonic()
        with connect(self._context.run("parity"), _LIMITS) as reading:
            for questions in blocks(reading, group, BLOCK_ROWS):
                assumed, values = self._answers(questions)
                found.add(questions, assumed, values, self.close)
                rate = found.rows / max(time.monotonic() - began, 1e-3)
                done = f"{found.rows:,} of {group.rows:,} rows ({rate:,.0f} a second)"
                say(f"{group.name}: {done}, {found.different:,} different")
        found.trim()
        return found

    def _answers(self, questions: Sequence[Question]) -> tuple[list[bool], dict[str, dict[str, list[Any]]]]:
        """Whether each question's knowledge is assumed; leg → feature in the ledger → values."""
        names = self.group.features
        logged = {name: [each.logged[place] for each in questions] for place, name in enumerate(names)}
        if self.group.view is None:
            functions = requested.by_functions(self.service, questions)
            by_feast = self._legs.on_demand(self.service, questions)
            return [False] * len(questions), {LOGGED: logged, FUNCTION: functions, FEAST: by_feast}
        history = self._history.answers(questions)
        training = self._training.answers(questions)
        assumed = [
            from_snapshot or each.as_of < self._captured_from or each.cut == positions.ZERO
            for from_snapshot, each in zip(history.assumed, questions, strict=True)
        ]
        legs = {LOGGED: logged}
        for leg, values in ((HBASE, history.values), (LAKE, training)):
            legs[leg] = {name: values[name.partition(":")[2]] for name in names}
        return assumed, legs

    def explained(self, difference: Difference) -> Explanation:
        if (view := self.group.view) is None:
            return without_sources(difference)
        entity = difference.question.entity
        edits = [] if entity is None else [e for _, some in self._legs.history.scan(view, [entity]) for e in some]
        close = self.close[difference.feature]
        return explain(difference, close, view, self._table, edits, self._connection, self._changes)


def _certificate(comparison: _Comparison, found: Found, total: int, command: str, seconds: float) -> Certificate:
    group, service = comparison.group, comparison.service
    view = group.view
    return certificate.signed(
        Certificate(
            format=certificate.FORMAT,
            service=service.name,
            view=f"{service.name}.{group.name}" if view is None else view.name,
            version=0 if view is None else view.version,
            definition_hash=service.definition_hash if view is None else view.definition_hash,
            service_definition_hash=service.definition_hash,
            code_hash=certificate.code_hash(),
            engines=certificate.engines(),
            command=command,
            made_at=datetime.now(UTC).isoformat(),
            seconds=round(seconds, 1),
            legs=comparison.legs,
            rule=RULE,
            ledger_rows=total,
            rows_compared=found.rows,
            rows_assumed=found.assumed,
            rows_observed=found.observed,
            not_compared=dict(group.left_out),
            rows_different=found.different,
            rows_different_assumed=found.different_assumed,
            rows_different_observed=found.different_observed,
            positions=found.positions,
            as_of=found.as_of,
            features=tuple(
                FeatureResult(name, one.compared, one.different, one.largest_difference)
                for name, one in found.features.items()
            ),
            differences=tuple(
                Different(each.question.prediction_id, each.feature, each.values) for each in found.differences
            ),
            first_difference=comparison.explained(found.differences[0]) if found.differences else None,
        )
    )


def _table(plan: Plan, view: View) -> CapturedTable:
    for table in plan.tables:
        if (table.source, table.table) == (view.source, view.table):
            return table
    raise ParityError("parity.no_table", f"the plan captures no {view.table} of {view.source}")


def _captured_from(connection: duckdb.DuckDBPyConnection, changes: str, view: View) -> int:
    """When the table began to be observed, µs in the data's own time: what is asked as of earlier is assumed.

    That is the newest row of the first snapshot, or the first streamed commit where that is earlier (a replay commits
    old rows today, and a snapshot may hold rows from the future). Without a snapshot everything was observed.
    """
    time_column = f'"after_{view.event_time}"'
    row = connection.execute(
        f"""WITH streamed AS (
          SELECT min(position) AS first, min(epoch_us(known_at)) AS first_us FROM {changes} WHERE NOT assumed
        )
        SELECT max(epoch_us({time_column})), any_value(first_us) FROM {changes}, streamed
        WHERE assumed AND (first IS NULL OR position < first)"""
    ).fetchall()[0]
    newest, streamed_at = row
    if newest is None:
        return -(2**63)
    return int(newest) if streamed_at is None else min(int(newest), int(streamed_at))
