"""``get_historical_features`` on our offline store beside Feast's own DuckDB store, in one run.

    python -m tests.bench.bench_historical --feast-python PYTHON [--data card_transactions.parquet]

PYTHON is one with ``feast[duckdb]`` of our version: that store needs ibis, which our environments do not have.
Needs no appliance. Makes a lake folder (``payments_lake``), computes all rows' 12 features with our store into a
parquet file block by block, gives Feast's store that file as features computed before, asks both for the same
``--questions`` random payments, and prints a Markdown table. Every measurement is a process of its own, both take
turns: wall time and CPU time of the call until the data frame is there, imports before; peak resident memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

VIEWS = {"customer_payments": "customer_id", "terminal_labels": "terminal_id"}


def make(folder: Path, data: Path | None, rows: int) -> None:
    """The lake, ``frame.parquet`` with all payments."""
    from tests.bench.payments_lake import make as make_lake

    pq.write_table(make_lake(folder, data, rows), folder / "frame.parquet")


def ours(folder: Path, questions: int) -> Callable[[], Any]:
    from feature_repo.card_fraud import features

    store = _store(folder, "ours", {"type": "stream_jobs.offline.store.ApplianceOfflineStore"})
    store.apply([features.customer, features.terminal, *_views(features), features.transactions])
    frame = _frame(folder, questions)
    return lambda: store.get_historical_features(frame, _references(features)).to_df()


def all_rows(folder: Path, questions: int) -> Callable[[], Any]:
    """Every payment, the result written as a file block by block."""
    from feast.infra.offline_stores.file_source import SavedDatasetFileStorage

    from feature_repo.card_fraud import features

    store = _store(folder, "ours", {"type": "stream_jobs.offline.store.ApplianceOfflineStore"})
    store.apply([features.customer, features.terminal, *_views(features), features.transactions])
    frame = pq.read_table(folder / "frame.parquet").to_pandas()

    def run() -> None:
        job = store.get_historical_features(frame, _references(features))
        job.persist(SavedDatasetFileStorage(str(folder / "features.parquet")), allow_overwrite=True)

    return run


def feasts(folder: Path, questions: int) -> Callable[[], Any]:
    """Feast's DuckDB store, a view of 6 columns for each key, computed before for every payment."""
    from feast import Entity, FeatureView, Field, FileSource, ValueType
    from feast.types import Float64, Int64

    store = _store(folder, "feast", {"type": "duckdb"})
    written = pq.read_schema(folder / "features.parquet")
    references = []
    for view, key in VIEWS.items():
        names = [name for name in written.names if name.startswith(key.removesuffix("id")) and name != key]
        path = folder / f"{view}.parquet"
        if not path.exists():
            pq.write_table(pq.read_table(folder / "features.parquet", columns=[key, "event_timestamp", *names]), path)
        types = {name: Float64 if pa.types.is_floating(written.field(name).type) else Int64 for name in names}
        entity = Entity(name=key, join_keys=[key], value_type=ValueType.INT64)
        made = FeatureView(
            name=view, entities=[entity], ttl=timedelta(days=400),
            schema=[Field(name=name, dtype=kind) for name, kind in types.items()],
            source=FileSource(path=str(path), timestamp_field="event_timestamp"),
        )  # fmt: skip
        store.apply([entity, made])
        references += [f"{view}:{name}" for name in names]
    frame = _frame(folder, questions).drop(columns="position")
    return lambda: store.get_historical_features(frame, references).to_df()


def _store(folder: Path, name: str, offline: dict[str, str]) -> Any:
    from feast import FeatureStore
    from feast.repo_config import RepoConfig

    config = RepoConfig(
        project=name, provider="local", registry=str(folder / f"{name}.db"), offline_store=offline,
        online_store={"type": "sqlite", "path": str(folder / f"{name}.online")}, entity_key_serialization_version=3,
    )  # fmt: skip
    return FeatureStore(config=config)


def _views(features: Any) -> list[Any]:
    return [getattr(features, name) for name in VIEWS]


def _references(features: Any) -> list[str]:
    return [f"{view.name}:{field.name}" for view in _views(features) for field in view.features]


def _frame(folder: Path, questions: int) -> Any:
    return pq.read_table(folder / "frame.parquet").to_pandas().sample(questions, random_state=1).reset_index(drop=True)


PARTS = {"ours": ours, "all": all_rows, "feast": feasts}


def measured(part: str, folder: Path, questions: int, python: Path) -> dict[str, float]:
    """Runs one part in a process of its own: seconds of wall and CPU time, peak resident MiB."""
    command = [str(python), "-m", "tests.bench.bench_historical", "--part", part, "--folder", str(folder)]
    said = subprocess.run(
        [*command, "--questions", str(questions)], check=True, capture_output=True, text=True,
        env=os.environ | {"APPLIANCE_HOME": str(folder), "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    figures: dict[str, float] = json.loads(said.stdout.splitlines()[-1])
    return figures


def run_part(part: str, folder: Path, questions: int) -> None:
    run = PARTS[part](folder, questions)
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"wall": wall, "cpu": cpu, "peak_mib": peak}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="card_transactions.parquet; without it payments are generated")
    parser.add_argument("--rows", type=int, default=1_750_000, help="payments at most")
    parser.add_argument("--questions", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--feast-python",
        type=Path,
        default=Path(sys.executable),
        help="a Python that has feast[duckdb], of the same version",
    )
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.part:
        run_part(arguments.part, arguments.folder, arguments.questions)
        return
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        os.environ["APPLIANCE_HOME"] = home
        make(folder, arguments.data, arguments.rows)
        pythons = {"ours": Path(sys.executable), "feast": arguments.feast_python}
        report(folder, arguments.questions, arguments.repeats, pythons)


def report(folder: Path, questions: int, repeats: int, pythons: dict[str, Path]) -> None:
    everything = measured("all", folder, questions, pythons["ours"])
    taken: dict[str, list[dict[str, float]]] = {part: [] for part in pythons}
    for _ in range(repeats):
        for part, figures in taken.items():
            figures.append(measured(part, folder, questions, pythons[part]))
    middle = {
        part: {name: statistics.median(each[name] for each in figures) for name in figures[0]}
        for part, figures in taken.items()
    }
    rows = pq.read_metadata(folder / "frame.parquet").num_rows
    print(f"12 features of {questions:,} of {rows:,} payments; median of {repeats} runs\n")
    print("| | wall s | CPU s | peak resident MiB |\n|---|---|---|---|")
    for name, figures in (
        ("ours, from the change tables", middle["ours"]),
        ("Feast's DuckDB store, features computed before", middle["feast"]),
        (f"ours, all {rows:,} payments into a file", everything),
    ):
        print(f"| {name} | {figures['wall']:.2f} | {figures['cpu']:.2f} | {figures['peak_mib']:.0f} |")
    ratio = {name: middle["feast"][name] / middle["ours"][name] for name in ("wall", "cpu", "peak_mib")}
    print(f"\nFeast ÷ ours: wall {ratio['wall']:.1f}, CPU {ratio['cpu']:.1f}, memory {ratio['peak_mib']:.1f}")


if __name__ == "__main__":
    main()
