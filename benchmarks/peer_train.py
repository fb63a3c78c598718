"""The newest TRL's SFTTrainer and RewardTrainer. python peer_train.py TASK.json"""

import itertools
import json
import sys
from pathlib import Path

import torch
from datasets import Dataset
from torch.utils.data import SequentialSampler
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from trl import RewardConfig, RewardTrainer, SFTConfig, SFTTrainer
from turns import say, turn


def listening(trainer_class: type, prefix: str) -> type:
    """The trainer as it is, reading rows in order, a turn at the start of every step."""

    class Listening(trainer_class):
        losses: list[float] = []  # noqa: RUF012
        facts: dict[str, float] = {}  # noqa: RUF012

        def _get_train_sampler(self, *args, **kwargs):
            return SequentialSampler(self.train_dataset)

        def training_step(self, *args, **kwargs):
            if not self.losses:
                turn(**self.facts)
            loss = super().training_step(*args, **kwargs)
            self.losses.append(float(loss))
            return loss

        def _maybe_log_save_evaluate(self, *args, **kwargs):
            self.facts[f"{prefix}/loss"] = sum(self.losses)
            self.losses.clear()

        def create_optimizer(self, *args, **kwargs):
            optimizer = super().create_optimizer(*args, **kwargs)
            norm = lambda *_: self.facts.update({f"{prefix}/grad_norm": _norm(self.model)})  # noqa: E731
            optimizer.register_step_pre_hook(norm)
            return optimizer

    return Listening


def _norm(model: torch.nn.Module) -> float:
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    return float(torch.nn.utils.get_total_norm(grads))


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text())
    tokens = [json.loads(line) for line in (Path(task["folder"]) / "tokens.jsonl").open()]
    tokenizer = AutoTokenizer.from_pretrained(task["policy"])
    tokenizer.pad_token = "<|endoftext|>"
    common = {
        "output_dir": str(Path(task["folder"]) / "trl"), "report_to": "none", "save_strategy": "no",
        "use_cpu": True, "bf16": False, "gradient_checkpointing": False, "disable_tqdm": True,
        "learning_rate": 0.0, "num_train_epochs": 1, "max_length": None, "max_grad_norm": 0.0,
        "logging_strategy": "no",
    }  # fmt: skip
    if task["kind"] == "sft":
        trainer = listening(SFTTrainer, "sft")(
            model=AutoModelForCausalLM.from_pretrained(task["policy"], dtype="float32"),
            args=SFTConfig(
                per_device_train_batch_size=task["per_backward"],
                gradient_accumulation_steps=task["batch"] // task["per_backward"],
                completion_only_loss=True, **common,
            ),
            processing_class=tokenizer,
            train_dataset=Dataset.from_list([_demonstration(row) for row in tokens]),
        )  # fmt: skip
    else:
        # The same C(9, 2) pairs of one prompt, in parts that fit the memory.
        trainer = listening(RewardTrainer, "reward")(
            model=AutoModelForSequenceClassification.from_pretrained(
                task["reward"], num_labels=1, dtype="float32"
            ),
            args=RewardConfig(
                per_device_train_batch_size=12,
                gradient_accumulation_steps=3 * task["batch"],
                **common,
            ),
            processing_class=tokenizer,
            train_dataset=Dataset.from_list([pair for row in tokens for pair in _pairs(row)]),
        )
    # transformers leaves the pad token's embedding without gradient; here it is like any other.
    for module in trainer.model.modules():
        if isinstance(module, torch.nn.Embedding):
            module.padding_idx = None
    trainer.train()


def _demonstration(row: dict) -> dict:
    prompt, (answer,) = row["prompt"], row["responses"]
    return {
        "input_ids": prompt + answer,
        "completion_mask": [0] * len(prompt) + [1] * len(answer),
    }


def _pairs(row: dict) -> list[dict]:
    """Answers are listed from best to worst."""
    whole = [row["prompt"] + answer for answer in row["responses"]]
    return [{"chosen_ids": a, "rejected_ids": b} for a, b in itertools.combinations(whole, 2)]


if __name__ == "__main__":
    try:
        main()
    finally:
        say({"over": True})
