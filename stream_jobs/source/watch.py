"""Checks every source now and then; what is not well is a notice until it is well again."""

from __future__ import annotations

from collections.abc import Callable

from appliance import notices
from appliance.errors import ApplianceError
from appliance.parts.base import Context
from stream_jobs.source import record, service
from stream_jobs.source.check import Check
from stream_jobs.source.record import Source

EVERY_SECONDS = 120.0


def look(context: Context, touch: Callable[[], None]) -> None:
    """``appliance source check`` of every source, without the checks of what mends itself. ``touch`` after each."""
    for source in record.everyone(context):
        try:
            failed = [each for each in service.live(context, service.check(context, source)).checks if not each.ok]
            tell(context, source, [each for each in failed if each.point != service.MENDING])
        except ApplianceError as error:
            tell(context, source, [Check("database", False, error.message, error.hint or "")])
        touch()


def tell(context: Context, source: Source, failed: list[Check]) -> None:
    """Post, renew or take back the notice."""
    name = f"source-{source.name}"
    if not failed:
        notices.take_back(context.layout, name)
        return
    found = "; ".join(f"{each.point}: {each.found}" for each in failed)
    todo = f"appliance source check {source.name}: " + "; ".join(each.todo for each in failed if each.todo)
    notices.post(context.layout, name, f"Source {source.name} is not as it must be: {found}", todo)
