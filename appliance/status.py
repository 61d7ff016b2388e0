"""What ``appliance status`` says of each part."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from appliance import lifecycle
from appliance.parts.base import Context, Part
from appliance.processes import memory_mib
from appliance.supervisor import ProcessState, Supervisor


@dataclass(frozen=True)
class PartStatus:
    """state: ready, not ready (it runs, but a real read or write fails), or supervisord's word in lower case.

    pid, port: 0 if none. ready_since: Unix time, s, 0 if not ready. rss_mib, pss_mib: with all its children.
    detail: why it is not ready.
    """

    name: str
    state: str
    pid: int
    port: int
    ready_since: int
    rss_mib: float
    pss_mib: float
    detail: str

    @property
    def ready(self) -> bool:
        return self.state == "ready"

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"ready": self.ready}


def of_parts(context: Context, parts: Mapping[str, Part], timeout_seconds: float) -> list[PartStatus]:
    """Ask every running part, all at once, to do a real read or write."""
    states = Supervisor(context).states()
    alive = {name: part for name, part in parts.items() if name in states and states[name].pid}
    reasons = lifecycle.asked(context, alive, timeout_seconds)
    return [_one(context, part, states.get(name), reasons.get(name)) for name, part in parts.items()]


def _one(context: Context, part: Part, process: ProcessState | None, reason: str | None) -> PartStatus:
    listens = getattr(part, "listens", None)
    port = context.port(listens) if listens is not None else 0
    if process is None or reason is None:
        state = process.state.lower() if process else "stopped"
        return PartStatus(part.name, state, 0, port, 0, 0.0, 0.0, process.description if process else "never started")
    rss, pss = memory_mib(process.pid)
    if reason:
        return PartStatus(part.name, "not ready", process.pid, port, 0, rss, pss, reason)
    since = lifecycle.note_ready(context, part.name, process.pid).at
    return PartStatus(part.name, "ready", process.pid, port, since, rss, pss, "")


def all_ready(statuses: list[PartStatus]) -> bool:
    return all(status.ready for status in statuses)


def table(statuses: list[PartStatus]) -> str:
    """For a person to read: one line a part, the reason below the ones that are not ready, the sum at the end."""
    lines = [f"{'part':<18} {'state':<10} {'pid':>7} {'port':>6} {'memory':>9}  ready since"]
    for status in statuses:
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(status.ready_since)) if status.ready_since else "-"
        numbers = f"{status.pid or '-':>7} {status.port or '-':>6} {status.pss_mib:>5.0f} MiB"
        lines.append(f"{status.name:<18} {status.state:<10} {numbers}  {since}")
        if status.detail:
            lines.append(f"{'':<18} └ {status.detail}")
    bad = sum(not status.ready for status in statuses)
    verdict = "all parts are ready" if not bad else f"{bad} of {len(statuses)} parts are not ready"
    lines.append(f"{verdict}; {sum(status.pss_mib for status in statuses):.0f} MiB of memory in all")
    return "\n".join(lines) + "\n"
