"""One Delta table, appended to with application transactions.

Log clean-up by the library is off: it would drop the versions that registered models name (see ``maintenance``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import DeltaError, SchemaMismatchError

from stream_jobs.errors import LakeError

_CONFIGURATION: Mapping[str, str | None] = {
    "delta.checkpointInterval": "100",
    "delta.enableExpiredLogCleanup": "false",
}


def exists(path: Path) -> bool:
    return (path / "_delta_log").is_dir() and DeltaTable.is_deltatable(str(path))


def open_table(path: Path, version: int | None = None) -> DeltaTable:
    """The table at a version (default: the newest). Raises LakeError when it is not there."""
    if not exists(path):
        raise LakeError(
            "lake.no_table", f"there is no Delta table at {path}",
            hint="`appliance logs writer-lake` says what the writer has written",
        )  # fmt: skip
    try:
        return DeltaTable(str(path), version=version)
    except DeltaError as error:
        raise LakeError("lake.no_version", f"{path} cannot be read at version {version}: {error}") from error


def create(path: Path, schema: pa.Schema, partition_by: str | None) -> DeltaTable:
    """The table, created if it is not there, with columns added that the schema has and it lacks.

    Raises LakeError when a column has another type than it had.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not exists(path):
        return DeltaTable.create(
            str(path), schema, partition_by=[partition_by] if partition_by else None, configuration=dict(_CONFIGURATION)
        )
    table = DeltaTable(str(path))
    there = {field.name: field.type for field in table.schema().to_pyarrow()}
    for field in schema:
        if field.name in there and there[field.name] != field.type:
            raise LakeError(
                "lake.type_changed",
                f"column {field.name!r} of {path} is {there[field.name]}, the plan now says {field.type}",
                hint="give the changed column a new name in the source, or move the table's folder away",
            )
    if any(field.name not in there for field in schema):
        write_deltalake(table, schema.empty_table(), mode="append", schema_mode="merge")
    return table


def append(table: DeltaTable, rows: Sequence[pa.RecordBatch], schema: pa.Schema, reached: Mapping[str, int]) -> None:
    """One commit: the rows, and for each application id the version it has reached.

    A commit without rows only moves the versions. Raises LakeError when it cannot be written; then nothing is.
    """
    properties = CommitProperties(app_transactions=[Transaction(name, version) for name, version in reached.items()])
    try:
        write_deltalake(
            table,
            pa.Table.from_batches(rows, schema),
            mode="append",
            schema_mode="merge",
            commit_properties=properties,
        )
    except (DeltaError, SchemaMismatchError, OSError) as error:
        raise LakeError(
            "lake.write", f"cannot append {sum(map(len, rows))} rows to {table.table_uri}: {error}"
        ) from error


def reached(table: DeltaTable) -> dict[str, int]:
    """Application id → version."""
    return {name: transaction.version for name, transaction in table.transaction_versions().items()}


def active_files(table: DeltaTable) -> list[str]:
    """Absolute paths of the files of the table's version, oldest first as the log has them."""
    return [uri.removeprefix("file://") for uri in table.file_uris()]
