"""Score → decision, with the daily review capacity."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from appliance.records import Decision
from stream_jobs.plan import Policy

Explain = Callable[..., tuple[str, str]]
"""A policy's function: (row, feature → value, score) → kind of alert, a short text."""

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
        self._zone, self._redis = zone, redis
        self._claim = redis.register_script(_CLAIM)

    def claim(self, event_keys: Sequence[str], capacity: int, now_us: int) -> list[bool]:
        """Whether each event may be reviewed; an event that asked before gets its old answer.

        A new one takes a place of the appliance-clock day of ``now_us`` if fewer than ``capacity`` are taken.
        """
        if not event_keys:
            return []
        keys = [f"{self._prefix}:day:{day(now_us, self._zone)}", *map(self._event, event_keys)]
        return [bool(answer) for answer in self._claim(keys=keys, args=[capacity, REMEMBERED_SECONDS])]

    def remembered(self, event_keys: Sequence[str]) -> list[bool | None]:
        """What each event was answered; None for one that never asked, or is no longer remembered. Takes no place."""
        answers = self._redis.mget([self._event(key) for key in event_keys]) if event_keys else []
        return [None if answer is None else answer == b"1" for answer in answers]

    def _event(self, event_key: str) -> str:
        return f"{self._prefix}:event:{event_key}"


def decide(
    policy: Policy, scores: Sequence[float], event_keys: Sequence[str], capacity: ReviewCapacity, now_us: int
) -> list[Decided]:
    """A decision for each score: decline ≥ policy.decline, review ≥ policy.review while there is capacity."""
    reviewable = [i for i, score in enumerate(scores) if policy.review <= score < policy.decline]
    answers = capacity.claim([event_keys[i] for i in reviewable], policy.daily_review_capacity, now_us)
    granted = dict(zip(reviewable, answers, strict=True))
    return [decided(policy, score, granted.get(i)) for i, score in enumerate(scores)]


def uncounted(policy: Policy, scores: Sequence[float]) -> list[Decided]:
    """A decision for each score that takes no place of the day's reviews: for rows that nobody waits for."""
    return [decided(policy, score, True if policy.review <= score < policy.decline else None) for score in scores]


def explained(
    policy: Policy, explain: Explain, row: Mapping[str, Any], features: Mapping[str, Any], score: float
) -> tuple[str, str]:
    """The kind of alert and a short text; a row that the policy cannot explain is scored all the same."""
    try:
        return explain(row, features, score)
    except (TypeError, ValueError, ArithmeticError, LookupError) as error:
        return "unexplained", f"{policy.explain} failed: {type(error).__name__}: {error}"


def decided(policy: Policy, score: float, granted: bool | None) -> Decided:
    """The decision once it is known whether the event has a place for a review; None where it needs none."""
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
