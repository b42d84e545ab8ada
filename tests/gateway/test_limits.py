"""Keys, sizes, names and paths: what the gateway lets in, and how it says no."""

from __future__ import annotations

import asyncio
import urllib.parse
from collections.abc import Callable
from typing import Any

import aiohttp
import anthropic
import openai
import pytest

from agentenv.errors import ConfigError
from agentenv.gateway import Gateway, GatewayClient, GatewayClientError, GatewayConfig, GatewayError
from agentenv.gateway.sessions import problem_with_id
from tests.gateway.conftest import MESSAGES, Client, MakeGateway
from tests.gateway.test_calls import calls
from tests.gateway.upstream import Upstream, always, answer

ASKED: dict[str, Any] = {"model": "m", "messages": MESSAGES}


async def test_a_body_of_fifty_megabytes_is_refused_in_the_shape_the_library_knows(
    make_gateway: MakeGateway, client: Client, claude: Callable[[Gateway, str], anthropic.AsyncAnthropic]
) -> None:
    huge: Any = [{"role": "user", "content": "x" * 50_000_000}]
    async with Upstream(always(answer())) as upstream:
        gateway = await make_gateway(upstream.url)
        with pytest.raises(openai.APIStatusError, match="larger than") as caught:
            await client(gateway, "s").chat.completions.create(model="m", messages=huge)
        assert (caught.value.status_code, caught.value.code) == (413, "body_too_large")
        with pytest.raises(anthropic.RequestTooLargeError):
            await claude(gateway, "s").messages.create(model="m", messages=huge, max_tokens=3)
        assert not upstream.bodies


async def test_a_body_whose_size_is_not_announced_is_cut_off_at_the_limit(make_gateway: MakeGateway) -> None:
    async def endless() -> Any:
        for _ in range(100):
            yield b"x" * 1000

    async with Upstream(always(answer())) as upstream, aiohttp.ClientSession() as http:
        gateway = await make_gateway(upstream.url, max_body_bytes=10_000)
        async with http.post(f"{gateway.url}/v1/chat/completions", data=endless()) as response:
            assert response.status == 413


async def test_a_body_of_several_megabytes_passes(make_gateway: MakeGateway, client: Client) -> None:
    picture: Any = [
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 4_000_000}}],
        }
    ]
    async with Upstream(always(answer())) as upstream:
        gateway = await make_gateway(upstream.url)
        await client(gateway, "s").chat.completions.create(model="m", messages=picture)
        assert upstream.bodies[0]["messages"] == picture


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b'{"messages": 1}', b'{"messages": []}', b"{}"])
async def test_a_body_that_is_no_request_is_a_bad_request(make_gateway: MakeGateway, body: bytes) -> None:
    async with Upstream(always(answer())) as upstream, aiohttp.ClientSession() as http:
        gateway = await make_gateway(upstream.url)
        for route in ("chat/completions", "completions", "responses", "messages"):
            async with http.post(f"{gateway.url}/sessions/s/v1/{route}", data=body) as response:
                assert response.status == 400
                assert (await response.json())["error"]["message"]
        assert not upstream.bodies


async def test_a_deeply_nested_body_is_a_bad_request(make_gateway: MakeGateway) -> None:
    async with Upstream(always(answer())) as upstream, aiohttp.ClientSession() as http:
        gateway = await make_gateway(upstream.url)
        async with http.post(f"{gateway.url}/v1/chat/completions", data=b"[" * 200_000) as response:
            assert response.status == 400


async def test_with_a_key_nothing_but_the_health_answers_strangers(
    make_gateway: MakeGateway, client: Client, claude: Callable[[Gateway, str], anthropic.AsyncAnthropic]
) -> None:
    async with Upstream(always(answer())) as upstream:
        gateway = await make_gateway(upstream.url, api_key="secret")
        with pytest.raises(openai.AuthenticationError, match="API key"):
            await client(gateway, "s").chat.completions.create(**ASKED)
        with pytest.raises(anthropic.AuthenticationError):
            await claude(gateway, "s").messages.create(**ASKED, max_tokens=3)
        async with GatewayClient(gateway.url) as stranger:
            with pytest.raises(GatewayClientError):
                await stranger.sessions()
            assert (await stranger.request("GET", "/health"))["status"] == "ok"
        assert not upstream.bodies
        assert not gateway.sessions.open

        await client(gateway, "s", api_key="secret").chat.completions.create(**ASKED)
        async with anthropic.AsyncAnthropic(base_url=f"{gateway.url}/sessions/s", api_key="secret") as friend:
            await friend.messages.create(**ASKED, max_tokens=3)
        async with GatewayClient(gateway.url, api_key="secret") as owner:
            assert len(await owner.sessions()) == 1


async def test_the_agents_key_stays_here_and_the_upstreams_key_goes_there(
    make_gateway: MakeGateway, client: Client
) -> None:
    seen = []

    async def note(upstream: Upstream, request: Any, body: Any) -> Any:
        seen.append(request.headers.get("Authorization"))
        return await always(answer())(upstream, request, body)

    async with Upstream(note) as upstream:
        gateway = await make_gateway(upstream.url, api_key="secret", upstream_api_key="upstream-secret")
        await client(gateway, "s", api_key="secret").chat.completions.create(**ASKED)
        gateway = await make_gateway(upstream.url)
        await client(gateway, "s", api_key="mine").chat.completions.create(**ASKED)
    assert seen == ["Bearer upstream-secret", None]


@pytest.mark.parametrize(
    "id", ["a", "task-1.0_x~", "a b", "ü/".strip("/"), "日本", "a:b@c", "100%", "?#&=+", "v1", "…"]
)
async def test_an_odd_name_is_a_session_like_any_other(make_gateway: MakeGateway, client: Client, id: str) -> None:
    async with Upstream(always(answer())) as upstream:
        gateway = await make_gateway(upstream.url)
        async with GatewayClient(gateway.url) as manager:
            session = await manager.create(id)
            agent = openai.AsyncOpenAI(base_url=session.base_url, api_key="none", max_retries=0)
            response = await agent.chat.completions.with_raw_response.create(**ASKED)
            await agent.close()
            assert urllib.parse.unquote(response.headers["X-Session-Id"]) == id
            assert len(calls(gateway, id)) == 1
            assert (await session.finish()).id == id


@pytest.mark.parametrize("quoted", ["%2e%2e", "a%2Fb", "a%5Cb", "%00", "a%0d%0ab", "%ff", "%E2%80%A8", "", "x" * 201])
async def test_a_name_that_could_mean_something_else_is_refused(make_gateway: MakeGateway, quoted: str) -> None:
    async with Upstream(always(answer())) as upstream:
        gateway = await make_gateway(upstream.url)
        assert await _raw_status(gateway, f"/sessions/{quoted}/v1/chat/completions") == 400
        assert not gateway.sessions.open


@pytest.mark.parametrize(
    "path",
    ["/", "/v1", "/v2/chat/completions", "//v1/chat/completions", "/sessions/s/v1/../../x", "/sessions/s/v1/x", "/%76"],
)
async def test_a_path_that_is_no_route_is_not_found(make_gateway: MakeGateway, path: str) -> None:
    async with Upstream(always(answer())) as upstream:
        gateway = await make_gateway(upstream.url)
        assert await _raw_status(gateway, path) == 404
        assert not upstream.bodies


async def test_a_route_asked_with_another_method_says_so(make_gateway: MakeGateway) -> None:
    async with Upstream(always(answer())) as upstream, aiohttp.ClientSession() as http:
        gateway = await make_gateway(upstream.url)
        async with http.get(f"{gateway.url}/v1/chat/completions") as response:
            assert response.status == 405


async def _raw_status(gateway: Gateway, target: str) -> int:
    """The status of a POST to exactly this path; HTTP libraries would tidy it."""
    port = int(gateway.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = b'{"model":"m","messages":[{"role":"user","content":"?"}]}'
    writer.write(f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    line = await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    await writer.wait_closed()
    return int(line.split()[1])


def test_the_alphabet_of_names_is_what_the_documentation_says() -> None:
    assert not problem_with_id("a" * 200)
    assert "characters" in problem_with_id("a" * 201)
    assert all(problem_with_id(name) for name in ("", ".", "..", "a/b", "a\\b", "a\tb", "\u200b"))


async def test_a_taken_port_is_one_clear_error(make_gateway: MakeGateway) -> None:
    async with Upstream(always(answer())) as upstream:
        gateway = await make_gateway(upstream.url)
        port = int(gateway.url.rpartition(":")[2])
        with pytest.raises(GatewayError, match=f"cannot listen on 127.0.0.1:{port}: address already in use"):
            await make_gateway(upstream.url, port=port)


@pytest.mark.parametrize("wrong", [{"port": -1}, {"lease_seconds": 0}, {"max_body_bytes": 0}, {"request_seconds": -1}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        GatewayConfig(["http://127.0.0.1:1"], **wrong)
    with pytest.raises(ConfigError, match="at least one upstream"):
        GatewayConfig([])
