"""``GET /v1/standings`` and ``POST /v1/models/{model}/acts``."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from litestar import Request, get, post

from appliance.parts.base import Context
from gateway import acts, managers
from gateway.errors import MalformedError
from gateway.http.auth import Caller
from gateway.http.serving import Serving


@get("/v1/standings", summary="Which versions serve, which run in shadow", tags=["learning"])
async def get_standings(request: Request[Caller, Any, Any], appliance: Context) -> list[acts.ModelStanding]:
    """Of every model of the services that the caller may use: champion, challenger, former, and the last acts."""
    found = await asyncio.to_thread(acts.every, appliance)
    allowed = request.user.services(tuple(one.service for one in found))
    return [one for one in found if one.service in allowed]


@post("/v1/models/{model:str}/acts", status_code=200, summary="Change which version serves", tags=["learning"])
async def post_act(
    request: Request[Caller, Any, Any], serving: Serving, appliance: Context, model: str
) -> acts.ModelStanding:
    """`promote`, `rollback`, `challenge`, `drop_challenger`, `drop_former`, `freeze`, `unfreeze`, `offline`, `online`;
    for apps made with `--manage-models`. Every act is written down with who and why."""
    app = request.user.as_app()
    try:
        wish = msgspec.json.decode(await request.body(), type=acts.Wish)
    except msgspec.MsgspecError as error:
        raise MalformedError(
            "request.no_act", f"the body is no act: {error}", hint='send {"act": "promote", "version": 2, "why": "…"}'
        ) from error
    await asyncio.to_thread(managers.check, appliance, app.id)
    app.may_use((await asyncio.to_thread(acts.standing, appliance, model)).service)
    return await asyncio.to_thread(acts.do, appliance, model, wish, app.id, serving.now_us())
