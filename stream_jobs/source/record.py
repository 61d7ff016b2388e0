"""What is known of a registered source: ``data/sources/<name>.json``. No secret stands in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlsplit

import msgspec

from appliance.errors import UsageError
from appliance.parts.base import Context
from stream_jobs.errors import SourceError

Kind = Literal["postgresql", "mysql", "mariadb"]
ROLE = "appliance_cdc"
SCHEMA = "appliance_cdc"
_SCHEMES: dict[str, Kind] = {
    "postgresql": "postgresql", "postgres": "postgresql", "mysql": "mysql", "mariadb": "mariadb",
}  # fmt: skip
_PORTS: dict[str, int] = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
_IDENTITY = Literal["DEFAULT", "FULL", "NOTHING", "INDEX"]


class Address(msgspec.Struct, frozen=True):
    """Where a database is. user: the role the connector logs in with. ssl_mode: as its own clients say it."""

    kind: Kind
    host: str
    port: int
    database: str
    user: str = ROLE
    ssl_mode: str = ""

    def __str__(self) -> str:
        return f"{self.kind}://{self.host}:{self.port}/{self.database}"


class Table(msgspec.Struct, frozen=True):
    """full_identity: its old values matter. former_identity: its replica identity before us."""

    name: str
    full_identity: bool
    former_identity: _IDENTITY = "DEFAULT"


class Source(msgspec.Struct, frozen=True):
    """sample: it is the sample business database, whose administrator we are."""

    name: str
    address: Address
    tables: tuple[Table, ...]
    sample: bool = False

    @property
    def secret(self) -> str:
        """Name of the secret with the role's password."""
        return f"source.{self.name}.password"

    @property
    def publication(self) -> str:
        """Name of the publication and of the slot in the database."""
        return f"appliance_{self.name}"


def parse_address(url: str) -> Address:
    """The address in a URL. Raises UsageError when it holds a password or cannot be understood."""
    parts = urlsplit(url)
    kind = _SCHEMES.get(parts.scheme)
    if parts.password is not None:
        raise UsageError(
            "source.password_in_url", "the address holds a password, which everybody on this machine could read",
            hint="leave it out; the appliance makes one and prints its hash, or give a file with --password-file",
        )  # fmt: skip
    database = parts.path.strip("/")
    try:
        port = parts.port
    except ValueError as error:
        raise UsageError("source.address", f"{url!r}: {error}") from error
    if kind is None or not parts.hostname or not database:
        raise UsageError(
            "source.address", f"{url!r} is no address of a database",
            hint="postgresql://HOST:PORT/DATABASE, mysql://… or mariadb://…",
        )  # fmt: skip
    ssl_mode = parse_qs(parts.query).get("sslmode", [""])[0]
    return Address(kind, parts.hostname, port or _PORTS[kind], database, parts.username or ROLE, ssl_mode)


def check_name(name: str) -> str:
    """Raises UsageError when ``name`` cannot be part of the names of topics and slots."""
    if not _NAME.fullmatch(name):
        raise UsageError("source.name", f"{name!r} is no name for a source: expected {_NAME.pattern}")
    return name


def folder(context: Context) -> Path:
    return context.data("sources")


def write(context: Context, source: Source) -> None:
    path = folder(context) / f"{source.name}.json"
    temporary = path.with_suffix(".new")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(source), indent=1))
    temporary.rename(path)


def read(context: Context, name: str) -> Source | None:
    """None when no source has that name."""
    path = folder(context) / f"{check_name(name)}.json"
    return msgspec.json.decode(path.read_bytes(), type=Source) if path.exists() else None


def registered(context: Context, name: str) -> Source:
    """Raises SourceError when no source has that name."""
    source = read(context, name)
    if source is None:
        raise SourceError(
            "source.unknown", f"no source {name!r}; there are {[each.name for each in everyone(context)]}",
            hint="appliance source add NAME --url …",
        )  # fmt: skip
    return source


def everyone(context: Context) -> list[Source]:
    return [msgspec.json.decode(path.read_bytes(), type=Source) for path in sorted(folder(context).glob("*.json"))]


def forget(context: Context, name: str) -> None:
    (folder(context) / f"{name}.json").unlink(missing_ok=True)
