"""One PPO update by TRL 1.12.0's own trainer, on answers that are given: tests/proofs compares.

    python peer_update.py FOLDER

FOLDER holds four models (policy, reference, reward, critic) and cases.json. TRL's `train` runs as
it is. Only what draws is replaced: answers are those of the case, and batches keep their order.
What `train` computes is read from its variables where it calls a function that is listened to, and
written to FOLDER/peer.json.
"""

import inspect
import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

import numpy as np
import torch
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
)
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

EXPERIENCE = (
    *("logprobs", "ref_logprobs", "kl", "scores", "rewards", "values", "advantages", "returns"),
    "padding_mask",
)
"""Variables of `train` at the place where it whitens its advantages."""

whiten = ppo_trainer.masked_whiten


def main() -> None:
    folder = Path(sys.argv[1])
    cases = json.loads((folder / "cases.json").read_text())
    found = {name: brief(update(folder, case)) for name, case in cases.items()}
    cases_text = ",\n".join(
        f'"{name}": {{\n'
        + ",\n".join(f' "{key}": {json.dumps(value)}' for key, value in case.items())
        + "}"
        for name, case in found.items()
    )
    (folder / "peer.json").write_text(f"{{{cases_text}}}\n")


def update(folder: Path, case: dict) -> dict:
    """Run one case; what was computed, as lists."""
    trainer, width = make_trainer(folder, case), len(case["answers"][0])
    seen: dict = {"losses": []}
    backward = trainer.accelerator.backward

    def given_answers(model, queries, pad_token_id, generation_config):
        answers = torch.tensor(case["answers"])
        together = torch.cat((queries, answers), dim=1)
        logits = ppo_trainer.forward(model, together, pad_token_id).logits
        return together, logits[:, -width - 1 : -1] / (case["temperature"] + 1e-7)

    def listen_to_whitening(values, mask, shift_mean=True):
        whitened = whiten(values, mask, shift_mean)
        theirs = inspect.currentframe().f_back.f_locals
        seen["experience"] = {name: theirs[name].tolist() for name in EXPERIENCE}
        seen["experience"]["whitened"] = whitened.masked_fill(~mask, 0.0).tolist()
        return whitened

    def listen_to_backward(loss):
        theirs = inspect.currentframe().f_back.f_locals
        rows = theirs["micro_batch_inds"].tolist()
        seen["losses"].append(
            {"pass": theirs["ppo_epoch_idx"], "rows": rows}
            | {name: float(theirs[name].detach()) for name in ("pg_loss", "vf_loss")}
            | {"ratio": theirs["ratio"].tolist(), "vf_clipfrac": float(theirs["vf_clipfrac"])}
        )
        backward(loss)

    trainer.accelerator.backward = listen_to_backward
    with (
        patch.object(ppo_trainer, "generate", given_answers),
        patch.object(ppo_trainer, "masked_whiten", listen_to_whitening),
        patch.object(np.random, "permutation", np.arange),
    ):
        trainer.train()
    if case["weights"]:
        seen["policy"] = weights(trainer.model.policy)
        seen["critic"] = weights(trainer.model.value_model)
    return seen


def make_trainer(folder: Path, case: dict) -> PPOTrainer:
    """TRL's trainer with the settings of the case, for one batch."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "policy", padding_side="left")
    tokenizer.pad_token = case["pad"]
    pad = DataCollatorWithPadding(tokenizer)
    rows = [{"input_ids": ids} for ids in case["prompts"]]

    def collate(drawn: list[dict]) -> dict:
        assert len(drawn) == len(rows)
        return pad(rows)  # whatever was drawn: the prompts of the given answers, in their order

    return PPOTrainer(
        args=PPOConfig(
            output_dir=str(folder / "trl"), report_to="none", save_strategy="no", use_cpu=True,
            bf16=False, gradient_checkpointing=False, disable_tqdm=True, eval_strategy="no",
            num_sample_generations=0, total_episodes=len(rows), num_mini_batches=1,
            per_device_train_batch_size=case["per_backward"],
            gradient_accumulation_steps=len(rows) // case["per_backward"],
            local_rollout_forward_batch_size=len(rows), response_length=len(case["answers"][0]),
            stop_token="eos", missing_eos_penalty=case["missing_eos_penalty"],
            temperature=case["temperature"], kl_coef=case["kl_coef"], gamma=1.0, lam=case["lam"],
            cliprange=case["clip"], cliprange_value=case["value_clip"], vf_coef=case["value_coef"],
            num_ppo_epochs=case["passes"], learning_rate=case["lr"], adam_beta1=case["betas"][0],
            adam_beta2=case["betas"][1], adam_epsilon=case["eps"], weight_decay=0.0,
        ),
        processing_class=tokenizer,
        model=AutoModelForCausalLM.from_pretrained(folder / "policy", dtype="float32"),
        ref_model=AutoModelForCausalLM.from_pretrained(folder / "reference", dtype="float32"),
        reward_model=scalar(folder / "reward"),
        value_model=scalar(folder / "critic"),
        train_dataset=Dataset.from_list(rows * case["batches_of_prompts"]),
        eval_dataset=Dataset.from_list(rows),
        data_collator=collate,
    )  # fmt: skip


def scalar(folder: Path) -> AutoModelForSequenceClassification:
    return AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype="float32")


def brief(found: Any) -> Any:
    """The same with nine significant digits, which is what a float32 holds."""
    if isinstance(found, dict):
        return {key: brief(value) for key, value in found.items()}
    if isinstance(found, list):
        return [brief(value) for value in found]
    return float(f"{found:.9g}") if isinstance(found, float) else found


def weights(model: torch.nn.Module) -> dict[str, list[float]]:
    return {name: p.detach().flatten().tolist() for name, p in model.named_parameters()}


if __name__ == "__main__":
    main()
