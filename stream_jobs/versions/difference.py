"""What applying a newly compiled plan would change, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from stream_jobs.compiler.definition import inputs_hash
from stream_jobs.plan import CapturedTable, Plan, Service, View, WindowFeature
from stream_jobs.versions.transition import by_name, key

Kind = Literal["unchanged", "new", "changed", "gone"]
_UNITS = ((86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "min"), (1_000_000, "s"), (1_000, "ms"), (1, "µs"))


class Change(msgspec.Struct, frozen=True):
    """what: view, service or table. version: of a view after the change, 0 otherwise. words: what differs."""

    what: Literal["view", "service", "table"]
    name: str
    kind: Kind
    version: int = 0
    words: tuple[str, ...] = ()


def changes(current: Plan, wanted: Plan) -> list[Change]:
    """Every view, service and table of either plan; versions that are already coming count as the present ones."""
    before, after = current.wanted_views, by_name(wanted.views)
    found = []
    for name in dict.fromkeys((*after, *before)):
        old, new = before.get(name), after.get(name)
        if new is None:
            found.append(Change("view", name, "gone", 0, ("no longer computed once nothing reads it",)))
        elif old is None:
            found.append(Change("view", name, "new", new.version, tuple(map(feature_words, new.features))))
        else:
            words = () if key(old) == key(new) else view_words(old, new)
            found.append(Change("view", name, "changed" if key(old) != key(new) else "unchanged", new.version, words))
    found += _services(current, wanted)
    found += _tables(current, wanted)
    return found


def _services(current: Plan, wanted: Plan) -> Iterable[Change]:
    before = {each.name: current.wanted_service(each.name) for each in current.services}
    after = {each.name: each for each in wanted.services}
    for name in dict.fromkeys((*after, *before)):
        old, new = before.get(name), after.get(name)
        if new is None:
            yield Change("service", name, "gone", 0, ("nothing is scored for it any more",))
        elif old is None:
            yield Change("service", name, "new", 0, (f"{len(new.features)} inputs for model {new.model}",))
        elif old == new:
            yield Change("service", name, "unchanged")
        else:
            yield Change("service", name, "changed", 0, tuple(_service_words(old, new, current, wanted)))


def _service_words(old: Service, new: Service, current: Plan, wanted: Plan) -> Iterable[str]:
    if inputs_hash(old, current.wanted_views) != inputs_hash(new, by_name(wanted.views)):
        yield from (f"input {name} added" for name in new.features if name not in old.features)
        yield from (f"input {name} removed" for name in old.features if name not in new.features)
        if set(old.features) == set(new.features):
            yield (
                "inputs in another order" if old.features != new.features else "inputs of the same names mean otherwise"
            )
    if old.model != new.model:
        yield f"model {old.model} → {new.model}"
    if old.policy != new.policy:
        yield "its policy"
    if old.row != new.row:
        yield f"row ({', '.join(c.name for c in old.row)}) → ({', '.join(c.name for c in new.row)})"
    if [old.definition_hash, old.model] != [new.definition_hash, new.model] and old.features == new.features:
        yield f"definition {old.definition_hash[:12]} → {new.definition_hash[:12]}"


def _tables(current: Plan, wanted: Plan) -> Iterable[Change]:
    before = {table.topic: table for table in current.tables}
    after = {table.topic: table for table in wanted.tables}
    for topic in dict.fromkeys((*after, *before)):
        old, new = before.get(topic), after.get(topic)
        name = f"{(new or old).source}.{(new or old).table}"  # type: ignore[union-attr]  # one of them is there
        if new is None:
            yield Change("table", name, "gone", 0, ("still captured until `appliance source add` is run again",))
        elif old is None:
            yield Change("table", name, "new", 0, ("captured after `appliance source add`",))
        else:
            words = tuple(_table_words(old, new))
            yield Change("table", name, "changed" if words else "unchanged", 0, words)


def _table_words(old: CapturedTable, new: CapturedTable) -> Iterable[str]:
    yield from (f"column {c.name} added" for c in new.columns if c.name not in {each.name for each in old.columns})
    yield from (f"column {c.name} removed" for c in old.columns if c.name not in {each.name for each in new.columns})
    types = {column.name: (column.type, column.scale) for column in old.columns}
    for column in new.columns:
        if types.get(column.name, (column.type, column.scale)) != (column.type, column.scale):
            yield f"column {column.name}: {types[column.name][0]} → {column.type}"
    if (old.primary_key, old.event_time) != (new.primary_key, new.event_time):
        yield "its key or event time"
    if new.full_identity and not old.full_identity:
        yield "a view stands on it now: it needs REPLICA IDENTITY FULL (`appliance source check` says whether it has)"


def view_words(old: View, new: View) -> tuple[str, ...]:
    """What differs between two versions of a view."""
    words = [
        f"{what}: {before or 'none'} → {after or 'none'}"
        for what, before, after in (
            ("table", f"{old.source}.{old.table}", f"{new.source}.{new.table}"),
            ("join keys", ", ".join(old.join_keys), ", ".join(new.join_keys)),
            ("primary key", old.row_id, new.row_id),
            ("event time", old.event_time, new.event_time),
        )
        if before != after
    ]
    before = {feature.name: feature for feature in old.features}
    after = {feature.name: feature for feature in new.features}
    words += [f"feature added: {feature_words(f)}" for name, f in after.items() if name not in before]
    words += [f"feature removed: {name}" for name in before if name not in after]
    words += [
        f"feature changed: {feature_words(before[name])} → {feature_words(feature)}"
        for name, feature in after.items()
        if name in before and before[name] != feature
    ]
    words += _column_words(old, new)
    return tuple(words) or ("the same features in another order",)


def _column_words(old: View, new: View) -> Iterable[str]:
    before: Mapping[str, object] = {column.name: column for column in old.columns}
    for column in new.columns:
        if before.get(column.name, column) != column:
            yield f"column {column.name}: {before[column.name]} → {column}"


def feature_words(feature: WindowFeature) -> str:
    """Such as ``n_1h = count of * over 1 h where abroad, 0 when empty``."""
    function = feature.function.replace("_", " ")
    words = f"{feature.name} = {function} of {feature.column or '*'} over {span(feature.window_us)}"
    if feature.function == "last_n":
        words += f", n = {feature.n}"
    if feature.where:
        words += f" where {feature.where}"
    return words if feature.default is None else f"{words}, {feature.default} when empty"


def span(microseconds: int) -> str:
    """A length of time in its largest whole unit."""
    size, unit = next((size, unit) for size, unit in _UNITS if microseconds % size == 0)
    return f"{microseconds // size} {unit}"
