"""The decision again, by the policy that was in force when the row was scored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from appliance.records import Prediction
from gateway.scoring import policy
from gateway.scoring.policy import Decided, ReviewCapacity
from stream_jobs import plan as plans
from stream_jobs.plan import PolicySince, Service

TAKEN_UP_US = 10_000_000
"""A process that was busy takes up a new plan within this time; both policies count meanwhile."""


def policies(plan_file: Path, service: Service) -> list[PolicySince]:
    """The policies of a service, the oldest first; the present one since the plan was written, if none were kept."""
    kept = plans.policies(plan_file, service.name)
    return kept or [PolicySince(plan_file.stat().st_mtime_ns // 1_000, service.policy)]


def in_force(known: Sequence[PolicySince], scored_at: int) -> list[plans.Policy]:
    """The policies that may have decided at a time, the most likely first; none if it was before all that is known."""
    before = [each for each in known if each.since <= scored_at]
    if not before:
        return []
    found = [before[-1].policy]
    if len(before) > 1 and scored_at - before[-1].since < TAKEN_UP_US:
        found.append(before[-2].policy)
    return found


def granted(capacity: ReviewCapacity, predictions: Sequence[Prediction]) -> list[bool | None]:
    """Whether each event had a place for a review, as Redis remembers it for 14 days; None where it no longer does.

    Places are state: how many were left when the row came cannot be computed again.
    """
    return capacity.remembered([each.event_key for each in predictions])


def decide(rules: plans.Policy, prediction: Prediction, place: bool | None) -> Decided:
    """By the score that was logged, once it is known to be right. Without a memory of the place, the ledger's word."""
    if not rules.review <= prediction.score < rules.decline:
        return policy.decided(rules, prediction.score, None)
    return policy.decided(rules, prediction.score, prediction.decision == "review" if place is None else place)
