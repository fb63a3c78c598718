"""The work both sides get: the same weights, the same tokens, the same order."""

import json
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer

from trivium.miniature import corpus
from trivium.models import compute_for, load_policy, save_reward_model
from trivium.models.load import new_reward_model
from trivium.text import encode_prompt, encode_response
from trivium.text.template import Codec

NEVER_SAMPLED = "<reponame>"
"""A token of SmolLM2 that its answers do not contain: with it as EOS lengths are fixed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One race; written as JSON for the sides, which live in environments of their own."""

    kind: str
    """sft, reward, ppo or sample."""

    policy: str
    reward: str
    folder: str
    """Where rows.jsonl (text) and tokens.jsonl (the same as token ids) lie."""

    iterations: int
    batch: int
    per_backward: int
    max_prompt_tokens: int
    max_response_tokens: int
    stops: bool
    """Answers end at EOS; otherwise all have max_response_tokens."""


def prepare(kind: str, model: str, folder: Path, **sizes: int) -> Task:
    """Write rows, tokens, weights; one iteration more than is timed, to warm up, and one to end."""
    folder.mkdir(parents=True)
    stops = not kind.endswith("_fixed")
    policy = _with_rare_end(model, folder / "policy") if not stops else model
    compute = compute_for("float32")
    codec = load_policy(policy, compute).codec
    task = Task(
        kind=kind.split("_")[0], policy=policy, reward=str(folder / "reward"), folder=str(folder),
        stops=stops, **sizes,
    )  # fmt: skip
    if task.kind in ("reward", "ppo"):
        reward = new_reward_model(policy, compute, seed=0)
        save_reward_model(reward, folder / "reward", compute, stage="reward")
    rows = list(_rows(task, codec))
    _write(folder / "rows.jsonl", [row for row, _ in rows])
    if task.kind == "reward":  # the stage asks for some, to set the bias after training
        best = {"id": "0", "prompt": rows[0][0]["prompt"], "completion": "A short answer."}
        _write(folder / "demonstrations.jsonl", [best])
    _write(folder / "tokens.jsonl", [ids for _, ids in rows])
    (folder / "task.json").write_text(json.dumps(asdict(task), indent=1))
    return task


def _rows(task: Task, codec: Codec) -> Iterator[tuple[dict, dict]]:
    rng = random.Random(f"benchmark {task.kind}")
    batches = 1 if task.kind in ("ppo", "sample") else task.iterations + 2
    for number in range(batches * task.batch):
        row = {"id": str(number), "prompt": _prompt(rng, task, codec)}
        prompt = encode_prompt(codec, row["prompt"], where="benchmark")
        if task.kind == "sft":
            row["completion"] = _text(rng, _log_normal(rng, task.max_response_tokens), codec)
            yield row, {"prompt": prompt, "responses": [_answer(codec, row["completion"])]}
        elif task.kind == "reward":
            length = task.max_response_tokens - 1
            texts = [_text(rng, length, codec) for _ in range(9)]
            row["completions"] = [{"text": t, "rank": n + 1} for n, t in enumerate(texts)]
            yield row, {"prompt": prompt, "responses": [_answer(codec, t) for t in texts]}
        else:
            yield row, {"prompt": prompt, "responses": []}


def _prompt(rng: random.Random, task: Task, codec: Codec) -> list[dict[str, str]]:
    """A user's turn, so that the whole prompt has a length of 16 to max_prompt_tokens."""
    bare = len(encode_prompt(codec, [{"role": "user", "content": "."}], where="benchmark"))
    least = max(16, bare + 4)
    fixed = task.kind == "reward" or not task.stops
    wanted = task.max_prompt_tokens if fixed else rng.randint(least, task.max_prompt_tokens)
    return [{"role": "user", "content": _text(rng, max(4, wanted - bare), codec)}]


def _text(rng: random.Random, tokens: int, codec: Codec) -> str:
    text = ""
    while len(codec.tokenizer.encode(text)) < tokens:
        text = f"{text} {corpus.fact(rng)}".strip()
    ids = codec.tokenizer.encode(text, add_special_tokens=False)[:tokens]
    while ids:  # a cut may change how the end is spelled
        text = codec.tokenizer.decode(ids).strip()
        if len(codec.tokenizer.encode(text, add_special_tokens=False)) <= tokens:
            return text
        ids.pop()
    return "."


def _log_normal(rng: random.Random, most: int) -> int:
    return max(4, min(most - 1, round(rng.lognormvariate(0.0, 0.7) * most / 4)))


def _answer(codec: Codec, text: str) -> list[int]:
    return encode_response(codec, text, where="benchmark")


def _with_rare_end(model: str, target: Path) -> str:
    AutoModelForCausalLM.from_pretrained(model, dtype="float32").save_pretrained(target)
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.eos_token = NEVER_SAMPLED
    tokenizer.save_pretrained(target)
    return str(target)


def _write(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
