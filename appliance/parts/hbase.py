"""HBase: every edit of every view, standalone on a local folder."""

from __future__ import annotations

import time

from appliance.errors import NotReadyError
from appliance.parts import hbase_rpc, hbase_site
from appliance.parts.base import BasePart, Context, Process
from appliance.ports import Port

_CREATE_SECONDS = 30


class HBase(BasePart):
    """Master, region server and ZooKeeper in one JVM. Clients come through the Thrift server."""

    name = "hbase"
    listens = Port.HBASE_MASTER
    ready_timeout_seconds = 300

    def prepare(self, context: Context) -> None:
        hbase_site.write(context, context.run(self.name))

    def process(self, context: Context) -> Process:
        heap = context.settings.memory.hbase_heap_mib
        main_class = "org.apache.hadoop.hbase.master.HMaster"
        return Process(hbase_site.command(context, main_class, context.run(self.name), heap), stop_wait_seconds=60)

    def ready(self, context: Context) -> None:
        """Read a row of the catalogue from the region server, and the tenant's namespace from the master."""
        try:
            hbase_rpc.read_meta(context.port(Port.HBASE_REGIONSERVER))
            hbase_rpc.namespace_exists(context.port(Port.HBASE_MASTER), "default")
        except hbase_rpc.HBaseRpcError as error:
            raise NotReadyError("hbase.not_ready", error.message, hint=error.hint) from error

    def provision(self, context: Context) -> None:
        """Create the tenant's namespace. Raises NotReadyError when it is not there in time."""
        master, name = context.port(Port.HBASE_MASTER), context.installation.tenant
        if hbase_rpc.namespace_exists(master, name):
            return
        hbase_rpc.create_namespace(master, name)
        limit = time.monotonic() + _CREATE_SECONDS
        while not hbase_rpc.namespace_exists(master, name):
            if time.monotonic() > limit:
                raise NotReadyError(
                    "hbase.namespace", f"HBase did not create namespace {name!r} within {_CREATE_SECONDS} s",
                    hint="appliance logs hbase",
                )  # fmt: skip
            time.sleep(0.1)
