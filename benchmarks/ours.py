"""Our side: the stages as they are, iteration by iteration. python ours.py TASK.json DTYPE"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from turns import say, turn

from trivium.config import PPO, SFT, Reward, Sampling, Split
from trivium.models import compute_for, load_policy
from trivium.rollouts import Episodes
from trivium.rollouts.native import generate
from trivium.runs.directory import Run
from trivium.stages import ppo, reward, sft


def main() -> None:
    task, dtype = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2]
    out = Path(task["folder"]) / "runs" / f"{task['kind']}-{dtype}"
    follow(task)
    race = {"sft": race_sft, "reward": race_reward, "ppo": race_ppo, "sample": race_sample}
    race[task["kind"]](task, dtype, out)


def follow(task: dict) -> None:
    """The stages' own loops, with a turn before each iteration and their metrics read aloud."""
    facts: dict[str, Any] = {}
    log = Run.log

    def steps(self: Run, start: int, stop: int, label: str) -> Iterator[int]:
        for step in range(start, stop):
            turn(**facts)
            yield step

    def overheard(self: Run, step: int, values: Mapping[str, float]) -> None:
        facts.update({k: v for k, v in values.items() if k in READ_ALOUD})
        log(self, step, values)

    Run.steps, Run.log = steps, overheard
    act = ppo.act

    def acted(*given: Any, **named: Any) -> Episodes:
        episodes = act(*given, **named)
        rows = episodes.sequences
        pairs = zip(rows.prompt_lengths.tolist(), rows.response_lengths.tolist(), strict=True)
        facts["lengths"] = [[prompt, [response]] for prompt, response in pairs]
        return episodes

    ppo.act = acted
    # Rows in the order of the file, as the peers read them.
    for stage in (sft, reward):
        stage.epoch_order = lambda count, **_: torch.arange(count)


READ_ALOUD = {
    "sft/loss", "sft/grad_norm", "sft/tokens", "reward/loss", "reward/grad_norm", "reward/tokens",
    "objective/kl_nats", "episodes/prompt_tokens", "episodes/response_tokens",
}  # fmt: skip


def common(task: dict, dtype: str) -> dict:
    return {
        "compute_dtype": dtype,
        "lr": 0.0,
        "accept_affected": True,
        "split": Split(heldout_fraction=0.0),
    }


def sampling_of(task: dict) -> Sampling:
    return Sampling(
        max_prompt_tokens=task["max_prompt_tokens"],
        max_response_tokens=task["max_response_tokens"],
    )


def race_sft(task: dict, dtype: str, out: Path) -> None:
    cfg = SFT(
        model=task["policy"], demonstrations=f"{task['folder']}/rows.jsonl", num_epochs=1,
        examples_per_step=task["batch"], examples_per_backward=task["per_backward"],
        sampling=sampling_of(task),
        **common(task, dtype),
    )  # fmt: skip
    sft.run(cfg, out)


def race_reward(task: dict, dtype: str, out: Path) -> None:
    rows = f"{task['folder']}/rows.jsonl"
    cfg = Reward(
        model=task["policy"], rankings=rows,
        demonstrations=f"{task['folder']}/demonstrations.jsonl", num_epochs=1,
        prompts_per_step=task["batch"], prompts_per_backward=task["per_backward"],
        max_prompt_tokens=task["max_prompt_tokens"],
        max_response_tokens=task["max_response_tokens"], **common(task, dtype),
    )  # fmt: skip
    reward.run(cfg, out)


def race_ppo(task: dict, dtype: str, out: Path) -> None:
    cfg = PPO(
        policy=task["policy"], reward=(task["reward"],), prompts=f"{task['folder']}/rows.jsonl",
        num_steps=task["iterations"] + 2, episodes_per_step=task["batch"],
        episodes_per_minibatch=task["batch"], episodes_per_backward=task["per_backward"],
        sampling=sampling_of(task),
        heldout_every=0, checkpoint_every=task["iterations"] + 2, value_lr=0.0,
        **common(task, dtype),
    )  # fmt: skip
    ppo.run(cfg, out)


def race_sample(task: dict, dtype: str, out: Path) -> None:
    compute = compute_for(dtype)
    policy = load_policy(task["policy"], compute)
    policy.model.eval()
    prompts = [row["prompt"] for row in read(task)]
    sampling = sampling_of(task)
    generator = torch.Generator().manual_seed(0)
    tokens = None
    for _ in range(task["iterations"] + 2):
        turn(tokens=tokens)
        episodes = generate(
            policy.model, prompts, sampling=sampling, end_id=policy.codec.end_id, compute=compute,
            generator=generator,
        )  # fmt: skip
        tokens = int((episodes.sequences.lengths - episodes.sequences.prompt_lengths).sum())


def read(task: dict) -> list[dict]:
    return [json.loads(line) for line in (Path(task["folder"]) / "tokens.jsonl").open()]


if __name__ == "__main__":
    try:
        main()
    finally:
        say({"over": True})
