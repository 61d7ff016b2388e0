"""The console's page of the learning loop, the acts on models that it offers, and what people say of alerts."""

from __future__ import annotations

import asyncio
import hmac
from typing import Any
from urllib.parse import quote

import msgspec
from litestar import Request, Response, get, post
from litestar.response import Redirect

from appliance.errors import ApplianceError
from appliance.parts.base import Context
from gateway import acts
from gateway.console import templates
from gateway.console.pages import HEADERS, OPEN, Console, form_of, page
from gateway.console.sessions import Session
from gateway.errors import ForbiddenError, UnauthorizedError
from gateway.feedback import Asked, FeedbackDesk, statements
from gateway.http.serving import Serving

_SAID = {"fraud": 1, "false alarm": 0, "take back": None}


async def _allowed(request: Request[Any, Any, Any], console: Console) -> tuple[Session, dict[str, str]]:
    """The session and the form's fields. Raises UnauthorizedError, or ForbiddenError for a form of no page of ours."""
    fields = await form_of(request)
    session = await asyncio.to_thread(console.session, request)
    if session is None:
        raise UnauthorizedError
    if not hmac.compare_digest(session.csrf.encode(), fields.get("csrf", "").encode()):
        raise ForbiddenError("access.csrf", "this form does not belong to the session")
    return session, fields


@get("/console/learning", include_in_schema=False, opt=OPEN)
async def learning_page(
    request: Request[Any, Any, Any], console: Console, appliance: Context, told: str = ""
) -> Response[Any]:
    session = await asyncio.to_thread(console.session, request)
    if session is None:
        return Redirect("/login", status_code=303, headers=HEADERS)
    models = await asyncio.to_thread(acts.every, appliance)
    return page(templates.render("learning.html", user=session.user, csrf=session.csrf, models=models, told=told[:500]))


@post("/console/learning", include_in_schema=False, opt=OPEN)
async def act(request: Request[Any, Any, Any], console: Console, appliance: Context, serving: Serving) -> Response[Any]:
    """One of the page's buttons; a refusal is told on the page."""
    session, fields = await _allowed(request, console)
    told = ""
    try:
        version = int(fields["version"]) if fields.get("version", "").isdigit() else None
        wish = msgspec.convert(
            {"act": fields.get("act", ""), "version": version, "why": fields.get("why", "")[:500]}, acts.Wish
        )
        who = f"console:{session.user}"
        await asyncio.to_thread(acts.do, appliance, fields.get("model", ""), wish, who, serving.now_us())
    except (ApplianceError, msgspec.ValidationError) as error:
        told = error.message if isinstance(error, ApplianceError) else str(error)
    return Redirect(f"/console/learning?told={quote(told)}", status_code=303, headers=HEADERS)


@post("/console/feedback", status_code=202, include_in_schema=False, opt=OPEN)
async def say(
    request: Request[Any, Any, Any], console: Console, serving: Serving, feedback_desk: FeedbackDesk
) -> dict[str, str]:
    """What a person says of an alert: fraud, false alarm, or nothing any more."""
    session, fields = await _allowed(request, console)
    service = fields.get("service", "")
    serving.scorer(service)
    item = {"event_key": fields.get("event_key", ""), "label": _SAID.get(fields.get("said", ""), "nothing")}
    (one,) = statements(Asked(service, [item]), "console", session.user, serving.now_us())
    await asyncio.to_thread(feedback_desk.take, [one])
    return {"feedback_id": one.feedback_id}


HANDLERS = [learning_page, act, say]
