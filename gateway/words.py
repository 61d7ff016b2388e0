"""Features in words a person can read, made of what the plan says of them."""

from __future__ import annotations

from appliance.records import Value
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
_LEAST_MOVED = 0.0005
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


def moved(feature: str, value: Value | list[Value], by: float) -> str:
    """``Average tx amount of the customer in 7 days (324.00) raised the score by 21.3 points``."""
    if value is None:
        number = "nothing known"
    elif isinstance(value, float):
        number = f"{value:.0f}" if value.is_integer() else f"{value:.2f}"
    else:
        number = str(value)
    verb = "raised" if by > 0 else "lowered"
    return f"{feature} ({number}) {verb} the score by {100 * abs(by):.1f} points"


def worth_saying(by: float, standard_error: float) -> bool:
    """Whether what a feature moved shows when rounded to a tenth of a point, and is more than its error."""
    return abs(by) >= _LEAST_MOVED and abs(by) > 2 * standard_error


def base(average: float, score: float) -> str:
    """Where all that was moved begins and ends, in points of a hundred."""
    return f"Rows of the training set score {100 * average:.1f} on average; this one {100 * score:.1f} of 100 points"
