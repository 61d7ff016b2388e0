"""What kinds of jobs there are, and the function that runs each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from appliance.parts.base import Context
from models.errors import JobError

Progress = Callable[[str], None]
Run = Callable[[Context, dict[str, Any], Progress], dict[str, Any]]
"""(context, what was asked, a line of progress) → result. Raises ApplianceError."""


def _make(context: Context, asked: dict[str, Any], progress: Progress) -> dict[str, Any]:
    from models.features import from_feast  # Feast takes seconds to import, and only this kind needs it
    from models.pipeline import Wish, train
    from stream_jobs import plan as plans

    plan = plans.read(context.layout.plan_file)
    wish = Wish(**asked["wish"])
    record = train(context, plan, plan.wanted_service(asked["service"]), wish, from_feast, progress)
    return {"model": record.model, "version": record.version, "refused": record.refused}


def _update(context: Context, asked: dict[str, Any], progress: Progress) -> dict[str, Any]:
    from models.learning.update import update  # and what it needs
    from stream_jobs import plan as plans

    record = update(context, plans.read(context.layout.plan_file), asked["service"], asked["cutoff"], progress)
    return {"model": record.model, "version": record.version, "refused": record.refused}


_KINDS: dict[str, Run] = {"train": _make, "import": _make, "update": _update}


def run(kind: str) -> Run:
    """Raises JobError for a kind that there is not."""
    if kind not in _KINDS:
        raise JobError("job.kind", f"there is no kind of job {kind!r}; there are {sorted(_KINDS)}")
    return _KINDS[kind]
