"""Locks: which third-party files are installed, each with its SHA-256."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
MAVEN = FOLDER / "maven"
PYTHON = FOLDER / "python"
