"""The canonical definition of a view or service, its hash, and the version that the hash was given."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec


def definition_hash(definition: Any) -> str:
    """SHA-256 (hex) of the definition as JSON with sorted keys. Descriptions, owners and addresses stay out of it."""
    return hashlib.sha256(msgspec.json.encode(msgspec.to_builtins(definition), order="sorted")).hexdigest()


class Versions:
    """View → definition hash → version, kept in a file, so that a definition seen before keeps its version."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, dict[str, int]] = (
            msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, int]]) if path.exists() else {}
        )

    def version(self, view: str, digest: str) -> int:
        """The version of this definition: 1, or one more than the highest for a definition not seen before."""
        known = self._known.setdefault(view, {})
        return known.setdefault(digest, max(known.values(), default=0) + 1)

    def save(self) -> None:
        """Replace the file in one step."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".new")
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(self._known, order="sorted"), indent=1))
        temporary.rename(self._path)
