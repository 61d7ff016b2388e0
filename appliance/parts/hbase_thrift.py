"""HBase's Thrift server (framed, compact). It has no authentication, so it stays on loopback."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

from appliance.clients import hbase
from appliance.errors import NotReadyError
from appliance.parts import hbase_site
from appliance.parts.base import BasePart, Context, Process
from appliance.ports import Port

_FAMILY = "f"


class HBaseThrift(BasePart):
    """The way every process of ours reads and writes HBase."""

    name = "hbase-thrift"
    listens = Port.HBASE_THRIFT
    needs = ("hbase",)
    ready_timeout_seconds = 300

    def prepare(self, context: Context) -> None:
        hbase_site.write(context, context.run(self.name))

    def process(self, context: Context) -> Process:
        heap = context.settings.memory.hbase_thrift_heap_mib
        main_class = "org.apache.hadoop.hbase.thrift.ThriftServer"
        return Process(hbase_site.command(context, main_class, context.run(self.name), heap))

    def ready(self, context: Context) -> None:
        """Put a row into ``<tenant>:ready`` and get it back."""
        with _answering(), hbase.connect(context, timeout_ms=10_000) as connection:
            name = f"{context.installation.tenant}:ready"
            hbase.create_table(connection, name, {_FAMILY: {"max_versions": 1}})
            row, column = struct.pack(">I", os.getpid()), f"{_FAMILY}:at".encode()
            value = str(time.time_ns()).encode()
            connection.table(name).put(row, {column: value})
            got = connection.table(name).row(row, columns=[column]).get(column)
        if got != value:
            raise NotReadyError(
                "hbase_thrift.mismatch", f"HBase's Thrift server gave {got!r} for {value!r} just written"
            )


@contextmanager
def _answering() -> Iterator[None]:
    """Turn what the Thrift client raises into NotReadyError."""
    try:
        yield
    except hbase.FAILURES as error:
        raise NotReadyError(
            "hbase_thrift.not_ready", f"HBase's Thrift server does not write and read: {error!r}"[:500],
            hint="appliance logs hbase-thrift",
        ) from error  # fmt: skip
