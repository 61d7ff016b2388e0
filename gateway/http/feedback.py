"""``POST /v1/feedback``."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import msgspec
from litestar import Request, post
from litestar.openapi.spec import Example, OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema

from gateway.feedback import MOST_ITEMS, FeedbackDesk, body, statements
from gateway.http.auth import Caller
from gateway.http.serving import Serving


class Taken(msgspec.Struct, frozen=True):
    """The ids of the statements taken, in the order they were given."""

    feedback_ids: list[str]


@dataclass
class FeedbackOperation(Operation):
    """The body, which the handler reads itself so that it can name every wrong field."""

    def __post_init__(self) -> None:
        text = Schema(type=OpenAPIType.STRING, min_length=1, max_length=200)
        item = Schema(
            type=OpenAPIType.OBJECT,
            description="either event_key or prediction_id; label null takes back what this kind of source said before",
            properties={
                "event_key": text,
                "prediction_id": text,
                "label": Schema(type=[OpenAPIType.INTEGER, OpenAPIType.BOOLEAN, OpenAPIType.NULL]),
                "known_at": Schema(type=[OpenAPIType.STRING, OpenAPIType.INTEGER]),
                "feedback_id": text,
                "note": Schema(type=OpenAPIType.STRING, max_length=1000),
            },
            required=["label"],
            additional_properties=False,
        )
        schema = Schema(
            type=OpenAPIType.OBJECT,
            properties={
                "service": Schema(type=OpenAPIType.STRING),
                "items": Schema(type=OpenAPIType.ARRAY, items=item, min_items=1, max_items=MOST_ITEMS),
            },
            required=["service", "items"],
        )
        example = {"service": "card_fraud", "items": [{"event_key": "4711", "label": 1, "feedback_id": "case-12"}]}
        self.request_body = RequestBody(
            required=True,
            content={"application/json": OpenAPIMediaType(schema=schema, examples={"a fraud": Example(value=example)})},
        )


@post(
    "/v1/feedback",
    status_code=202,
    operation_class=FeedbackOperation,
    summary="Say what events turned out to be",
    tags=["learning"],
)
async def give_feedback(request: Request[Caller, Any, Any], serving: Serving, feedback_desk: FeedbackDesk) -> Taken:
    """Statements on events of one service, kept for good when the answer comes; the same `feedback_id` again says
    nothing new. Which answer counts where sources contradict each other: docs/learning.md."""
    app = request.user.as_app()
    asked = body(await request.body())
    app.may_use(asked.service)
    serving.scorer(asked.service)
    said = statements(asked, "http", app.id, serving.now_us())
    await asyncio.to_thread(feedback_desk.take, said)
    return Taken([one.feedback_id for one in said])
