"""Connections to Redis."""

from __future__ import annotations

from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from appliance.parts.base import Context
from appliance.ports import Port


def connect(context: Context, user: str, *, timeout_seconds: float = 5.0) -> redis.Redis:
    """A client that returns bytes, as ``user`` (a Kafka user's name, see docs/architecture.md); thread-safe."""
    return redis.Redis(**_options(context, user, timeout_seconds), retry=Retry(_backoff(), 2))


def connect_async(context: Context, user: str, *, timeout_seconds: float = 5.0) -> redis.asyncio.Redis:
    """As ``connect``, for the event loop in which it is first used."""
    return redis.asyncio.Redis(**_options(context, user, timeout_seconds), retry=AsyncRetry(_backoff(), 2))


def _backoff() -> ExponentialBackoff:
    return ExponentialBackoff(cap=0.5, base=0.05)


def _options(context: Context, user: str, timeout_seconds: float) -> dict[str, Any]:
    return {
        "host": "127.0.0.1",
        "port": context.port(Port.REDIS),
        "username": user,
        "password": context.secrets.get(f"redis.{user}"),
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": timeout_seconds,
        "client_name": user,
    }
