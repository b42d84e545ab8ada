"""The published schema: well formed, complete, and the same as what the server does."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pydantic
import pytest

from agentenv.gateway.environments.openapi import openapi_document
from agentenv.gateway.environments.refusals import Code
from agentenv.gateway.environments.wire import ErrorReply, StepReply, TakeStep
from tests.environment_server.actors import spec
from tests.environment_server.serving import calling, serving


def nodes(value: Any) -> list[dict[str, Any]]:
    """Every JSON object in a document."""
    if isinstance(value, dict):
        return [value, *(node for inner in value.values() for node in nodes(inner))]
    return [node for inner in value for node in nodes(inner)] if isinstance(value, list) else []


def operations() -> list[dict[str, Any]]:
    methods = ("get", "post", "delete")
    return [item[method] for item in openapi_document()["paths"].values() for method in methods if method in item]


async def test_the_server_publishes_it() -> None:
    async with (
        serving(spec("Turns")) as server,
        aiohttp.ClientSession() as http,
        http.get(f"{server.url}/openapi.json") as response,
    ):
        assert await response.json() == openapi_document()


def test_it_is_openapi_3_1_and_every_reference_leads_somewhere() -> None:
    document = openapi_document()
    assert document["openapi"] == "3.1.0"
    references = [node["$ref"] for node in nodes(document) if "$ref" in node]
    assert references
    for reference in references:
        target: Any = document
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]
        assert isinstance(target, dict)
    used = {reference.rsplit("/", 1)[1] for reference in references}
    assert used == set(document["components"]["schemas"]), "no schema is published that nothing uses"


def test_every_operation_has_a_name_of_its_own_and_says_how_it_fails() -> None:
    names = [operation["operationId"] for operation in operations()]
    assert len(names) == len(set(names)) == 8
    assert all("default" in operation["responses"] for operation in operations())


def test_every_parameter_in_a_path_is_described() -> None:
    for path, item in openapi_document()["paths"].items():
        described = {parameter["name"] for parameter in item.get("parameters", ()) if parameter["in"] == "path"}
        assert described == {part[1:-1] for part in path.split("/") if part.startswith("{")}


def test_every_error_code_has_an_http_status_and_is_in_the_schema() -> None:
    schema = openapi_document()["components"]["schemas"]["Code"]
    assert set(schema["enum"]) == {code.value for code in Code}
    assert all(400 <= code.http_status < 600 for code in Code)


@pytest.mark.parametrize("change", [{}, {"turn": None}, {"message": None}, {"request_id": None}, {"epoch": None}])
async def test_the_check_of_a_step_by_hand_agrees_with_its_schema(change: dict[str, Any]) -> None:
    async with serving(spec("Turns")) as server, calling(server.url) as caller:
        session = await caller.create()
        body = {
            "request_id": "a request",
            "epoch": session["epoch"],
            "turn": 0,
            "message": {"role": "assistant", "content": "hello"},
        } | change
        answer = await caller.ask("step", session=session["session"], **body)
    if change:
        with pytest.raises(pydantic.ValidationError):
            TakeStep.model_validate(body)
        ErrorReply.model_validate_json(json.dumps(answer.body))
    else:
        TakeStep.model_validate(body)
        StepReply.model_validate_json(json.dumps(answer.body))
