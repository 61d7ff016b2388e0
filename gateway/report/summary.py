"""The figures of `appliance report`, each read from the part that holds the truth of it."""

from __future__ import annotations

import collections
import os
from pathlib import Path

import msgspec

from appliance.parts.base import Context
from appliance.ports import Port
from gateway.report.latency import Latency
from models.evaluation import Evaluation
from models.registry import Registry
from stream_jobs import plan as plans
from stream_jobs.lake import delta, reading


class ModelFigures(msgspec.Struct, frozen=True):
    """The champion, and how it did on later data that it had not seen."""

    model: str
    version: int
    device: str
    train_seconds: float
    later_data: Evaluation


class ServiceFigures(msgspec.Struct, frozen=True):
    """scored: ledger rows by way in. decisions: ledger rows by decision. model: None until one serves."""

    service: str
    scored: dict[str, int]
    decisions: dict[str, int]
    model: ModelFigures | None
    latency: Latency | None

    @property
    def alerted(self) -> int:
        return sum(count for decision, count in self.decisions.items() if decision != "approve")


class Report(msgspec.Struct, frozen=True):
    """captured: table → changes in the lake. command: how the `appliance` command is called here."""

    command: str
    console: str
    api_docs: str
    captured: dict[str, int]
    services: list[ServiceFigures]


def latency_file(context: Context, service: str) -> Path:
    """Where the last measurement of a service's latency is kept."""
    return context.data("report") / f"{service}.latency.json"


def _captured(context: Context, plan: plans.Plan) -> dict[str, int]:
    counts = {}
    with reading.connect(context.run("report") / "duckdb") as connection:
        for table in plan.tables:
            there = delta.exists(context.layout.lake / context.names.lake_changes(table.source, table.table))
            rows = reading.changes(context, connection, table).aggregate("count(*)").fetchall() if there else [(0,)]
            counts[f"{table.source}.{table.table}"] = int(rows[0][0])
    return counts


def _ledger(context: Context, service: str) -> tuple[dict[str, int], dict[str, int]]:
    ways: collections.Counter[str] = collections.Counter()
    decisions: collections.Counter[str] = collections.Counter()
    if delta.exists(context.layout.lake / context.names.lake_ledger(service)):
        with reading.connect(context.run("report") / "duckdb") as connection:
            rows = reading.ledger(context, connection, service).aggregate("way, decision, count(*)").fetchall()
        for way, decision, count in rows:
            ways[way] += count
            decisions[decision] += count
    return dict(ways), dict(decisions)


def _model(context: Context, model: str) -> ModelFigures | None:
    registry = Registry.of(context)
    champion = registry.champion(model)
    if champion is None:
        return None
    version = registry.get(model, champion.version)
    return ModelFigures(model, version.version, version.device, version.train_seconds, version.evaluation)


def _latency(context: Context, service: str) -> Latency | None:
    path = latency_file(context, service)
    return msgspec.json.decode(path.read_bytes(), type=Latency) if path.exists() else None


def gather(context: Context) -> Report:
    """Read every figure. Raises PartError when no plan has been applied yet."""
    plan = plans.read(context.layout.plan_file)
    address = f"http://{context.settings.listen.address}:{context.port(Port.GATEWAY)}"
    services = []
    for service in plan.services:
        scored, decisions = _ledger(context, service.name)
        model = _model(context, service.model)
        services.append(ServiceFigures(service.name, scored, decisions, model, _latency(context, service.name)))
    command = str(context.layout.bin / "appliance") if "APPLIANCE_HOME" in os.environ else "appliance"
    return Report(command, f"{address}/", f"{address}/v1/schema", _captured(context, plan), services)
