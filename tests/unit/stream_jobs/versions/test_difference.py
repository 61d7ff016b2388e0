"""What a change is called, and what is said of it."""

from __future__ import annotations

from msgspec.structs import replace

from stream_jobs.plan import Plan, WindowFeature
from stream_jobs.versions.difference import changes, feature_words, span
from tests.unit.stream_jobs.versions.test_transition import MORE, V1, plan, service, view

_MINUTE = 60_000_000


def said(current: Plan, wanted: Plan) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {change.name: (change.kind, change.words) for change in changes(current, wanted)}


def test_a_first_plan_is_all_new() -> None:
    found = said(Plan("", (), (), ()), plan([V1], [service("s", ["v:a"], [V1])]))
    assert {name: kind for name, (kind, _) in found.items()} == {"v": "new", "s": "new", "db.public.t": "new"}
    assert found["v"][1] == ("a = sum of x over 1 h",)


def test_added_removed_and_changed_features_are_named() -> None:
    wanted = view("v", 2, ("b",))
    longer = replace(wanted, features=(replace(wanted.features[0], name="a", window_us=90 * _MINUTE), *wanted.features))
    (words,) = [words for kind, words in said(plan([V1]), plan([longer])).values() if kind == "changed"]
    assert words == (
        "feature added: b = sum of x over 1 h",
        "feature changed: a = sum of x over 1 h → a = sum of x over 90 min",
    )
    assert said(plan([MORE]), plan([V1]))["v"] == ("changed", ("feature removed: b",))


def test_what_is_coming_counts_as_present_and_nothing_is_said_of_what_stays() -> None:
    begun = replace(plan([V1]), coming=(MORE,))
    assert said(begun, plan([MORE]))["v"] == ("unchanged", ())
    same = plan([V1], [service("s", ["v:a"], [V1])])
    assert {kind for kind, _ in said(same, same).values()} == {"unchanged"}


def test_a_service_says_which_inputs_come_and_which_model() -> None:
    before = plan([MORE], [service("s", ["v:a"], [MORE])])
    found = said(before, plan([MORE], [service("s", ["v:a", "v:b"], [MORE], model="m_2")]))
    assert found["s"] == ("changed", ("input v:b added", "model m → m_2"))
    other = view("v", 3, ("a",), hours=2)
    meant = said(plan([V1], [service("s", ["v:a"], [V1])]), plan([other], [service("s", ["v:a"], [other])]))
    assert meant["s"][1][0] == "inputs of the same names mean otherwise"


def test_what_goes_is_said_to_go() -> None:
    found = said(plan([V1], [service("s", ["v:a"], [V1])]), Plan("s", (), (), ()))
    assert {kind for kind, _ in found.values()} == {"gone"}


def test_spans_and_features_in_words() -> None:
    assert [span(each) for each in (86_400_000_000, 90 * _MINUTE, 1_500_000, 7)] == ["1 d", "90 min", "1500 ms", "7 µs"]
    feature = WindowFeature("n", "last_n", "x", _MINUTE, where="ok", n=3, default=0)
    assert feature_words(feature) == "n = last n of x over 1 min, n = 3 where ok, 0 when empty"
