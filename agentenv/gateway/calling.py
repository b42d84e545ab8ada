"""One model call: to a replica, back to the agent, and into the session's record."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from agentenv.episode import Usage
from agentenv.gateway.answers import NotAnAnswer, ReadAnswer, ReadChoice, read_answer, strip_answer
from agentenv.gateway.attempts import Interrupted, ask_replicas, cut_off, given_up, refusal, unreachable, unusable
from agentenv.gateway.calls import CallStatus, Continuation
from agentenv.gateway.config import GatewayConfig
from agentenv.gateway.continuation import Plan, Renderer, RendererError, chat_answer, read_ids
from agentenv.gateway.dialects import Dialect
from agentenv.gateway.failures import ApiError
from agentenv.gateway.packed import ID_BYTES
from agentenv.gateway.relay import Relay, chunks_of
from agentenv.gateway.requests import Question, exact_body, read_body
from agentenv.gateway.router import Replica, Router
from agentenv.gateway.sessions import Call, Session
from agentenv.gateway.statistics import GatewayStatistics
from agentenv.gateway.wirejson import dumps, loads
from agentenv.messages import Wire

SESSION_HEADER = "X-Session-Id"
_STREAM_HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class Caller:
    """Answers model calls of any session."""

    def __init__(self, config: GatewayConfig, router: Router, statistics: GatewayStatistics) -> None:
        self.config = config
        self.router = router
        self.statistics = statistics
        total, connect = config.request_seconds, config.connect_seconds
        self.stream_timeout = aiohttp.ClientTimeout(total=total, sock_connect=connect, sock_read=config.idle_seconds)

    async def answer(self, http: web.BaseRequest, session: Session, dialect: Dialect, raw: bytes) -> web.StreamResponse:
        """Answers a call and records it.

        Raises:
            ApiError: it failed, and nothing has been sent to the agent yet.
        """
        body = read_body(raw)
        upstream = dialect.to_upstream(body, session)
        unchanged = raw if upstream is body else None
        question = Question.read(upstream, unchanged, chat=dialect.chat, strict_tools=self.config.strict_tools)
        call = session.begin_call(dialect.protocol, question.messages, question.tools, question.sampling)
        return await _Exchange(self, http, session, dialect, body, question, call).run()


class _ClientGone(Exception):
    """The agent has closed its connection."""


@dataclass(slots=True)
class _Exchange:
    """A call on its way.

    Attributes:
        body: what the agent sent. question: the same in the upstream's format.
        plan: what it is asked with. planned: set once that is proven; nothing is read or sent before.
        version: of the weights, where the server does not name it: what it was at the last look before the call.
        sent: the streamed answer, once its first byte has gone out.
        delivered: whether the last byte has; many agents close their connection in that very moment.
    """

    caller: Caller
    http: web.BaseRequest
    session: Session
    dialect: Dialect
    body: Wire
    question: Question
    call: Call
    plan: Plan | None = None
    planned: asyncio.Event = field(default_factory=asyncio.Event)
    version: int = 0
    sent: web.StreamResponse | None = None
    relay: Relay | None = None
    delivered: bool = False

    async def run(self) -> web.StreamResponse:
        call, began = self.call, time.perf_counter()
        task = asyncio.current_task()
        assert task is not None
        self.session.tasks.add(task)
        try:
            response = await self._answer()
            call.status = call.status or CallStatus.OK
        except ApiError as error:
            call.status, call.error = error.call_status, error.message
            if self.sent is None or self.relay is None:
                raise
            response = await self._send(self.relay.fail(error), end=True)
        except _ClientGone:
            call.status, call.error = CallStatus.CLIENT_GONE, "the client disconnected"
            raise ConnectionResetError(call.error) from None
        except asyncio.CancelledError:
            if self.delivered:
                call.status = call.status or CallStatus.OK
                raise
            call.status, call.error = CallStatus.CLIENT_GONE, "the client disconnected"
            if not self.session.ended:
                raise
            task.uncancel()
            call.error = "the session was ended"
            raise ApiError(410, f"session {self.session.id} was ended during the call", code="session_ended") from None
        finally:
            self.session.tasks.discard(task)
            self.session.last_used = time.monotonic()
            call.seconds = time.perf_counter() - began
            self._count()
        return response

    async def _answer(self) -> web.StreamResponse:
        """Plans the prompt and asks. A turn that goes on is asked as it will be as a rule, while the server still says
        whether it is so: the agent gets nothing before that is known, and a wrong guess is taken back."""
        asking: asyncio.Task[web.StreamResponse] | None = None
        try:
            async with contextlib.aclosing(self._plans()) as plans:
                async for plan in plans:
                    if plan.proven or self.caller.statistics.worth_a_guess(plan.continuation):
                        if asking is not None and plan.prompt_ids != self._prompt_ids:
                            await _take_back(asking)
                            asking = None
                        self.plan = plan
                        if asking is None and not plan.proven:
                            asking = asyncio.create_task(self._ask_replicas())
            self.planned.set()
            return await (asking or self._ask_replicas())
        finally:
            if asking is not None:
                await _take_back(asking)

    async def _ask_replicas(self) -> web.StreamResponse:
        caller = self.caller
        use = self._stream if self.question.stream and self._can_stream() else self._whole
        return await ask_replicas(caller.router, self.session, caller.statistics, use, caller.config.pause_seconds)

    async def _plans(self) -> AsyncGenerator[Plan, None]:
        """How the prompt goes on from earlier calls of the session; nothing for text completions: theirs is as sent."""
        question, session = self.question, self.session
        if not question.chat:
            return
        replica = session.replica = self.caller.router.choose(session.replica, {})
        renderer = self._renderer(replica)
        async for plan in session.conversations.plans(question.messages, question.tools, question.options, renderer):
            self.call.continuation, self.call.fork_reason = plan.continuation, plan.fork_reason
            yield plan

    def _renderer(self, replica: Replica) -> Renderer:
        return self.caller.router.renderer(replica, self.caller.config.model or str(self.body.get("model") or ""))

    @property
    def _prompt_ids(self) -> Sequence[int] | None:
        """What the call is asked with, where that is token ids."""
        return None if self.plan is None else self.plan.prompt_ids

    @property
    def _exact(self) -> Plan | None:
        """The plan, where it has the prompt token for token."""
        return None if self._prompt_ids is None else self.plan

    def _can_stream(self) -> bool:
        """Whether the answer can be passed on as it is sampled.

        A call with an exact prompt is answered in text; tool calls and reasoning are read from all of it at once.
        """
        if self._exact is None:
            return True
        return not self.question.tools and not self.session.has_reasoned(self.call)

    def _request(self, replica: Replica, *, stream: bool) -> tuple[str, bytes]:
        """The path and the body to send to a replica."""
        model, question, plan = self.caller.config.model, self.question, self._exact
        self.call.replica, self.version = replica.url, replica.version
        if plan is not None:
            return "/v1/completions", exact_body(plan, question, model, replica.refused, stream=stream)
        return question.path, question.upstream_body(model, replica.refused)

    async def _whole(self, replica: Replica) -> web.StreamResponse:
        """Asks for the whole answer and delivers it; in events where the agent wants a stream."""
        question = self.question
        reply, read = await self._ask(replica)
        await self.planned.wait()
        if read.given_up:
            self._keep_aborted(read)
            raise Interrupted(given_up(replica.url), paused=True)
        self._keep(read)
        self.dialect.answered(self.session, self.call, self.body, reply)
        strip_answer(reply, question.asked)
        if question.stream:
            writer = self.dialect.writer(self.body)
            chunks = [writer.feed(chunk) for chunk in chunks_of(reply, usage=question.asked.usage)]
            return await self._send(b"".join([*chunks, writer.finish()]), end=True)
        answer = dumps(self.dialect.from_upstream(reply, self.body))
        headers = {"Content-Type": "application/json", SESSION_HEADER: self.session.header}
        response = web.Response(body=answer, headers=headers)
        try:
            await response.prepare(self.http)
            await response.write_eof()
        except ConnectionError:
            raise _ClientGone from None
        self.delivered = True
        return response

    async def _ask(self, replica: Replica) -> tuple[Wire, ReadAnswer]:
        """The whole answer of a replica, as it came and as it is read."""
        question, caller, plan = self.question, self.caller, self._exact
        path, body = self._request(replica, stream=False)
        try:
            upstream = await caller.router.post(replica, path, body, caller.config.request_seconds)
        except OSError as error:
            raise unreachable(error, replica, caller.config.request_seconds) from error
        raw, headers = upstream.body, upstream.headers
        if upstream.status != 200:
            raise refusal(replica, upstream.status, headers, raw, question)
        try:
            reply = loads(raw)
            read = read_answer(reply, headers, chat=question.chat and plan is None, version=self.version)
            if plan is not None:
                message = await self._message(plan, reply, replica)
                reply = chat_answer(reply, message, top_logprobs=question.alternatives)
                (choice,), (said,) = reply["choices"], read.choices
                said.message, said.finish_reason = choice["message"], choice["finish_reason"]
        except (ValueError, NotAnAnswer) as error:
            raise unusable(f"the answer of {replica.url} cannot be used: {error}", raw) from None
        return reply, read

    async def _message(self, plan: Plan, completion: Wire, replica: Replica) -> Wire:
        """The assistant message of a text completion, read by the server's own parsers; its plain text if they fail."""
        question = self.question
        try:
            return await self._renderer(replica).read_answer(
                plan.prompt_ids or (), read_ids(completion), question.messages, question.tools, question.options
            )
        except RendererError:
            return {"role": "assistant", "content": completion["choices"][0]["text"]}

    async def _stream(self, replica: Replica) -> web.StreamResponse:
        question, caller = self.question, self.caller
        path, body = self._request(replica, stream=True)
        try:
            async with caller.router.stream(replica, path, body, caller.stream_timeout) as upstream:
                if upstream.status != 200:
                    raise refusal(replica, upstream.status, upstream.headers, await upstream.read(), question)
                if upstream.content_type != "text/event-stream":
                    raise unusable(f"{replica.url} answered no stream", await upstream.read())
                return await self._pass_on(upstream, replica)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            failure = unreachable(error, replica, caller.config.idle_seconds)
            if self.sent is not None and isinstance(failure, Interrupted):
                raise failure.error from error
            raise failure from error

    async def _pass_on(self, upstream: aiohttp.ClientResponse, replica: Replica) -> web.StreamResponse:
        """Sends a stream on, event by event as it comes."""
        relay = self.relay = Relay(
            self.dialect.writer(self.body),
            upstream.headers,
            self.question,
            version=self.version,
            exact=self._exact is not None,
        )
        kept = False
        try:
            async for data in upstream.content.iter_any():
                await self.planned.wait()
                out = relay.feed(data)
                if relay.given_up:
                    break
                if relay.answer.finished and not kept:  # an agent may go on as soon as it has seen the last delta
                    kept = True
                    self._keep(relay.answer.read())
                    self.dialect.answered(self.session, self.call, self.body, relay.first)
                if out:
                    await self._send(out)
                if relay.ended:
                    break
        except NotAnAnswer as error:
            raise unusable(f"the stream of {replica.url} cannot be used: {error}", b"") from None
        finally:
            if not kept and relay.answer.begun:
                self._keep(relay.answer.read())
        if relay.given_up:
            if self.sent is None:
                self._keep_aborted(relay.answer.read())
                raise Interrupted(given_up(replica.url), paused=True)
            raise given_up(replica.url)
        if not relay.answer.finished:
            raise cut_off(replica.url)
        if problem := relay.answer.read().miscounted:
            self.call.status, self.call.error, self.call.logprobs = CallStatus.BAD_TOKENS, problem, None
        return await self._send(relay.finish(), end=True)

    async def _send(self, data: bytes, *, end: bool = False) -> web.StreamResponse:
        try:
            if self.sent is None:
                self.sent = web.StreamResponse(headers={**_STREAM_HEADERS, SESSION_HEADER: self.session.header})
                await self.sent.prepare(self.http)
            await self.sent.write(data)
            if end:
                await self.sent.write_eof()
                self.delivered = True
        except ConnectionError:
            raise _ClientGone from None
        return self.sent

    def _keep(self, read: ReadAnswer, *, delivered: bool = True) -> None:
        """Puts an answer into the record: the first choice as this call, further ones as calls beside it."""
        calls = [self.call, *(self.session.sibling_call(self.call) for _ in read.choices[1:])]
        for call, choice in zip(calls, read.choices, strict=True):
            call.model, call.finish_reason = read.model, choice.finish_reason
            call.usage = read.usage
            if len(calls) > 1:  # the server counts all choices together
                sampled = 0 if choice.tokens is None else choice.tokens.sampled_count
                call.usage = Usage(read.usage.prompt_tokens, sampled)
            self.session.keep_answer(call, choice.message, choice.tokens)
            if delivered:
                self._learn(call, choice)
            if choice.tokens is None:
                call.error = choice.problem
                call.status = CallStatus.OK if read.without_tokens else CallStatus.BAD_TOKENS
            elif call is not self.call:
                call.status = CallStatus.OK

    def _learn(self, call: Call, choice: ReadChoice) -> None:
        """Tells the conversations of an answer, and notes how its prompt really came about."""
        if self.plan is None:
            if call.base is not None and call.shared * ID_BYTES == len(call.base.ids()):
                call.continuation = Continuation.MERGED
            return
        tokens = None if choice.tokens is None else call
        plan = self.session.conversations.learn(self.plan, choice.message, tokens, choice.finish_reason)
        call.continuation, call.fork_reason = plan.continuation, plan.fork_reason
        self.caller.statistics.tokens_realigned += plan.tokens_realigned

    def _keep_aborted(self, read: ReadAnswer) -> None:
        """Records what was sampled before a server gave up, beside the call, which is tried again."""
        first, self.call = self.call, self.session.sibling_call(self.call)
        self._keep(read, delivered=False)
        self.call.status, self.call.error = CallStatus.ABORTED, "the server gave the generation up"
        self.caller.statistics.calls[CallStatus.ABORTED] += 1
        self.call = first

    def _count(self) -> None:
        statistics, call = self.caller.statistics, self.call
        statistics.calls[call.status or CallStatus.UPSTREAM_ERROR] += 1
        statistics.continuations[call.continuation] += 1
        if call.fork_reason is not None:
            statistics.fork_reasons[call.fork_reason] += 1
        if call.usage is not None:
            statistics.prompt_tokens += call.usage.prompt_tokens
            statistics.sampled_tokens += call.usage.completion_tokens


async def _take_back(asking: asyncio.Task[web.StreamResponse]) -> None:
    """Stops asking; the server gives the generation up."""
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
