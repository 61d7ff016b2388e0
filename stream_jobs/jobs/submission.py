"""Runs the submitter in Flink's environment."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from appliance.parts import flink
from appliance.parts.base import Context
from appliance.ports import Port
from stream_jobs.errors import FlinkJobError
from stream_jobs.jobs.wanted import Job

_CLIENT_HEAP_MIB = 256
_TIMEOUT_SECONDS = 240


def submit(context: Context, jobs: Sequence[tuple[Job, Path | None]]) -> dict[str, str]:
    """Submit jobs one after the other, each from a checkpoint or from the topic's start. Returns name → job id.

    Raises FlinkJobError with what Flink said.
    """
    requests = [
        {"name": job.name, "sql": job.view.sql, "options": _options(context, job, restore)} for job, restore in jobs
    ]
    try:
        with tempfile.TemporaryDirectory(prefix="flink-client-") as folder:
            done = _run(context, Path(folder), json.dumps(requests))
    except subprocess.TimeoutExpired as error:
        raise FlinkJobError(
            "flink.submit_timeout", f"submitting {[job.name for job, _ in jobs]} took more than {_TIMEOUT_SECONDS} s",
            hint="appliance logs flink-jobmanager",
        ) from error  # fmt: skip
    if done.returncode:
        raise FlinkJobError(
            "flink.submit",
            f"Flink refused {[job.name for job, _ in jobs]}: {_cause(done.stderr)}",
            context={"stderr": done.stderr[-4000:]},
            hint="appliance logs flink-jobmanager",
        )
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {answer["name"]: answer["job"] for answer in answers}


def _run(context: Context, folder: Path, requests: str) -> subprocess.CompletedProcess[str]:
    flink.write_configuration(folder, {"env.java.opts.all": flink.opened()})
    environment = os.environ | flink.client_environment(context, folder)
    environment |= {"PYTHONPATH": str(context.layout.code), "JVM_ARGS": f"-Xmx{_CLIENT_HEAP_MIB}m"}
    return subprocess.run(
        [context.python("streaming"), "-m", "stream_jobs.flink.submit"],
        input=requests,
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )


def _options(context: Context, job: Job, restore: Path | None) -> dict[str, str]:
    options = {
        "execution.target": "remote",
        "rest.address": "127.0.0.1",
        "rest.port": str(context.port(Port.FLINK_REST)),
        "pipeline.name": job.name,
        "parallelism.default": str(context.settings.flink.parallelism),
        "pipeline.object-reuse": "true",
        "table.local-time-zone": "UTC",
        "execution.checkpointing.interval": f"{context.settings.flink.checkpoint_interval_ms} ms",
        "execution.checkpointing.dir": job.checkpoints.as_uri(),
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
    }
    if restore is not None:
        options |= {"execution.state-recovery.path": restore.as_uri(), "execution.state-recovery.claim-mode": "CLAIM"}
    return options


def _cause(stderr: str) -> str:
    """The last ``Caused by`` of a Java trace, else the last line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    causes = [line for line in lines if line.startswith("Caused by")]
    return (causes or lines or ["it said nothing"])[-1][:1000]
