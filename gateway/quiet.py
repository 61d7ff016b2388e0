"""Libraries that write a line for each call are silenced, so that our own lines can be found."""

from __future__ import annotations

import logging


def libraries() -> None:
    """To be called after ``appliance.logs.setup``."""
    for name in ("opensearch", "urllib3", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)
