"""The OpenAPI 3.1 description of the service, made of the models in `wire.py` and `fusion_wire.py`."""

from __future__ import annotations

import functools
from typing import Any

import pydantic
from pydantic.json_schema import models_json_schema

import agentenv
from agentenv.sandbox.service import fusion_wire, wire

Json = dict[str, Any]

_MODELS: tuple[type[pydantic.BaseModel], ...] = (
    fusion_wire.RunCode,
    fusion_wire.RunCodeReply,
    wire.CreateSandbox,
    wire.EntriesReply,
    wire.ErrorReply,
    wire.Execute,
    wire.Heartbeat,
    wire.HeartbeatReply,
    wire.PromisesReply,
    wire.ResultReply,
    wire.RunInSession,
    wire.RunPython,
    wire.SandboxReply,
    wire.ServiceView,
    wire.SessionReply,
    wire.StatsReply,
    wire.StreamLine,
)

_DESCRIPTION = """\
Sandboxes to run what a model wrote: create one, run commands and code in it, read and write its files, close it.

A sandbox that nobody uses is closed when its lease is over; any request to it renews the lease, and so does a
heartbeat. Where too many executions wait already, the next one is refused at once (429) with `Retry-After`. An error
with the code `infra` is the sandbox's own failure, and never the program's."""


@functools.cache
def openapi_document() -> Json:
    """The document served at `/openapi.json`. Shared: do not change it."""
    _, schemas = models_json_schema(
        [(model, "validation") for model in _MODELS], ref_template="#/components/schemas/{model}"
    )
    security = {"bearer": {"type": "http", "scheme": "bearer", "description": "Where the service has an API key."}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "agentenv sandbox service", "version": agentenv.__version__, "description": _DESCRIPTION},
        "paths": {**_of_the_service(), **_of_a_sandbox(), **_of_its_files()},
        "components": {"schemas": schemas["$defs"], "securitySchemes": security},
        "security": [{}, {"bearer": []}],
    }


def _of_the_service() -> Json:
    run_code = _operation("runCode", "As SandboxFusion", fusion_wire.RunCodeReply, body=fusion_wire.RunCode)
    heartbeat = _operation("renewLeases", "Keep sandboxes open", wire.HeartbeatReply, body=wire.Heartbeat)
    return {
        "/": {"get": _operation("describeService", "What is served, and what goes on", wire.ServiceView)},
        "/promises": {"get": _operation("probe", "What the sandboxes are held to", wire.PromisesReply)},
        "/run_code": {"post": run_code},
        "/heartbeat": {"post": heartbeat},
        "/sandboxes": {
            "post": _operation("createSandbox", "A new sandbox", wire.SandboxReply, 201, wire.CreateSandbox)
        },
    }


def _of_a_sandbox() -> Json:
    base = "/sandboxes/{sandbox}"
    session = f"{base}/sessions/{{session}}"
    both = [_in_path("sandbox"), _in_path("session")]
    only = both[:1]
    return {
        base: {"parameters": only, "delete": _operation("closeSandbox", "End it and whatever runs in it")},
        f"{base}/exec": {"parameters": only, "post": _execution("execute", "Run a command", wire.Execute)},
        f"{base}/python": {"parameters": only, "post": _execution("runPython", "Run a program", wire.RunPython)},
        f"{base}/fork": {
            "parameters": only,
            "post": _operation("forkSandbox", "A new sandbox with the same files", wire.SandboxReply, 201),
        },
        f"{base}/stats": {"parameters": only, "get": _operation("stats", "What it uses now", wire.StatsReply)},
        f"{base}/kill": {"parameters": only, "post": _operation("killAll", "End every process in it")},
        f"{base}/sessions": {
            "parameters": only,
            "post": _operation("openSession", "A Python interpreter whose variables live on", wire.SessionReply, 201),
        },
        session: {"parameters": both, "delete": _operation("closeSession", "End the interpreter")},
        f"{session}/run": {
            "parameters": both,
            "post": _execution("runInSession", "Run code as at a prompt", wire.RunInSession),
        },
        f"{session}/fork": {
            "parameters": both,
            "post": _operation("forkSession", "A session with the same variables", wire.SessionReply, 201),
        },
    }


def _of_its_files() -> Json:
    base = "/sandboxes/{sandbox}"
    here = [_in_path("sandbox")]
    path = _in_query("path", "string", required=True)
    limit = _in_query("limit", "integer", required=False)
    executable = _in_query("executable", "boolean", required=False)
    bytes_in = {"requestBody": {"required": True, **_octets()}}
    bytes_out = {"responses": {"200": _octets("Done."), "default": _content(wire.ErrorReply, "Not done, and why.")}}
    return {
        f"{base}/files": {
            "parameters": here,
            "get": _operation("readFile", "A file's bytes") | bytes_out | {"parameters": [path, limit]},
            "put": _operation("writeFile", "Write a file") | bytes_in | {"parameters": [path, executable]},
        },
        f"{base}/entries": {
            "parameters": here,
            "get": _operation("listFolder", "The members of a folder", wire.EntriesReply)
            | {"parameters": [_in_query("path", "string", required=False)]},
        },
        f"{base}/snapshot": {
            "parameters": here,
            "get": _operation("snapshot", "Its files as a tar archive") | bytes_out,
            "put": _operation("restore", "Put files in place of those there are") | bytes_in,
        },
    }


def _in_path(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _in_query(name: str, type: str, *, required: bool) -> Json:
    return {"name": name, "in": "query", "required": required, "schema": {"type": type}}


def _execution(name: str, summary: str, body: type[pydantic.BaseModel]) -> Json:
    """An operation that answers with its result, or with lines of JSON if `stream` is asked for."""
    operation = _operation(name, summary, wire.ResultReply, body=body)
    operation["responses"]["200"]["content"]["application/x-ndjson"] = {"schema": _reference(wire.StreamLine)}
    return operation


def _operation(
    name: str,
    summary: str,
    reply: type[pydantic.BaseModel] | None = None,
    status: int = 200,
    body: type[pydantic.BaseModel] | None = None,
) -> Json:
    done = {"204": {"description": "Done."}} if reply is None else {str(status): _content(reply, "Done.")}
    failed = {"default": _content(wire.ErrorReply, "Not done, and why.")}
    operation: Json = {"operationId": name, "summary": summary, "responses": done | failed}
    if body is not None:
        operation["requestBody"] = {"required": True, **_content(body)}
    return operation


def _content(model: type[pydantic.BaseModel], description: str | None = None) -> Json:
    content: Json = {"content": {"application/json": {"schema": _reference(model)}}}
    return content if description is None else {"description": description, **content}


def _octets(description: str | None = None) -> Json:
    content: Json = {"content": {"application/octet-stream": {"schema": {}}}}
    return content if description is None else {"description": description, **content}


def _reference(model: type[pydantic.BaseModel]) -> Json:
    return {"$ref": f"#/components/schemas/{model.__name__}"}
