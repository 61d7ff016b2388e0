"""Redis keys of the gateway room, each with the tenant in front."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Keys:
    tenant: str

    def http_request(self, service: str, app: str, request_id: str) -> str:
        """A request by HTTP and its answer."""
        return f"{self.tenant}:request:http:{service}:{app}:{request_id}"

    def kafka_request(self, service: str, request_id: str) -> str:
        """Which record (``partition:offset``) is the first of a request id."""
        return f"{self.tenant}:request:kafka:{service}:{request_id}"

    def pressure(self) -> str:
        """There while the gateway refuses requests: what nobody waits for makes way."""
        return f"{self.tenant}:pressure"

    def waterfall(self, process: str) -> str:
        """How long each step of scoring took in a process, for ``/metrics``."""
        return f"{self.tenant}:waterfall:{process}"

    def session(self, token_sha256: str) -> str:
        return f"{self.tenant}:session:{token_sha256}"

    def login_failures(self, who: str) -> str:
        return f"{self.tenant}:login-failures:{who}"

    def counts(self, service: str, day: str) -> str:
        """Hash of what was scored on an event-time day."""
        return f"{self.tenant}:counts:{service}:{day}"

    def count_offsets(self) -> str:
        """Hash ``topic/partition`` → next offset to count."""
        return f"{self.tenant}:counts:offsets"
