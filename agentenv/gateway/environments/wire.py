"""The messages on the wire as models: the schema at `/openapi.json`, and the check of requests that are rare.

A step is checked by hand (`session.py`) because it is the one request that must cost next to nothing; the tests hold
both against each other.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

import pydantic

from agentenv.gateway.environments.refusals import Code
from agentenv.outcome import Boundary

REFERENCE = "agentenv.reference"
"""The key in a task's `data` under which a reference stands in place of its answer and data."""

WireMessage = dict[str, Any]
"""One message in OpenAI's chat format."""

WireTool = dict[str, Any]
"""One tool in OpenAI's chat format: `{"type": "function", "function": {"name", "description", "parameters"}}`."""

RequestId = Annotated[
    str,
    pydantic.Field(
        min_length=1,
        max_length=200,
        description="Unique to this request, a UUID for example. The same id again gets the same reply again.",
    ),
]
Epoch = Annotated[str, pydantic.Field(description="Of the server's process: another epoch, another process.")]
Seed = Annotated[int, pydantic.Field(ge=0, lt=2**63)]


class _Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class TaskReference(_Model):
    """Where a task stands in its source: `tasks(split)`, shuffled by `shuffle` unless that is null, at `index`."""

    split: str
    index: int = pydantic.Field(ge=0)
    shuffle: int | None = None
    id: str | None = pydantic.Field(default=None, description="Refused when another task stands there.")


class TaskRow(_Model):
    """A whole task of the caller's own."""

    id: str
    prompt: list[WireMessage] = []
    answer: Any = None
    data: dict[str, Any] = {}
    split: str = "train"


class TaskChoice(_Model):
    """Which task to play: `row` alone, or one of the environment's.

    Of the environment's, `index` counts within the split (shuffled by `shuffle`); `id` alone is looked up in a finite
    split; with neither, the first of an order drawn from `shuffle`, or from the session's seed, is taken.
    """

    row: TaskRow | None = None
    split: str = "train"
    index: int | None = pydantic.Field(default=None, ge=0)
    shuffle: int | None = None
    id: str | None = None

    @pydantic.model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.row is not None and self.model_fields_set != {"row"}:
            raise ValueError("a row says everything; leave split, index, shuffle and id out")
        return self


class CreateSession(_Model):
    """Asks for a session: an environment, reset."""

    request_id: RequestId | None = None
    task: TaskChoice = TaskChoice()
    seed: Seed | None = pydantic.Field(
        default=None, description="The environment's. Refused where the environment does not promise to honour it."
    )


class TakeStep(_Model):
    """Asks for a step."""

    request_id: RequestId
    epoch: Epoch
    turn: int = pydantic.Field(ge=0, description="How many steps came before this one.")
    message: WireMessage = pydantic.Field(description="One assistant message in OpenAI's chat format.")


class TaskView(_Model):
    """A task as callers may see it: without answer and data unless the server was started to show them."""

    id: str
    prompt: list[WireMessage]
    answer: Any
    data: dict[str, Any]
    split: str
    reference: TaskReference | None


class SessionReply(_Model):
    """A new session: the opening messages and tools."""

    request_id: str | None
    epoch: Epoch
    session: str
    turn: int
    task: TaskView
    seed: int | None = pydantic.Field(description="The seed played with; null where the environment knows none.")
    messages: list[WireMessage]
    tools: list[WireTool]
    info: dict[str, Any]
    state_key: str | None
    oracle: WireMessage | None
    lease: float = pydantic.Field(description="Seconds without a request or heartbeat after which it is closed.")


class RewardComponent(_Model):
    """A named part of a reward; the reward is the sum of value · weight."""

    name: str
    value: float
    weight: float


class StepReply(_Model):
    """The five-tuple of a step. `reward` null means "not scored", which is not 0."""

    request_id: str
    epoch: Epoch
    session: str
    turn: int = pydantic.Field(description="The number of this step, from 0.")
    messages: list[WireMessage] = pydantic.Field(description="What is new; append it to the conversation.")
    tools: list[WireTool] | None = pydantic.Field(description="Null: the same as before.")
    reward: float | None
    components: list[RewardComponent] | None
    terminated: bool
    truncated: bool
    info: dict[str, Any]
    state_key: str | None
    oracle: WireMessage | None


class FailureView(_Model):
    """What went wrong in the environment, and whose fault it is."""

    boundary: Boundary
    error: str
    message: str
    where: str


class ErrorView(_Model):
    code: Code
    message: str
    failure: FailureView | None


class ErrorReply(_Model):
    """An error in place of any other reply."""

    request_id: str | None
    epoch: Epoch
    session: str | None
    error: ErrorView


class SessionView(_Model):
    """Everything said in a session so far."""

    request_id: str | None
    epoch: Epoch
    session: str
    turn: int
    messages: list[WireMessage]
    tools: list[WireTool]
    terminated: bool
    truncated: bool
    failure: FailureView | None


class HeartbeatReply(_Model):
    """The sessions, of those named, that are open. Their leases begin anew."""

    request_id: str | None
    epoch: Epoch
    sessions: list[str]


class Acknowledgement(_Model):
    """A session was closed."""

    request_id: str | None
    epoch: Epoch
    session: str


class TaskPage(_Model):
    """Tasks of one split, in order."""

    request_id: str | None
    epoch: Epoch
    split: str
    shuffle: int | None
    size: int | None = pydantic.Field(description="How many there are in all; null for an endless source.")
    offset: int
    tasks: list[TaskView]


class ServerView(_Model):
    """What is served, and how."""

    request_id: str | None
    epoch: Epoch
    agentenv: str
    environment: dict[str, Any] = pydantic.Field(description="The specification of the environment.")
    fingerprint: str = pydantic.Field(description="Of the specification and its source: another one plays differently.")
    seedable: bool
    answers: bool
    lease: float
    environment_timeout: float
    max_body: int
    max_sessions: int
    sessions: int = pydantic.Field(description="Open now.")


class PolicyChoice(_Model):
    """Who plays: an OpenAI-compatible URL, the base URL of a gateway session included."""

    url: str = pydantic.Field(pattern=r"^https?://")
    model: str | None = None
    api_key: str | None = None


class SamplingChoice(_Model):
    """As `agentenv.policy.contract.Sampling`; what is left out is the endpoint's own default."""

    temperature: float | None = pydantic.Field(default=None, ge=0)
    top_p: float | None = pydantic.Field(default=None, ge=0, le=1)
    top_k: int | None = None
    max_tokens: int | None = pydantic.Field(default=None, ge=1)
    stop: list[str] = []
    seed: int | None = None
    tokens: bool = pydantic.Field(default=False, description="Ask for token ids and logprobs, as training needs them.")
    extra: dict[str, Any] = {}


class PlayRollout(_Model):
    """Asks the server to play whole episodes: `episodes` of each task."""

    policy: PolicyChoice
    sampling: SamplingChoice = SamplingChoice()
    tasks: list[TaskChoice] | None = pydantic.Field(default=None, min_length=1, description="These tasks.")
    split: str = pydantic.Field(default="train", description="Without `tasks`: of this split,")
    count: int = pydantic.Field(default=1, ge=1, le=100_000, description="so many, in an order drawn from the seed.")
    episodes: int = pydantic.Field(default=1, ge=1, description="Of each task, on one environment seed.")
    seed: Seed = 0
    max_concurrent: int = pydantic.Field(default=16, ge=1, description="Episodes at a time.")
    episode_timeout: float = pydantic.Field(default=900.0, gt=0, allow_inf_nan=False)
    model_timeout: float = pydantic.Field(default=300.0, gt=0, allow_inf_nan=False)
    stream: bool = pydantic.Field(default=False, description="One line of JSON per episode as it ends.")


class RolloutSummary(_Model):
    """How the episodes ended."""

    epoch: Epoch
    episodes: int
    statuses: dict[str, int]
    mean_reward: float | None = pydantic.Field(description="Over the scored episodes; null when there is none.")


class RolloutReply(_Model):
    """All episodes, in order of completion, each as `agentenv.rollout.codec` writes it."""

    episodes: list[dict[str, Any]]
    summary: RolloutSummary
