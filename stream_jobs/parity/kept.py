"""Where certificates are kept; for processes that do not make any."""

from __future__ import annotations

from pathlib import Path

import msgspec

from appliance.parts.base import Context


class _Result(msgspec.Struct, frozen=True):
    rows_different: int


def folder(context: Context) -> Path:
    return context.layout.data / "parity"


def files(root: Path, view: str = "") -> list[Path]:
    """Of all views, or of one (``view`` or ``view.v<N>``), the oldest first."""
    found = [
        path
        for path in root.glob("*/*.json")
        if not view or path.parent.name == view or path.parent.name.rpartition(".v")[0] == view
    ]
    return sorted(found, key=lambda path: path.name)


def different(path: Path) -> int:
    """Rows that a certificate says are different. Raises msgspec.MsgspecError when it is none."""
    return msgspec.json.decode(path.read_bytes(), type=_Result).rows_different
