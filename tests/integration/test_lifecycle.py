"""The running appliance from outside: it works, nothing is open, no secret shows, users are held to their rights."""

from __future__ import annotations

import contextlib
import json
import re
import stat
import subprocess
from pathlib import Path

import httpx
import psycopg
import pytest
import redis
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from redis.exceptions import NoPermissionError

from appliance import launch, users
from appliance.clients import connect, kafka
from appliance.clients import redis as redis_clients
from appliance.parts.base import Context
from appliance.ports import Port

pytestmark = pytest.mark.integration


@pytest.fixture(scope="session")
def status(live: Context) -> dict[str, dict[str, object]]:
    """Part name → what ``appliance status --json`` says of it."""
    command = [live.layout.bin / "appliance", "status", "--json", "--timeout", "20"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    answer = json.loads(ended.stdout)
    assert ended.returncode == 0, [part for part in answer["parts"] if not part["ready"]]
    return {part["name"]: part for part in answer["parts"]}


def _ours(live: Context) -> list[int]:
    found = launch.marked(str(live.layout.etc))
    assert len(found) > 5, "the appliance's processes carry its mark"
    return found


def test_every_part_is_ready_and_its_memory_is_measured(status: dict[str, dict[str, object]]) -> None:
    assert {"kafka", "connect", "redis", "postgres", "sample-db", "keeper"} <= status.keys()
    for name, part in status.items():
        assert part["ready"], (name, part["detail"])
        assert isinstance(part["pss_mib"], float), name
        assert part["pss_mib"] > 0, name


def test_no_secret_stands_in_a_command_line(live: Context) -> None:
    secrets = {path.name: path.read_bytes() for path in live.secrets.folder.iterdir() if path.is_file()}
    assert len(secrets) > 5
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            line = (process / "cmdline").read_bytes()
            shown = [name for name, value in secrets.items() if len(value) >= 16 and value in line]
            assert not shown, f"process {process.name} shows {shown} to every user"


def test_no_secret_stands_in_a_log(live: Context) -> None:
    secrets = {path.name: path.read_bytes() for path in live.secrets.folder.iterdir() if path.is_file()}
    for log in live.layout.logs.glob("*.log"):
        text = log.read_bytes()
        shown = [name for name, value in secrets.items() if len(value) >= 16 and value in text]
        assert not shown, f"{log.name} has {shown}"


def test_secrets_and_generated_configuration_are_for_one_user_only(live: Context) -> None:
    files = [path for folder in (live.secrets.folder, live.layout.run) for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    secrets = [value for path in live.secrets.folder.iterdir() if len(value := path.read_bytes()) >= 16]
    for path in files:
        if path.is_relative_to(live.secrets.folder):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        elif any(secret in path.read_bytes() for secret in secrets):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    for folder in (live.secrets.folder, live.layout.run):
        assert stat.S_IMODE(folder.stat().st_mode) & 0o077 == 0, folder


def test_everything_listens_on_loopback_only(live: Context) -> None:
    """From the kernel's socket tables, for every process of ours."""
    inodes = set()
    for pid in _ours(live):
        with contextlib.suppress(OSError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if found := re.fullmatch(r"socket:\[(\d+)\]", str(descriptor.readlink())):
                        inodes.add(found[1])
    listening = {}
    for table, loopback in (("tcp", "0100007F"), ("tcp6", "00000000000000000000000001000000")):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                address, port = fields[1].split(":")
                mapped = address == "0000000000000000FFFF00000100007F"
                listening[int(port, 16)] = address == loopback or mapped
    assert len(listening) >= 6
    allowed = {live.port(Port.GATEWAY)} if live.settings.listen.address != "127.0.0.1" else set()
    assert {port for port, local in listening.items() if not local} <= allowed


def test_kafka_lets_nobody_in_without_a_password(live: Context) -> None:
    anonymous = AdminClient({"bootstrap.servers": kafka.bootstrap(live), "log_level": 0})
    with pytest.raises(KafkaException):
        anonymous.list_topics(timeout=3)
    wrong = AdminClient(kafka.client(live, "scorer", **{"sasl.password": "wrong"}))
    with pytest.raises(KafkaException):
        wrong.list_topics(timeout=3)


def test_kafka_refuses_the_scorer_a_write_to_captured_tables(live: Context) -> None:
    topic, control = f"{live.installation.tenant}.cdc.lifecycle-test.public.t", kafka.admin(live)
    kafka.ensure_topics(live, {topic: {"retention.ms": "60000"}})
    try:
        assert _written(live, "scorer", topic) == KafkaError.TOPIC_AUTHORIZATION_FAILED
        assert _written(live, users.ADMINISTRATOR, topic) is None
    finally:
        control.delete_topics([topic])[topic].result(20)


def _written(live: Context, user: str, topic: str) -> int | None:
    """Error code of writing one record, None if it was taken."""
    answers: list[int | None] = []
    producer = Producer(kafka.client(live, user, **{"message.timeout.ms": 10_000}))
    producer.produce(topic, b"x", on_delivery=lambda error, _: answers.append(error.code() if error else None))
    producer.flush(15)
    (answer,) = answers
    return answer


def test_redis_lets_nobody_in_without_a_password(live: Context) -> None:
    with (
        redis.Redis(port=live.port(Port.REDIS), socket_timeout=3) as anonymous,
        pytest.raises(redis.AuthenticationError),
    ):
        anonymous.get("x")


def test_redis_holds_our_users_to_the_tenants_keys(live: Context) -> None:
    with redis_clients.connect(live, "scorer") as client:
        key = f"{live.installation.tenant}:lifecycle-test"
        client.set(key, b"1", ex=5)
        assert client.get(key) == b"1"
        with pytest.raises(NoPermissionError):
            client.get("somebody-elses:key")
        with pytest.raises(NoPermissionError):
            client.flushall()


@pytest.mark.parametrize("port", [Port.POSTGRES, Port.SAMPLE_DB])
def test_postgresql_lets_nobody_in_without_a_password(live: Context, port: Port) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(host="127.0.0.1", port=live.port(port), user="postgres", dbname="postgres", connect_timeout=3)


def test_feasts_role_cannot_enter_the_appliances_records(live: Context) -> None:
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(
            host="127.0.0.1", port=live.port(Port.POSTGRES), user="feast", dbname="appliance",
            password=live.secrets.get("postgres.feast"), connect_timeout=3,
        )  # fmt: skip


def test_connect_asks_for_its_password_and_shows_no_secret(live: Context) -> None:
    address = f"http://127.0.0.1:{live.port(Port.CONNECT)}/connectors"
    assert httpx.get(address, trust_env=False).status_code == 401
    secrets = [path.read_text() for path in live.secrets.folder.iterdir() if path.is_file()]
    for name in connect.connectors(live):
        shown = json.dumps(connect.config(live, name))
        assert not [secret for secret in secrets if len(secret) >= 16 and secret in shown], name


def test_up_said_twice_changes_no_process(live: Context, status: dict[str, dict[str, object]]) -> None:
    ended = subprocess.run(
        [live.layout.bin / "appliance", "up", "redis", "postgres", "kafka", "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["ready"].keys() == {"redis", "postgres", "kafka"}
    ended = subprocess.run(
        [live.layout.bin / "appliance", "status", "redis", "postgres", "kafka", "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert {part["name"]: part["pid"] for part in json.loads(ended.stdout)["parts"]} == {
        name: status[name]["pid"] for name in ("redis", "postgres", "kafka")
    }
