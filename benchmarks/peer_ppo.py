"""TRL 1.12.0's PPOTrainer, the last release that has one. python peer_ppo.py TASK.json"""

import json
import os
import sys
from pathlib import Path

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    TrainerCallback,
)
from trl.experimental.ppo import PPOConfig, PPOTrainer
from turns import say, turn


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text())
    tokens = [json.loads(line) for line in (Path(task["folder"]) / "tokens.jsonl").open()]
    tokenizer = AutoTokenizer.from_pretrained(task["policy"], padding_side="left")
    # Pad and EOS must differ here: its attention mask is "not pad".
    tokenizer.pad_token = "<|endoftext|>"
    facts: dict[str, float] = {}
    pad = DataCollatorWithPadding(tokenizer)

    def collate(rows: list[dict]) -> dict:
        turn(**facts)
        return pad(rows)

    class Listen(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **_):
            facts.update({"objective/kl_nats": logs["objective/kl"]} if logs else {})

    trainer = PPOTrainer(
        args=PPOConfig(
            output_dir=str(Path(task["folder"]) / "trl"), report_to="none", save_strategy="no",
            use_cpu=True, bf16=False, gradient_checkpointing=False, disable_tqdm=True,
            learning_rate=0.0, per_device_train_batch_size=task["per_backward"],
            gradient_accumulation_steps=task["batch"] // task["per_backward"],
            num_mini_batches=1, num_ppo_epochs=1, num_sample_generations=0, eval_strategy="no",
            total_episodes=task["batch"] * (task["iterations"] + 2),
            local_rollout_forward_batch_size=task["batch"],
            response_length=task["max_response_tokens"], temperature=1.0,
            stop_token="eos" if task["stops"] else None, kl_coef=0.02, logging_steps=1,
        ),
        processing_class=tokenizer,
        model=AutoModelForCausalLM.from_pretrained(task["policy"], dtype="float32"),
        ref_model=AutoModelForCausalLM.from_pretrained(task["policy"], dtype="float32"),
        reward_model=_scalar(task["reward"]),
        value_model=_scalar(task["reward"]),
        train_dataset=Dataset.from_list([{"input_ids": row["prompt"]} for row in tokens]),
        eval_dataset=Dataset.from_list([{"input_ids": row["prompt"]} for row in tokens]),
        data_collator=collate,
        callbacks=[Listen()],
    )  # fmt: skip
    trainer.train()


def _scalar(folder: str) -> AutoModelForSequenceClassification:
    return AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype="float32")


if __name__ == "__main__":
    try:
        main()
    finally:
        say({"over": True})
