"""Console sessions, held in Redis, and the brake on guessing passwords."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

import msgspec
import redis

from gateway.errors import PartDownError, TooManyError
from gateway.names import Keys

COOKIE = "appliance_session"
_FAILURES = 8
_FAILURE_SECONDS = 300


class Session(msgspec.Struct, frozen=True):
    """csrf: what a form of this session must send back."""

    user: str
    csrf: str


class Sessions:
    """store: a redis-py client that returns bytes. Raises PartDownError when Redis does not answer."""

    def __init__(self, store: Any, keys: Keys, hours: int) -> None:
        self._store, self._keys, self._seconds = store, keys, hours * 3600

    def _key(self, token: str) -> str:
        return self._keys.session(hashlib.sha256(token.encode()).hexdigest())

    def open(self, user: str) -> tuple[str, Session]:
        """A new session and the token for its cookie, which Redis does not hold."""
        token, session = secrets.token_urlsafe(32), Session(user, secrets.token_urlsafe(24))
        try:
            self._store.set(self._key(token), msgspec.json.encode(session), ex=self._seconds)
        except redis.RedisError as error:
            raise PartDownError("redis", error) from error
        return token, session

    def find(self, token: str) -> Session | None:
        try:
            raw = self._store.get(self._key(token))
        except redis.RedisError as error:
            raise PartDownError("redis", error) from error
        return msgspec.json.decode(raw, type=Session) if raw else None

    def close(self, token: str) -> None:
        try:
            self._store.delete(self._key(token))
        except redis.RedisError as error:
            raise PartDownError("redis", error) from error

    def before_login(self, who: str) -> None:
        """Raises TooManyError when ``who`` (an address) has failed ``_FAILURES`` times within 5 minutes."""
        try:
            failed = int(self._store.get(self._keys.login_failures(who)) or 0)
            left = self._store.ttl(self._keys.login_failures(who))
        except redis.RedisError as error:
            raise PartDownError("redis", error) from error
        if failed >= _FAILURES:
            seconds = max(int(left), 1)
            raise TooManyError(
                "access.too_many_failures",
                f"too many failed logins; try again in {seconds} s",
                context={"retry_after_s": seconds},
            )

    def failed(self, who: str) -> None:
        """Count a failed login."""
        key = self._keys.login_failures(who)
        try:
            pipe = self._store.pipeline()
            pipe.incr(key)
            pipe.expire(key, _FAILURE_SECONDS, nx=True)
            pipe.execute()
        except redis.RedisError as error:
            raise PartDownError("redis", error) from error

    def succeeded(self, who: str) -> None:
        """Forget failed logins."""
        try:
            self._store.delete(self._keys.login_failures(who))
        except redis.RedisError as error:
            raise PartDownError("redis", error) from error
