"""Training sets from the public card payments, features from the lake as in ``appliance model train``.

Without an appliance: the change tables are written as the lake's writer would (``payments_lake``), events and labels
are read from them (``models.events``), features come from Feast's historical features over the same tables.
"""

from __future__ import annotations

import os
import warnings
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from appliance import context as contexts
from appliance.parts.base import Context
from models import events, features, frame, pipeline, split
from models.recipe import Recipe
from models.split import DAY_US, Split
from stream_jobs import plan as plans
from stream_jobs.plan import Service

_SERVICE = "card_fraud"
_CACHE = "features.parquet"


def midnight(day: str) -> int:
    """µs UTC."""
    return (date.fromisoformat(day) - date(1970, 1, 1)).days * DAY_US


class Frames:
    """The payments of ``data`` in a lake below ``home``; features of those of [first, last] are computed once.

    data: None for generated payments, about ``rows`` of them.
    """

    def __init__(self, home: Path, data: Path | None, first: str, last: str, rows: int = 10_000_000) -> None:
        os.environ["APPLIANCE_HOME"] = str(home)
        warnings.simplefilter("ignore")
        if not (home / _CACHE).exists():
            from tests.bench.payments_lake import make

            make(home, data, rows, disturbed=False)
        self.context: Context = contexts.current()
        self.plan = plans.read(self.context.layout.plan_file)
        self.service: Service = self.plan.service(_SERVICE)
        self.recipe: Recipe = pipeline.read_recipe(self.plan.scenario)
        period = (midnight(first), midnight(last) + DAY_US)
        scratch = home / "scratch"
        self.events = events.labelled(self.context, self.plan, self.service, self.recipe, period, scratch)
        if not (home / _CACHE).exists():
            made = _historical(home, self.service, self.events).append_column("event_key", self.events["event_key"])
            pq.write_table(made, home / f".{_CACHE}")
            (home / f".{_CACHE}").rename(home / _CACHE)
        self._features = pq.read_table(home / _CACHE)

    def build(self, train_from: str, folder: Path, recipe: Recipe | None = None) -> tuple[Split, frame.Described]:
        """``frame.parquet`` of the split that begins at a day, with the recipe's lengths."""
        how = recipe or self.recipe
        periods = split.make(how.periods, midnight(train_from), None, 0)
        times = self.events["event_time"]
        inside = pc.and_(pc.greater_equal(times, periods.train_from), pc.less(times, periods.test_to))
        rows = self.events.filter(inside)
        folder.mkdir(parents=True, exist_ok=True)
        return periods, frame.build(
            self.context, self.service, how, periods, rows, self._of_events, folder / frame.FILE
        )

    def _of_events(self, _: Context, __: Service, rows: pa.Table) -> list[pa.RecordBatch]:
        places = pc.index_in(rows["event_key"], value_set=self._features["event_key"].combine_chunks())
        return self._features.take(places).to_batches()


def _historical(home: Path, service: Service, rows: pa.Table) -> pa.Table:
    from feast import FeatureStore
    from feast.repo_config import RepoConfig

    from feature_repo.card_fraud import features as declared

    offline: dict[str, Any] = {"type": "stream_jobs.offline.store.ApplianceOfflineStore"}
    config = RepoConfig(
        project="quality", provider="local", registry=str(home / "registry.db"), offline_store=offline,
        online_store={"type": "sqlite", "path": str(home / "online.db")}, entity_key_serialization_version=3,
    )  # fmt: skip
    store = FeatureStore(config=config)
    store.apply(
        [
            declared.customer, declared.terminal, declared.customer_payments, declared.terminal_labels,
            declared.payment_calendar, declared.transactions, declared.transaction_labels, declared.card_fraud,
        ]
    )  # fmt: skip
    return pa.Table.from_batches(features.of_store(store, service, rows))
