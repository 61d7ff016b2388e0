"""The training set: labelled events with their features, as one Parquet file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as parquet

from appliance.parts.base import Context
from models import inputs
from models.errors import TrainingSetError
from models.evaluation import unknown_subjects
from models.recipe import Recipe
from models.registry import Frame
from models.split import FIT, TAIL, TEST, UNUSED, Split
from stream_jobs.plan import Service

FeatureSource = Callable[[Context, Service, pa.Table], Iterable[pa.RecordBatch]]
"""(context, service, events as ``models.events.labelled`` gives them) → its features, a row an event, in order."""
FILE = "frame.parquet"
_NAMES = {FIT: "fit", TAIL: "tail", TEST: "test"}


class Described(msgspec.Struct, frozen=True):
    """What ``build`` has written, for the record. left_out: test rows of subjects already known."""

    sha256: str
    rows: dict[str, int]
    positives: dict[str, int]
    unlabelled: int
    left_out: int

    def record(
        self, missing_share: dict[str, float], lake_versions: dict[str, int], positions: dict[str, str]
    ) -> Frame:
        return Frame(self.sha256, self.rows, self.positives, self.unlabelled, missing_share, lake_versions, positions)


def build(
    context: Context,
    service: Service,
    recipe: Recipe,
    split: Split,
    events: pa.Table,
    source: FeatureSource,
    path: Path,
) -> Described:
    """Write the rows that are used: inputs (float32, NaN where missing), label, part, event_key, event_time, subject.

    Rows of the gap and rows without an answer are not in it, nor are test rows of subjects that were known by then.
    Features go from the lake into the file batch by batch: beside the events only one batch is in memory.
    Raises TrainingSetError when a part has no row or one class only, or when a feature is missing.
    """
    times = _ints(events["event_time"])
    labels, has_label = _labels(events)
    known_at = _ints(events["label_known_at"])
    subject = _subjects(events["subject"])
    parts = split.parts(times, known_at, has_label)
    in_period = ((times >= split.train_from) & (times < split.train_to)) | (times >= split.test_from)
    judged = unknown_subjects(times, known_at, subject, has_label & (labels == 1), split)
    left_out = int(((parts == TEST) & ~judged).sum())
    parts[(parts == TEST) & ~judged] = UNUSED
    _check_parts(parts, labels, split)
    used = np.flatnonzero(parts != UNUSED)
    chosen = events.take(pa.array(used))
    known = pa.table(
        {
            "event_key": chosen["event_key"],
            "event_time": pa.array(times[used]),
            "subject": pa.array(subject[used]),
            "label": pa.array(labels[used].astype(np.int8)),
            "part": pa.array(parts[used]),
        }
    )
    _write(known, inputs.of(service), source(context, service, chosen), path)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Described(
        sha256=sha256,
        rows={name: int((parts == part).sum()) for part, name in _NAMES.items()},
        positives={name: int(labels[parts == part].sum()) for part, name in _NAMES.items()},
        unlabelled=int((in_period & (parts == UNUSED)).sum()) - left_out,
        left_out=left_out,
    )


def _ints(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    return np.asarray(column.to_numpy(), dtype=np.int64)


def _labels(events: pa.Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """(labels with 0 where there is none, whether there is one)."""
    column = events["label"]
    return _ints(pc.fill_null(column, 0)), np.asarray(pc.is_valid(column).to_numpy(), dtype=bool)


def _subjects(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """A number for each subject: its own where it is one, else its place among those that occur."""
    values = column.to_numpy()
    if np.issubdtype(values.dtype, np.integer):
        return np.asarray(values, dtype=np.int64)
    return np.asarray(np.unique(values.astype(str), return_inverse=True)[1], dtype=np.int64)


def _write(known: pa.Table, names: tuple[str, ...], features: Iterable[pa.RecordBatch], path: Path) -> None:
    """Inputs as float32, then what is known of each row. Raises TrainingSetError when a feature or a row is missing."""
    schema = pa.schema([*(pa.field(name, pa.float32()) for name in names), *known.schema])
    done = 0
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in features:
            missing = [name for name in names if name not in batch.schema.names]
            if missing:
                raise _incomplete(f"features {missing} are missing in the training set")
            columns = [pc.cast(pc.cast(batch[name], pa.float64()), pa.float32()) for name in names]
            filled = [pc.fill_null(column, float("nan")) for column in columns]
            rows = known.slice(done, batch.num_rows)
            done += batch.num_rows
            if rows.num_rows == batch.num_rows:
                writer.write_table(pa.table([*filled, *rows.columns], schema=schema))
    if done != known.num_rows:
        raise _incomplete(f"the features have {done} rows for {known.num_rows} events")


def _incomplete(what: str) -> TrainingSetError:
    return TrainingSetError("training.features", what, hint="appliance features apply, then train again")


def _check_parts(parts: npt.NDArray[np.int8], labels: npt.NDArray[np.int64], split: Split) -> None:
    """Every part needs rows of both classes."""
    periods = {
        FIT: (split.train_from, split.tail_from),
        TAIL: (split.tail_from, split.train_to),
        TEST: (split.test_from, split.test_to),
    }
    for part, name in _NAMES.items():
        rows = int((parts == part).sum())
        positives = int(labels[parts == part].sum())
        if rows and 0 < positives < rows:
            continue
        start, end = (str(np.datetime64(time, "us").astype("datetime64[m]")) for time in periods[part])
        raise TrainingSetError(
            "training.no_data" if rows == 0 else "training.one_class",
            f"the {name} period {start} … {end} UTC has {rows} rows with an answer known in time, "
            f"{positives} of them positive; both classes are needed",
            context={"part": name, "rows": rows, "positives": positives},
            hint="choose another period with --train-from and --train-to, or wait for more answers",
        )
