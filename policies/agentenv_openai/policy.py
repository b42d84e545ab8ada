"""`OpenAIPolicy`: chat completions from any OpenAI-compatible URL, on aiohttp directly."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import yarl

from agentenv.clock import deadline
from agentenv.errors import ConfigError, ContextLengthError, ModelError, nearest
from agentenv.messages import Message
from agentenv.policy.contract import Completion, Policy, Sampling, Session
from agentenv.policy.scripted import turn_of
from agentenv.tools import ToolSpec
from agentenv_openai.limiter import AdaptiveLimiter
from agentenv_openai.retry import Retry, Tries, TryAgain, retry_after
from agentenv_openai.wire import TOKEN_FIELDS, Answer, NotACompletion, encode_request, error_words, says_too_long

CONNECT_SECONDS = 30.0
_LOG = logging.getLogger("agentenv.policy.openai")
_RETRIED = frozenset({408, 409, 425, 429})


@dataclass(frozen=True, slots=True)
class EndpointStats:
    """What the policy has seen of its endpoint so far.

    Attributes:
        calls: calls answered. requests: HTTP requests made for them, failed ones included.
        rate_limited: requests answered 429.
        in_flight: requests at the endpoint now. in_flight_maximum: most there ever were.
        waiting: calls that wait for admission.
        limit: how many requests may be in flight now; `None` for no limit.
    """

    calls: int
    requests: int
    rate_limited: int
    in_flight: int
    in_flight_maximum: int
    waiting: int
    limit: int | None


class OpenAIPolicy(Policy):
    """Any endpoint with `POST {base_url}/chat/completions`: vLLM, SGLang, llama.cpp, the embedded policy, OpenAI.

    Rate limits, server errors, cut connections, answers that are no JSON and silence are tried again with growing,
    jittered pauses; on the first 429 the number of requests in flight is adapted to what the endpoint bears.

    Args:
        base_url: with the `/v1` most servers have.
        model: the name to ask for; `None` takes the one that `{base_url}/models` lists.
        api_key: sent as a bearer token; by default the environment variable `OPENAI_API_KEY`, if it is set.
        timeout: seconds one request may take.
        max_in_flight: never more requests at a time than this.

    Example:
        async with OpenAIPolicy("http://127.0.0.1:8000/v1") as policy:
            completion = await policy.complete([user("Hello")], (), Sampling(temperature=0), Session("1", seed=0))
    """

    def __init__(
        self,
        base_url: str,
        model: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = 240.0,
        retry: Retry | None = None,
        max_in_flight: int | None = None,
    ) -> None:
        self._base = _checked_url(base_url)
        if timeout <= 0 or (max_in_flight is not None and max_in_flight < 1):
            raise ConfigError(f"timeout and max_in_flight must be positive, got {timeout} and {max_in_flight}")
        self.model = model
        self._chat = self._base / "chat" / "completions"
        self._shown = self._chat.with_user(None)  # a password in the URL is for the endpoint alone
        self._name = f"openai:{self._base.with_user(None)}"
        self._api_key = os.environ.get("OPENAI_API_KEY") if api_key is None else api_key
        self._timeout = timeout
        self._retry = retry or Retry()
        self._limiter = AdaptiveLimiter(max_in_flight)
        self._rng = random.Random()
        self._http: aiohttp.ClientSession | None = None
        self._served: list[str] = []
        self._refused: frozenset[str] = frozenset()
        self._calls = self._requests = self._rate_limited = 0

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"{self._name}#{self.model}" if self.model else self._name

    @property
    def stats(self) -> EndpointStats:
        limiter = self._limiter
        return EndpointStats(
            self._calls,
            self._requests,
            self._rate_limited,
            limiter.in_flight,
            limiter.in_flight_maximum,
            limiter.waiting,
            limiter.limit,
        )

    async def open(self) -> None:
        """Connects, and asks for the model's name when none was given.

        Raises:
            ModelError: nothing listens there, or the key is refused.
            ConfigError: the endpoint serves several models and none was named, or not the one that was.
        """
        headers = {"Content-Type": "application/json"}
        if self._api_key:
            headers["Authorization"] = f"Bearer {self._api_key}"
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),  # aiohttp's own limit of 100 would cap rollouts
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=headers,
            # No total: how long an answer may take is counted in `send`, without what others blocked the loop for.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=min(CONNECT_SECONDS, self._timeout)),
        )
        try:
            await self._find_model()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], sampling: Sampling, session: Session
    ) -> Completion:
        if self._http is None or self.model is None:
            raise ConfigError("open the policy first: async with OpenAIPolicy(...) as policy")
        if sampling.seed is not None:
            sampling = replace(sampling, seed=session.request_seed(sampling.seed, turn_of(messages)))
        call = Call(messages, tools, sampling, session.id, self._limiter.ticket(), Tries(self._retry, self._rng))
        try:
            completion = await self._persist(call)
        except TryAgain as last:
            status = f"status {last.status}" if last.status is not None else "no usable answer"
            raise ModelError(
                f"{self._shown}: {status} after {call.tries.made} attempts in {call.tries.seconds:.1f} s: {last}"
            ) from last
        self._calls += 1
        return completion

    async def _persist(self, call: Call) -> Completion:
        """Attempts until one succeeds. Raises the last `TryAgain` when there is no use in going on."""
        try:
            return await self._attempt(call)  # nearly every call ends here, and tenacity would cost a fifth of it
        except TryAgain as error:
            failed = [error]

        async def attempt() -> Completion:
            if failed:
                raise failed.pop()
            return await self._attempt(call)

        completion: Completion = await call.tries.retrying()(attempt)
        return completion

    async def _attempt(self, call: Call) -> Completion:
        """One admitted request. Raises `TryAgain` for what another attempt may mend."""
        queued_at = self._retry.clock()
        async with self._limiter.permit(call.ticket) as permit:
            call.tries.queued += self._retry.clock() - queued_at
            call.tries.made += 1
            self._requests += 1
            status, headers, raw = await self.send(call)
            if status == 429:
                permit.rejected()
                self._rate_limited += 1
                if self._rate_limited == 1:
                    limit = self._limiter.limit
                    _LOG.warning("%s answers 429; requests in flight are adapted, now %s", self._shown, limit)
            if status != 200:
                raise self._refusal(status, headers, raw, call)
            permit.succeeded()
        try:
            answer = Answer.parse(raw)
        except NotACompletion as problem:
            raise TryAgain(str(problem)) from problem
        return answer.completion(turn_of(call.messages), headers, tokens=call.sampling.tokens, attempts=call.tries.made)

    async def send(self, call: Call) -> tuple[int, Mapping[str, str], bytes]:
        """One admitted request: status, headers and body of its answer. What a policy built on this one may wrap.

        Raises:
            TryAgain: there is no answer, or none that may be used, and another attempt may bring one.
        """
        assert self._http is not None
        assert self.model is not None
        body = encode_request(self.model, call.messages, call.tools, call.sampling, self._refused)
        headers = {"X-Session-Id": call.session}
        seconds = min(max(call.tries.left, 0.001), self._timeout)
        try:
            async with deadline(seconds), self._http.post(self._chat, data=body, headers=headers) as response:
                return response.status, response.headers, await response.read()
        except TimeoutError as error:
            raise TryAgain(f"no answer in {seconds:.4g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise TryAgain(_about(error)) from error

    def _refusal(self, status: int, headers: Mapping[str, str], raw: bytes, call: Call) -> Exception:
        """The exception for a status other than 200."""
        words = error_words(raw)
        if status in _RETRIED or status >= 500:
            return TryAgain(words, status, retry_after(headers))
        if says_too_long(status, words):
            return ContextLengthError(f"{self._shown}: {words}")
        refused = {name for name in TOKEN_FIELDS if name in words} - self._refused
        if status in (400, 422) and call.sampling.tokens and refused:
            self._refused |= refused  # an endpoint without token ids is asked again without them, once and for all
            return TryAgain(words, status)
        return ModelError(f"{self._shown}: status {status}: {words}.{self._advice(status)}")

    def _advice(self, status: int) -> str:
        match status:
            case 401 | 403 if self._api_key:
                return " The API key was refused; check OPENAI_API_KEY or the api_key option."
            case 401 | 403:
                return " No API key was sent; set OPENAI_API_KEY or give the api_key option."
            case 404:
                hint = "" if self.model in self._served else nearest(self.model or "", self._served)
                where = self._base.with_user(None)
                return f" Is {where} right (most servers want /v1 at its end), and the model {self.model!r}?{hint}"
            case _:
                return " The request was not tried again, since it would be refused again."

    async def _find_model(self) -> None:
        assert self._http is not None
        where, shown = self._base / "models", self._base.with_user(None)
        try:
            async with self._http.get(where, timeout=aiohttp.ClientTimeout(total=CONNECT_SECONDS)) as response:
                status, raw = response.status, await response.json(content_type=None)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise ModelError(f"{shown} cannot be reached: {_about(error)}. Is the server running there?") from error
        except ValueError:
            status, raw = 0, None
        if status in (401, 403):
            raise ModelError(f"{shown}/models: status {status}.{self._advice(status)}")
        self._served = _model_names(raw) if status == 200 else []
        if self.model is None:
            if len(self._served) != 1:
                names = ", ".join(self._served[:10])
                known = f"it serves {names}" if names else f"{shown}/models does not say which it serves"
                raise ConfigError(f"{shown}: name the model (--model NAME); {known}")
            self.model = self._served[0]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of `complete`: what every attempt of it sends."""

    messages: Sequence[Message]
    tools: Sequence[ToolSpec]
    sampling: Sampling
    session: str
    ticket: int
    tries: Tries


def _model_names(body: Any) -> list[str]:
    rows = body.get("data") if isinstance(body, Mapping) else None
    return [str(row["id"]) for row in rows or () if isinstance(row, Mapping) and "id" in row]


def _about(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _checked_url(base_url: str) -> yarl.URL:
    try:
        url = yarl.URL(base_url.rstrip("/"))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{base_url!r} is no URL: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigError(f"{base_url!r} is no URL; write for example http://127.0.0.1:8000/v1")
    return url


def make_policy(
    argument: str | None = None,
    *,
    model: str | None = None,
    api_key: str | None = None,
    timeout: float = 240.0,
    budget: float = 280.0,
    max_in_flight: int | None = None,
) -> OpenAIPolicy:
    """Any OpenAI-compatible URL: openai:http://127.0.0.1:8000/v1. Options: model, timeout, budget, max_in_flight."""
    base_url = argument or os.environ.get("OPENAI_BASE_URL")
    if not base_url:
        raise ConfigError("say where: --policy openai:http://127.0.0.1:8000/v1, or set OPENAI_BASE_URL")
    return OpenAIPolicy(
        base_url, model, api_key=api_key, timeout=timeout, retry=Retry(budget=budget), max_in_flight=max_in_flight
    )
