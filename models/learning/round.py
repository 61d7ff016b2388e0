"""``python -m models.learning.round``: one round of every service that has a champion; a JSON line for each finding.

A process of its own, so that what the lake's rows take of memory goes back.
"""

from __future__ import annotations

import sys

import msgspec

from appliance import context as contexts
from appliance.errors import ApplianceError
from models.learning import live
from models.registry import Registry
from stream_jobs import plan as plans


def main() -> int:
    """Exit status 1 if a service's round failed."""
    context = contexts.current()
    plan = plans.read(context.layout.plan_file)
    registry = Registry.of(context)
    failed = False
    for service in plan.services:
        if registry.champion(service.model) is None:
            continue
        try:
            for done in live.run(context, plan, service):
                _tell(service.name, done.act, done.why)
        except ApplianceError as error:
            failed = True
            _tell(service.name, "failed", f"{error.code}: {error.message}")
    return int(failed)


def _tell(service: str, act: str, why: str) -> None:
    sys.stdout.write(msgspec.json.encode({"service": service, "act": act, "why": why}).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
