"""Connections to HBase through its Thrift server, which mend themselves after a restart of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import happybase
from Hbase_thrift import AlreadyExists
from thriftpy2.thrift import TException
from thriftpy2.transport import TTransportException

from appliance.parts.base import Context
from appliance.ports import Port

FAILURES: tuple[type[Exception], ...] = (TException, OSError, EOFError)
"""What a call may raise while HBase or its Thrift server is down."""

_BROKEN = (TTransportException, OSError, EOFError)
_REPEATABLE_PREFIXES = ("get", "mutate", "delete", "scannerOpen", "is", "create", "enable", "disable")


class _MendingClient:
    """A Thrift client that opens its connection again and repeats a call that found it broken.

    Only calls that may be sent twice are repeated; a scan that was under way raises and must be begun again.
    """

    def __init__(self, connection: Connection, client: Any) -> None:
        self._connection, self._client = connection, client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self._client, name)

        def mended(*arguments: Any, **named: Any) -> Any:
            if not self._connection.transport.is_open():  # an earlier attempt to open it failed
                return getattr(self._connection.reopened(), name)(*arguments, **named)
            try:
                return call(*arguments, **named)
            except _BROKEN:
                self._connection.close()
                if not name.startswith(_REPEATABLE_PREFIXES):
                    raise
                return getattr(self._connection.reopened(), name)(*arguments, **named)

        return mended


class Connection(happybase.Connection):  # type: ignore[misc]
    """A happybase connection whose first call after a restart of the server succeeds. One thread at a time."""

    client: Any
    transport: Any

    def _refresh_thrift_client(self) -> None:
        super()._refresh_thrift_client()
        self.client = _MendingClient(self, self.client)

    def reopened(self) -> Any:
        """A plain client on a new connection, which ``client`` uses from now on."""
        self.close()
        super()._refresh_thrift_client()
        plain: Any = self.client
        self.client = _MendingClient(self, plain)
        self.open()
        return plain

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def connect(context: Context, timeout_ms: int = 30_000) -> Connection:
    """Open a connection. Raises one of ``FAILURES`` when the Thrift server does not answer."""
    return Connection(
        host="127.0.0.1", port=context.port(Port.HBASE_THRIFT), timeout=timeout_ms, transport="framed",
        protocol="compact",
    )  # fmt: skip


def create_table(connection: Connection, name: str, families: Mapping[str, Mapping[str, Any]]) -> bool:
    """Create table ``name`` (``namespace:table``) unless it is there; returns whether it was created.

    families: name → options of happybase's ``create_table``; ``max_versions`` is 3 unless given.
    """
    try:
        connection.create_table(name, {family: dict(options) for family, options in families.items()})
    except AlreadyExists:
        return False
    return True
