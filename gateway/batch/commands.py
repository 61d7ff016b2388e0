"""``appliance score SERVICE --from TABLE|FILE.parquet --to NAME``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from appliance import context as contexts
from appliance import users
from appliance.clients import redis as redis_clients
from appliance.clients.triton import TritonClient
from appliance.clock import Clock, wall_us
from appliance.errors import UsageError
from appliance.parts.base import Context
from gateway.batch import features, intake, job, pace, results
from gateway.batch.deliver import delivery
from gateway.batch.job import Asked, Job, Summary
from gateway.batch.rows import Row
from gateway.batch.run import Progress, Tools, run
from gateway.errors import BatchError
from gateway.scoring.plain import load
from stream_jobs import plan as plans
from stream_jobs.feature_store import feature_store
from stream_jobs.lake import state_at
from stream_jobs.plan import Plan, Service
from stream_jobs.writeback import record

_CHUNK_ROWS = 50_000


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    verb = subparsers.add_parser("score", help="score a whole table or Parquet file, at low priority, into the lake")
    verb.add_argument("service", metavar="SERVICE")
    verb.add_argument(
        "--from",
        dest="source",
        required=True,
        metavar="TABLE|FILE",
        help="a captured table (schema.table) or *.parquet",
    )
    verb.add_argument("--to", dest="name", required=True, metavar="NAME", help="name of the result: scores/NAME")
    verb.add_argument(
        "--as-of", default=state_at.LATEST, metavar="WHEN",
        help="rows and features as they were known then: a time, a position, or latest (the default)",
    )  # fmt: skip
    verb.add_argument(
        "--where", default="", metavar="SQL", help="only rows that satisfy this condition, in DuckDB's SQL"
    )
    verb.add_argument("--time-zone", default="", metavar="ZONE", help="of a file's times that name none")
    verb.add_argument(
        "--chunk-rows", type=int, default=_CHUNK_ROWS, metavar="N",
        help=f"rows held in memory at a time, and in one commit ({_CHUNK_ROWS:,})",
    )  # fmt: skip
    verb.add_argument(
        "--write-back", action="store_true", help="also into the table of `appliance writeback add SERVICE`"
    )
    verb.add_argument("--json", action="store_true", help="answer as JSON")
    verb.set_defaults(run=_score)


def _score(arguments: argparse.Namespace) -> int:
    pace.lowest_priority()
    context = contexts.current()
    plan = plans.read(context.layout.plan_file)
    service = plan.service(arguments.service)
    if arguments.chunk_rows < 1:
        raise UsageError("batch.chunk_rows", f"--chunk-rows {arguments.chunk_rows}: expected 1 or more")
    if arguments.write_back:
        record.registered(context, service.name)
    asked = _asked(plan, service, arguments)
    place = job.folder(context, arguments.name)
    with job.held(place):
        what = job.read(place)
        if what is None:
            _tell(arguments, f"reading {asked.source}")
            what = _begin(context, plan, service, arguments.name, asked, arguments.chunk_rows)
        job.check_same(what, asked)
        tables = (results.scores(context, service, what.name), results.rejects(context, what.name))
        if what.summary is None:
            found = _run(context, plan, service, what, tables, arguments)
            what = msgspec.structs.replace(what, summary=found)
            job.write(place, what)
            job.input_file(place).unlink(missing_ok=True)
    _print(arguments, context, what)
    return 0


def _asked(plan: Plan, service: Service, arguments: argparse.Namespace) -> Asked:
    """The inputs, with the source by its one name. Raises UsageError when it is not there."""
    source, content = arguments.source, ""
    if intake.is_file(source):
        path = Path(source).absolute()
        try:
            source, content = str(path), job.sha256(path)
        except OSError as error:
            raise UsageError(
                "batch.file", f"{path}: {error.strerror}", hint="name a file that the appliance's user may read"
            ) from error
    else:
        source = intake.table(plan, service, source).table
    return Asked(
        service.name, source, content, arguments.as_of, arguments.where, arguments.time_zone, arguments.write_back
    )


def _begin(context: Context, plan: Plan, service: Service, name: str, asked: Asked, chunk_rows: int) -> Job:
    """Fix the cut, the time and the rows."""
    features.check_versions(plan, service)
    position = intake.cut(context, plan, service, asked.source, asked.as_of)
    with redis_clients.connect(context, users.ADMINISTRATOR) as store:
        clock = Clock(store, context.names.redis_clock()).now_us()
    place = job.folder(context, name)
    rows = intake.stage(
        context, plan, service, asked.source, position, asked.where, asked.time_zone, job.input_file(place)
    )
    what = Job(name, asked, rows, chunk_rows, position, clock, wall_us(), service.definition_hash)
    job.write(place, what)
    return what


def _run(
    context: Context,
    plan: Plan,
    service: Service,
    what: Job,
    tables: tuple[results.Table, results.Table],
    arguments: argparse.Namespace,
) -> Summary:
    features.check_versions(plan, service)
    if what.definition_hash != service.definition_hash:
        raise BatchError(
            "batch.definition_changed",
            f"{service.name} has been given other features since {what.name} was begun",
            hint="score again under another name",
        )
    store = feature_store(context)
    in_hand = what.asked.source != service.event_table

    def historical(rows: Sequence[Row]) -> pa.Table:
        return features.historical(store, plan, service, rows, in_hand)

    with TritonClient.of(context) as model:

        def infer(inputs: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float32], str]:
            return model.infer(service.model, inputs)

        def tell(progress: Progress) -> None:
            rate = progress.done / max(progress.seconds, 1e-3)
            _tell(
                arguments,
                f"{progress.done:,} of {progress.rows:,} rows, {progress.rejected:,} rejected, {rate:,.0f} rows/s",
            )

        with delivery(context, service) if what.asked.write_back else nullcontext() as deliver:
            tools = Tools(historical, infer, load(service.policy.explain), pace.Pace(), deliver)
            place = job.folder(context, what.name)
            return run(context.installation.tenant, plan, service, place, what, tables, tools, tell)


def _tell(arguments: argparse.Namespace, text: str) -> None:
    if not arguments.json:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def _print(arguments: argparse.Namespace, context: Context, what: Job) -> None:
    found = what.summary or Summary()
    scores, rejects = (
        context.layout.lake / name
        for name in (context.names.lake_scores(what.name), context.names.lake_rejects(what.name))
    )
    answer: dict[str, Any] = {
        "name": what.name,
        "rows": what.rows,
        "position": what.position,
        "scores": str(scores),
        "rejects": str(rejects),
        **msgspec.to_builtins(found),
    }
    lines = [
        f"{what.name}: {what.rows:,} rows of {what.asked.source} at position {what.position}",
        f"  scored    {found.scored:>12,}  {scores}",
        *(f"    {decision:<10}{count:>10,}" for decision, count in found.decisions.items()),
        f"  model     {what.asked.service} " + ", ".join(f"v{v}: {n:,} rows" for v, n in found.versions.items()),
        f"  rejected  {found.rejected:>12,}  {rejects}",
        *(f"    {code:<20}{count:>10,}" for code, count in found.reasons.items()),
    ]
    sys.stdout.write((json.dumps(answer) if arguments.json else "\n".join(lines)) + "\n")
