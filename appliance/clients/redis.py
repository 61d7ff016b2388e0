"""Connections to Redis."""

from __future__ import annotations

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from appliance.parts.base import Context
from appliance.ports import Port


def connect(context: Context, user: str, *, timeout_seconds: float = 5.0) -> redis.Redis:
    """A client that returns bytes, as ``user`` (a Kafka user's name, see docs/architecture.md); thread-safe."""
    return redis.Redis(
        host="127.0.0.1",
        port=context.port(Port.REDIS),
        username=user,
        password=context.secrets.get(f"redis.{user}"),
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 2),
        client_name=user,
    )
