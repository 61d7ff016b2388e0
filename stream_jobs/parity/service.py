"""One comparison on this appliance: opens the stores, waits until they are as far as the ledger, compares."""

from __future__ import annotations

from functools import partial

from confluent_kafka import KafkaException

from appliance.clients import hbase
from appliance.parts.base import Context
from stream_jobs.errors import ParityError
from stream_jobs.feature_store import feature_store
from stream_jobs.online.hbase_read import HBaseHistory
from stream_jobs.parity import requested
from stream_jobs.parity.arrived import Arrival
from stream_jobs.parity.certificate import Certificate
from stream_jobs.parity.ledger import Selection
from stream_jobs.parity.run import Legs, Say, prove
from stream_jobs.parity.training import of_feast
from stream_jobs.plan import Plan, Service


def compare(
    context: Context,
    plan: Plan,
    service: Service,
    selection: Selection,
    command: str,
    wait_seconds: float,
    say: Say,
) -> list[Certificate]:
    """The certificates, not kept yet. Raises ParityError when a store is away or behind."""
    store = feature_store(context)
    legs = Legs(
        HBaseHistory.of(context),
        of_feast(store),
        partial(requested.by_feast, store),
        Arrival(context, wait_seconds).wait,
    )
    try:
        return prove(context, plan, service, selection, legs, command, say)
    except KafkaException as error:
        raise ParityError("parity.kafka", f"Kafka does not answer: {error}", hint="appliance status kafka") from error
    except hbase.FAILURES as error:
        raise ParityError(
            "parity.hbase", f"HBase's edits cannot be read: {error!r}", hint="appliance status hbase-thrift"
        ) from error
