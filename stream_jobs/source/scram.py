"""A password as PostgreSQL stores it, so that the SQL for an administrator never shows the password itself.

RFC 5802 and 7677; PostgreSQL's form is ``SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>``.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import b64encode

_ITERATIONS = 4096


def verifier(password: str, salt: bytes | None = None) -> str:
    """The stored form of an ASCII password, with a random salt unless one is given."""
    salt = salt or secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, _ITERATIONS)
    client = hmac.digest(salted, b"Client Key", "sha256")
    server = hmac.digest(salted, b"Server Key", "sha256")
    stored = hashlib.sha256(client).digest()
    shown = [b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${_ITERATIONS}:{shown[0]}${shown[1]}:{shown[2]}"
