"""The password of a role that an administrator made for us: from a file or asked for, never on a command line."""

from __future__ import annotations

import argparse
import getpass
from pathlib import Path

from appliance.errors import UsageError


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--password-file", type=Path, metavar="FILE", help="the role's password; otherwise one is made")
    one.add_argument("--ask-password", action="store_true", help="ask for the role's password")


def given(parsed: argparse.Namespace, role: str) -> str | None:
    """What was given, if anything. Raises UsageError when it is empty or not ASCII."""
    if parsed.password_file is not None:
        try:
            found: str = parsed.password_file.read_text().strip("\r\n")
        except OSError as error:
            raise UsageError("source.password", f"{parsed.password_file}: {error.strerror}") from error
    elif parsed.ask_password:
        found = getpass.getpass(f"password of role {role}: ")
    else:
        return None
    if not found or not found.isascii():
        raise UsageError("source.password", "the password is empty or has characters beyond ASCII")
    return found
