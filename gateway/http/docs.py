"""``/v1/schema``: the API's description as a page of our own, which needs nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from litestar import MediaType
from litestar.connection import Request
from litestar.openapi.plugins import OpenAPIRenderPlugin

from gateway.console import templates


class PagePlugin(OpenAPIRenderPlugin):
    """Renders the operations with their parameters and answers. The JSON is at ``/v1/schema/openapi.json``."""

    def __init__(self, *, path: str | Sequence[str] = ("/", "/docs"), **kwargs: Any) -> None:
        super().__init__(path=path, media_type=MediaType.HTML, **kwargs)

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        operations = [
            {"method": method.upper(), "path": path, **operation}
            for path, methods in sorted(openapi_schema["paths"].items())
            for method, operation in methods.items()
            if isinstance(operation, dict)
        ]
        return templates.render("docs.html", operations=operations, info=openapi_schema["info"])
