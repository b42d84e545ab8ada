"""The OpenAPI 3.1 description of the server, made of the models in `wire.py`."""

from __future__ import annotations

import functools
from typing import Any

import pydantic
from pydantic.json_schema import models_json_schema

import agentenv
from agentenv.gateway.environments import wire
from agentenv.gateway.environments.tasks import PAGE

_MODELS: tuple[type[pydantic.BaseModel], ...] = (
    wire.Acknowledgement,
    wire.CreateSession,
    wire.ErrorReply,
    wire.HeartbeatReply,
    wire.PlayRollout,
    wire.RolloutReply,
    wire.ServerView,
    wire.SessionReply,
    wire.SessionView,
    wire.StepReply,
    wire.TakeStep,
    wire.TaskPage,
)

_DESCRIPTION = """\
One environment, many sessions: create one, send assistant messages, read messages and rewards.

Every reply carries the request's id and the server's epoch. A step names the epoch it believes in and its number;
where either does not fit, nothing is done. `GET /socket` takes the same requests over a WebSocket, one JSON object a
line, each with `op` (server, tasks, create, step, view, heartbeat, close) and `session`."""


_LINES = 'With `stream`: lines {"episode": …}, the last one {"summary": …} or {"error": …}.'


@functools.cache
def openapi_document() -> dict[str, Any]:
    """The document served at `/openapi.json`. Shared: do not change it."""
    _, schemas = models_json_schema(
        [(model, "validation") for model in _MODELS], ref_template="#/components/schemas/{model}"
    )
    security = {"bearer": {"type": "http", "scheme": "bearer", "description": "Where the server has an API key."}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "agentenv environment server", "version": agentenv.__version__, "description": _DESCRIPTION},
        "paths": _paths(),
        "components": {"schemas": schemas["$defs"], "securitySchemes": security},
        "security": [{}, {"bearer": []}],
    }


def _paths() -> dict[str, Any]:
    session = {"name": "session", "in": "path", "required": True, "schema": {"type": "string"}}
    rollout = _operation("playRollout", "Play whole episodes", wire.RolloutReply, body=wire.PlayRollout)
    rollout["responses"]["200"]["content"]["application/x-ndjson"] = {
        "schema": {
            "type": "string",
            "description": 'With `stream`: lines {"episode": …}, the last one {"summary": …} or {"error": …}.',
        }
    }
    heartbeat = _operation("renewLease", "Keep a session open", wire.HeartbeatReply)
    close = _operation("closeSession", "Close a session, its step included", wire.Acknowledgement)
    return {
        "/": {"get": _operation("describeServer", "What is served", wire.ServerView)},
        "/tasks": {"get": _operation("listTasks", "Tasks of a split", wire.TaskPage) | {"parameters": _QUERY}},
        "/sessions": {
            "post": _operation("createSession", "Reset an environment", wire.SessionReply, 201, wire.CreateSession)
        },
        "/sessions/{session}": {
            "parameters": [session],
            "get": _operation("viewSession", "Everything said so far", wire.SessionView),
            "delete": close,
        },
        "/sessions/{session}/step": {
            "parameters": [session],
            "post": _operation("takeStep", "Answer with an assistant message", wire.StepReply, body=wire.TakeStep),
        },
        "/sessions/{session}/heartbeat": {"parameters": [session], "post": heartbeat},
        "/rollout": {"post": rollout},
    }


_QUERY = [
    {"name": "split", "in": "query", "schema": {"type": "string", "default": "train"}},
    {"name": "shuffle", "in": "query", "schema": {"type": "integer"}, "description": "A seed; without, as they stand."},
    {"name": "offset", "in": "query", "schema": {"type": "integer", "minimum": 0, "default": 0}},
    {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": PAGE, "default": 100}},
]


def _operation(
    name: str,
    summary: str,
    reply: type[pydantic.BaseModel],
    status: int = 200,
    body: type[pydantic.BaseModel] | None = None,
) -> dict[str, Any]:
    responses = {str(status): _content(reply, "Done."), "default": _content(wire.ErrorReply, "Not done, and why.")}
    operation: dict[str, Any] = {"operationId": name, "summary": summary, "responses": responses}
    if body is not None:
        operation["requestBody"] = {"required": True, **_content(body)}
    return operation


def _content(model: type[pydantic.BaseModel], description: str | None = None) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    content: dict[str, Any] = {"content": {"application/json": {"schema": schema}}}
    return content if description is None else {"description": description, **content}
