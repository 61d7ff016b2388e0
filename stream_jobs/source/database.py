"""What differs from one kind of business database to the other, behind one interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from appliance.parts.base import Context
from stream_jobs.plan import CapturedTable
from stream_jobs.source.binlog import Binlog
from stream_jobs.source.check import Check
from stream_jobs.source.postgres import Postgres
from stream_jobs.source.record import Address, Kind, Source
from stream_jobs.source.wal import Growth


class Database(Protocol):
    """Everything is asked as the connector's own role, so that what is found is what the connector will find."""

    def qualified(self, address: Address, table: str) -> str:
        """``schema.table`` of a table that may be named without its schema."""

    def inspect(
        self, context: Context, source: Source, declared: Sequence[CapturedTable]
    ) -> tuple[list[Check], list[Growth]]:
        """Every check, and the expected growth of the log. declared: its tables as the applied features have them.

        Raises SourceError when nobody lets us in.
        """

    def script(self, source: Source, password: str) -> str:
        """What the administrator runs, each line with what it touches, and how to take it back."""

    def undo_script(self, source: Source) -> str:
        """What takes everything back."""

    def topics(self, context: Context, source: Source) -> dict[str, dict[str, str]]:
        """Topics that this kind of connector needs for itself, with their settings."""

    def config(self, context: Context, source: Source, tables: list[str]) -> dict[str, str]:
        """This kind's part of the connector's configuration. tables: all to capture, ours included."""

    def base(self, context: Context, source: Source) -> int:
        """Base of the positions of a connector that is to begin now (``appliance.position``)."""

    def release(self, context: Context, source: Source) -> None:
        """Let go of what the connector holds in the database, after it is gone."""


_KINDS: dict[Kind, Database] = {"postgresql": Postgres(), "mariadb": Binlog(), "mysql": Binlog()}


def of(source: Source) -> Database:
    """The database of a source."""
    return _KINDS[source.address.kind]
