"""Labelled rows out of the lake, as they were served: the ledger's features with settled labels.

Of several predictions of one event that of the committed row counts (way ``cdc``), else the first one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from appliance.parts.base import Context
from models import events
from models.feedback import reading as feedback
from models.learning.evidence import Pairs
from models.recipe import Recipe
from stream_jobs.lake import reading, schema
from stream_jobs.plan import Plan, Service

_MEMORY_MIB = 512


class Labelled:
    """Questions about one service's labels, predictions and shadow scores, all at one moment."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, service: Service, recipe: Recipe) -> None:
        self._connection, self._service, self._recipe = connection, service, recipe

    def newest_label(self) -> int:
        """Since when the newest settled label is known, µs UTC; 0 if there is none."""
        (found,) = self._connection.execute("SELECT coalesce(max(label_known_at), 0) FROM answers").fetchone() or (0,)
        return int(found)

    def fresh(self, since: int, versions: Sequence[str]) -> tuple[int, int]:
        """Events with a label known after ``since`` that one of the versions has scored, and positives among them."""
        found = self._connection.execute(
            "SELECT count(*), coalesce(sum(label), 0) FROM answers WHERE label_known_at > ? AND event_key IN"
            " (SELECT event_key FROM predictions WHERE list_contains(?, model_version))",
            [since, list(versions)],
        ).fetchone()
        assert found is not None
        return int(found[0]), int(found[1])

    def rows(self, since: int, until: int, versions: Sequence[str]) -> pa.Table:
        """Events with a label known in (since, until], with the features they were served with, in order of time.

        versions: those whose inputs mean what the model's mean. Columns: see ``models.learning.mix``.
        """
        inputs = ", ".join(_number(name) for name in self._service.features)
        subject = reading.literal("$." + reading.quote(self._recipe.evaluation.subject))
        return self._connection.sql(
            f"""SELECT {inputs}, event_key, epoch_us(as_of) AS event_time, label::TINYINT AS label,
              coalesce(TRY_CAST(row->>{subject} AS BIGINT), (hash(row->>{subject}) >> 1)::BIGINT) AS subject
            FROM (FROM predictions WHERE list_contains($versions, model_version)
              QUALIFY row_number() OVER (PARTITION BY event_key ORDER BY way <> 'cdc', scored_at, prediction_id) = 1)
            JOIN answers USING (event_key) WHERE label_known_at > $since AND label_known_at <= $until
            ORDER BY as_of, event_key""",
            params={"since": since, "until": until, "versions": list(versions)},
        ).to_arrow_table()

    def pairs(self, version: int, champion: int, since: int, until: int) -> Pairs:
        """Events with a label known in (since, until] that both versions have scored in shadow."""
        found = self._connection.execute(
            """SELECT label, champion_score, score
            FROM (FROM shadow WHERE version = ? AND champion_version = ?
              QUALIFY row_number() OVER (PARTITION BY event_key ORDER BY way <> 'cdc', predicted_at, prediction_id) = 1)
            JOIN answers USING (event_key) WHERE label_known_at > ? AND label_known_at <= ?""",
            [str(version), str(champion), since, until],
        ).fetchnumpy()
        return Pairs(
            np.asarray(found["label"], np.int8),
            np.asarray(found["champion_score"], np.float64),
            np.asarray(found["score"], np.float64),
        )

    def alerts(self, version: int, champion: int, review: float, newest: int) -> tuple[float, float]:
        """Share of the newest shadowed rows that the champion, and the version, put at or above ``review``."""
        found = self._connection.execute(
            """SELECT coalesce(avg((champion_score >= $review)::DOUBLE), 0),
              coalesce(avg((score >= $review)::DOUBLE), 0)
            FROM (FROM shadow WHERE version = $version AND champion_version = $champion
              ORDER BY predicted_at DESC LIMIT $newest)""",
            {"review": review, "version": str(version), "champion": str(champion), "newest": newest},
        ).fetchone()
        assert found is not None
        return float(found[0]), float(found[1])


def _number(feature: str) -> str:
    """SQL of a served feature as float32, NaN where there is none; true is 1."""
    path = reading.literal(f"$.{reading.quote(feature)}.value")
    text = f"features->>{path}"
    value = f"CASE {text} WHEN 'true' THEN 1 WHEN 'false' THEN 0 ELSE CAST({text} AS DOUBLE) END"
    return f"coalesce({value}, 'nan'::DOUBLE)::FLOAT AS {reading.quote(feature.partition(':')[2])}"


@contextmanager
def opened(context: Context, plan: Plan, service: Service, recipe: Recipe, scratch: Path) -> Iterator[Labelled]:
    """The lake as it is now."""
    _, labels = events.tables(plan, service, recipe)
    with reading.connect(scratch, reading.Limits(_MEMORY_MIB, threads=1)) as connection:
        feedback.settled(context, connection, service, labels, recipe)
        reading.flat(context, connection, context.names.lake_shadow(service.name), schema.SHADOW).create_view("shadow")
        yield Labelled(connection, service, recipe)
