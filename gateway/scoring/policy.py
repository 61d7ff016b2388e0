"""Score → decision, with the daily review capacity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from appliance.records import Decision
from stream_jobs.plan import Policy

REMEMBERED_SECONDS = 14 * 24 * 3600
"""How long a granted or refused review is remembered for later ways and retries of the same event."""

_CLAIM = """
local granted = {}
for i = 2, #KEYS do
  local answer = redis.call('GET', KEYS[i])
  if not answer then
    local used = tonumber(redis.call('GET', KEYS[1]) or '0')
    answer = used < tonumber(ARGV[1]) and '1' or '0'
    if answer == '1' then
      redis.call('INCR', KEYS[1])
      redis.call('EXPIRE', KEYS[1], ARGV[2])
    end
    redis.call('SET', KEYS[i], answer, 'EX', ARGV[2])
  end
  granted[i - 1] = tonumber(answer)
end
return granted
"""


@dataclass(frozen=True)
class Decided:
    """A decision with its reason in plain words."""

    decision: Decision
    reason: str


def day(as_of_us: int, zone: ZoneInfo) -> str:
    """Calendar day of an appliance-clock time, ``YYYY-MM-DD`` in ``zone``."""
    return datetime.fromtimestamp(as_of_us / 1e6, zone).date().isoformat()


class ReviewCapacity:
    """The places for reviews of one service, counted once for each event in Redis."""

    def __init__(self, redis: Any, tenant: str, service: str, zone: ZoneInfo) -> None:
        self._prefix = f"{tenant}:review:{service}"
        self._zone = zone
        self._claim = redis.register_script(_CLAIM)

    def claim(self, event_keys: Sequence[str], capacity: int, now_us: int) -> list[bool]:
        """Whether each event may be reviewed; an event that asked before gets its old answer.

        A new one takes a place of the appliance-clock day of ``now_us`` if fewer than ``capacity`` are taken.
        """
        if not event_keys:
            return []
        keys = [f"{self._prefix}:day:{day(now_us, self._zone)}"]
        keys += [f"{self._prefix}:event:{event_key}" for event_key in event_keys]
        return [bool(answer) for answer in self._claim(keys=keys, args=[capacity, REMEMBERED_SECONDS])]


def decide(
    policy: Policy, scores: Sequence[float], event_keys: Sequence[str], capacity: ReviewCapacity, now_us: int
) -> list[Decided]:
    """A decision for each score: decline ≥ policy.decline, review ≥ policy.review while there is capacity."""
    reviewable = [i for i, score in enumerate(scores) if policy.review <= score < policy.decline]
    answers = capacity.claim([event_keys[i] for i in reviewable], policy.daily_review_capacity, now_us)
    granted = dict(zip(reviewable, answers, strict=True))
    return [_one(policy, score, granted.get(i)) for i, score in enumerate(scores)]


def _one(policy: Policy, score: float, granted: bool | None) -> Decided:
    if score >= policy.decline:
        return Decided("decline", f"score {score:.4f} ≥ {policy.decline:g} (decline)")
    if granted is None:
        return Decided("approve", f"score {score:.4f} < {policy.review:g} (review)")
    if granted:
        return Decided("review", f"score {score:.4f} ≥ {policy.review:g} (review)")
    return Decided(
        "approve",
        f"score {score:.4f} ≥ {policy.review:g} (review), "
        f"but the day's {policy.daily_review_capacity} reviews are used up",
    )
