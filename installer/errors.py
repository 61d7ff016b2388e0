"""The installer's errors."""

from __future__ import annotations

from appliance.errors import ApplianceError


class InstallError(ApplianceError):
    """A step of the installation cannot be done."""


class RefusedFileError(InstallError):
    """A third-party file is not the one the lock names."""


class LockFileError(InstallError):
    """A lock cannot be read."""
