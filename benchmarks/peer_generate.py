"""transformers' generate with its growing cache. python peer_generate.py TASK.json"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from turns import say, turn


@torch.no_grad()
def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text())
    tokens = [json.loads(line) for line in (Path(task["folder"]) / "tokens.jsonl").open()]
    tokenizer = AutoTokenizer.from_pretrained(task["policy"], padding_side="left")
    tokenizer.pad_token = "<|endoftext|>"
    model = AutoModelForCausalLM.from_pretrained(task["policy"], dtype="float32").eval()
    batch = tokenizer.pad({"input_ids": [row["prompt"] for row in tokens]}, return_tensors="pt")
    written = None
    for _ in range(task["iterations"] + 2):
        turn(tokens=written)
        out = model.generate(
            **batch, max_new_tokens=task["max_response_tokens"], do_sample=True, temperature=1.0,
            top_k=0, top_p=1.0, eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
        answers = out[:, batch["input_ids"].shape[1] :]
        written = int((answers != tokenizer.pad_token_id).sum())


if __name__ == "__main__":
    try:
        main()
    finally:
        say({"over": True})
