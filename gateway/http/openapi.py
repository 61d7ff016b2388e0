"""What the OpenAPI description says beyond the handlers' types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litestar.openapi.spec import Example, OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat

from stream_jobs.plan import Column, Service

_TYPES: dict[str, Schema] = {
    "int64": Schema(type=OpenAPIType.INTEGER),
    "decimal": Schema(one_of=[Schema(type=OpenAPIType.NUMBER), Schema(type=OpenAPIType.STRING)]),
    "float64": Schema(type=OpenAPIType.NUMBER),
    "string": Schema(type=OpenAPIType.STRING),
    "bool": Schema(type=OpenAPIType.BOOLEAN),
    "timestamp_us": Schema(
        one_of=[
            Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.DATE_TIME),
            Schema(type=OpenAPIType.INTEGER, description="µs since 1970-01-01 UTC"),
        ]
    ),
}
_EXAMPLES: dict[str, Any] = {
    "int64": 1,
    "decimal": "12.50",
    "float64": 1.5,
    "string": "text",
    "bool": True,
    "timestamp_us": "2026-01-31T12:00:00Z",
}


def row_schema(service: Service) -> Schema:
    """The row of a service; every field but the event time must be given."""
    return Schema(
        title=f"row of {service.name}",
        type=OpenAPIType.OBJECT,
        properties={column.name: _TYPES[column.type] for column in service.row},
        required=[column.name for column in service.row if column.name != service.event_time],
        additional_properties=False,
    )


def row_example(service: Service) -> dict[str, Any]:
    return {column.name: _example(column) for column in service.row}


def _example(column: Column) -> Any:
    return _EXAMPLES[column.type]


@dataclass
class PredictOperation(Operation):
    """The body of ``predict``, which the handler reads itself so that it can name every wrong field."""

    def __post_init__(self) -> None:
        row = Schema(type=OpenAPIType.OBJECT, description="the fields of a row: GET /v1/services names them")
        self.request_body = RequestBody(
            required=True,
            content={
                "application/json": OpenAPIMediaType(
                    schema=Schema(
                        type=OpenAPIType.OBJECT,
                        properties={
                            "rows": Schema(type=OpenAPIType.ARRAY, items=row, min_items=1),
                            "request_id": Schema(type=OpenAPIType.STRING, min_length=1, max_length=200),
                            "max_staleness_ms": Schema(
                                type=OpenAPIType.INTEGER,
                                minimum=0,
                                description="how old the features may be, in ms; older: 503 features.stale",
                            ),
                            "timeout_ms": Schema(
                                type=OpenAPIType.INTEGER,
                                minimum=1,
                                description="in which the answer is of use; later: 504 request.timeout",
                            ),
                            "explain_time": Schema(
                                type=OpenAPIType.BOOLEAN, description="say in spent_us how long each step took"
                            ),
                        },
                        required=["rows"],
                        additional_properties=False,
                    ),
                    examples={"one row": Example(value={"rows": [{"…": "…"}], "request_id": "payment-4711"})},
                )
            },
        )
