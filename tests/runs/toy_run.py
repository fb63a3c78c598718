"""A stage in small, in a process of its own so that it can be killed for real.

python toy_run.py pauses DIR PAUSE...   DIR/PAUSE: killed there, then resumed; DIR/whole: never
python toy_run.py storm DIR SEED        DIR: killed at random moments and resumed until it is done

Children are forked, so that torch is imported once; its optimizers import half of it when made.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

from trivium.config import Pretrain
from trivium.runs import checkpoint
from trivium.runs.checkpoint import generator_state, load_generator, load_optimizer
from trivium.runs.checkpoint import optimizer_tensors as flat
from trivium.runs.directory import Run, open_run

NUM_STEPS = 40
HERE = os.pipe()
CONFIG = Pretrain(num_steps=NUM_STEPS, checkpoint_every=5, lr=1e-2)


def pause() -> None:
    os.write(HERE[1], b"!")
    while True:
        time.sleep(60)


def train(out: Path, pause_at: str) -> None:
    model = torch.nn.Linear(8, 1)
    data = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(generator=data)
    optimizer = torch.optim.AdamW(model.parameters(), lr=CONFIG.lr, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.97)
    with open_run(out, stage="pretrain", config=CONFIG, resume=True) as run:
        run.plan({"optimizer_steps": NUM_STEPS})
        done = restore(run, model, optimizer, schedule, data)
        for step in run.steps(done, NUM_STEPS, "toy"):
            learn(run, step, model, optimizer, data)
            schedule.step()
            if pause_at == f"log-{step}":
                with (out / "metrics.jsonl").open("a") as log:
                    log.write('{"step": 99, "pretr')  # the part of a line that got to the disk
                pause()
            if (step + 1) % CONFIG.checkpoint_every == 0:
                save(run, step + 1, model, optimizer, schedule, data, pause_at)
        run.executed({"optimizer_steps": NUM_STEPS})
        run.finish({})


def learn(run, step, model, optimizer, data) -> None:
    x = torch.randn(16, 8, generator=data)
    loss = (model(x) - x.sum(dim=1, keepdim=True)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    run.log(step, {"pretrain/loss": loss.item(), "pretrain/lr": optimizer.param_groups[0]["lr"]})
    run.show(step, [{"text": f"é {x[0, 0].item()}"}])


def save(run: Run, step, model, optimizer, schedule, data, pause_at) -> None:
    def write_models(folder: Path) -> None:
        save_file(model.state_dict(), folder / "model.safetensors")
        if pause_at == f"save-{step}":
            pause()

    tensors = {**flat(optimizer, "adam"), "data": generator_state(data)}
    run.save(
        step,
        write_models=write_models,
        tensors=tensors,
        state={"schedule": schedule.state_dict()},
    )
    if pause_at == f"saved-{step}":
        pause()


def restore(run: Run, model, optimizer, schedule, data) -> int:
    saved = run.checkpoint
    if saved is None:
        return 0
    model.load_state_dict(checkpoint.load_file(saved.path / "model.safetensors"))
    tensors = saved.tensors()
    load_optimizer(optimizer, tensors, "adam")
    load_generator(data, tensors["data"])
    schedule.load_state_dict(saved.state["schedule"])
    return saved.step


def fork(out: Path, pause_at: str) -> int:
    child = os.fork()
    if child == 0:
        train(out, pause_at)
        os._exit(0)
    return child


def kill(child: int) -> bool:
    """Whether the child died of it, and was not done before."""
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) and os.waitstatus_to_exitcode(status) != 0:
        sys.exit("a child failed")
    return os.WIFSIGNALED(status)


def wait(child: int) -> None:
    _, status = os.waitpid(child, 0)
    if status != 0:
        sys.exit("a child failed")


def pauses(out: Path, places: list[str]) -> None:
    wait(fork(out / "whole", "never"))
    for place in places:
        child = fork(out / place, place)
        os.read(HERE[0], 1)
        if not kill(child):
            sys.exit(f"{place}: not killed")
        wait(fork(out / place, "never"))


def storm(out: Path, seed: int) -> None:
    chance = random.Random(seed)
    kills = 0
    child = fork(out, "never")
    while True:
        # Longer and longer: the first kills come early on any machine, and in the end it finishes.
        time.sleep(chance.uniform(0.0, 0.03 * (1 + kills)))
        if not kill(child):
            print(f"kills {kills}")
            return
        kills += 1
        child = fork(out, "never")


if __name__ == "__main__":
    torch.optim.AdamW(torch.nn.Linear(1, 1).parameters()).zero_grad()
    command, folder, *rest = sys.argv[1:]
    if command == "pauses":
        pauses(Path(folder), rest)
    else:
        storm(Path(folder), int(rest[0]))
