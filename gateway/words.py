"""Features in words a person can read, made of what the plan says of them."""

from __future__ import annotations

from stream_jobs.plan import Plan, Service, WindowFeature

_FUNCTIONS = {
    "sum": "Sum of {column}",
    "mean": "Average {column}",
    "min": "Lowest {column}",
    "max": "Highest {column}",
    "std": "Spread of {column}",
    "count_distinct": "Number of different {column}",
    "first": "First {column}",
    "last": "Last {column}",
    "last_n": "Last values of {column}",
}
_FLAG = "is_"
_UNITS = ((86_400_000_000, "day"), (3_600_000_000, "hour"), (60_000_000, "minute"), (1_000_000, "second"))


def plain(name: str) -> str:
    """A name with its underscores read as spaces, the first letter large."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def window(width_us: int) -> str:
    """A window's width in its largest whole unit: ``7 days``."""
    for unit, name in _UNITS:
        if width_us >= unit and width_us % unit == 0:
            number = width_us // unit
            return f"{number} {name}{'s' if number != 1 else ''}"
    return f"{width_us} µs"


def _aggregate(feature: WindowFeature, rows: str) -> str:
    if feature.function == "count":
        return f"Number of {rows}" if feature.column is None else f"Number of {rows} with {_noun(feature.column)}"
    if feature.function == "mean" and (feature.column or "").startswith(_FLAG):
        return f"Share of {rows} that are {_noun((feature.column or '').removeprefix(_FLAG))}"
    return _FUNCTIONS[feature.function].format(column=_noun(feature.column or rows))


def _noun(column: str) -> str:
    return column.replace("_", " ")


def features(plan: Plan, service: Service) -> dict[str, str]:
    """Feature name → words, such as ``Average tx amount of the customer in 7 days``, in the service's order."""
    words = {}
    for name in service.features:
        view_name, _, feature_name = name.partition(":")
        if view_name == "request":
            words[name] = plain(feature_name)
            continue
        view = plan.view(view_name)
        rows = _noun(view.table.rpartition(".")[2])
        feature = next(f for f in view.features if f.name == feature_name)
        where = f" where {_noun(feature.where)}" if feature.where else ""
        words[name] = f"{_aggregate(feature, rows)}{where} of the {view.entity} in {window(feature.window_us)}"
    return words
