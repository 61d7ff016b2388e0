"""When a call is sent again, and how long is waited before: exponential with jitter, or as the API asks."""

from __future__ import annotations

from dataclasses import dataclass

from tenacity import RetryCallState, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from gateway.client.errors import ApiError, UnreachableError

_PASSING = (429, 502, 503, 504)


@dataclass(frozen=True)
class Retries:
    """attempts: in all, 1 means never again. first_wait_s, longest_wait_s: bounds of the wait between two."""

    attempts: int = 4
    first_wait_s: float = 0.1
    longest_wait_s: float = 5.0

    @property
    def again(self) -> retry_if_exception:
        return retry_if_exception(passing)

    @property
    def stop(self) -> stop_after_attempt:
        return stop_after_attempt(self.attempts)

    def wait(self, state: RetryCallState) -> float:
        """Seconds. The API's Retry-After counts where it is longer, but never beyond ``longest_wait_s``."""
        drawn = wait_exponential_jitter(self.first_wait_s, self.longest_wait_s, jitter=self.first_wait_s)(state)
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after_s or 0.0 if isinstance(error, ApiError) else 0.0
        return min(max(drawn, asked), self.longest_wait_s)


def passing(error: BaseException) -> bool:
    """Whether the same call may be answered later: nobody answered, or a part was away, or too much was asked."""
    return isinstance(error, UnreachableError) or (isinstance(error, ApiError) and error.status in _PASSING)
