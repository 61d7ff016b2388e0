"""The plan file, changed by one process at a time: ``appliance features …`` or ``flink-jobs``."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from appliance.parts.base import Context
from stream_jobs.errors import VersionError


@contextmanager
def alone(context: Context) -> Iterator[None]:
    """Raises VersionError while another one is at it."""
    folder = context.layout.plan_file.parent
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise VersionError(
                "versions.busy", "another process is changing the plan", hint="try again in a minute"
            ) from error
        yield
