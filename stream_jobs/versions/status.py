"""Every version of every view: its state, the position it has reached and how old that is."""

from __future__ import annotations

from typing import Literal

import msgspec
from redis.exceptions import RedisError

from appliance import users
from appliance.clients import redis
from appliance.clock import wall_us
from appliance.errors import PartError
from appliance.parts.base import Context
from stream_jobs.online import reached as reached_positions
from stream_jobs.plan import Plan, View
from stream_jobs.versions.transition import key

State = Literal["serving", "coming", "former", "removing"]


class VersionStatus(msgspec.Struct, frozen=True):
    """reached: 32 hex digits, "" for nothing yet. age_ms: since the commit there. kept_until: µs, 0 for always."""

    view: str
    version: int
    state: State
    definition_hash: str
    reached: str
    age_ms: int | None
    kept_until: int


def versions(context: Context, plan: Plan) -> list[VersionStatus]:
    """By view and version. Raises PartError when Redis does not answer."""
    states: list[tuple[State, tuple[View, ...]]] = [
        ("serving", plan.views), ("coming", plan.coming), ("former", plan.former), ("removing", plan.dropped),
    ]  # fmt: skip
    found = []
    try:
        with redis.connect(context, users.ADMINISTRATOR) as store:
            for state, views in states:
                at = reached_positions.read(store, context.names, views)
                for view in views:
                    reached = at[view.name] if state != "removing" else None
                    found.append(
                        VersionStatus(
                            view=view.name,
                            version=view.version,
                            state=state,
                            definition_hash=view.definition_hash,
                            reached=reached.position if reached else "",
                            age_ms=max(0, wall_us() - reached.known_at) // 1000 if reached else None,
                            kept_until=plan.kept_until.get(key(view), 0) if state == "former" else 0,
                        )
                    )
    except RedisError as error:
        raise PartError("redis.down", f"Redis does not answer: {error}", hint="appliance up redis") from error
    return sorted(found, key=lambda one: (one.view, one.version))
