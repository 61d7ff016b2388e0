"""Applying definitions and going back: the plan file changed for a user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from appliance import users
from appliance.clients import kafka, redis
from appliance.clock import wall_us
from appliance.errors import PartError
from appliance.parts.base import Context
from stream_jobs import feast_command
from stream_jobs import plan as plans
from stream_jobs.errors import VersionError
from stream_jobs.online import reached as reached_positions
from stream_jobs.plan import Plan
from stream_jobs.versions import difference, forecast, models, transition
from stream_jobs.versions.difference import Change
from stream_jobs.versions.holder import alone
from stream_jobs.versions.tending import forget, kept_until
from stream_jobs.versions.transition import by_name, key

if TYPE_CHECKING:
    from stream_jobs.compiler.definition import Versions

_CATCH_UP_MS = 5_000
_RESERVED_US = 86_400_000_000


def present(context: Context) -> Plan:
    """The plan in effect, an empty one if nothing was applied yet."""
    file = context.layout.plan_file
    return plans.read(file) if file.exists() else Plan(context.installation.scenario, (), (), ())


def compiled(context: Context) -> tuple[Plan, Versions]:
    """What the definitions say. Feast takes seconds to import: only the verbs that need it do."""
    from stream_jobs.compiler import compile as compiler
    from stream_jobs.compiler.definition import Versions, versions_file

    versions = Versions(versions_file(context))
    return compiler.compiled(context, versions), versions


def refusal(context: Context, current: Plan, wanted: Plan) -> VersionError | None:
    """Why applying would be refused."""
    try:
        transition.begin(current, wanted, models.scoring(context), wall_us() + _RESERVED_US)
    except VersionError as error:
        return error
    return None


def apply(context: Context) -> tuple[list[Change], Plan]:
    """Put the definitions into effect; what has to be filled first is begun. Returns what changes, and the plan.

    All checks come first, then the topics, then Feast's registry, then the plan in one step: when something fails, what
    is computed and served stays as it was, and the same command can be given again.
    """
    with alone(context):
        current = present(context)
        wanted, versions = compiled(context)
        changes = difference.changes(current, wanted)
        lacking = forecast.lacking(context, {view.source_topic for view in wanted.views})
        plan = transition.begin(current, wanted, models.scoring(context), kept_until(context), lacking)
        topics = {name for view in plan.computed for name in (view.source_topic, view.edits_topic)}
        kafka.ensure_topics(context, {name: {} for name in topics})
        feast_command.apply(context)
        versions.save()
        if plan != current:
            forget(context, current, plan)
            plans.write(plan, context.layout.plan_file)
    return changes, plan


def rollback(context: Context, name: str | None) -> tuple[Plan, Plan]:
    """Go back to former versions. Returns the plan before and after. Raises VersionError, PartError."""
    with alone(context):
        before = present(context)
        after = transition.rollback(before, name, kept_until(context))
        _check_up_to_date(context, before, after)
        forget(context, before, after)
        plans.write(after, context.layout.plan_file)
    return before, after


def _check_up_to_date(context: Context, before: Plan, after: Plan) -> None:
    """Raises VersionError when a former version is behind the one it is to replace."""
    served = by_name(before.views)
    back = [view for view in after.views if view.name in served and key(served[view.name]) != key(view)]
    try:
        with redis.connect(context, users.ADMINISTRATOR) as store:
            for view in back:
                at = reached_positions.read(store, context.names, [served[view.name]])[view.name]
                if at is not None and not reached_positions.wait(
                    store, context.names, [view], at.position, _CATCH_UP_MS
                ):
                    raise VersionError(
                        "versions.behind",
                        f"{key(view)} does not reach position {at.position}, as {key(served[view.name])} has",
                        hint="appliance features list; appliance logs flink-jobs",
                    )
    except RedisError as error:
        raise PartError("redis.down", f"Redis does not answer: {error}", hint="appliance up redis") from error
