"""``python -m gateway.http``: the API and the console until it is told to stop."""

from __future__ import annotations

import ipaddress
import time

import uvicorn

from appliance import context as contexts
from appliance import logs
from appliance.errors import ApplianceError, SettingError
from appliance.parts.base import Context
from appliance.ports import Port
from gateway import database, quiet
from gateway.console import users
from gateway.http.app import USER, build
from gateway.http.gate import Gate
from gateway.http.lane import Lane
from gateway.http.protocol import gated, protocol

_STOP_SECONDS = 10


def address(context: Context) -> str:
    """Where to listen. Raises SettingError for what is no address of this machine's form."""
    wanted = context.settings.listen.address
    try:
        ipaddress.ip_address(wanted)
    except ValueError as error:
        raise SettingError(
            "listen.address", f"listen.address must be an IP address, got {wanted!r}", hint="127.0.0.1 is the default"
        ) from error
    return wanted


def main() -> None:
    log = logs.setup(USER)
    quiet.libraries()
    context = contexts.current()
    wait = 0.2
    while True:
        try:
            database.create_tables(context)
            users.ensure(context)
            break
        except ApplianceError as error:
            log.warning("waiting %.1f s: %s", wait, error.message, extra={"code": error.code})
            time.sleep(wait)
            wait = min(wait * 2, 5.0)
    host = address(context)
    if not ipaddress.ip_address(host).is_loopback:
        log.warning("listening on %s without TLS: put a proxy with TLS in front of it", host)
    gate = Gate(context.settings.scoring.queue_ms)
    app = build(context, gate)
    uvicorn.run(
        gated(app, gate),
        http=protocol(gate, Lane(app.state["predictor"], app.state["apps"])),
        host=host,
        port=context.port(Port.GATEWAY),
        workers=1,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_STOP_SECONDS,
        backlog=512,
        limit_concurrency=512,
    )


if __name__ == "__main__":
    main()
