"""All algorithms by name, from REINFORCE to PPO, and training runs of them.

Runs share nothing, so each goes to whichever process is free, with one thread.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from trivium import maths
from trivium.classic import (
    actor_critic,
    actor_critic_gae,
    off_policy,
    ppo_clip,
    ppo_kl,
    reinforce,
    reinforce_baseline,
    reinforce_to_go,
    tasks,
    trpo,
)
from trivium.classic.cat import MAX_STEPS, CatEnv
from trivium.classic.learn import Agent, Watch
from trivium.classic.rollouts import Actors, Logits
from trivium.classic.tasks import Task, World
from trivium.errors import UserError

GOAL = 0.95
"""Share of the optimum that counts as having learned a task."""

LOOKS = {tasks.CAT: 120, tasks.CART_POLE: 30}
"""How often a policy is scored in a run; on CartPole a score is measured and costs episodes."""

NOISE_ACTORS, NOISE_STEPS, NOISE_ESTIMATES = 32, 10_000, 16
"""Actors, and least environment steps and estimates, behind a measurement of gradient noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """A rung of the ladder, its settings bound."""

    train: Callable[..., Agent]
    """(task, *, seed, watch) -> what was learned."""

    estimate: Callable[..., Tensor]
    """(task, *, actors, agent) -> a loss on fresh experience: its gradient is one estimate of minus
    the policy gradient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one training run; plain data, to be sent between processes."""

    name: str
    seed: int
    steps: tuple[int, ...]
    """Environment steps when each score was taken."""

    shares: tuple[float, ...]
    """Scores over the optimum; the last is that of the policy the run ended with."""

    steps_to_goal: int | None
    """Environment steps to 95 % of the optimum; None: never."""

    noise_steps: float | None
    """Environment steps in a batch whose gradient is half noise, at half of the optimum."""

    walks: tuple[tuple[int, ...], tuple[int, ...]]
    """Cells of an episode before and after training; empty where there is no cat."""

    cpu_seconds: float


def algorithms() -> dict[str, Algorithm]:
    """The ladder, bottom first."""
    rungs = [
        ("reinforce", reinforce, reinforce.Settings()),
        ("reinforce_to_go", reinforce_to_go, reinforce_to_go.Settings()),
        ("reinforce_baseline", reinforce_baseline, reinforce_baseline.Settings()),
        ("actor_critic", actor_critic, actor_critic.Settings()),
        ("actor_critic_gae", actor_critic_gae, actor_critic_gae.Settings()),
        ("off_policy", off_policy, off_policy.Settings()),
        ("trpo", trpo, trpo.Settings()),
        ("ppo_clip", ppo_clip, ppo_clip.Settings()),
        ("ppo_clip_shared", ppo_clip, ppo_clip.Settings(shared=True)),
        ("ppo_kl", ppo_kl, ppo_kl.Settings()),
        ("ppo_kl_fixed", ppo_kl, ppo_kl.Settings(kl_target=None)),
    ]
    return {
        name: Algorithm(
            train=partial(module.train, settings=settings),
            estimate=partial(module.estimate, settings=settings),
        )
        for name, module, settings in rungs
    }


def choose(name: str) -> list[str]:
    """The algorithms meant by a name, or by `all`.

    Raises:
        UserError: there is none of that name.
    """
    known = list(algorithms())
    if name != "all" and name not in known:
        raise UserError(f"classic {name}: no such algorithm; expected all, {', '.join(known)}")
    return known if name == "all" else [name]


def run_all(names: Sequence[str], world: World, *, seeds: int) -> Iterator[Outcome]:
    """Train every algorithm with seeds 0, 1, ...; outcomes come as they are ready."""
    jobs = [(name, seed) for seed in range(seeds) for name in names]
    workers = min(len(jobs), os.cpu_count() or 1)
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=spawn, initializer=_one_thread)
    try:
        waiting = [pool.submit(run, name, world, seed=seed) for name, seed in jobs]
        for done in as_completed(waiting):
            yield done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _one_thread() -> None:
    torch.set_num_threads(1)


def run(name: str, world: World, *, seed: int) -> Outcome:
    """Train one algorithm with one seed, and look at what it learned."""
    began = time.process_time()
    task, algorithm = tasks.find(world), algorithms()[name]
    watch = Watch(task=task, every=task.num_steps // LOOKS[task.name])
    agent = algorithm.train(task, seed=seed, watch=watch)
    return Outcome(
        name=name,
        seed=seed,
        steps=tuple(watch.steps),
        shares=tuple(score / task.optimum for score in watch.scores),
        steps_to_goal=watch.steps_to(GOAL),
        noise_steps=noise_steps(algorithm, task, watch.halfway, seed=seed),
        walks=(walk(uniform(task), world, seed=seed), walk(agent.policy, world, seed=seed)),
        cpu_seconds=time.process_time() - began,
    )


def noise_steps(
    algorithm: Algorithm, task: Task, agent: Agent | None, *, seed: int
) -> float | None:
    """Environment steps whose gradient is half noise; None where that is not known.

    The agent's policy and critic stay as they are while estimates of one gradient are collected.
    """
    if agent is None:
        return None
    actors = Actors(task, NOISE_ACTORS, seed=seed)
    actors.steps_of(agent.policy, 100)  # spreads the actors over their episodes
    weights = list(agent.policy.parameters())
    before, gradients = actors.steps, []
    while actors.steps - before < NOISE_STEPS or len(gradients) < NOISE_ESTIMATES:
        loss = algorithm.estimate(task, actors=actors, agent=agent)
        gradients.append(maths.flatten(torch.autograd.grad(loss, weights)))
    ratio = maths.gradient_noise(torch.stack(gradients))
    steps = ratio * (actors.steps - before) / len(gradients)
    return steps if steps < float("inf") else None


def uniform(task: Task) -> Logits:
    """The policy that knows nothing."""
    return lambda states: torch.zeros(*states.shape[:1], task.num_actions)


def walk(policy: Logits, world: World, *, seed: int) -> tuple[int, ...]:
    """The cells of one episode of the cat; none elsewhere."""
    if world.env != tasks.CAT:
        return ()
    env = CatEnv(layout=world.layout, drunkenness=world.drunkenness)
    generator = torch.Generator().manual_seed(seed)
    cell, _ = env.reset(seed=seed)
    cells = [int(cell)]
    while not env.grid.ends[cell] and len(cells) <= MAX_STEPS:
        with torch.no_grad():
            law = policy(torch.tensor([cell])).softmax(-1)
        cell, *_ = env.step(np.int64(law.multinomial(1, generator=generator).item()))
        cells.append(int(cell))
    return tuple(cells)
