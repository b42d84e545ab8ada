"""An OpenAI-compatible chat server whose answers, latency and faults are scripted.

It stands *beside* the embedded policy in tests and benchmarks, where the model must be free of cost, or must misbehave
in a way no well-kept server would::

    async with MockOpenAI(["The answer is 4."], faults=[FaultRule(Fault.SERVER_ERROR, first_calls=2)]) as server:
        ...                      # point any client at server.base_url
        assert server.stats.faults == {Fault.SERVER_ERROR: 2}

As a process of its own, so that its cost is not the client's: ``python -m tests.support.mock_openai --help``.
"""

from tests.support.mock_openai.faults import Fault, FaultRule
from tests.support.mock_openai.server import Latency, MockOpenAI, Script, Stats, log_normal, uniform
from tests.support.mock_openai.wire import ChatRequest, Reply, ToolCall, detokenise

__all__ = [
    "ChatRequest",
    "Fault",
    "FaultRule",
    "Latency",
    "MockOpenAI",
    "Reply",
    "Script",
    "Stats",
    "ToolCall",
    "detokenise",
    "log_normal",
    "uniform",
]
