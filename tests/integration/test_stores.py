"""HBase and OpenSearch of the running appliance: what they keep and what they refuse."""

from __future__ import annotations

import uuid

import pytest
from opensearchpy import OpenSearch
from opensearchpy.exceptions import AuthenticationException, AuthorizationException, SSLError

from appliance.clients import hbase, opensearch
from appliance.parts.base import Context
from appliance.ports import Port

pytestmark = pytest.mark.integration


def test_hbase_keeps_every_cell_and_creates_a_table_once(live: Context) -> None:
    name = f"{live.installation.tenant}:test_{uuid.uuid4().hex}"
    with hbase.connect(live) as connection:
        assert hbase.create_table(connection, name, {"e": {"max_versions": 1}})
        assert not hbase.create_table(connection, name, {"e": {"max_versions": 1}})
        try:
            table = connection.table(name)
            with table.batch(batch_size=100) as batch:
                for number in range(1_000):
                    batch.put(b"%04d" % number, {b"e:v": b"%d" % number})
            got = {row: cells[b"e:v"] for row, cells in table.scan(batch_size=500)}
            assert got == {b"%04d" % number: b"%d" % number for number in range(1_000)}
        finally:
            connection.delete_table(name, disable=True)


def test_hbase_connection_mends_itself(live: Context) -> None:
    with hbase.connect(live) as connection:
        before = connection.tables()
        connection.transport.close()
        assert connection.tables() == before


def test_alerter_writes_and_gateway_only_reads(live: Context) -> None:
    index = f"{live.installation.tenant}-alerts-test-{uuid.uuid4().hex}"
    with opensearch.connect(live, "alerter") as alerter, opensearch.connect(live, "gateway") as gateway:
        try:
            alerter.index(index=index, id="1", body={"text": "too large an amount"}, params={"refresh": "true"})
            found = gateway.search(index=index, body={"query": {"match": {"text": "large"}}})
            assert [hit["_id"] for hit in found["hits"]["hits"]] == ["1"]
            with pytest.raises(AuthorizationException):
                gateway.index(index=index, id="2", body={})
            with pytest.raises(AuthorizationException):
                gateway.indices.delete(index=index)
        finally:
            alerter.indices.delete(index=index)


@pytest.mark.parametrize("index", ["elsewhere", ".opendistro_security"])
def test_alerter_reaches_no_other_index(live: Context, index: str) -> None:
    with opensearch.connect(live, "alerter") as alerter, pytest.raises(AuthorizationException):
        alerter.index(index=index, id="1", body={})


def test_a_wrong_password_and_an_unknown_authority_are_refused(live: Context) -> None:
    plain = {"host": "127.0.0.1", "port": live.port(Port.OPENSEARCH)}
    authority = str(opensearch.certificates(live) / "ca.pem")
    login = ("alerter", "wrong")
    with OpenSearch([plain], use_ssl=True, ca_certs=authority, http_auth=login) as client:  # noqa: SIM117
        with pytest.raises(AuthenticationException):
            client.info()
    with OpenSearch([plain], use_ssl=True, verify_certs=True, http_auth=login) as client:  # noqa: SIM117
        with pytest.raises(SSLError):
            client.info()
