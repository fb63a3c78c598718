"""The newest TRL's RewardTrainer on pairs: its loss and gradient. python peer_pair.py FOLDER

Reads FOLDER/pairs.json (token ids, chosen and rejected) and FOLDER/reward, a sequence classifier;
writes FOLDER/pair.json.
"""

import json
import sys
from pathlib import Path

import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from trl import RewardConfig, RewardTrainer


def main() -> None:
    folder = Path(sys.argv[1])
    pairs = json.loads((folder / "pairs.json").read_text(encoding="utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(folder / "reward")
    model = AutoModelForSequenceClassification.from_pretrained(
        folder / "reward", num_labels=1, dtype="float32"
    )
    found: dict[str, object] = {}

    class Listening(RewardTrainer):
        """The trainer as it is; its first step is listened to, and there is no other."""

        def training_step(self, *args, **kwargs):
            loss = super().training_step(*args, **kwargs)
            found["loss"] = float(loss)
            found["head_gradient"] = model.score.weight.grad.flatten().tolist()
            return loss

    trainer = Listening(
        model=model,
        args=RewardConfig(
            output_dir=str(folder / "trl"), per_device_train_batch_size=len(pairs), max_steps=1,
            use_cpu=True, bf16=False, gradient_checkpointing=False, report_to="none",
            learning_rate=0.0, disable_tqdm=True, logging_strategy="no",
            save_strategy="no", max_length=None,
        ),
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(
            [{"chosen_ids": chosen, "rejected_ids": rejected} for chosen, rejected in pairs]
        ),
    )  # fmt: skip
    trainer.train()
    (folder / "pair.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
