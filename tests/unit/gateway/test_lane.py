"""What goes the short way, and what a refusal before parsing takes for a whole request."""

from __future__ import annotations

from typing import Any, cast

import pytest

from gateway.apps import Apps
from gateway.http.lane import Lane
from gateway.http.predict import Predictor
from gateway.http.protocol import _whole

_APP = [(b"x-app-id", b"app-1"), (b"authorization", b"Bearer secret")]
_URL = b"/v1/services/card_fraud/predict"


class _Known:
    def remembered(self, app_id: str) -> bool:
        return app_id == "app-1"


def _lane() -> Lane:
    return Lane(cast(Predictor, None), cast(Apps, _Known()))


def test_the_ordinary_form_passes() -> None:
    passage = _lane().enter(b"POST", _URL, _APP, 1, True)
    assert passage is not None
    assert (passage.service, passage.app_id, passage.token) == ("card_fraud", "app-1", "secret")


@pytest.mark.parametrize(
    ("method", "url", "headers"),
    [
        (b"GET", _URL, _APP),
        (b"POST", b"/v1/services/card%20fraud/predict", _APP),
        (b"POST", b"/v1/services/a/b/predict", _APP),
        (b"POST", b"/console/predict", _APP),
        (b"POST", _URL + b"?x=/predict", _APP),
        (b"POST", _URL, [(b"x-app-id", b"app-2"), _APP[1]]),
        (b"POST", _URL, [_APP[0], (b"authorization", b"Basic secret")]),
        (b"POST", _URL, [_APP[0]]),
        (b"POST", _URL, [*_APP, (b"transfer-encoding", b"chunked")]),
    ],
)
def test_anything_else_goes_the_long_way(method: bytes, url: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    assert _lane().enter(method, url, headers, 1, True) is None


def _raw(body: bytes = b"{}", **more: Any) -> bytes:
    headers = {"Host": "x", "Content-Length": len(body), **{name.replace("_", "-"): v for name, v in more.items()}}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return b"POST " + _URL + b" HTTP/1.1\r\n" + lines.encode() + b"\r\n" + body


def test_a_whole_request_is_known_by_its_bytes() -> None:
    assert _whole(_raw()) == 2
    assert _whole(_raw(b"x" * 700, Connection="keep-alive")) == 700


@pytest.mark.parametrize(
    "data",
    [
        _raw()[:-1],
        _raw() + _raw(),
        _raw()[:40],
        b"",
        _raw().replace(b"/predict", b"/features"),
        _raw().replace(b"POST", b"PUT"),
        _raw().replace(b"Content-Length: 2\r\n", b""),
        _raw(Connection="close"),
        _raw(Transfer_Encoding="chunked"),
        _raw(Expect="100-continue"),
    ],
)
def test_what_is_not_one_whole_request_is_left_to_the_parser(data: bytes) -> None:
    assert _whole(data) == -1
