"""Certificates: what a comparison found, in a file that says how to make it again and carries its own hash."""

from __future__ import annotations

import hashlib
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import msgspec

import appliance
import feature_repo
import stream_jobs
from stream_jobs.errors import ParityError
from stream_jobs.parity import explain
from stream_jobs.parity.explain import Explanation

FORMAT = 1
_ENGINES = ("duckdb", "feast", "deltalake", "pyarrow", "numpy", "msgspec", "happybase")


class FeatureResult(msgspec.Struct, frozen=True):
    """largest_difference: relative, among the values that count as equal."""

    name: str
    compared: int
    different: int
    largest_difference: float


class Different(msgspec.Struct, frozen=True):
    prediction_id: str
    feature: str
    values: dict[str, object]


class Certificate(msgspec.Struct, frozen=True):
    """One view version (or the features of the row in hand, view "request", version 0) over one set of predictions.

    command: makes it again. positions, as_of (µs): first and last of the rows compared. rows: by the knowledge that
    made their values. not_compared: reason → predictions. ledger_rows: predictions selected. differences: the first
    ones by prediction id. sha256: of this record with ``sha256`` empty, as JSON with sorted keys.
    """

    format: int
    service: str
    view: str
    version: int
    definition_hash: str
    service_definition_hash: str
    code_hash: str
    engines: dict[str, str]
    command: str
    made_at: str
    seconds: float
    legs: tuple[str, ...]
    rule: str
    ledger_rows: int
    rows_compared: int
    rows_assumed: int
    rows_observed: int
    not_compared: dict[str, int]
    rows_different: int
    rows_different_assumed: int
    rows_different_observed: int
    positions: tuple[str, str] | None
    as_of: tuple[int, int] | None
    features: tuple[FeatureResult, ...]
    differences: tuple[Different, ...]
    first_difference: Explanation | None
    sha256: str = ""

    @property
    def name(self) -> str:
        return f"{self.view}.v{self.version}"


def code_hash() -> str:
    """SHA-256 over the names and contents of the Python files that this process runs: base, features, streams."""
    digest = hashlib.sha256()
    for package in (appliance, feature_repo, stream_jobs):
        root = Path(str(package.__file__)).parent
        for file in sorted(root.rglob("*.py")):
            digest.update(f"{root.name}/{file.relative_to(root)}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def engines() -> dict[str, str]:
    """Versions of what computed and read the values."""
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in _ENGINES}


def signed(certificate: Certificate) -> Certificate:
    """With its hash."""
    return msgspec.structs.replace(certificate, sha256=_digest(certificate))


def _digest(certificate: Certificate) -> str:
    plain = msgspec.structs.replace(certificate, sha256="")
    return hashlib.sha256(msgspec.json.encode(plain, order="sorted")).hexdigest()


def keep(certificate: Certificate, root: Path) -> Path:
    """Write it below ``root``; returns its file."""
    at = datetime.fromisoformat(certificate.made_at).astimezone(UTC)
    path = root / certificate.name / f"{at:%Y%m%dT%H%M%S.%fZ}.{certificate.service}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(certificate, order="sorted"), indent=1))
    temporary.rename(path)
    return path


def read(path: Path) -> Certificate:
    """Raises ParityError when it cannot be read, or is not what was written."""
    try:
        certificate = msgspec.json.decode(path.read_bytes(), type=Certificate)
    except (OSError, msgspec.MsgspecError) as error:
        raise ParityError("parity.certificate", f"{path} is no certificate: {error}") from error
    if certificate.format != FORMAT or certificate.sha256 != _digest(certificate):
        raise ParityError(
            "parity.changed", f"{path} is not as it was written: its SHA-256 is not {certificate.sha256}",
            context={"file": str(path)},
            hint=f"make it again: {certificate.command}",
        )  # fmt: skip
    return certificate


def lines(certificate: Certificate) -> list[str]:
    """For a person to read."""
    one = certificate
    found = "0 different" if not one.rows_different else f"{one.rows_different} DIFFERENT"
    text = [
        f"{one.name} of {one.service}: {one.rows_compared:,} rows x {len(one.features)} features compared"
        f" ({one.rows_observed:,} observed, {one.rows_assumed:,} assumed): {found}",
    ]
    if one.rows_different:
        text.append(f"  different: {one.rows_different_observed} observed, {one.rows_different_assumed} assumed")
        text += [f"  {each.name}: {each.different} different" for each in one.features if each.different]
    largest = max((each.largest_difference for each in one.features), default=0.0)
    text.append(f"  largest difference between values that count as equal: {largest:.3g} (relative)")
    text += [f"  not compared: {number:,}: {reason}" for reason, number in sorted(one.not_compared.items())]
    if one.positions:
        text.append(f"  positions {one.positions[0]} to {one.positions[1]}")
    if one.first_difference is not None:
        text += [f"  {line}" for line in explain.lines(one.first_difference)]
    return text
