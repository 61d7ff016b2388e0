"""Alerts → OpenSearch, in bulk; documents that it refuses → dead letters; indexes that are too old → deleted."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from confluent_kafka import Message
from opensearchpy import OpenSearch, helpers

from appliance.clients.opensearch import FAILURES
from appliance.clock import wall_us
from appliance.names import Names
from appliance.records import Alert, DeadLetter
from gateway.alerts import document, index
from gateway.alerts.explanation import Explanation
from gateway.errors import PartDownError
from stream_jobs.plan import Plan

READER = "alerter"
_FEW = 50
"""Up to so many alerts at once are searchable right away; more wait for the index's own refresh (500 ms)."""


@dataclass(frozen=True)
class Filing:
    """Files alerts for the services of one plan."""

    client: OpenSearch
    names: Names
    plan: Plan
    explain: Callable[[Sequence[Alert]], list[Explanation]]

    def prepare(self) -> None:
        """Write the index templates, and add to the indexes that are there the fields that they lack.

        Raises PartDownError when OpenSearch does not take them.
        """
        try:
            for service in self.plan.services:
                template = index.template(self.names, service)
                self.client.indices.put_index_template(name=self.names.alert_index(service.name), body=template)
                self.client.indices.put_mapping(
                    index=f"{self.names.alert_index(service.name)}-*",
                    body=template["template"]["mappings"],
                    params={"ignore_unavailable": "true", "allow_no_indices": "true"},
                )
        except FAILURES as error:
            raise PartDownError("opensearch", error) from error

    def file(self, messages: Sequence[Message]) -> list[DeadLetter]:
        """File the alerts of these records; those that cannot be filed come back as dead letters.

        Raises PartDownError when OpenSearch does not answer or has no room now; filing again changes nothing.
        """
        dead: list[DeadLetter] = []
        alerts: list[tuple[Message, Alert]] = []
        for message in messages:
            try:
                alerts.append((message, msgspec.json.decode(message.value() or b"", type=Alert)))
            except msgspec.MsgspecError as error:
                dead.append(_letter(message, "alert.unreadable", f"not an alert: {error}"))
        explanations = self.explain([alert for _, alert in alerts])
        actions = (
            document.action(self.names, alert, explanation)
            for (_, alert), explanation in zip(alerts, explanations, strict=True)
        )
        try:
            results = list(self._bulk(actions, refresh=len(alerts) <= _FEW)) if alerts else []
        except FAILURES as error:
            raise PartDownError("opensearch", error) from error
        for (message, _), (filed, result) in zip(alerts, results, strict=True):
            if filed:
                continue
            outcome = result["update"]
            if outcome.get("status", 500) >= 500 or outcome.get("status") == 429:
                raise PartDownError("opensearch", outcome.get("error"))
            dead.append(_letter(message, "alert.refused", f"OpenSearch refused it: {outcome.get('error')}"))
        return dead

    def _bulk(self, actions: Iterable[dict[str, Any]], *, refresh: bool) -> Iterable[tuple[bool, dict[str, Any]]]:
        yield from helpers.streaming_bulk(
            self.client, actions, chunk_size=500, raise_on_error=False, refresh="true" if refresh else "false"
        )

    def delete_expired(self, retention_days: int, now_us: int) -> list[str]:
        """Delete the indexes that are past retention; returns their names. ``now_us``: the appliance clock."""
        gone = []
        try:
            for service in self.plan.services:
                found = self.client.indices.get_settings(
                    index=f"{self.names.alert_index(service.name)}-*",
                    params={"ignore_unavailable": "true", "allow_no_indices": "true"},
                )
                for name, body in found.items():
                    created = int(body["settings"]["index"]["creation_date"]) * 1000
                    if index.expired(name, created, now_us, wall_us(), retention_days):
                        self.client.indices.delete(index=name)
                        gone.append(name)
        except FAILURES as error:
            raise PartDownError("opensearch", error) from error
        return gone


def _letter(message: Message, code: str, text: str) -> DeadLetter:
    return DeadLetter(
        reader=READER,
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        code=code,
        message=text,
        payload_base64=base64.b64encode(message.value() or b"").decode(),
        at=wall_us(),
    )
