"""Apps that may change which models serve. Everybody else may only ask and be answered."""

from __future__ import annotations

import getpass

from appliance import audit
from appliance.parts.base import Context
from gateway import database
from gateway.errors import ForbiddenError


def add(context: Context, app_id: str) -> None:
    """Let an app change which models serve."""
    tenant = context.installation.tenant
    with database.connect(context) as connection:
        connection.execute(
            "insert into gateway.managers (tenant, app) values (%s, %s) on conflict do nothing", (tenant, app_id)
        )
        audit.record(connection, tenant, getpass.getuser(), "app.manage_models", app_id)


def check(context: Context, app_id: str) -> None:
    """Raises ForbiddenError for an app that may not."""
    with database.connect(context) as connection:
        found = connection.execute(
            "select 1 from gateway.managers where tenant = %s and app = %s", (context.installation.tenant, app_id)
        ).fetchone()
    if found is None:
        raise ForbiddenError(
            "access.models", f"app {app_id} may not change models", context={"app": app_id},
            hint="appliance app create NAME --manage-models",
        )  # fmt: skip
