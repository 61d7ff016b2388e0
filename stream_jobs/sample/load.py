"""``appliance sample load``: the history into the business database, the rest onto disk for the replay."""

from __future__ import annotations

import hashlib
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from appliance.errors import UsageError
from appliance.parts.base import Context
from feature_repo.sample_data import Sample, SampleSource
from stream_jobs.errors import SampleError
from stream_jobs.sample import clock, database, state
from stream_jobs.sample.events import split, times

_DAY_US = 86_400_000_000
_LIVE_DAYS = 2


@dataclass(frozen=True)
class Loaded:
    """changed: False when the same data were there already."""

    state: state.State
    changed: bool


def scenario_sample(scenario: str) -> SampleSource:
    """The scenario's sample. Raises UsageError when it has none."""
    try:
        module = importlib.import_module(f"feature_repo.{scenario}.sample")
    except ModuleNotFoundError as error:
        raise UsageError("sample.none", f"scenario {scenario!r} has no sample data: {error}") from error
    source: SampleSource = module.SAMPLE
    return source


def load(context: Context, *, profile: str, file: Path | None, until_us: int | None, force: bool) -> Loaded:
    """Load a profile or a file; everything before ``until_us`` (default: 2 days before the last event) is history.

    Raises UsageError when the data cannot be used, SampleError when other rows are there and ``force`` is not given.
    """
    source = scenario_sample(context.installation.scenario)
    origin, fingerprint = _identity(context, source, profile, file)
    before = state.read(context)
    if before and before.fingerprint == fingerprint and until_us in (None, before.until_us) and not force:
        with database.connect(context) as connection:
            if _is_there(connection, before):
                return Loaded(before, changed=False)
    sample = source.from_file(file) if file else source.profiles[profile]()
    cut = until_us if until_us is not None else _default_cut(sample)
    parts = [split(stream, cut) for stream in sample.streams]
    new = state.State(
        fingerprint,
        origin,
        cut,
        tuple(
            state.StreamState(stream.table, stream.key, stream.time, history.num_rows, rest.num_rows)
            for stream, (history, rest) in zip(sample.streams, parts, strict=True)
        ),
    )
    with database.connect(context) as connection:
        _make_room(connection, source, sample, force)
        for table, rows in sample.static.items():
            database.copy(connection, table, rows)
        for stream, (history, _) in zip(sample.streams, parts, strict=True):
            database.copy(connection, stream.table, history)
        state.write(context, new, [rest for _, rest in parts])
        connection.commit()
        connection.autocommit = True
        for table in (*sample.static, *(stream.table for stream in sample.streams)):
            connection.execute(sql.SQL("ANALYZE {}").format(database.name(table)))
    clock.hold(context, cut)
    return Loaded(new, changed=True)


def _identity(context: Context, source: SampleSource, profile: str, file: Path | None) -> tuple[str, str]:
    """Name for people, and fingerprint, of the data. Raises UsageError for a profile that does not exist."""
    if file is not None:
        try:
            with file.open("rb") as stream:
                return f"file {file.name}", "file:" + hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise UsageError(
                "sample.no_file", f"{file} cannot be read: {error.strerror}",
                hint=f"the appliance runs as user {context.installation.user}, who must be able to read the file",
            ) from error  # fmt: skip
    if profile not in source.profiles:
        raise UsageError("sample.profile", f"no profile {profile!r}; there are {', '.join(source.profiles)}")
    return f"profile {profile}", f"profile:{profile}:{source.version}"


def _default_cut(sample: Sample) -> int:
    """Two days before the last event of the stream that the business lives by, µs UTC."""
    stream = next(stream for stream in sample.streams if stream.table == sample.clock_table)
    return int(times(stream.rows, stream.time).max()) - _LIVE_DAYS * _DAY_US


def _is_there(connection: psycopg.Connection[Any], before: state.State) -> bool:
    """Whether the database holds the history at least."""
    return all(database.count(connection, stream.table) >= stream.history for stream in before.streams)


def _make_room(connection: psycopg.Connection[Any], source: SampleSource, sample: Sample, force: bool) -> None:
    """Create the tables; empty them when told to and when nobody captures them."""
    connection.execute(source.schema_sql.read_text().encode())
    tables = (*sample.static, *(stream.table for stream in sample.streams))
    filled = {table: count for table in tables if (count := database.count(connection, table))}
    if not filled:
        return
    if not force:
        raise SampleError(
            "sample.other_data", f"the sample business database holds other rows: {filled}", context={"rows": filled},
            hint="appliance sample load --force empties these tables first",
        )  # fmt: skip
    publications = database.capturing(connection)
    if publications:
        raise SampleError(
            "sample.captured", f"the tables are being captured (publications {publications}), so they are not emptied",
            hint="appliance source list; appliance source remove NAME",
        )  # fmt: skip
    names = sql.SQL(", ").join(map(database.name, tables))
    connection.execute(sql.SQL("TRUNCATE {}").format(names))
