"""How answers and errors look as HTTP."""

from __future__ import annotations

import pydantic
from aiohttp import web

from agentenv.sandbox.service.refusals import AtCapacity, Refusal
from agentenv.sandbox.service.wire import ErrorReply, ErrorView, ResultReply


def json_response(model: pydantic.BaseModel, status: int = 200) -> web.Response:
    """A model as the body of an answer."""
    return web.Response(body=model.model_dump_json().encode(), status=status, content_type="application/json")


def error_view(refusal: Refusal) -> ErrorView:
    """A refusal as it goes over the wire."""
    result = None if refusal.result is None else ResultReply.of(refusal.result)
    if isinstance(refusal, AtCapacity):
        return ErrorView(
            code=refusal.code,
            message=str(refusal),
            queued=refusal.queued,
            running=refusal.running,
            retry_after=refusal.retry_after,
        )
    return ErrorView(code=refusal.code, message=str(refusal), result=result)


def error_response(refusal: Refusal, status: int | None = None) -> web.Response:
    """A refusal as an answer; one for lack of room says when to come again."""
    response = json_response(ErrorReply(error=error_view(refusal)), status or refusal.code.http_status)
    if isinstance(refusal, AtCapacity):
        response.headers["Retry-After"] = str(refusal.retry_after)
    return response


def explain(error: pydantic.ValidationError) -> str:
    """What is wrong with a request, one line a problem."""
    problems = []
    for detail in error.errors(include_url=False, include_context=False):
        place = ".".join(str(step) for step in detail["loc"])
        problems.append(f"{place}: {detail['msg']}" if place else detail["msg"])
    return "\n".join(problems)
