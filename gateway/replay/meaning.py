"""What a prediction's definition hash stood for, and whether what was kept still is what the hash says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stream_jobs import plan as plans
from stream_jobs.compiler.definition import service_hash
from stream_jobs.plan import Plan, Service, View


@dataclass(frozen=True)
class Meaning:
    """plan: the service alone, with its views and their tables. hash: of the service as it was kept."""

    plan: Plan
    hash: str

    @property
    def service(self) -> Service:
        return self.plan.services[0]

    @property
    def views(self) -> tuple[View, ...]:
        return self.plan.views


def find(plan_file: Path, plan: Plan, service: str, definition_hash: str) -> Meaning | None:
    """The definition that a prediction names: as it was kept, else from the present plan. None if neither has it."""
    known = plans.definition(plan_file, definition_hash)
    found = known.plan if known is not None and known.plan is not None else None
    if found is None:
        found = _of_plan(plan, service, definition_hash)
    if found is None:
        return None
    views = {view.name: view for view in found.views}
    return Meaning(found, service_hash(found.services[0], views))


def _of_plan(plan: Plan, name: str, definition_hash: str) -> Plan | None:
    """From what is served, or kept for a way back."""
    for service in (*plan.services, *plan.former_services):
        for views in (plan.views, (*plan.former, *plan.views)):
            by_name = {view.name: view for view in reversed(views)}
            if service.name != name or any(view not in by_name for view in service.views):
                continue
            if service_hash(service, by_name) == definition_hash:
                used = tuple(by_name[view] for view in service.views)
                return Plan(plan.scenario, plan.tables, used, (service,), plan.time_zone)
    return None
