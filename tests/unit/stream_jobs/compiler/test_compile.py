"""The scenario's Feast objects become the plan that the other rooms count on, and what is not exact is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from feast import Entity, Field, KafkaSource, StreamFeatureView, ValueType
from feast.aggregation import Aggregation
from feast.data_format import JsonFormat
from feast.types import Float64, Int64

import feature_repo
from appliance.installation import Installation
from appliance.layout import Layout
from appliance.names import Names
from appliance.parts.base import Context
from appliance.secrets import Secrets
from appliance.settings import Kafka, Settings
from feature_repo import declare
from stream_jobs import plan
from stream_jobs.compiler import objects, sql, tables, views
from stream_jobs.compiler.compile import compiled
from stream_jobs.compiler.definition import Versions
from stream_jobs.errors import CompileError

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

_DAY_US = 86_400_000_000


@pytest.fixture
def context(tmp_path: Path) -> Context:
    layout = Layout.below(tmp_path)
    installed = Installation("0", 40000, "appliance", "main", "card_fraud", "", {}, {})
    return Context(layout, installed, Settings(kafka=Kafka(partitions=2)), Secrets(layout.secrets))


def test_card_fraud_has_the_tables_views_and_service_of_the_scenario(context: Context) -> None:
    made = compiled(context, Versions(context.layout.data / "versions.json"))
    assert [(table.topic, table.primary_key, table.full_identity) for table in made.tables] == [
        ("main.cdc.bank.public.customers", ("customer_id",), False),
        ("main.cdc.bank.public.terminals", ("terminal_id",), False),
        ("main.cdc.bank.public.transactions", ("transaction_id",), True),
        ("main.cdc.bank.public.transaction_labels", ("transaction_id",), True),
    ]
    payments, labels = made.view("customer_payments"), made.view("terminal_labels")
    assert (payments.join_keys, payments.event_time, payments.row_id) == (
        ("customer_id",),
        "tx_datetime",
        "transaction_id",
    )
    assert payments.columns == (plan.Column("tx_amount", "decimal", 2),)
    assert [(each.function, each.window_us // _DAY_US) for each in payments.features] == [
        ("count", 1), ("count", 7), ("count", 30), ("mean", 1), ("mean", 7), ("mean", 30),
    ]  # fmt: skip
    assert labels.edits_topic == "main.edits.terminal_labels.v1"
    assert {each.name: each.default for each in labels.features if each.function == "mean"} == {
        f"terminal_fraud_rate_{days}d": 0.0 for days in (1, 7, 30)
    }
    service = made.service("card_fraud")
    assert service.row_views == ("customer_payments",)
    assert len(service.features) == 15
    assert service.features[:4] == ("request:amount", "request:weekend", "request:night",
                                    "customer_payments:customer_tx_count_1d")  # fmt: skip
    assert service.features[-1] == "terminal_labels:terminal_fraud_rate_30d"


def test_the_plan_file_reads_back_as_it_was_written(context: Context) -> None:
    made = compiled(context, Versions(context.layout.data / "versions.json"))
    plan.write(made, context.layout.plan_file)
    assert plan.read(context.layout.plan_file) == made


def _table(**changed: Any) -> tables.Table:
    source = declare.captured(
        **({"name": "t", "source": "db", "table": "public.t", "key": "id", "event_time": "at",
            "columns": {"id": "int64", "at": "timestamptz", "who": "int64", "x": "decimal(2)", "s": "string"}}
           | changed)
    )  # fmt: skip
    return tables.table(source, Names("main"))


def _view(*aggregations: Aggregation, **changed: Any) -> StreamFeatureView:
    found = aggregations or (Aggregation(column="x", function="mean", time_window=timedelta(days=1), name="f"),)
    names = [each.resolved_name(each.time_window) for each in found]
    source = declare.captured(
        name="t", source="db", table="public.t", key="id", event_time="at", columns={"id": "int64", "at": "timestamptz"}
    )
    given: dict[str, Any] = {
        "name": "v", "entities": [_ENTITY], "source": source, "timestamp_field": "at", "tags": declare.view_tags(),
        "schema": [Field(name="who", dtype=Int64), *(Field(name=name, dtype=Float64) for name in names)],
        "aggregations": list(found),
    }  # fmt: skip
    return StreamFeatureView(**(given | changed))


_ENTITY = Entity(name="e", join_keys=["who"], value_type=ValueType.INT64)


def _compile(declared: StreamFeatureView, versions: Versions, table: tables.Table | None = None) -> plan.View:
    address = sql.KafkaAddress("127.0.0.1:1", 1)
    return views.view(declared, {"e": _ENTITY}, table or _table(), Names("main"), versions, address)


def _day(**changed: Any) -> Aggregation:
    given: dict[str, Any] = {"column": "x", "function": "mean", "time_window": timedelta(days=1), "name": "f"}
    return Aggregation(**(given | changed))


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: _view(_day(column="nowhere")), "compile.no_column"),
        (lambda: _view(_day(function="last_n")), "compile.last_n"),
        (lambda: _view(tags=declare.view_tags(last_n={"f": 3})), "compile.last_n"),
        (lambda: _view(_day(function="last_n"), tags=declare.view_tags(last_n={"f": 0})), "compile.last_n"),
        (lambda: _view(_day(column="s")), "compile.column_type"),
        (lambda: _view(_day(function="median")), "compile.function"),
        (lambda: _view(_day(time_window=None)), "compile.window"),
        (lambda: _view(_day(slide_interval=timedelta(hours=1))), "compile.slide"),
        (lambda: _view(_day(column="")), "compile.column"),
        (lambda: _view(enable_tiling=True), "compile.tiling"),
        (lambda: _view(timestamp_field="other"), "compile.event_time"),
        (lambda: _view(udf=lambda frame: frame, udf_string="x"), "compile.udf"),
        (lambda: _view(tags=declare.view_tags(where={"f": "s"})), "compile.where"),
        (lambda: _view(tags=declare.view_tags(defaults={"g": 0.0})), "compile.tag"),
        (lambda: _view(schema=[Field(name="who", dtype=Int64), Field(name="g", dtype=Int64)]), "compile.schema"),
        (lambda: _view(aggregations=[]), "compile.no_aggregation"),
    ],
)
def test_what_cannot_be_exact_is_refused(make: Callable[[], StreamFeatureView], code: str, tmp_path: Path) -> None:
    with pytest.raises(CompileError) as refused:
        _compile(make(), Versions(tmp_path / "versions.json"))
    assert refused.value.code == code


def test_last_n_says_how_many(tmp_path: Path) -> None:
    declared = _view(_day(function="last_n"), tags=declare.view_tags(last_n={"f": 3}))
    assert _compile(declared, Versions(tmp_path / "versions.json")).features[0].n == 3


def test_a_table_without_event_time_is_captured_and_carries_no_windows(tmp_path: Path) -> None:
    timeless = _table(event_time="", columns={"id": "int64", "who": "int64", "x": "decimal(2)"})
    assert timeless.captured(full_identity=False).event_time == ""
    with pytest.raises(CompileError, match="no event time"):
        _compile(_view(), Versions(tmp_path / "versions.json"), timeless)


def test_a_time_without_zone_is_refused_unless_it_is_utc() -> None:
    columns = {"id": "int64", "at": "timestamp"}
    with pytest.raises(CompileError, match="no time zone"):
        _table(columns=columns)
    with pytest.raises(CompileError, match="Europe/Paris"):
        _table(columns=columns, time_zone="Europe/Paris")
    assert _table(columns=columns, time_zone="UTC").column("at", "test").type == "timestamp_us"


def test_a_source_not_made_by_the_helper_is_refused() -> None:
    source = KafkaSource(name="k", timestamp_field="at", message_format=JsonFormat(schema_json=""), topic="t")
    with pytest.raises(CompileError, match=r"appliance\.source"):
        tables.table(source, Names("main"))


def test_a_changed_definition_gets_a_new_version_and_the_old_one_its_old(tmp_path: Path) -> None:
    def version(days: int) -> int:
        versions = Versions(tmp_path / "versions.json")
        made = _compile(_view(_day(time_window=timedelta(days=days))), versions)
        versions.save()
        return made.version

    assert [version(1), version(2), version(1), version(3), version(2)] == [1, 2, 1, 3, 2]


def test_every_part_of_the_definition_is_in_its_hash(tmp_path: Path) -> None:
    versions = Versions(tmp_path / "versions.json")
    base = _compile(_view(), versions)
    others = [
        _compile(_view(_day(function="sum")), versions),
        _compile(_view(_day(column="id")), versions),
        _compile(_view(_day(name="g")), versions),
        _compile(_view(tags=declare.view_tags(defaults={"f": 1.0})), versions),
        _compile(_view(), versions, dataclasses.replace(_table(), key="who")),
        _compile(_view(), versions, dataclasses.replace(_table(), time_zone="UTC")),
    ]
    assert len({each.definition_hash for each in [base, *others]}) == len(others) + 1
    assert _compile(_view(description="other words", owner="x"), versions).definition_hash == base.definition_hash


def _transformed(columns: dict[str, str], rows: str = "", **changed: Any) -> StreamFeatureView:
    found = (_day(column="half", name="f"), _day(column="*", function="count", name="g"))
    return _view(*found, tags=declare.view_tags(columns=columns, rows=rows, where={"g": "big"}), **changed)


_HALF = {"half": "x * 0.5", "big": "x > 10 AND s <> 'no'"}


def test_derived_columns_and_a_filter_are_carried_and_are_part_of_the_definition(tmp_path: Path) -> None:
    versions = Versions(tmp_path / "versions.json")
    made = _compile(_transformed(_HALF, "s IS NOT NULL"), versions)
    assert made.columns == (plan.Column("half", "decimal", 3), plan.Column("big", "bool"))
    assert [column.name for column in made.reads] == ["x", "s"] and made.row_columns == ("x", "s")
    assert made.captured_columns == ("id", "who", "at", "x", "s")
    assert "IS TRUE" in made.sql and "`half` STRING" in made.sql
    same = _compile(_transformed({"half": "(x)*0.5", "big": "(x>10) AND NOT s = 'no'"}, "NOT s IS NULL"), versions)
    assert same.definition_hash == made.definition_hash
    others = [_transformed(_HALF), _transformed(_HALF | {"half": "x * 0.25"}, "s IS NOT NULL"),
              _transformed(_HALF, "s = 'yes'")]  # fmt: skip
    assert len({_compile(other, versions).definition_hash for other in others} | {made.definition_hash}) == 4


@pytest.mark.parametrize(
    ("columns", "rows", "code"),
    [
        (_HALF | {"x": "x + 1"}, "", "compile.column_name"),
        (_HALF | {"more": "x + 1"}, "", "compile.unused"),
        (_HALF, "x + 1", "compile.rows"),
        (_HALF | {"big": "x"}, "", "compile.where"),
        (_HALF | {"half": "x / 2"}, "", "compile.expression"),
        (_HALF | {"half": "x +"}, "", "compile.sql"),
    ],
)
def test_a_transformation_that_is_not_exact_is_refused(
    columns: dict[str, str], rows: str, code: str, tmp_path: Path
) -> None:
    with pytest.raises(CompileError) as refused:
        _compile(_transformed(columns, rows), Versions(tmp_path / "versions.json"))
    assert refused.value.code == code


@pytest.mark.parametrize("text", ["x = (", "x = 1 / 0", "import feast\nfeast.Entity(nome='x')"])
def test_definitions_that_fail_are_named_with_their_line(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "feature_repo" / "broken"
    folder.mkdir(parents=True)
    (folder / "features.py").write_text(text)
    monkeypatch.setattr(feature_repo, "__path__", [str(folder.parent)])
    with pytest.raises(CompileError) as refused:
        objects.collect("broken")
    assert refused.value.code == "compile.definitions" and "features.py:" in refused.value.message
