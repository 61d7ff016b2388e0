"""The one shape of every error a person or a program sees."""

from __future__ import annotations

from typing import Any


class ApplianceError(Exception):
    """An error with everything its reader needs.

    code: stable and machine-readable, such as ``kafka.not_ready``.
    message: what went wrong, where, what was expected and what was got, with units.
    context: values for a program to read. Never a secret.
    hint: the next thing to try, best a command.
    """

    def __init__(self, code: str, message: str, *, context: dict[str, Any] | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.context = context or {}
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]" + (f"\n  hint: {self.hint}" if self.hint else "")


class SettingError(ApplianceError):
    """A setting has a value that cannot be used."""


class NotReadyError(ApplianceError):
    """A part does not yet answer a real read or write."""


class PartError(ApplianceError):
    """A part cannot be prepared, started or stopped."""


class UsageError(ApplianceError):
    """The command line asks for something that cannot be done."""
