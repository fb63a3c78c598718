"""Stage 0, for the miniature world only: write its data, train a tokenizer and a small base model.

Real runs start from a pretrained model and never come here.
"""

from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from trivium.config import Pretrain
from trivium.data import read_texts, write_jsonl
from trivium.maths import cosine_to, warmup_then_constant
from trivium.miniature import World, build
from trivium.models import Policy, compute_for, load_policy, save_policy
from trivium.models.compute import Compute
from trivium.runs.checkpoint import load_optimizer, optimizer_tensors
from trivium.runs.directory import Run, open_run
from trivium.stages.artifacts import write_policy
from trivium.stages.lm import backward_next_token, mean_next_token_loss
from trivium.stages.optimise import Learner, adamw, update
from trivium.text import Codec, make_codec, open_stream

END, PAD, USER, ASSISTANT = "<|end|>", "<|pad|>", "<|user|>", "<|assistant|>"
TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}<|assistant|>{{ message['content'] }}<|end|>"
    "{% else %}<|user|>{{ message['content'] }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""One token a turn: spelled out in words, the template would be two thirds of a short prompt."""
HELDOUT_EXAMPLES = 24
INITIALIZER_RANGE = 0.06
"""Of the weights. With the usual 0.02 a model this narrow spends a third of its few steps leaving
the plateau of its start: loss 2.0 after 300 steps in place of 1.3 (docs/log.md)."""


def run(cfg: Pretrain, out: Path, *, resume: bool = False) -> None:
    """Build the world of ``cfg.seed`` and train its base model into the run directory ``out``."""
    compute = compute_for(cfg.compute_dtype)
    with open_run(out, stage="pretrain", config=cfg, resume=resume) as run_:
        torch.manual_seed(cfg.seed)
        world = world_of(cfg.seed)
        write_world(world, out / "data")
        train(cfg, run_, world, compute)


@lru_cache(maxsize=1)
def world_of(seed: int) -> World:
    """`build`, once: what was made to foresee a run serves the run."""
    return build(seed)


@lru_cache(maxsize=1)
def tokenizer_of(seed: int, vocab_size: int) -> PreTrainedTokenizerFast:
    """The tokenizer of a world's corpus, trained once."""
    return train_tokenizer(world_of(seed).corpus, vocab_size)


def write_world(world: World, folder: Path) -> None:
    """The world as files that any stage reads like those of a stranger."""
    folder.mkdir(exist_ok=True)
    write_jsonl(folder / "pretraining.jsonl", ({"text": text} for text in world.corpus))
    write_jsonl(
        folder / "pretraining_heldout.jsonl", ({"text": text} for text in world.heldout_corpus)
    )
    write_jsonl(folder / "demonstrations.jsonl", world.demonstrations)
    write_jsonl(folder / "prompts.jsonl", world.prompts)
    write_jsonl(folder / "prompts_heldout.jsonl", world.prompts_heldout)
    write_jsonl(folder / "cloze.jsonl", (asdict(question) for question in world.cloze))


def train(cfg: Pretrain, run: Run, world: World, compute: Compute) -> None:
    """Next-token prediction on the packed corpus, cosine to 10 %."""
    checkpoint = run.checkpoint
    if checkpoint:
        policy = load_policy(str(checkpoint.path / "policy"), compute)
    else:
        policy = new_base(cfg, compute)
    corpus = str(run.dir / "data" / "pretraining.jsonl")
    stream = open_stream(
        lambda: (row.text for row in read_texts(corpus)),
        policy.codec,
        example_tokens=cfg.context_tokens,
    )
    heldout = open_stream(
        lambda: iter(world.heldout_corpus), policy.codec, example_tokens=cfg.context_tokens
    ).take(HELDOUT_EXAMPLES)
    optimizer = adamw(policy.model.parameters(), cfg.adam, lr=cfg.lr)
    tokens_per_step = cfg.sequences_per_step * cfg.context_tokens
    run.plan(
        {
            "steps": cfg.num_steps,
            "tokens": cfg.num_steps * tokens_per_step,
            "parameters": policy.model.num_parameters(),
        }
    )
    first_step = 0
    if checkpoint:
        load_optimizer(optimizer, checkpoint.tensors(), "optimizer")
        stream.load(checkpoint.state["stream"])
        first_step = checkpoint.step
    for step in run.steps(first_step, cfg.num_steps, "pretrain"):
        batch = stream.take(cfg.sequences_per_step)
        count = len(batch.predicted())
        loss_sum = backward_next_token(
            policy, batch, compute, rows_per_backward=cfg.sequences_per_step, weight=1 / count
        )
        warmup = warmup_then_constant(step, warmup_steps=cfg.warmup_steps)
        lr = cfg.lr * warmup * cosine_to(step, num_steps=cfg.num_steps)
        (norm,) = update(
            [Learner(optimizer, lr)],
            max_grad_norm=cfg.adam.max_grad_norm,
            run=run,
            step=step,
            batch=batch,
        )
        metrics = {
            "pretrain/loss": loss_sum / count,
            "pretrain/lr": lr,
            "pretrain/grad_norm": norm,
        }
        due = (step + 1) % cfg.checkpoint_every == 0 or step + 1 == cfg.num_steps
        if due:
            metrics["heldout/loss"] = mean_next_token_loss(policy, heldout, compute)
        run.log(step, metrics)
        if due:
            run.save(
                step + 1,
                write_models=lambda folder: save_policy(
                    policy, folder / "policy", stage="pretrain"
                ),
                tensors=optimizer_tensors(optimizer, "optimizer"),
                state={"stream": stream.state()},
            )
    write_policy(run, policy, stage="pretrain")
    run.executed({"steps": cfg.num_steps, "tokens": cfg.num_steps * tokens_per_step})
    run.finish(
        {
            "template_hash": policy.codec.hash,
            "heldout_loss": mean_next_token_loss(policy, heldout, compute),
            "parameters": policy.model.num_parameters(),
        }
    )


def new_base(cfg: Pretrain, compute: Compute) -> Policy:
    """A tokenizer trained on the world's corpus and a Llama-style model with fresh weights."""
    codec = make_codec(tokenizer_of(cfg.seed, cfg.vocab_size))
    model = LlamaForCausalLM(shape(cfg, codec))
    return Policy(model=model.to(compute.device).eval(), codec=codec, name="new base")


def shape(cfg: Pretrain, codec: Codec) -> LlamaConfig:
    """The model's config."""
    return LlamaConfig(
        vocab_size=len(codec.tokenizer),
        hidden_size=cfg.hidden_size,
        intermediate_size=cfg.intermediate_size,
        num_hidden_layers=cfg.num_layers,
        num_attention_heads=cfg.num_heads,
        max_position_embeddings=cfg.context_tokens,
        tie_word_embeddings=True,
        initializer_range=INITIALIZER_RANGE,
        bos_token_id=None,
        eos_token_id=codec.end_id,
        pad_token_id=codec.tokenizer.pad_token_id,
    )


def train_tokenizer(corpus: list[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE, so that every text can be encoded; ids are a function of the corpus alone."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END, PAD, USER, ASSISTANT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
