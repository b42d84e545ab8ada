"""`/run_code` takes what SandboxFusion takes and answers as it does, field by field as verl's client reads it."""

from __future__ import annotations

import base64
import os
import shutil
import signal
from typing import Any, cast

import pytest

from agentenv.sandbox import Cause, SandboxFailed
from agentenv.sandbox.service import SandboxService, ServiceConfig
from agentenv_local import LocalSandboxes
from agentenv_remote import RemoteSandboxes
from tests.conftest import require
from tests.sandbox_service.asking import ask

REPLY = {"status", "message", "compile_result", "run_result", "executor_pod_name", "files"}
COMMAND = {"status", "execution_time", "return_code", "stdout", "stderr"}
DOUBLE = "#include <iostream>\nint main() { int x; std::cin >> x; std::cout << 2 * x; }"


async def run_code(service: SandboxService, code: str, language: str = "python", **fields: Any) -> Any:
    """As verl's client asks; every answer to it is 200 and has all the fields."""
    body = {"compile_timeout": 10, "run_timeout": 10, "code": code, "stdin": "", "language": language}
    answer = await ask(service, "POST", "/run_code", {**body, "files": {}, "fetch_files": [], **fields})
    assert answer.status == 200
    assert set(answer.json) == REPLY
    for command in ("compile_result", "run_result"):
        assert answer.json[command] is None or set(answer.json[command]) == COMMAND
    return answer.json


async def test_a_program_that_succeeds(service: SandboxService) -> None:
    reply = await run_code(service, "print(int(input()) * 2)", stdin="21", memory_limit_MB=256)
    assert (reply["status"], reply["message"], reply["compile_result"]) == ("Success", "", None)
    ran = reply["run_result"]
    assert (ran["status"], ran["return_code"], ran["stdout"], ran["stderr"]) == ("Finished", 0, "42\n", "")
    assert 0 < ran["execution_time"] < 10


async def test_a_program_that_fails_and_one_that_takes_too_long(service: SandboxService) -> None:
    failed = await run_code(service, "raise ValueError('seven')")
    assert (failed["status"], failed["run_result"]["status"], failed["run_result"]["return_code"]) == (
        "Failed",
        "Finished",
        1,
    )
    assert failed["run_result"]["stderr"].endswith("ValueError: seven\n")
    late = await run_code(service, "print('on', flush=True)\nwhile True: pass", run_timeout=0.3)
    assert (late["status"], late["run_result"]["status"], late["run_result"]["return_code"]) == (
        "Failed",
        "TimeLimitExceeded",
        None,
    )
    assert late["run_result"]["stdout"] == "on\n"
    greedy = await run_code(service, "x = bytearray(10**10)")
    assert (greedy["status"], greedy["run_result"]["status"]) == ("Failed", "Finished")
    assert "ended by the sandbox: needed more than" in greedy["run_result"]["stderr"]


async def test_files_go_in_and_come_back(service: SandboxService) -> None:
    files = {"helper.py": base64.b64encode(b"x = 5").decode(), "deep/data": base64.b64encode(b"\xff").decode()}
    code = "import helper; open('out', 'wb').write(open('deep/data', 'rb').read()); print(helper.x)"
    reply = await run_code(service, code, files=files, fetch_files=["out", "missing"])
    assert reply["run_result"]["stdout"] == "5\n"
    assert reply["files"] == {"out": base64.b64encode(b"\xff").decode()}
    again = await run_code(service, "import os; print(os.listdir())")
    assert again["run_result"]["stdout"] == "[]\n"


@pytest.mark.parametrize(
    ("language", "code", "said"),
    [("bash", "read x; echo $((x * 2))", "42\n"), ("cpp", DOUBLE, "42"), ("perl", "print 2 * <STDIN>", "42")],
)
async def test_other_languages(service: SandboxService, language: str, code: str, said: str) -> None:
    tool = {"cpp": "g++"}.get(language, language)
    require(shutil.which(tool) is not None, tool)
    reply = await run_code(service, code, language, stdin="21", memory_limit_MB=512)
    assert (reply["status"], reply["run_result"]["stdout"]) == ("Success", said)
    assert (reply["compile_result"] is not None) is (language == "cpp")


async def test_what_does_not_compile_is_not_run(service: SandboxService) -> None:
    require(shutil.which("g++") is not None, "g++")
    reply = await run_code(service, "int main( {", "cpp", memory_limit_MB=512)
    assert (reply["status"], reply["run_result"]) == ("Failed", None)
    assert (reply["compile_result"]["status"], reply["compile_result"]["return_code"]) == ("Finished", 1)
    assert "error" in reply["compile_result"]["stderr"]


async def test_a_language_that_is_not_served_is_no_programs_failure(service: SandboxService) -> None:
    reply = await run_code(service, "theorem x : 1 = 1 := rfl", "lean")
    assert (reply["status"], reply["run_result"]) == ("SandboxError", None)
    assert "those served are: python, bash, cpp" in reply["message"]


async def test_a_host_that_fails_is_no_programs_failure(service: SandboxService, sandboxes: RemoteSandboxes) -> None:
    sandbox = await sandboxes.create()
    os.kill(cast("LocalSandboxes", service.backend).pid, signal.SIGKILL)
    with pytest.raises(SandboxFailed) as failure:
        await sandbox.exec("sleep 60")
    assert failure.value.result is not None
    assert failure.value.result.cause is Cause.INFRA
    reply = await run_code(service, "print(1)")
    assert (reply["status"], reply["run_result"]) == ("SandboxError", None)
    assert "the zygote" in reply["message"]


async def test_a_sandbox_that_is_not_made_in_time_is_an_answer_too() -> None:
    sandboxes = LocalSandboxes(warm=0)
    async with SandboxService(sandboxes, ServiceConfig(port=0, operation_timeout=2.0)) as service:
        os.kill(sandboxes.pid, signal.SIGSTOP)
        try:
            reply = await run_code(service, "print(1)")
        finally:
            os.kill(sandboxes.pid, signal.SIGCONT)
        assert (reply["status"], reply["message"]) == ("SandboxError", "no sandbox could be made in 2 s")
        assert (await run_code(service, "print(1)"))["status"] == "Success"
