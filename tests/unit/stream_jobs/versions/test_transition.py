"""Every step of a change of versions, from one plan to the next."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from stream_jobs.compiler.definition import inputs_hash, service_hash
from stream_jobs.errors import VersionError
from stream_jobs.plan import CapturedTable, Column, Plan, Policy, Service, View, WindowFeature
from stream_jobs.versions import transition
from stream_jobs.versions.filling import filled
from stream_jobs.versions.transition import Ready, by_name, key

_HOUR = 3_600_000_000
_NOW = 1_000_000
_UNTIL = _NOW + 24 * _HOUR
_TABLE = CapturedTable("db", "public.t", "main.cdc.db.public.t", ("id",), (Column("x", "int64"),), "at", True)


def view(name: str, version: int, features: Sequence[str] = ("a",), hours: int = 1, column: str = "x") -> View:
    return View(
        name=name, version=version, source="db", table="public.t", source_topic=_TABLE.topic,
        edits_topic=f"main.edits.{name}.v{version}", entity="e", join_keys=("who",), row_id="id", event_time="at",
        columns=(Column(column, "int64"),),
        features=tuple(WindowFeature(each, "sum", column, hours * _HOUR) for each in features),
        sql=f"{name} {version}", definition_hash=f"{name}{version}",
    )  # fmt: skip


def service(name: str, features: Sequence[str], views: Sequence[View], model: str = "m") -> Service:
    made = Service(
        name=name, source="db", event_table="public.t", event_topic=_TABLE.topic, event_key="id", event_time="at",
        row=(), views=tuple(dict.fromkeys(each.partition(":")[0] for each in features)), row_views=(),
        request_features=(), features=tuple(features), model=model, policy=Policy(0.5, 0.9, 10, "m:f"),
        definition_hash="",
    )  # fmt: skip
    return replace(made, definition_hash=service_hash(made, by_name(views)))


def plan(views: Sequence[View], services: Sequence[Service] = ()) -> Plan:
    return Plan("s", (_TABLE,), tuple(views), tuple(services))


def names(views: Sequence[View]) -> list[str]:
    return [key(each) for each in views]


V1 = view("v", 1)
MORE = view("v", 2, ("a", "b"))
"""As V1, with a feature more."""
OTHER = view("v", 2, ("a",), hours=2)
"""As V1, with another meaning of its feature."""


def test_a_first_plan_is_in_effect_at_once() -> None:
    wanted = plan([V1], [service("s", ["v:a"], [V1])])
    assert transition.begin(Plan("", (), (), ()), wanted, (), _UNTIL) == wanted


def test_a_changed_view_comes_beside_the_serving_one_and_takes_its_place() -> None:
    before = plan([V1], [service("s", ["v:a"], [V1])])
    wanted = plan([MORE], [service("s", ["v:a"], [MORE])])
    begun = transition.begin(before, wanted, ("m",), _UNTIL)
    assert (names(begun.views), names(begun.coming), begun.services) == (["v.v1"], ["v.v2"], before.services)
    assert transition.switch(begun, Ready(frozenset(), frozenset({"s"})), _UNTIL) is begun
    after = transition.switch(begun, Ready(frozenset({"v.v2"}), frozenset({"s"})), _UNTIL)
    assert (names(after.views), after.coming, names(after.former)) == (["v.v2"], (), ["v.v1"])
    assert after.services == wanted.services and after.coming_services == ()
    assert after.kept_until == {"v.v1": _UNTIL, "service:s": _UNTIL}


def test_applying_the_same_again_changes_nothing() -> None:
    begun = transition.begin(plan([V1]), plan([MORE]), (), _UNTIL)
    assert transition.begin(begun, plan([MORE]), (), _UNTIL + 5) == begun
    after = transition.switch(begun, Ready(frozenset({"v.v2"}), frozenset()), _UNTIL)
    assert transition.begin(after, plan([MORE]), (), _UNTIL + 5) == after


def test_going_back_to_the_present_definition_drops_what_is_coming() -> None:
    begun = transition.begin(plan([V1]), plan([MORE]), (), _UNTIL)
    back = transition.begin(begun, plan([V1]), (), _UNTIL)
    assert (names(back.views), back.coming, names(back.dropped)) == (["v.v1"], (), ["v.v2"])
    with pytest.raises(VersionError, match="being removed"):
        transition.begin(back, plan([MORE]), (), _UNTIL)
    assert transition.removed(back, MORE).dropped == ()


def test_other_inputs_with_the_same_model_are_refused_while_it_scores() -> None:
    before = plan([V1], [service("s", ["v:a"], [V1])])
    for changed in (
        plan([OTHER], [service("s", ["v:a"], [OTHER])]),
        plan([MORE], [service("s", ["v:a", "v:b"], [MORE])]),
    ):
        with pytest.raises(VersionError) as refused:
            transition.begin(before, changed, ("m",), _UNTIL)
        assert refused.value.code == "versions.model" and 'model="m_2"' in str(refused.value.hint)
        assert transition.begin(before, changed, (), _UNTIL).coming == changed.views


def test_a_service_with_other_inputs_moves_with_its_views_when_its_model_is_there() -> None:
    before = plan([V1], [service("s", ["v:a"], [V1])])
    wanted = plan([OTHER], [service("s", ["v:a"], [OTHER], model="m_2")])
    begun = transition.begin(before, wanted, ("m",), _UNTIL)
    assert begun.wanted_service("s").model == "m_2" and begun.service("s").model == "m"
    ready = frozenset({"v.v2"})
    assert transition.switch(begun, Ready(ready, frozenset()), _UNTIL) is begun
    after = transition.switch(begun, Ready(ready, frozenset({"s"})), _UNTIL)
    assert names(after.views) == ["v.v2"] and after.services == wanted.services


def test_a_service_begins_to_use_a_new_view_only_when_that_is_ready() -> None:
    before = plan([V1], [service("s", ["v:a"], [V1])])
    new = view("w", 1)
    wanted = plan([V1, new], [service("s", ["v:a", "w:a"], [V1, new], model="m_2")])
    begun = transition.begin(before, wanted, ("m",), _UNTIL)
    assert names(begun.views) == ["v.v1", "w.v1"] and begun.services == before.services
    assert transition.switch(begun, Ready(frozenset({"v.v1"}), frozenset({"s"})), _UNTIL) is begun
    after = transition.switch(begun, Ready(frozenset({"v.v1", "w.v1"}), frozenset({"s"})), _UNTIL)
    assert after.services == wanted.services and names(after.former) == []


def test_services_that_share_a_view_move_together() -> None:
    w1, w2 = view("w", 1), view("w", 2, ("a", "b"))
    before = plan([V1, w1], [service("s", ["v:a"], [V1]), service("t", ["v:a", "w:a"], [V1, w1])])
    wanted = plan([MORE, w2], [service("s", ["v:a"], [MORE]), service("t", ["v:a", "w:a"], [MORE, w2])])
    begun = transition.begin(before, wanted, ("m",), _UNTIL)
    both = frozenset({"s", "t"})
    assert transition.switch(begun, Ready(frozenset({"v.v2"}), both), _UNTIL) is begun
    assert names(transition.switch(begun, Ready(frozenset({"v.v2", "w.v2"}), both), _UNTIL).views) == ["v.v2", "w.v2"]


def test_a_view_that_goes_stays_while_a_service_reads_it() -> None:
    w = view("w", 1)
    before = plan([V1, w], [service("s", ["v:a", "w:a"], [V1, w])])
    wanted = plan([V1], [service("s", ["v:a"], [V1], model="m_2")])
    begun = transition.begin(before, wanted, ("m",), _UNTIL)
    assert names(begun.views) == ["v.v1", "w.v1"] and begun.going == ("w",)
    after = transition.switch(begun, Ready(frozenset(), frozenset({"s"})), _UNTIL)
    assert (names(after.views), names(after.former), after.going) == (["v.v1"], ["w.v1"], ())
    unused = transition.begin(plan([V1, w]), plan([V1]), (), _UNTIL)
    assert (names(unused.views), names(unused.former)) == (["v.v1"], ["w.v1"])


def _switched() -> Plan:
    before = plan([V1], [service("s", ["v:a"], [V1])])
    wanted = plan([OTHER], [service("s", ["v:a"], [OTHER], model="m_2")])
    begun = transition.begin(before, wanted, ("m",), _UNTIL)
    return transition.switch(begun, Ready(frozenset({"v.v2"}), frozenset({"s"})), _UNTIL)


def test_rollback_and_again_forward() -> None:
    after = _switched()
    for name in (None, "v"):
        back = transition.rollback(after, name, _UNTIL)
        assert (names(back.views), names(back.former), back.service("s").model) == (["v.v1"], ["v.v2"], "m")
        again = transition.rollback(back, name, _UNTIL)
        assert again == after


def test_rollback_gives_up_what_is_coming_and_keeps_what_serves() -> None:
    begun = transition.begin(plan([V1]), plan([MORE]), (), _UNTIL)
    back = transition.rollback(begun, "v", _UNTIL)
    assert (names(back.views), back.coming, names(back.dropped)) == (["v.v1"], (), ["v.v2"])


def test_rollback_is_refused_without_a_former_version_and_where_a_service_needs_the_present_one() -> None:
    with pytest.raises(VersionError, match="no former version"):
        transition.rollback(plan([V1]), None, _UNTIL)
    after = transition.switch(
        transition.begin(plan([V1]), plan([MORE]), (), _UNTIL), Ready(frozenset({"v.v2"}), frozenset()), _UNTIL
    )
    used = transition.begin(after, plan([MORE], [service("s", ["v:b"], [MORE])]), (), _UNTIL)
    with pytest.raises(VersionError) as refused:
        transition.rollback(used, "v", _UNTIL)
    assert refused.value.code == "versions.needed"


def test_a_removed_view_comes_back_by_rollback() -> None:
    gone = transition.begin(plan([V1]), plan([]), (), _UNTIL)
    assert names(transition.rollback(gone, "v", _UNTIL).views) == ["v.v1"]


def test_former_versions_are_let_go_when_their_time_is_over() -> None:
    after = _switched()
    assert transition.expire(after, _UNTIL - 1) is after
    over = transition.expire(after, _UNTIL)
    assert (over.former, over.former_services, names(over.dropped), over.kept_until) == ((), (), ["v.v1"], {})


def test_of_two_former_versions_the_older_is_dropped() -> None:
    third = view("v", 3, ("c",))
    begun = transition.begin(_switched(), plan([third]), (), _UNTIL)
    after = transition.switch(begun, Ready(frozenset({"v.v3"}), frozenset()), _UNTIL)
    assert (names(after.former), names(after.dropped)) == (["v.v2"], ["v.v1"])


def test_columns_and_tables_stay_captured_while_a_version_reads_them() -> None:
    wide = replace(_TABLE, columns=(Column("x", "int64"), Column("y", "int64"), Column("z", "int64")))
    before = replace(plan([view("v", 1, column="y")]), tables=(wide, replace(wide, topic="unread")))
    begun = transition.begin(before, plan([MORE]), (), _UNTIL)
    assert [(table.topic, [c.name for c in table.columns]) for table in begun.tables] == [(_TABLE.topic, ["x", "y"])]
    later = transition.begin(transition.rollback(begun, "v", _UNTIL), plan([]), (), _UNTIL)
    assert [table.topic for table in later.tables] == [_TABLE.topic]


def test_the_hash_of_inputs_knows_order_and_meaning_and_nothing_else() -> None:
    def digest(features: Sequence[str], *views: View) -> str:
        return inputs_hash(service("s", features, views), by_name(views))

    same = digest(["v:a"], V1)
    assert same == digest(["v:a"], MORE)
    assert same != digest(["v:a"], OTHER)
    assert digest(["v:a", "v:b"], MORE) != digest(["v:b", "v:a"], MORE)


def test_a_version_whose_topic_lacks_the_past_is_filled_from_the_lake_and_then_keeps_its_start() -> None:
    startup = "'scan.startup.mode' = 'earliest-offset'"
    old, new = replace(V1, sql=startup), replace(MORE, sql=startup)
    begun = transition.begin(plan([old]), plan([new]), (), _UNTIL, {_TABLE.topic})
    assert begun.to_fill == ("v.v2",)
    ready = filled(begun, "v.v2", {0: 7, 1: 9})
    assert ready.to_fill == () and "'partition:0,offset:7;partition:1,offset:9'" in ready.coming[0].sql
    assert transition.begin(ready, plan([new]), (), _UNTIL, {_TABLE.topic}) == ready
    assert transition.begin(begun, plan([old]), (), _UNTIL).to_fill == ()
