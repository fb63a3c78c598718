"""Acting: N actors in N copies of the environment, and what they lived through as a batch.

Legend: B rows (episodes, or the pieces that fit into a rollout), T steps, A actions.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import gymnasium
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trivium import maths
from trivium.classic.tasks import Task

Logits = Callable[[Tensor], Tensor]
"""A policy: observations (...) to logits (..., A)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Experience, one row per episode or piece of one, as ``maths`` takes it."""

    states: Tensor
    """What was seen before each step: cells (B, T), or vectors (B, T, d)."""

    actions: Int[Tensor, "B T"]
    """What was done."""

    rewards: Float[Tensor, "B T"]
    """What it earned, times the task's reward scale."""

    logprobs: Float[Tensor, "B T"]
    """log b(a | s) of the policy b that acted, nats."""

    mask: Bool[Tensor, "B T"]
    """True on the steps that happened; each row is a run of True, then False."""

    times: Int[Tensor, "B T"]
    """Steps since the episode began."""

    next_states: Tensor
    """What was seen after the last step of each row, (B,) or (B, d)."""

    ended: Bool[Tensor, " B"]
    """The episode ended there; False: it was cut, by the rollout's length or a time limit."""

    def __len__(self) -> int:
        return len(self.mask)

    def rows(self, chosen: Int[Tensor, " b"]) -> "Batch":
        """The batch of some rows."""
        return Batch(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})


class Actors:
    """N copies of a task's environment, the cats in them, and a count of their steps."""

    def __init__(self, task: Task, num_actors: int, *, seed: int) -> None:
        self.envs: gymnasium.vector.VectorEnv = task.make_envs(num_actors)
        self.reward_scale = task.reward_scale
        self.generator = torch.Generator().manual_seed(seed)
        self.steps = 0
        self.seen, _ = self.envs.reset(seed=seed)
        self.done = np.zeros(num_actors, dtype=bool)
        self.ages = np.zeros(num_actors, dtype=np.int64)

    def episodes(self, policy: Logits) -> Batch:
        """Each actor plays one whole episode, from its beginning.

        One each, and the quick wait for the slow: the first N episodes to end would be the short
        ones, and their returns no fair sample.
        """
        self.seen, _ = self.envs.reset()
        self.done[:], self.ages[:] = False, 0
        trace, waiting = [], self.done.copy()
        while not waiting.all():
            step = self._step(policy)
            step["lived"] = ~waiting
            waiting = waiting | self.done
            trace.append(step)
        self.done[:] = True
        return self._batch(trace)

    def steps_of(self, policy: Logits, num_steps: int) -> Batch:
        """Each actor takes ``num_steps`` steps from where it is; ended episodes begin anew."""
        trace = [self._step(policy) for _ in range(num_steps)]
        while not any(step["lived"].any() for step in trace):  # all of them just woke up
            trace.append(self._step(policy))
        return self._batch(trace)

    def _step(self, policy: Logits) -> dict[str, np.ndarray]:
        """Act once; where the last episode had ended the step only wakes the actor up."""
        lived, before, times = ~self.done, self.seen, self.ages
        with torch.no_grad():
            logits = policy(torch.from_numpy(before))
            chosen = logits.softmax(-1).multinomial(1, generator=self.generator).squeeze(-1)
            logprobs = maths.token_logprobs(logits, chosen)
        actions = chosen.numpy()
        self.seen, rewards, terminated, truncated, _ = self.envs.step(actions)
        self.ages = np.where(lived, self.ages + 1, 0)
        self.done = terminated | truncated
        return {
            "lived": lived,
            "states": before,
            "actions": actions,
            "rewards": rewards,
            "logprobs": logprobs.numpy(),
            "times": times,
            "seen": self.seen,
            "ended": terminated,
        }

    def _batch(self, trace: list[dict[str, np.ndarray]]) -> Batch:
        """Cut the actors' streams, (N, T), into rows that hold one run of one episode each."""
        stream = {name: np.stack([step[name] for step in trace], axis=1) for name in trace[0]}
        lived, times = stream["lived"], stream["times"]
        self.steps += int(lived.sum())
        first = lived & (times == 0)
        first[:, 0] |= lived[:, 0]
        row = first.ravel().cumsum() - 1
        kept = lived.ravel()
        starts = np.flatnonzero(first)
        place = np.arange(kept.size) - starts[np.maximum(row, 0)]
        row, place = row[kept], place[kept]
        width = int(place.max()) + 1

        def rows_of(name: str) -> Tensor:
            values = stream[name].reshape(kept.size, *stream[name].shape[2:])[kept]
            padded = np.zeros((len(starts), width, *values.shape[1:]), dtype=values.dtype)
            padded[row, place] = values
            return torch.from_numpy(padded)

        lengths = torch.from_numpy(np.bincount(row, minlength=len(starts)))
        rows, last = torch.arange(len(starts)), lengths - 1
        return Batch(
            states=rows_of("states"),
            actions=rows_of("actions"),
            rewards=rows_of("rewards").float() * self.reward_scale,
            logprobs=rows_of("logprobs"),
            mask=maths.length_mask(lengths, width),
            times=rows_of("times"),
            next_states=rows_of("seen")[rows, last],
            ended=rows_of("ended")[rows, last],
        )
