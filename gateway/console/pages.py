"""The console's pages: login, logout, one page, and the files they are made of."""

from __future__ import annotations

import asyncio
import hmac
import mimetypes
import secrets
from importlib.resources import files
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

from litestar import Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.params import Parameter
from litestar.response import Redirect

from appliance.parts.base import Context
from gateway.console import templates, users
from gateway.console.sessions import COOKIE, Session, Sessions
from gateway.errors import ForbiddenError, NotFoundError

_CSRF_COOKIE = "appliance_login"
_HTML = "text/html; charset=utf-8"
_STATIC = frozenset({"console.css", "console.js", "icon.svg"})
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
OPEN = {"exclude_from_auth": True}
_MOST_FORM_BYTES = 8_192


class Console:
    """Logs people in and out."""

    def __init__(self, context: Context, sessions: Sessions) -> None:
        self._context, self.sessions = context, sessions
        self._hours = context.settings.console.session_hours

    def session(self, request: Request[Any, Any, Any]) -> Session | None:
        token = request.cookies.get(COOKIE)
        return self.sessions.find(token) if token else None

    def log_in(self, name: str, password: str, who: str) -> str | None:
        """The session's token, or None when name or password is wrong. Raises TooManyError after many failures."""
        self.sessions.before_login(who)
        if not users.verify(self._context, name, password):
            self.sessions.failed(who)
            return None
        self.sessions.succeeded(who)
        return self.sessions.open(name)[0]

    def cookie(self, token: str, *, secure: bool) -> Cookie:
        """Secure only over HTTPS: on loopback without TLS a browser would not send it back."""
        return Cookie(
            key=COOKIE, value=token, path="/", httponly=True, samesite="strict", secure=secure,
            max_age=self._hours * 3600,
        )  # fmt: skip


def page(content: bytes, status: int = 200, cookies: list[Cookie] | None = None) -> Response[bytes]:
    """A page with the headers that keep it in the appliance."""
    return Response(content, status_code=status, media_type=_HTML, headers=HEADERS, cookies=cookies or [])


def _login_page(message: str = "", status: int = 200, *, secure: bool = False) -> Response[bytes]:
    token = secrets.token_urlsafe(24)
    cookie = Cookie(key=_CSRF_COOKIE, value=token, path="/login", httponly=True, samesite="strict", secure=secure)
    return page(templates.render("login.html", csrf=token, message=message), status, [cookie])


async def form_of(request: Request[Any, Any, Any]) -> dict[str, str]:
    """The fields of a form. Raises ForbiddenError when it was sent by another site's page."""
    origin = request.headers.get("origin")
    if origin not in (None, "null") and urlsplit(origin or "").netloc != request.headers.get("host"):
        raise ForbiddenError("access.other_site", "this form was sent by a page of another site")
    body = await request.body()
    fields = parse_qs(body[:_MOST_FORM_BYTES].decode(errors="replace"), keep_blank_values=True)
    return {name: values[0] for name, values in fields.items()}


@get("/login", include_in_schema=False, opt=OPEN)
async def login_page(request: Request[Any, Any, Any]) -> Response[bytes]:
    return _login_page(secure=request.url.scheme == "https")


@post("/login", include_in_schema=False, opt=OPEN)
async def login(request: Request[Any, Any, Any], console: Console) -> Response[Any]:
    form = await form_of(request)
    secure = request.url.scheme == "https"
    expected = request.cookies.get(_CSRF_COOKIE, "")
    if not expected or not hmac.compare_digest(expected.encode(), form.get("csrf", "").encode()):
        return _login_page("This form is too old. Please try again.", 403, secure=secure)
    who = request.client.host if request.client else "unknown"
    token = await asyncio.to_thread(console.log_in, form.get("name", ""), form.get("password", ""), who)
    if token is None:
        return _login_page("Name or password is wrong.", 401, secure=secure)
    return Redirect("/", status_code=303, cookies=[console.cookie(token, secure=secure)], headers=HEADERS)


@post("/logout", include_in_schema=False, opt=OPEN)
async def logout(request: Request[Any, Any, Any], console: Console) -> Response[Any]:
    form = await form_of(request)
    session = await asyncio.to_thread(console.session, request)
    if session is not None:
        if not hmac.compare_digest(session.csrf.encode(), form.get("csrf", "").encode()):
            raise ForbiddenError("access.csrf", "this form does not belong to the session")
        await asyncio.to_thread(console.sessions.close, request.cookies[COOKIE])
    gone = Cookie(key=COOKIE, value="", path="/", httponly=True, samesite="strict", max_age=0)
    return Redirect("/login", status_code=303, cookies=[gone], headers=HEADERS)


@get("/", include_in_schema=False, opt=OPEN)
async def home(request: Request[Any, Any, Any], console: Console) -> Response[Any]:
    session = await asyncio.to_thread(console.session, request)
    if session is None:
        return Redirect("/login", status_code=303, headers=HEADERS)
    return page(templates.render("console.html", user=session.user, csrf=session.csrf))


@get("/static/{name:str}", include_in_schema=False, opt=OPEN)
async def static(name: Annotated[str, Parameter(max_length=64)]) -> Response[bytes]:
    if name not in _STATIC:
        raise NotFoundError("static.unknown", f"there is no file {name!r}")
    content = files("gateway.console").joinpath("static", name).read_bytes()
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Response(content, media_type=media_type, headers=HEADERS | {"Cache-Control": "max-age=300"})


HANDLERS = [login_page, login, logout, home, static]
