"""What a service says of itself, whom it lets in, and that what is wrong with a request is told and harms nobody."""

from __future__ import annotations

import re
from typing import Any

import pydantic
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentenv.errors import ConfigError
from agentenv.sandbox import Isolation, Sandbox, SandboxFailed, Stream
from agentenv.sandbox.registry import make_backend
from agentenv.sandbox.service import SandboxService, ServiceConfig
from agentenv.sandbox.service.openapi import openapi_document
from agentenv.sandbox.service.refusals import Code
from agentenv_remote import RemoteSandboxes
from tests.cli.support import here
from tests.sandbox_service.asking import ask, opened, serving

SAMPLE = re.compile(r'^agentenv_sandbox_[a-z_]+(\{[a-z]+="[^"]+"\})? \d+(\.\d+)?(e-\d+)?$')


async def test_it_listens_on_this_machine_only_unless_it_is_told_and_has_a_key(service: SandboxService) -> None:
    assert service.url.startswith("http://127.0.0.1:")
    for host in ("0.0.0.0", "::", "10.1.2.3"):
        with pytest.raises(pydantic.ValidationError, match="needs an API key"):
            ServiceConfig(host=host)
    ServiceConfig(host="0.0.0.0", api_key="secret")  # type: ignore[arg-type]  # pydantic makes it a secret


async def test_it_says_what_it_serves(service: SandboxService, sandboxes: RemoteSandboxes) -> None:
    assert (await ask(service, "GET", "/health")).json == {"status": "ok"}
    view = (await ask(service, "GET", "/")).json
    assert (view["backend"], view["isolation"], view["running"]) == ("local", "namespaces", 0)
    assert (await sandboxes.probe()).isolation is Isolation.NAMESPACES
    assert (await RemoteSandboxes(service.url).probe()).broken == {}


async def test_a_key_is_asked_for_by_all_but_the_health_check() -> None:
    async with serving(api_key="secret") as service:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}):
            refused = await ask(service, "POST", "/sandboxes", **headers)
            assert (refused.status, refused.code) == (401, "unauthorized")
        assert (await ask(service, "POST", "/sandboxes", Authorization="Bearer secret")).status == 201
        assert (await ask(service, "GET", "/health")).status == 200
        with pytest.raises(ConfigError, match="API key"):
            await RemoteSandboxes(service.url).open()
        async with RemoteSandboxes(service.url, api_key="secret") as sandboxes, sandboxes.sandbox() as sandbox:
            assert (await sandbox.exec("true")).ok


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Host": "evil.example"}])
async def test_a_web_page_of_somebody_elses_gets_nothing(service: SandboxService, headers: dict[str, str]) -> None:
    refused = await ask(service, "POST", "/run_code", {"code": "1", "language": "python"}, **headers)
    assert (refused.status, refused.code) == (403, "foreign_origin")


WRONG: list[tuple[str, str, Any, int, str]] = [
    ("POST", "{sandbox}/exec", b"{", 400, "malformed"),
    ("POST", "{sandbox}/exec", b"\xff\xfe", 400, "malformed"),
    ("POST", "{sandbox}/exec", [], 400, "malformed"),
    ("POST", "{sandbox}/exec", {}, 400, "malformed"),
    ("POST", "{sandbox}/exec", {"command": 5}, 400, "malformed"),
    ("POST", "{sandbox}/exec", {"command": "true", "wall_second": 1}, 400, "malformed"),
    ("POST", "{sandbox}/exec", {"command": "true", "wall_seconds": -1}, 400, "malformed"),
    ("POST", "{sandbox}/exec", {"command": "true", "stdin": {"base64": "?"}}, 400, "malformed"),
    ("POST", "{sandbox}/exec", {"command": []}, 422, "impossible"),
    ("POST", "/sandboxes", {"limits": {"memory": 5}}, 400, "malformed"),
    ("POST", "/sandboxes", {"limits": {"pids": 0}}, 400, "malformed"),
    ("POST", "/sandboxes", {"limits": {"network": "host"}}, 422, "impossible"),
    ("POST", "/sandboxes/unknown/exec", {"command": "true"}, 404, "unknown_sandbox"),
    ("POST", "/sandboxes/%00%2F..%2F%F0%9F%92%A3/exec", {"command": "true"}, 404, "unknown_sandbox"),
    ("POST", "/sandboxes/" + "x" * 5000 + "/exec", {"command": "true"}, 404, "unknown_sandbox"),
    ("DELETE", "/sandboxes/unknown", None, 404, "unknown_sandbox"),
    ("POST", "{sandbox}/sessions/unknown/run", {"code": "1"}, 404, "unknown_session"),
    ("GET", "{sandbox}/files", None, 400, "malformed"),
    ("GET", "{sandbox}/files?path=missing", None, 422, "file_error"),
    ("GET", "{sandbox}/files?path=x&limit=many", None, 400, "malformed"),
    ("PUT", "{sandbox}/files?path=/etc/passwd", b"x", 422, "file_error"),
    ("PUT", "{sandbox}/snapshot", b"no archive", 422, "file_error"),
    ("GET", "{sandbox}/exec", None, 405, "not_found"),
    ("GET", "/nothing/here", None, 404, "not_found"),
    ("POST", "/run_code", {"language": "python"}, 400, "malformed"),
    ("POST", "/run_code", {"code": "1", "language": "python", "files": {"a": "a"}}, 400, "malformed"),
    ("POST", "/heartbeat", {"sandboxes": "all"}, 400, "malformed"),
]


async def test_whatever_is_wrong_is_told_and_the_sandbox_lives_on(service: SandboxService) -> None:
    sandbox = await opened(service)
    for method, path, body, status, code in WRONG:
        refused = await ask(service, method, path.format(sandbox=sandbox), body)
        assert (refused.status, refused.code) == (status, code), f"{method} {path} {body!r}: {refused.body!r}"
        assert refused.json["error"]["message"]
    assert (await ask(service, "POST", f"{sandbox}/exec", {"command": "echo on"})).json["stdout"]["data"] == "on\n"


async def test_a_body_of_fifty_megabytes_is_refused_before_it_is_read(service: SandboxService) -> None:
    sandbox = await opened(service)
    for method, path in (("POST", "exec"), ("PUT", "files?path=big"), ("PUT", "snapshot")):
        refused = await ask(service, method, f"{sandbox}/{path}", bytes(50_000_000))
        assert (refused.status, refused.code) == (413, "too_large")
        assert "--max-body" in refused.json["error"]["message"]


async def test_bytes_that_are_no_text_travel_whole(service: SandboxService) -> None:
    sandbox = await opened(service)
    body = {"command": ["cat"], "stdin": {"base64": "AP/+"}}
    result = (await ask(service, "POST", f"{sandbox}/exec", body)).json
    assert result["stdout"] == {"data": {"base64": "AP/+"}, "dropped": 0}
    assert (await ask(service, "POST", f"{sandbox}/exec", {**body, "stdin": "hé"})).json["stdout"]["data"] == "hé"


async def test_a_stream_has_a_line_for_each_piece_and_the_result_at_last(service: SandboxService) -> None:
    sandbox = await opened(service)
    streamed = {"code": "import time\nprint(1, flush=True)\ntime.sleep(0.1)\nprint(2)", "stream": True}
    answer = await ask(service, "POST", f"{sandbox}/python", streamed)
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    *pieces, last = answer.body.splitlines()
    assert [b'"1\\n"' in pieces[0], b'"2\\n"' in pieces[1]] == [True, True]
    assert b'"cause":"ok"' in last


async def test_a_listener_that_fails_is_no_failure_of_the_connection(sandbox: Sandbox) -> None:
    def listen(stream: Stream, data: bytes) -> None:
        raise OSError("the listener's disk is full")

    with pytest.raises(OSError, match="the listener's disk is full"):
        await sandbox.exec("echo on; sleep 60", on_output=listen)
    while (await sandbox.exec("pgrep sleep")).ok:
        pass


async def test_limits_that_are_left_out_are_the_services(service: SandboxService) -> None:
    made = (await ask(service, "POST", "/sandboxes", {"limits": {"wall_seconds": 3}})).json
    assert (made["limits"]["wall_seconds"], made["limits"]["pids"]) == (3, 32)


async def test_metrics_are_what_prometheus_reads(service: SandboxService) -> None:
    sandbox = await opened(service)
    for command in ("true", "false", "false"):
        await ask(service, "POST", f"{sandbox}/exec", {"command": command})
    page = await ask(service, "GET", "/metrics")
    assert page.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = page.body.decode().splitlines()
    samples = [line for line in lines if not line.startswith("# ")]
    assert all(SAMPLE.match(line) for line in samples), samples
    assert 'agentenv_sandbox_executions_total{cause="ok"} 1' in samples
    assert 'agentenv_sandbox_executions_total{cause="program_error"} 2' in samples
    assert "agentenv_sandbox_execution_seconds_count 3" in samples
    assert "agentenv_sandbox_open 1" in samples
    kinds = {line.split()[2]: line.split()[3] for line in lines if line.startswith("# TYPE")}
    assert {re.sub(r"(_bucket|_sum|_count)?(\{.*)? .*", "", line) for line in samples} == set(kinds)


async def test_the_schema_is_whole_and_every_path_in_it_is_served(service: SandboxService) -> None:
    document = (await ask(service, "GET", "/openapi.json")).json
    assert document == openapi_document()
    used = set(re.findall(r"#/components/schemas/(\w+)", repr(document)))
    assert used == set(document["components"]["schemas"])
    operations = [(path, method, one) for path, item in document["paths"].items() for method, one in item.items()]
    names = [one["operationId"] for _, method, one in operations if method != "parameters"]
    assert len(names) == len(set(names)) == 20
    for path, method, _ in operations:
        if method != "parameters":
            answer = await ask(service, method.upper(), path.replace("{", "").replace("}", ""), b"{}")
            assert answer.status != 405
            assert answer.status < 400 or answer.code != "not_found", path
    assert set(document["components"]["schemas"]["Code"]["enum"]) == {code.value for code in Code}
    assert all(400 <= code.http_status < 600 for code in Code)


async def test_an_address_and_a_key_may_be_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENTENV_SANDBOX_URL", raising=False)
    with pytest.raises(ConfigError, match="AGENTENV_SANDBOX_URL"):
        make_backend("remote")
    async with serving(api_key="secret") as service:
        monkeypatch.setenv("AGENTENV_SANDBOX_URL", service.url)
        monkeypatch.setenv("AGENTENV_SANDBOX_KEY", "secret")
        async with make_backend("remote") as sandboxes, sandboxes.sandbox() as sandbox:
            assert (await sandbox.exec("true")).ok


async def test_who_is_no_service_is_told_from_one_that_does_not_answer() -> None:
    with pytest.raises(SandboxFailed, match="was lost"):
        await RemoteSandboxes("http://127.0.0.1:9").open()
    with pytest.raises(ConfigError, match="no sandbox service of this version"):
        async with TestServer(web.Application()) as stranger:
            await RemoteSandboxes(str(stranger.make_url(""))).open()
    with pytest.raises(ConfigError, match="no URL"):
        await RemoteSandboxes("nowhere").open()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--host", "0.0.0.0"], "needs an API key"),
        (["--backend", "lokal"], "Did you mean 'local'?"),
        (["--backend.wram", "2"], "Did you mean 'warm'?"),
        (["--limits.wal_seconds", "2"], "Did you mean 'wall_seconds'"),
    ],
)
def test_a_mistake_in_the_command_is_one_line(arguments: list[str], says: str) -> None:
    result = here("sandbox", "serve", *arguments)
    assert result.code == 1
    assert says in result.err
    assert "Traceback" not in result.err
