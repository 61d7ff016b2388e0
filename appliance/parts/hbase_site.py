"""HBase's configuration, shared by the server and its Thrift server."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

from appliance import limits
from appliance.parts.base import Context
from appliance.parts.java import heap, java17
from appliance.ports import Port

_LOG4J = """\
status = warn
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %-5p [%t] %c{2}: %.1000m%n%xEx{20}
rootLogger.level = INFO
rootLogger.appenderRef.out.ref = out
logger.zookeeper.name = org.apache.zookeeper
logger.zookeeper.level = WARN
"""

# What HBase 2.6 needs of Java 17 (HBase's own start script sets the same).
_OPEN = (
    "java.nio", "sun.nio.ch", "java.lang", "jdk.internal.ref", "java.lang.reflect", "java.util",
    "java.util.concurrent", "jdk.internal.util.random",
)  # fmt: skip
_EXPORTED = ("java.base/jdk.internal.misc", "java.security.jgss/sun.security.krb5")


def properties(context: Context) -> dict[str, str]:
    """``hbase-site.xml`` as a mapping: standalone (master, region server, ZooKeeper in one JVM), on loopback only.

    Every acknowledged row is in the write-ahead log, written through to the local file (``hbase.wal.hsync``).
    """
    data = context.data("hbase")

    def port(which: Port) -> str:
        return str(context.port(which))

    return {
        "hbase.cluster.distributed": "false",
        "hbase.rootdir": f"file://{data}/hbase",
        "hbase.tmp.dir": f"{data}/tmp",
        "hbase.zookeeper.quorum": "127.0.0.1",
        "hbase.zookeeper.property.clientPort": port(Port.HBASE_ZOOKEEPER),
        "hbase.zookeeper.property.clientPortAddress": "127.0.0.1",
        "hbase.zookeeper.property.dataDir": f"{data}/zookeeper",
        "hbase.zookeeper.property.admin.enableServer": "false",
        "hbase.master.port": port(Port.HBASE_MASTER),
        "hbase.master.ipc.address": "127.0.0.1",
        "hbase.master.hostname": "localhost",
        "hbase.master.info.port": "-1",
        "hbase.regionserver.port": port(Port.HBASE_REGIONSERVER),
        "hbase.regionserver.ipc.address": "127.0.0.1",
        "hbase.unsafe.regionserver.hostname": "localhost",
        "hbase.regionserver.info.port": "-1",
        "hbase.regionserver.handler.count": "10",
        "hbase.unsafe.stream.capability.enforce": "true",
        "hbase.wal.provider": "filesystem",
        "hbase.wal.hsync": "true",
        "hbase.thrift.info.port": "-1",
        "hbase.regionserver.thrift.ipaddress": "127.0.0.1",
        "hbase.regionserver.thrift.port": port(Port.HBASE_THRIFT),
        "hbase.regionserver.thrift.framed": "true",
        "hbase.regionserver.thrift.compact": "true",
        "hbase.regionserver.thrift.framed.max_frame_size_in_mb": str(limits.FRAME_MIB),
        "hbase.client.keyvalue.maxsize": str(limits.RECORD_BYTES),
        "hbase.server.keyvalue.maxsize": str(limits.RECORD_BYTES),
        "hbase.thrift.server.socket.read.timeout": "3600000",
        "hbase.client.operation.timeout": "20000",
        "hbase.client.meta.operation.timeout": "20000",
        "hbase.rpc.timeout": "10000",
    }


def write(context: Context, folder: Path) -> None:
    """Write ``hbase-site.xml`` and ``log4j2.properties`` to ``folder``."""
    entries = "\n".join(
        f"  <property><name>{escape(name)}</name><value>{escape(value)}</value></property>"
        for name, value in properties(context).items()
    )
    (folder / "hbase-site.xml").write_text(f'<?xml version="1.0"?>\n<configuration>\n{entries}\n</configuration>\n')
    (folder / "log4j2.properties").write_text(_LOG4J)


def command(context: Context, main_class: str, configuration: Path, heap_mib: int) -> tuple[str, ...]:
    """The Java command of one HBase process. Raises PartError when Java 17 is missing."""
    return (
        java17(), *heap(heap_mib), "-XX:+UseSerialGC",
        "-Djava.net.preferIPv4Stack=true", "-Dorg.apache.hbase.thirdparty.io.netty.tryReflectionSetAccessible=true",
        "--add-modules", "jdk.unsupported",
        *(word for package in _OPEN for word in ("--add-opens", f"java.base/{package}=ALL-UNNAMED")),
        *(word for package in _EXPORTED for word in ("--add-exports", f"{package}=ALL-UNNAMED")),
        "-cp", f"{configuration}:{context.installation.part('hbase')}/lib/*",
        main_class, "start",
    )  # fmt: skip
