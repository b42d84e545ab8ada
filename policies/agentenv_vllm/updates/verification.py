"""Whether a server serves what it was sent: by what it holds, or where it cannot say, by what it answers."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentenv_vllm.api import VLLMApi
from agentenv_vllm.errors import WeightUpdateError
from agentenv_vllm.updates.answers import Answer, ask
from agentenv_vllm.updates.base import Checked
from agentenv_vllm.updates.fingerprint import Expectation, Fingerprint, read_fingerprint, sha256

if TYPE_CHECKING:
    import torch

_LOG = logging.getLogger("agentenv.policy.vllm")


@dataclass(frozen=True, slots=True)
class Expected:
    """What an update must be found to be, once it is served.

    Attributes:
        held: by the server; `None` when it cannot say what it holds.
        digest: of the weights, where answers have to do; "" otherwise.
    """

    held: Expectation | None = None
    digest: str = ""


class Verification:
    """Checks one server's updates.

    Args:
        api: an open client.
        model_name: what to ask for an answer.
        dtypes: of the checkpoint's tensors, as safetensors names them.
    """

    def __init__(self, api: VLLMApi, model_name: str, dtypes: Mapping[str, str]) -> None:
        self._api = api
        self._model_name = model_name
        self._dtypes = dtypes
        self._form: Fingerprint | None = None
        """The server's parameters as it held them at the beginning: names, shapes, dtypes."""
        self._transformed: frozenset[str] = frozenset()
        """Parameters that the server changes on loading: they differ from what it has just been sent."""
        self._answered: tuple[Answer, str] | None = None

    @property
    def blind(self) -> bool:
        """Whether the server cannot say what it holds, and its answers have to do."""
        return self._form is None

    async def begin(self, weights: Mapping[str, torch.Tensor]) -> tuple[str, ...]:
        """Finds out how the server holds its weights; returns the names of parameters that differ from `weights`."""
        found = await read_fingerprint(self._api)
        self._form = found
        if found is None:
            return ()
        expectation = await asyncio.to_thread(Expectation.of, weights, found)
        self._form = expectation.with_dtypes(found)
        return expectation.compare(found).wrong

    def expect(self, weights: Mapping[str, torch.Tensor]) -> Expected:
        """Reads all of the weights: call it in a thread, and before the server is paused."""
        if self._form is None:
            return Expected(digest=self._digest(weights))
        return Expected(Expectation.of(weights, self._form))

    async def check(self, expected: Expected, *, calibrating: bool = False) -> Checked:
        """Compares while the server is paused; raises `WeightUpdateError` for parameters that are something else.

        When `calibrating`, it has just loaded its own checkpoint: few that differ are taken as changed on loading.
        """
        found = await read_fingerprint(self._api) if expected.held is not None else None
        if expected.held is None or found is None:
            return Checked()
        told = expected.held.compare(found)
        if calibrating and len(told.wrong) < len(told.right):
            self._transformed = frozenset(told.wrong)
            if told.wrong:
                _LOG.warning("vLLM holds %s in a form of its own: not compared", ", ".join(told.wrong))
        wrong = [name for name in told.wrong if name not in self._transformed]
        if wrong:
            more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            raise WeightUpdateError(f"the server holds something else as {wrong[0]}{more}")
        return Checked(len(told.right), len(found) - len(told.right))

    async def check_answer(self, expected: Expected) -> None:
        """Asks a server that cannot say what it holds, when it goes on.

        Raises `WeightUpdateError` when other weights give the answer that the last ones gave.
        """
        if not expected.digest:
            return
        answer = await ask(self._api, self._model_name)
        if self._answered is not None and self._answered[0] == answer and self._answered[1] != expected.digest:
            raise WeightUpdateError("the server took the weights and answers exactly as before")
        self._answered = (answer, expected.digest)

    def _digest(self, weights: Mapping[str, torch.Tensor]) -> str:
        """Of all weights, in the precision of the checkpoint: an update below it changes nothing."""
        import torch

        rounded = {"BF16": torch.bfloat16, "F16": torch.float16}
        total = hashlib.sha256()
        for name in sorted(weights):
            tensor = weights[name]
            total.update(sha256(tensor.to(rounded.get(self._dtypes[name], tensor.dtype))).encode())
        return total.hexdigest()
