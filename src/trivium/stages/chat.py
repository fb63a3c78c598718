"""Talk to a model in the terminal."""

from pathlib import Path

import torch
from rich.console import Console

from trivium.config import Sampling
from trivium.models import Compute, Policy, compute_for, load_policy
from trivium.rollouts import generate
from trivium.stages.rows import Messages
from trivium.text import decode_response, encode_prompt


def run(place: str, temperature: float) -> None:
    """Read lines, answer them; an empty line forgets the conversation, end of input ends it.

    Args:
        place: run directory, model folder or hub name; the folder of a recipe means its last
            policy.
        temperature: of the answers.
    """
    compute = compute_for("auto")
    policy = load_policy(last_policy(place), compute)
    console = Console()
    console.print(f"{policy.name}: empty line = new conversation, Ctrl-D = end", style="dim")
    generator = torch.Generator().manual_seed(torch.seed() % 2**31)
    messages: Messages = []
    while True:
        try:
            line = console.input("[bold]you:[/bold] ")
        except EOFError:
            return
        if not line.strip():
            messages = []
            continue
        messages.append({"role": "user", "content": line})
        text = reply(policy, messages, compute, generator, temperature=temperature)
        messages.append({"role": "assistant", "content": text})
        console.print(text, markup=False, highlight=False)


def reply(
    policy: Policy,
    messages: Messages,
    compute: Compute,
    generator: torch.Generator,
    *,
    temperature: float,
) -> str:
    """One answer, no longer than the context allows."""
    prompt = encode_prompt(policy.codec, messages, where="you")
    room = policy.model.config.get_text_config().max_position_embeddings - len(prompt)
    sampling = Sampling(temperature=temperature, max_response_tokens=max(1, min(512, room)))
    episodes = generate(
        policy.model,
        [prompt],
        sampling,
        end_id=policy.codec.end_id,
        compute=compute,
        generator=generator,
    )
    return decode_response(policy.codec, episodes.responses()[0])


def last_policy(place: str) -> str:
    """The newest policy of a recipe's folder: PPO-ptx's before PPO's before SFT's."""
    for stage in ("ppo_ptx", "ppo", "sft"):
        if (Path(place) / stage / "model").is_dir():
            return str(Path(place) / stage)
    return place
