"""The policy on a server that runs already, and the name `vllm` on the command line; servers here are stubs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentenv.errors import ConfigError
from agentenv.messages import user
from agentenv.policy.contract import Completion, Sampling, Session
from agentenv.policy.registry import make_policy
from agentenv.tools import ToolSpec
from agentenv_vllm import VLLMPolicy, VLLMSettings
from agentenv_vllm.errors import MissingCapabilityError, ServerError, VLLMNotInstalledError
from agentenv_vllm.options import LogprobsMode
from agentenv_vllm.probe import Mode
from tests.vllm.support import HEALTHY, StubServer, model_folder, stub_python

LOOK = ToolSpec("look", "Looks.", {"type": "object", "properties": {}})
TOKENS = Sampling(temperature=1.0, tokens=True)


async def ask(policy: VLLMPolicy, tools: tuple[ToolSpec, ...] = (), sampling: Sampling = TOKENS) -> Completion:
    return await policy.complete([user("hi")], tools, sampling, Session("s", seed=0))


async def test_a_running_server_answers_under_its_own_model_name() -> None:
    stub = StubServer()
    async with stub.running() as url, VLLMPolicy(f"{url}/v1") as policy:
        completion = await ask(policy)
        assert policy.name == f"vllm:{url}/v1"
    assert completion.tokens is not None
    assert stub.requests[-1]["model"] == "m"


async def test_logprobs_of_another_distribution_are_refused_where_tokens_are_wanted() -> None:
    async with StubServer(logprobs_mode=LogprobsMode.RAW_LOGPROBS).running() as url, VLLMPolicy(url) as policy:
        with pytest.raises(ServerError, match=r"raw_logprobs, .* --logprobs-mode processed_logprobs"):
            await ask(policy)
        assert (await ask(policy, sampling=Sampling(temperature=1.0))).tokens is None  # an evaluation needs none


async def test_tools_at_a_server_that_reads_no_tool_calls_are_an_error_that_names_the_flags() -> None:
    async with StubServer(tool_parser=False).running() as url, VLLMPolicy(url) as policy:
        with pytest.raises(ServerError, match="--enable-auto-tool-choice --tool-call-parser"):
            await ask(policy, (LOOK,))
        await ask(policy)


async def test_training_asks_for_all_it_needs_before_anything_is_sampled(tmp_path: Path) -> None:
    settings = VLLMSettings(model_folder=model_folder(tmp_path))
    async with StubServer(dev_mode=False).running() as url, VLLMPolicy(url, settings) as policy:
        with pytest.raises(MissingCapabilityError, match="VLLM_SERVER_DEV_MODE=1"):
            await policy.publish({}, 1)


async def test_the_learner_must_be_told_where_the_model_is_that_another_machine_serves() -> None:
    async with StubServer(root="org/model").running() as url, VLLMPolicy(url) as policy:
        with pytest.raises(ConfigError, match=r"'org/model', which is no folder here; .* option model_folder"):
            _ = policy.model_folder


async def test_the_model_folder_of_a_server_on_this_machine_is_the_one_it_names(tmp_path: Path) -> None:
    folder = model_folder(tmp_path)
    async with StubServer(root=str(folder)).running() as url, VLLMPolicy(url) as policy:
        assert policy.model_folder == folder


async def test_the_version_it_begins_with_is_the_one_the_server_names() -> None:
    class Trained(StubServer):
        async def _answer(self, request: Any) -> tuple[int, Any]:
            if request.path == "/weight_info":
                return 200, {"weight_version": "12"}
            return await super()._answer(request)

    async with Trained().running() as url, VLLMPolicy(url) as policy:
        assert policy.version == 12


async def test_it_must_be_opened_first() -> None:
    with pytest.raises(ConfigError, match="open the policy first"):
        await ask(VLLMPolicy("http://127.0.0.1:8000"))


def test_it_is_made_by_its_name() -> None:
    policy = make_policy("vllm:http://127.0.0.1:8000/v1", update="lora", pause="abort", model="m")
    assert isinstance(policy, VLLMPolicy)
    assert policy.name == "vllm:http://127.0.0.1:8000/v1#m"
    assert policy.settings.update is Mode.LORA


def test_a_folder_is_served_by_a_server_of_its_own(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    policy = make_policy(f"vllm:{folder}", update="transfer", threads=2, flags="--seed 3 --max-log-len 10")
    assert isinstance(policy, VLLMPolicy)
    assert policy.server is not None
    assert policy.model_folder == folder
    command = policy.server.options.command(Path("python"), folder, 1234)
    assert command[-4:] == ["--seed", "3", "--max-log-len", "10"]
    assert "--weight-transfer-config" in command
    assert policy.server.options.environment()["OMP_NUM_THREADS"] == "2"


def test_a_model_is_made_where_there_is_none_and_its_log_lies_beside_it(tmp_path: Path) -> None:
    policy = make_policy(f"vllm:{tmp_path / 'run' / 'start'}", create=True, seed=1)
    assert isinstance(policy, VLLMPolicy)
    assert policy.server is not None
    assert (tmp_path / "run" / "start" / "model.safetensors").is_file()
    assert policy.server.log.parent == tmp_path / "run" / "vllm"


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("vllm", {}, "name a model's folder or a server"),
        ("vllm:nowhere", {}, "there is no model in nowhere"),
        ("vllm:http://127.0.0.1:8000", {"update": "magic"}, "update is one of .*folder.*, got 'magic'"),
        ("vllm:http://127.0.0.1:8000", {"update": "evaluate"}, "update names how weights are replaced"),
        ("vllm:http://127.0.0.1:8000", {"pause": "wait"}, "pause is keep or abort"),
        ("vllm:http://127.0.0.1:8000", {"create": True}, "are for a server of ours"),
        ("vllm:http://", {}, "is no URL"),
        ("vllm:http://127.0.0.1:8000", {"ports": 3}, "port"),
    ],
)
def test_mistakes_are_told_before_anything_is_started(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_policy(name, **options)


async def test_without_vllm_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = model_folder(tmp_path / "model")
    monkeypatch.setenv("AGENTENV_VLLM_PYTHON", "/no/python")
    with pytest.raises(VLLMNotInstalledError, match=r"AGENTENV_VLLM_PYTHON is /no/python, .* scripts/make-vllm"):
        await make_policy(f"vllm:{folder}", logs=str(tmp_path)).open()


async def test_the_option_goes_before_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTENV_VLLM_PYTHON", "/no/python")
    python = stub_python(tmp_path, HEALTHY)
    policy = make_policy(f"vllm:{model_folder(tmp_path / 'model')}", python=str(python), logs=str(tmp_path))
    assert isinstance(policy, VLLMPolicy)
    assert policy.server is not None
    async with policy.server:
        assert policy.server.interpreter is not None
        assert policy.server.interpreter.python == python
