"""Stock clients at the model server: Triton's own by gRPC, and the KServe v2 protocol by plain HTTP (docs/api.md)."""

from __future__ import annotations

import json

import httpx
import numpy as np
import pytest
import tritonclient.grpc as stock

from appliance import golden
from appliance.clients.triton_repository import INPUT, OUTPUT
from appliance.golden import Golden
from appliance.parts.base import Context
from appliance.ports import Port

pytestmark = pytest.mark.integration
_MODEL = "card_fraud"


@pytest.fixture
def rows(live: Context) -> Golden:
    return golden.read(live.layout.model_repository / _MODEL)


def _http(live: Context) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{live.port(Port.TRITON_HTTP)}", timeout=10)


def test_the_stock_grpc_client_reads_what_a_model_takes_and_gets_its_scores(live: Context, rows: Golden) -> None:
    features = np.array(rows.inputs(), np.float32)
    with stock.InferenceServerClient(f"127.0.0.1:{live.port(Port.TRITON_GRPC)}") as client:
        assert client.is_server_ready() and client.is_model_ready(_MODEL)
        described = client.get_model_metadata(_MODEL, as_json=True)
        assert [(each["name"], each["datatype"], each["shape"]) for each in described["inputs"]] == [
            (INPUT, "FP32", ["-1", str(features.shape[1])])
        ]
        assert [(each["name"], each["datatype"]) for each in described["outputs"]] == [(OUTPUT, "FP32")]
        tensor = stock.InferInput(INPUT, list(features.shape), "FP32")
        tensor.set_data_from_numpy(features)
        answer = client.infer(_MODEL, [tensor], outputs=[stock.InferRequestedOutput(OUTPUT)])
    assert answer.get_response().model_version == rows.version
    assert np.abs(answer.as_numpy(OUTPUT).reshape(-1) - np.array(rows.scores)).max() <= rows.tolerance


def test_plain_http_with_json(live: Context, rows: Golden) -> None:
    whole = [place for place, row in enumerate(rows.rows) if None not in row]
    features = [rows.rows[place] for place in whole]
    data = [value for row in features for value in row]
    tensor = {"name": INPUT, "shape": [len(features), len(features[0])], "datatype": "FP32", "data": data}
    with _http(live) as client:
        assert client.get("/v2/health/ready").status_code == 200
        assert client.get(f"/v2/models/{_MODEL}").json()["inputs"][0]["name"] == INPUT
        answer = client.post(f"/v2/models/{_MODEL}/infer", json={"inputs": [tensor]}).raise_for_status().json()
        wrong = client.post(f"/v2/models/{_MODEL}/infer", json={"inputs": [tensor | {"name": "nothing"}]})
    (output,) = answer["outputs"]
    assert (output["name"], output["shape"]) == (OUTPUT, [len(features), 1])
    assert output["data"] == pytest.approx([rows.scores[place] for place in whole], abs=rows.tolerance)
    assert wrong.status_code == 400 and "nothing" in wrong.json()["error"]


def test_plain_http_with_binary_tensors_takes_missing_values(live: Context, rows: Golden) -> None:
    features = np.array(rows.inputs(), "<f4")
    features[0, 0] = np.nan
    tensor = {
        "name": INPUT, "shape": list(features.shape), "datatype": "FP32",
        "parameters": {"binary_data_size": features.nbytes},
    }  # fmt: skip
    header = json.dumps({"inputs": [tensor], "outputs": [{"name": OUTPUT}]}).encode()
    with _http(live) as client:
        answer = client.post(
            f"/v2/models/{_MODEL}/infer",
            content=header + features.tobytes(),
            headers={"Inference-Header-Content-Length": str(len(header))},
        )
    scores = answer.raise_for_status().json()["outputs"][0]["data"]
    assert scores[1:] == pytest.approx(rows.scores[1:], abs=rows.tolerance)
    assert 0 <= scores[0] <= 1
