"""Apps: who may call the API. An id, a token of which only the hash is kept, the services it may use, an end."""

from __future__ import annotations

import getpass
import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from appliance import audit
from appliance.errors import UsageError
from appliance.parts.base import Context
from gateway import database
from gateway.errors import ForbiddenError, PartDownError, UnauthorizedError

_NOBODY = bytes(32)
_ID_LENGTH = 64


LIMITS = ("requests_per_second", "rows_per_second", "concurrent_requests")


_LIMITS = ", ".join(LIMITS)


@dataclass(frozen=True)
class AppLimits:
    """What an app may ask for; None: as the settings ``limits.…`` say, 0: without limit."""

    requests_per_second: int | None = None
    rows_per_second: int | None = None
    concurrent_requests: int | None = None

    def __post_init__(self) -> None:
        for name in LIMITS:
            if (value := getattr(self, name)) is not None and value < 0:
                raise UsageError("app.limit", f"{name} must be at least 0 (no limit), got {value}")


@dataclass(frozen=True)
class App:
    """services: those it may use; None means every one. token_sha256: 32 bytes."""

    id: str
    name: str
    token_sha256: bytes
    services: tuple[str, ...] | None
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    limits: AppLimits = AppLimits()

    def may_use(self, service: str) -> None:
        """Raises ForbiddenError when the app may not use the service."""
        if self.services is not None and service not in self.services:
            raise ForbiddenError(
                "access.forbidden",
                f"app {self.id} may not use service {service!r}; it may use {list(self.services)}",
                context={"app": self.id, "service": service},
                hint=f"appliance app create NAME --services {service}",
            )


def _hash(token: str) -> bytes:
    """SHA-256 is enough: a token has 256 random bits, so it cannot be guessed from its hash."""
    return hashlib.sha256(token.encode()).digest()


def create(
    context: Context, name: str, services: list[str] | None, expires_days: int, limits: AppLimits | None = None
) -> tuple[App, str]:
    """Make an app. Returns it with its token, which cannot be read again."""
    if not name or len(name) > _ID_LENGTH:
        raise UsageError("app.name", f"an app's name has 1 to {_ID_LENGTH} characters, got {len(name)}")
    if expires_days < 1:
        raise UsageError("app.expires_days", f"expected at least 1 day, got {expires_days}")
    token = secrets.token_urlsafe(32)
    now = datetime.now(UTC)
    app = App(
        id=f"app-{secrets.token_hex(6)}",
        name=name,
        token_sha256=_hash(token),
        services=tuple(services) if services else None,
        created_at=now,
        expires_at=now + timedelta(days=expires_days),
        revoked_at=None,
        limits=limits or AppLimits(),
    )
    tenant = context.installation.tenant
    with database.connect(context) as connection:
        connection.execute(
            f"insert into gateway.apps (tenant, id, name, token_sha256, services, created_at, expires_at, {_LIMITS})"
            " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                tenant,
                app.id,
                app.name,
                app.token_sha256,
                list(app.services) if app.services is not None else None,
                app.created_at,
                app.expires_at,
                *(getattr(app.limits, name) for name in LIMITS),
            ),
        )
        audit.record(connection, tenant, getpass.getuser(), "app.create", app.id)
    return app, token


def _read(context: Context, where: str, values: tuple[str, ...]) -> list[App]:
    with database.connect(context) as connection:
        rows = connection.execute(
            f"select id, name, token_sha256, services, created_at, expires_at, revoked_at, {_LIMITS} from gateway.apps"
            f" where tenant = %s{where} order by created_at",
            (context.installation.tenant, *values),
        ).fetchall()
    return [
        App(
            id=row[0],
            name=row[1],
            token_sha256=bytes(row[2]),
            services=tuple(row[3]) if row[3] is not None else None,
            created_at=row[4],
            expires_at=row[5],
            revoked_at=row[6],
            limits=AppLimits(*row[7:]),
        )
        for row in rows
    ]


def every(context: Context) -> list[App]:
    """All apps, the oldest first, revoked and expired ones too."""
    return _read(context, "", ())


def find(context: Context, app_id: str) -> App | None:
    return next(iter(_read(context, " and id = %s", (app_id,))), None)


def revoke(context: Context, app_id: str) -> None:
    """End an app's access, at the latest ``Apps.fresh_seconds`` from now. Raises UsageError if there is none."""
    tenant = context.installation.tenant
    with database.connect(context) as connection:
        done = connection.execute(
            "update gateway.apps set revoked_at = coalesce(revoked_at, now()) where tenant = %s and id = %s",
            (tenant, app_id),
        )
        if done.rowcount == 0:
            raise _unknown(app_id)
        audit.record(connection, tenant, getpass.getuser(), "app.revoke", app_id)


def limit(context: Context, app_id: str, limits: AppLimits) -> None:
    """Give an app other limits, at the latest ``Apps.fresh_seconds`` from now. Raises UsageError if there is none."""
    tenant = context.installation.tenant
    values = tuple(getattr(limits, name) for name in LIMITS)
    with database.connect(context) as connection:
        done = connection.execute(
            f"update gateway.apps set ({_LIMITS}) = (%s, %s, %s) where tenant = %s and id = %s",
            (*values, tenant, app_id),
        )
        if done.rowcount == 0:
            raise _unknown(app_id)
        audit.record(connection, tenant, getpass.getuser(), "app.limit", app_id)


def _unknown(app_id: str) -> UsageError:
    return UsageError("app.unknown", f"there is no app {app_id!r}", hint="appliance app list")


class Apps:
    """Knows apps by id and token, and remembers rows for ``fresh_seconds``.

    When PostgreSQL does not answer, a row read at most ``stale_seconds`` ago still counts.
    """

    fresh_seconds = 5.0
    stale_seconds = 60.0
    _most = 1_000

    def __init__(self, context: Context) -> None:
        self._context = context
        self._known: dict[str, tuple[float, App | None]] = {}

    def _find(self, app_id: str) -> App | None:
        now = time.monotonic()
        at, app = self._known.get(app_id, (-self.stale_seconds, None))
        if now - at < self.fresh_seconds:
            return app
        try:
            found = find(self._context, app_id)
        except PartDownError:
            if now - at < self.stale_seconds:
                return app
            raise
        if len(self._known) >= self._most:
            self._known.clear()
        self._known[app_id] = (now, found)
        return found

    def remembered(self, app_id: str) -> bool:
        """Whether the next ``authenticate`` of this id answers without asking PostgreSQL."""
        return time.monotonic() - self._known.get(app_id, (-self.stale_seconds, None))[0] < self.fresh_seconds

    def authenticate(self, app_id: str, token: str) -> App:
        """The app, or UnauthorizedError that does not say which of id, token or end date is wrong."""
        app = self._find(app_id) if 0 < len(app_id) <= _ID_LENGTH and app_id.isascii() else None
        right = hmac.compare_digest(_hash(token), app.token_sha256 if app else _NOBODY)
        if app is None or not right or app.revoked_at is not None or app.expires_at <= datetime.now(UTC):
            raise UnauthorizedError
        return app
