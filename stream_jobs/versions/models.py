"""What the model registry (files of the room ``models``) says of the inputs that a model serves."""

from __future__ import annotations

from pathlib import Path

import msgspec

from appliance.parts.base import Context


class _Champion(msgspec.Struct, frozen=True):
    history: tuple[int, ...]


class _Version(msgspec.Struct, frozen=True):
    inputs_hash: str = ""


def scoring(context: Context) -> frozenset[str]:
    """Models that have a champion, which Triton serves."""
    return frozenset(path.parent.name for path in _folder(context).glob("*/champion.json"))


def inputs_of(context: Context, model: str) -> str | None:
    """Hash of the inputs that the champion was trained with; None if there is no champion."""
    folder = _folder(context) / model
    if not (folder / "champion.json").exists():
        return None
    champion = msgspec.json.decode((folder / "champion.json").read_bytes(), type=_Champion)
    record = folder / str(champion.history[-1]) / "model.json"
    return msgspec.json.decode(record.read_bytes(), type=_Version).inputs_hash


def _folder(context: Context) -> Path:
    return context.layout.data / "models"
