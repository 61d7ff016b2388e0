"""One point of a database that was looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Check:
    """point: what was looked at. found: what is there. todo: what to do; empty when ``ok``."""

    point: str
    ok: bool
    found: str
    todo: str = ""


def point(what: str, found: Any, good: Callable[[Any], bool], todo: str) -> Check:
    """The check of ``found``, with ``todo`` where it is not good."""
    ok = good(found)
    return Check(what, ok, str(found), "" if ok else todo)


def shown(checks: Sequence[Check]) -> str:
    """For a person: a line a check, and below a failed one what to do."""
    return "\n".join(
        f"  {'ok    ' if each.ok else 'FAILED'}  {each.point}: {each.found}"
        + (f"\n            {each.todo}" * bool(each.todo))
        for each in checks
    )


def primary_key(table: str, columns: Sequence[str]) -> Check:
    """Whether a table has one, and what to do where it has none."""
    return point(
        f"primary key of {table}", ", ".join(columns) or "none", lambda found: found != "none",
        f"rows of {table} cannot be told apart: make columns that are unique and never null its primary key "
        f"(ALTER TABLE {table} ADD PRIMARY KEY (…)), or add a column that numbers its rows, or leave {table} out",
    )  # fmt: skip
