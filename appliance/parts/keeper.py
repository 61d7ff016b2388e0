"""The keeper's part; what it does is in ``appliance/keeper.py``."""

from __future__ import annotations

from appliance.parts.ours import OurProcess


class Keeper(OurProcess):
    """Runs as soon as it can say so in Redis."""

    name = "keeper"
    module = "appliance.keeper"
    needs = ("redis",)
