"""Who asks: an app (id and token on every call) or a person at the console (session cookie, reading only)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from litestar.connection import ASGIConnection
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult

from gateway.apps import App, Apps
from gateway.console.sessions import COOKIE, Session, Sessions
from gateway.errors import ForbiddenError, UnauthorizedError

_READING = ("GET", "HEAD", "OPTIONS")
SCHEME = "bearer "


@dataclass(frozen=True)
class Caller:
    """app: None for a person at the console."""

    name: str
    app: App | None = None
    session: Session | None = None

    def may_use(self, service: str) -> None:
        """Raises ForbiddenError when the caller may not use the service."""
        if self.app is not None:
            self.app.may_use(service)

    def services(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """Those of the services that the caller may use."""
        allowed = self.app.services if self.app is not None else None
        return tuple(name for name in wanted if allowed is None or name in allowed)

    def as_app(self) -> App:
        """The app. Raises ForbiddenError for a person at the console."""
        if self.app is None:
            raise ForbiddenError(
                "access.app_only", "this call needs an app id and a token", hint="appliance app create NAME"
            )
        return self.app


class Authentication(AbstractAuthenticationMiddleware):
    """Lets a request through only when it says who asks. Takes ``apps`` and ``sessions`` from the app's state."""

    async def authenticate_request(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AuthenticationResult:
        apps: Apps = connection.app.state.apps
        sessions: Sessions = connection.app.state.sessions
        app_id = connection.headers.get("x-app-id")
        authorization = connection.headers.get("authorization", "")
        if app_id is not None or authorization:
            token = authorization[len(SCHEME) :] if authorization.lower().startswith(SCHEME) else ""
            if apps.remembered(app_id or ""):
                app = apps.authenticate(app_id or "", token)
            else:
                app = await asyncio.to_thread(apps.authenticate, app_id or "", token)
            return AuthenticationResult(user=Caller(app.id, app=app), auth="app")
        cookie = connection.cookies.get(COOKIE)
        if cookie and connection.scope.get("method") in _READING:
            session = await asyncio.to_thread(sessions.find, cookie)
            if session is not None:
                return AuthenticationResult(user=Caller(session.user, session=session), auth="session")
        raise UnauthorizedError
