"""Every port of the appliance, as an offset from the port base."""

from __future__ import annotations

from enum import IntEnum

DEFAULT_BASE = 21000


class Port(IntEnum):
    """Offsets from the port base."""

    GATEWAY = 0
    KAFKA = 1
    KAFKA_CONTROLLER = 2
    CONNECT = 3
    POSTGRES = 4
    SAMPLE_DB = 5
    REDIS = 6
    OPENSEARCH = 7
    OPENSEARCH_TRANSPORT = 8
    TRITON_HTTP = 9
    TRITON_GRPC = 10
    TRITON_METRICS = 11
    FLINK_REST = 12
    FLINK_JOBMANAGER_RPC = 13
    FLINK_BLOB = 14
    FLINK_TASKMANAGER_RPC = 15
    FLINK_TASKMANAGER_DATA = 16
    FLINK_QUERY_JOBMANAGER = 17
    FLINK_QUERY_TASKMANAGER = 18
    TRITON_METRICS_OTHER = 19
    HBASE_ZOOKEEPER = 21
    HBASE_MASTER = 22
    HBASE_MASTER_INFO = 23
    HBASE_REGIONSERVER = 24
    HBASE_REGIONSERVER_INFO = 25
    HBASE_THRIFT = 26
    HBASE_THRIFT_INFO = 27
    FEAST_UI = 28
