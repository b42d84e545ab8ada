"""Every probe by id: what a finding of it means, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Probe(StrEnum):
    """What the audit can find. The values are stable: scripts and ignore lists may name them."""

    CANNOT_PLAY = "cannot-play"
    ORACLE_FAILS = "oracle-fails"
    NO_ORACLE = "no-oracle"
    CONSTANT_REWARD = "constant-reward"
    PAYS_NOTHING = "pays-without-answer"
    OVERRIDE = "grader-override"
    GUESS = "pays-a-constant"
    LISTING = "pays-every-answer"
    ECHO = "pays-prompt-echo"
    HEDGE = "pays-a-hedge"
    OTHER_ANSWER = "pays-another-tasks-answer"
    TOOL_ABUSE = "pays-tool-abuse"
    PARTIAL_PAY = "partial-pay-without-answer"
    EXECUTES = "executes-answer"
    RAISES = "raises"
    HANGS = "hangs"
    REWARD_TYPE = "reward-type"
    REWARD_RANGE = "reward-range"
    UNSCORED = "unscored"
    STEP_SHAPE = "step-shape"
    TERMINATED_AND_TRUNCATED = "terminated-and-truncated"
    OBSERVATION = "observation-shape"
    INFO_JSON = "info-not-json"
    TASK_JSON = "task-not-json"
    TASK_IDS = "task-ids"
    SPLIT_OVERLAP = "split-overlap"
    NONDETERMINISTIC = "nondeterministic"
    INTERFERENCE = "interference"
    RESET_LEAK = "reset-leak"
    GLOBAL_RNG = "global-rng"
    SEED_IGNORED = "seed-ignored"
    BLOCKS_LOOP = "blocks-loop"
    IGNORES_CANCELLATION = "ignores-cancellation"
    CLOSE_FAILS = "close-fails"
    ENDLESS = "endless"
    OUT_OF_TIME = "audit-cut-short"


@dataclass(frozen=True, slots=True)
class Explanation:
    """`meaning` completes "the environment …"; `remedy` says what to change."""

    meaning: str
    remedy: str


EXPLANATIONS: dict[Probe, Explanation] = {
    Probe.CANNOT_PLAY: Explanation(
        "cannot be made, or gives no episode to play", "fix what the evidence quotes; nothing else could be checked"
    ),
    Probe.ORACLE_FAILS: Explanation(
        "does not pay its own oracle full marks",
        "fix the verifier or the oracle; if no policy can be sure of the top, declare the reachable reward_range",
    ),
    Probe.NO_ORACLE: Explanation(
        "has no oracle, so nobody has shown that a right answer is paid",
        "implement oracle(); without it hedges, swapped answers and chance cannot be judged either",
    ),
    Probe.CONSTANT_REWARD: Explanation(
        "pays every answer the same, the right one included", "there is nothing to learn from it: fix the verifier"
    ),
    Probe.PAYS_NOTHING: Explanation(
        "pays answers without content (silence, garbage, broken JSON)",
        "let the verifier return its lowest reward for an answer it cannot read",
    ),
    Probe.OVERRIDE: Explanation(
        "pays text that talks to the grader instead of answering",
        "never evaluate, template or pattern-match with the policy's text",
    ),
    Probe.GUESS: Explanation(
        "pays one fixed answer on tasks whose right answer is another",
        "compare with the task's answer; if many answers are right, check the answer against the task",
    ),
    Probe.LISTING: Explanation(
        "pays a list of every possible answer",
        "do not search for the right answer inside the text; extract one final answer and compare that",
    ),
    Probe.ECHO: Explanation(
        "pays for repeating the question", "do not search for the right answer inside the text; extract and compare"
    ),
    Probe.HEDGE: Explanation(
        "pays 'right or wrong' in either order, so contradicting oneself is free",
        "refuse answers that commit to more than one value",
    ),
    Probe.OTHER_ANSWER: Explanation(
        "pays the right answer of another task",
        "check the answer against this task's own data (numbers given, constraints, state), not its form alone",
    ),
    Probe.TOOL_ABUSE: Explanation(
        "pays malformed, unknown or repeated tool calls", "score what was achieved, not that a tool was called"
    ),
    Probe.PARTIAL_PAY: Explanation(
        "pays a sizeable part of the reward for no answer at all",
        "keep partial credit for partial answers; a policy will settle for what silence earns",
    ),
    Probe.EXECUTES: Explanation(
        "runs the policy's answer as code on this machine",
        "parse instead of eval (ast.literal_eval, json.loads), or run it in a sandbox",
    ),
    Probe.RAISES: Explanation(
        "raises on something a policy can send",
        "a failure is no reward: catch what is the policy's fault and pay the lowest reward for it",
    ),
    Probe.HANGS: Explanation(
        "does not come back in time", "bound the work; run what may not stop through agentenv.processes.run_isolated"
    ),
    Probe.REWARD_TYPE: Explanation(
        "returns a reward that is not a finite number", "return a finite float, or None for 'not scored'"
    ),
    Probe.REWARD_RANGE: Explanation(
        "returns more or less than the reward range it declares", "declare reward_range, or clip"
    ),
    Probe.UNSCORED: Explanation(
        "ends episodes without a score", "return a number when the episode ends; None keeps it out of training"
    ),
    Probe.STEP_SHAPE: Explanation(
        "breaks the shape of reset or step",
        "reset returns (Observation, info), step (Observation, reward, terminated, truncated, info) with two bools",
    ),
    Probe.TERMINATED_AND_TRUNCATED: Explanation(
        "says terminated and truncated at once", "an end is one of the two: a truncated episode bootstraps"
    ),
    Probe.OBSERVATION: Explanation(
        "returns observations that are not chat messages", "return Observation(tuple of Message, tuple of ToolSpec)"
    ),
    Probe.INFO_JSON: Explanation(
        "puts into info what JSON cannot carry", "keep strings, numbers, lists and mappings in info"
    ),
    Probe.TASK_JSON: Explanation(
        "has tasks that JSON does not carry there and back", "keep JSON values (lists, not tuples) in answer and data"
    ),
    Probe.TASK_IDS: Explanation(
        "gives different tasks the same id", "derive ids from the content, or number them within the source"
    ),
    Probe.SPLIT_OVERLAP: Explanation(
        "shows the same questions in different splits",
        "split by content, as ProceduralTasks does",
    ),
    Probe.NONDETERMINISTIC: Explanation(
        "answers the same task, seed and actions differently the second time",
        "draw from self.rng, or declare deterministic=False",
    ),
    Probe.INTERFERENCE: Explanation(
        "behaves differently when other episodes run beside it",
        "keep the state of an episode on self, never on the class, the module or a shared object",
    ),
    Probe.RESET_LEAK: Explanation(
        "remembers the last episode after reset", "set every field that a step changes in reset (or setup)"
    ),
    Probe.GLOBAL_RNG: Explanation(
        "uses the process's global random state", "draw from self.rng or self.numpy_rng; never seed the global one"
    ),
    Probe.SEED_IGNORED: Explanation(
        "starts the same episode whatever the seed", "call self.begin(task, seed) first in reset and draw from self.rng"
    ),
    Probe.BLOCKS_LOOP: Explanation(
        "holds the event loop, so every other episode waits",
        "await it, or put it in a thread (a plain @tool or @reward function is) or in run_isolated",
    ),
    Probe.IGNORES_CANCELLATION: Explanation(
        "goes on after it was cancelled", "let asyncio.CancelledError pass; clean up in finally"
    ),
    Probe.CLOSE_FAILS: Explanation("fails to close", "close must not raise, also before reset and after a failure"),
    Probe.ENDLESS: Explanation(
        "never ends for a policy that gets nowhere", "set max_turns; until then only the run's own budgets end it"
    ),
    Probe.OUT_OF_TIME: Explanation("could not be audited in full in the time given", "raise the audit's budget"),
}
