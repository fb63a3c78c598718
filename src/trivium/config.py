"""Every knob, its default, its unit and its source: what was asked for, never what was derived.

This is the only place where a default is written. "Paper" is InstructGPT, Ouyang et al. 2022,
arXiv:2203.02155; where it states a value, that value is the default and the section is named.
Batch sizes are global: summed over processes and over gradient accumulation.
"""

from dataclasses import dataclass, field
from typing import Literal

from trivium.errors import UserError

ComputeDtype = Literal["auto", "float32", "bfloat16"]
Estimator = Literal["gae", "rewards_to_go", "batch_mean", "rloo", "grpo", "bandit"]


def _check(ok: bool, name: str, expected: str, got: object) -> None:
    if not ok:
        raise UserError(f"{name}: expected {expected}, got {got!r}")


def _check_counts(config: object, *names: str) -> None:
    """Each is above 0, or not set at all."""
    for name in names:
        count = getattr(config, name)
        _check(count is None or count > 0, name, "> 0", count)


def _check_divides(small_name: str, small: int, large_name: str, large: int) -> None:
    if small < 1 or large < small or large % small:
        raise UserError(
            f"{small_name}: expected a divisor of {large_name} = {large}, got {small}; "
            f"every batch is used whole, so change one of the two"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """The law answers are drawn from: the same object samples and scores.

    Top-k and top-p are not offered: they sample from another law than the one that is scored.
    """

    temperature: float = 1.0
    """Divides the logits, when sampling and when scoring alike. Paper C.4: 1."""

    max_prompt_tokens: int = 1024
    """Longest prompt, template included, in tokens; longer ones are dropped. Paper C: 1k."""

    max_response_tokens: int = 1024
    """Longest answer, EOS included, in tokens. Paper C: 1k."""

    def __post_init__(self) -> None:
        _check(self.temperature > 0, "sampling.temperature", "a number > 0", self.temperature)
        _check(
            self.max_prompt_tokens > 0, "sampling.max_prompt_tokens", "> 0", self.max_prompt_tokens
        )
        _check(
            self.max_response_tokens > 0,
            "sampling.max_response_tokens",
            "> 0",
            self.max_response_tokens,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Adam:
    """AdamW as torch has it; the paper says only what the betas are."""

    betas: tuple[float, float] = (0.9, 0.95)
    """Paper C: 0.9 and 0.95 for everything."""

    eps: float = 1e-8
    """Not stated in the paper; TF1's 1e-5 of 2019 is another quantity (docs/decisions)."""

    weight_decay: float = 0.0
    """Not stated in the paper."""

    max_grad_norm: float = 1.0
    """Global gradient norm is clipped to this. Not stated in the paper."""

    def __post_init__(self) -> None:
        _check(
            all(0 <= b < 1 for b in self.betas), "adam.betas", "two numbers in [0, 1)", self.betas
        )
        _check(self.eps > 0, "adam.eps", "> 0", self.eps)
        _check(self.max_grad_norm > 0, "adam.max_grad_norm", "> 0", self.max_grad_norm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Which rows are held out: by author, else by normalised prompt, with a salted hash.

    The same prompt falls on the same side in every stage that uses the same salt.
    """

    heldout_fraction: float = 0.1
    """Share of authors or prompts that is held out when no held-out file is given."""

    salt: str = "trivium"
    """Changes which rows are held out. Keep it the same for all stages of a pipeline."""

    def __post_init__(self) -> None:
        _check(
            0 <= self.heldout_fraction < 1,
            "split.heldout_fraction",
            "a number in [0, 1)",
            self.heldout_fraction,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoRA:
    """Train W + (alpha / rank) B A, W frozen: Hu et al. 2021, arXiv:2106.09685; docs/models.md."""

    rank: int = 0
    """Rows of A; 0: no adapters, every weight is trained. Not in the paper."""

    alpha: int = 32
    """Numerator of the adapter's factor. 32 in Schulman et al. 2025, LoRA Without Regret."""

    targets: tuple[str, ...] = ()
    """Linear layers that get an adapter, by the last part of their names; none given: all."""

    def __post_init__(self) -> None:
        _check(self.rank >= 0, "lora.rank", "0 or more", self.rank)
        _check(self.alpha > 0, "lora.alpha", "> 0", self.alpha)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretrain:
    """Stage 0, for the miniature world only: write its data and train a small base model on it."""

    hidden_size: int = 128
    """Width of the transformer."""

    num_layers: int = 4
    """Number of decoder layers."""

    num_heads: int = 4
    """Attention heads a layer."""

    intermediate_size: int = 384
    """Width of the feed-forward layer."""

    vocab_size: int = 1536
    """Entries of the byte-level BPE tokenizer, special tokens included."""

    context_tokens: int = 128
    """Longest sequence the model can hold."""

    num_steps: int = 800
    """Optimizer steps."""

    sequences_per_step: int = 8
    """Packed sequences of `context_tokens` a step."""

    lr: float = 4e-3
    """Peak learning rate, cosine to 10 %."""

    warmup_steps: int = 30
    """Steps over which the rate climbs to its peak."""

    adam: Adam = field(default_factory=Adam)

    compute_dtype: ComputeDtype = "auto"
    """auto: bfloat16 where the hardware multiplies it fast, else float32. Weights are fp32."""

    checkpoint_every: int = 200
    """Steps between checkpoints."""

    seed: int = 0
    """Seeds the world and the training."""

    def __post_init__(self) -> None:
        _check_divides("num_heads", self.num_heads, "hidden_size", self.hidden_size)
        _check_counts(self, "num_layers", "intermediate_size", "num_steps", "sequences_per_step")
        _check_counts(self, "checkpoint_every")
        _check(self.context_tokens > 1, "context_tokens", "> 1", self.context_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class SFT:
    """Stage 1: supervised fine-tuning on demonstrations (paper 3.5 and C.1)."""

    model: str
    """Pretrained model: a run directory, a Hugging Face folder or a hub name."""

    demonstrations: str
    """Demonstrations: a .jsonl or .parquet file, a folder of them, or hf://owner/name?split=train."""

    heldout: str | None = None
    """Held-out demonstrations; None: split them off `demonstrations`."""

    split: Split = field(default_factory=Split)

    pretraining: str | None = None
    """Web text to mix in; None: no mix."""

    pretraining_fraction: float = 0.1
    """Share of every batch's examples that is web text. Paper C.3: 10 % for the start of RL."""

    num_epochs: int = 2
    """Passes over the demonstrations. Paper C.3: 2 before RL; C.1: 16 for the baseline."""

    examples_per_step: int = 32
    """Demonstrations per optimizer step. Paper C.1: 32 (8 at 175B)."""

    examples_per_backward: int = 8
    """Demonstrations per forward and backward pass; changes memory, not the result."""

    lr: float = 9.65e-6
    """Peak learning rate, cosine to 10 %, no warm-up. Paper C.1: 9.65e-6 at 1.3B and 6B."""

    dropout: float = 0.0
    """Residual dropout. Paper C.1: 0.2 for the 16-epoch baseline."""

    loss_on_prompts: bool = False
    """Train on the prompt's tokens too. Not stated in the paper."""

    select_by: str | None = None
    """Reward model run: keep the epoch with the best mean score on held-out prompts (paper C.1)."""

    select_samples: int = 64
    """Held-out prompts answered per epoch for `select_by`."""

    sampling: Sampling = field(default_factory=Sampling)

    adam: Adam = field(default_factory=Adam)

    lora: LoRA = field(default_factory=LoRA)

    compute_dtype: ComputeDtype = "auto"
    """auto: bfloat16 where the hardware multiplies it fast, else float32. Weights are fp32."""

    accept_affected: bool = False
    """Go on when more than 1 % of the rows are dropped or truncated."""

    checkpoint_every: int | None = None
    """Steps between checkpoints besides the one at the end of each epoch; None: epochs only."""

    seed: int = 0
    """Seeds shuffling and dropout."""

    def __post_init__(self) -> None:
        _check_divides(
            "examples_per_backward",
            self.examples_per_backward,
            "examples_per_step",
            self.examples_per_step,
        )
        _check_counts(self, "num_epochs", "select_samples")
        _check(self.lr >= 0, "lr", ">= 0", self.lr)
        _check(0 <= self.dropout < 1, "dropout", "a number in [0, 1)", self.dropout)
        _check(
            0 <= self.pretraining_fraction < 1,
            "pretraining_fraction",
            "a number in [0, 1)",
            self.pretraining_fraction,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reward:
    """Stage 2: a reward model from K-way rankings (paper 3.5 eq. 1 and C.2)."""

    model: str
    """Trunk of the reward model: a run directory (the SFT model), a folder or a hub name."""

    rankings: str
    """Rankings, K from 2 up; TRL pairs and hh-rlhf transcripts are read as K = 2."""

    demonstrations: str
    """Demonstrations: the bias is set so that their mean score is 0 (paper 3.5)."""

    heldout: str | None = None
    """Held-out rankings; None: split them off `rankings`."""

    split: Split = field(default_factory=Split)

    heldout_labelers: tuple[str, ...] = ()
    """Labelers whose rankings are never trained on: the paper's generalisation check (E.2)."""

    num_epochs: int = 1
    """Passes over the rankings. Paper C.2: 1, more overfit."""

    prompts_per_step: int = 64
    """Prompts, each with all rankings of its completions, per optimizer step. Paper C.2: 64."""

    prompts_per_backward: int = 4
    """Prompts per forward and backward pass; changes memory, not the result."""

    lr: float = 9e-6
    """Peak learning rate, cosine to 10 %. Paper C.2: 9e-6."""

    use_margins: bool = False
    """Subtract the gap of `score` between two completions inside the loss, where rows have it."""

    max_prompt_tokens: int = 1024
    """Longest prompt in tokens; longer ones are dropped."""

    max_response_tokens: int = 1024
    """Longest completion, EOS included; longer ones are cut and read at their last token."""

    adam: Adam = field(default_factory=Adam)

    lora: LoRA = field(default_factory=LoRA)

    compute_dtype: ComputeDtype = "auto"
    """auto: bfloat16 where the hardware multiplies it fast, else float32. Weights are fp32."""

    accept_affected: bool = False
    """Go on when more than 1 % of the rows are dropped or truncated."""

    checkpoint_every: int | None = None
    """Steps between checkpoints besides the one at the end of each epoch; None: epochs only."""

    seed: int = 0
    """Seeds the head and the shuffling."""

    def __post_init__(self) -> None:
        _check_divides(
            "prompts_per_backward",
            self.prompts_per_backward,
            "prompts_per_step",
            self.prompts_per_step,
        )
        _check_counts(self, "num_epochs", "max_prompt_tokens", "max_response_tokens")
        _check(self.lr >= 0, "lr", ">= 0", self.lr)


@dataclass(frozen=True, slots=True, kw_only=True)
class PPO:
    """Stage 3: PPO, or PPO-ptx when ptx_coef > 0 (paper 3.5 eq. 2 and C.4)."""

    policy: str
    """SFT model: the policy starts here and the KL is measured to it. Run directory or folder."""

    reward: tuple[str, ...]
    """Rewards: TARGET, NAME=TARGET or NAME=WEIGHT*TARGET; a target is a reward model's run
    directory or folder, or a function package.module:function."""

    prompts: str
    """Prompts of the episodes: a .jsonl or .parquet file, a folder, or hf://owner/name."""

    heldout: str | None = None
    """Held-out prompts; None: split them off `prompts`. They are never sampled in training."""

    split: Split = field(default_factory=Split)

    num_steps: int = 500
    """Rounds of sampling and learning. Paper C.4: 500 (256k episodes)."""

    episodes_per_step: int = 512
    """Episodes sampled before each round of updates. Paper C.4: 512."""

    episodes_per_minibatch: int = 64
    """Episodes per optimizer step. Paper C.4: 64."""

    episodes_per_backward: int = 8
    """Episodes per forward and backward pass; changes memory, not the result."""

    samples_per_prompt: int = 1
    """Answers sampled for each prompt of a step; rloo and grpo need at least 2."""

    inner_epochs: int = 1
    """Passes over the episodes of a step. Paper C.4: 1."""

    sampling: Sampling = field(default_factory=Sampling)

    kl_coef: float = 0.02
    """beta: price of one nat of divergence from the SFT model, in reward units. Paper C.4: 0.02."""

    kl_target_nats_per_response: float | None = None
    """Adapt beta to hold this KL, in nats summed over a response; None: beta stays."""

    kl_horizon_episodes: int = 10_000
    """Episodes over which the adaptive beta reacts. Ziegler et al. 2019: 10,000."""

    scale_rewards: bool = False
    """Shift and divide scores by their mean and deviation on the SFT model's own samples,
    measured once before the first step and stored. The paper shifts only (in the reward model)."""

    scale_rewards_episodes: int = 256
    """Samples of the SFT model that `scale_rewards` measures. Ziegler et al. 2019: 256."""

    missing_eos_score: float | None = -1.0
    """Score of an answer cut off before EOS, in place of the reward; None: no penalty.
    Not stated in the paper; -1 in Ziegler et al. 2019 and in the N+ study."""

    missing_eos: Literal["replace", "subtract"] = "replace"
    """Whether `missing_eos_score` replaces the reward or its size is subtracted from it."""

    estimator: Estimator = "gae"
    """Advantages: gae; rewards_to_go (with the value as baseline, or none); batch_mean; rloo; grpo;
    bandit (gamma 0: the whole response one action, no baseline)."""

    gamma: float = 1.0
    """Discount per token. Paper C.4: none, that is 1."""

    lam: float = 0.95
    """lambda of GAE. Not stated in the paper; 0.95 in Stiennon et al. 2020."""

    whiten_advantages: bool = True
    """Advantages of a step moved to mean 0 and variance 1. Not stated in the paper; on in 2019."""

    whiten_rewards: bool = False
    """Shaped rewards of a step divided by their deviation, mean kept. Default of N+: off."""

    loss: Literal["clip", "klpen", "trpo"] = "clip"
    """PPO-clip; PPO with a penalty on KL(old || new) in place of the clip; or TRPO, one step of the
    policy on all episodes of a round: minibatches, passes and Adam are then the critic's alone."""

    clip: float = 0.2
    """Importance ratio is clipped to 1 +- this. Paper C.4: 0.2."""

    klpen_coef: float = 1.0
    """Price of one nat of KL(old || new) per token for loss = klpen."""

    klpen_target: float | None = None
    """Adapt klpen_coef to hold this KL(old || new), nats per token (PPO paper, section 4)."""

    trpo_max_kl: float = 0.01
    """delta of trpo: largest KL(old || new) of a step, nats per token. TRPO paper: 0.01."""

    trpo_cg_steps: int = 10
    """Products with the Fisher matrix for each direction. 10 in openai/spinningup."""

    trpo_damping: float = 0.1
    """Added to the eigenvalues of the Fisher matrix. 0.1 in openai/spinningup."""

    trpo_fisher_share: float = 0.25
    """Share of a round's episodes that the Fisher matrix is of (TRPO paper, appendix C: fewer than
    all will do). Gradient and line search see all."""

    trpo_backtracks: int = 10
    """Halvings of a step before it is given up. 10 in openai/spinningup."""

    value: Literal["separate", "shared", "none"] = "separate"
    """Value function: a network of its own (paper: from the reward model), one linear head on the
    policy's trunk, or none."""

    value_from: str | None = None
    """Where the separate value network starts; None: the first reward model, else the policy."""

    value_coef: float = 0.1
    """c1: weight of the value loss when the trunk is shared. 0.1 in Ziegler et al. 2019."""

    value_clip: float = 0.2
    """Value predictions move at most this far per step. Not stated in the paper; 0.2 in 2019."""

    entropy_coef: float = 0.0
    """c2: weight of the entropy bonus, per nat. Not stated in the paper."""

    lr: float = 5e-6
    """Peak learning rate of the policy; trpo has none. Paper C.4, E.9: sweep 2.55e-6 to 2.55e-5."""

    value_lr: float = 9e-6
    """Learning rate of the value network. Paper C.4: 9e-6, fixed."""

    warmup_steps: int = 10
    """Steps over which the policy's rate climbs from a tenth of the peak. Paper C.4: 10."""

    adam: Adam = field(default_factory=Adam)

    lora: LoRA = field(default_factory=LoRA)

    ema_decay: float = 0.992
    """Decay of the averaged policy weights per optimizer step. Paper C.4: 0.992."""

    save_weights: Literal["policy", "ema"] = "policy"
    """Which weights become the run's model. The paper does not say which it evaluated."""

    ptx_coef: float = 0.0
    """gamma of eq. 2: weight of the pretraining loss (token mean). Paper: 27.8; 0 is plain PPO."""

    pretraining: str | None = None
    """Web text, streamed; required when ptx_coef > 0."""

    ptx_examples_per_episode: float = 8.0
    """Pretraining examples per episode. Paper E.11: 8."""

    ptx_tokens_per_example: int = 2048
    """Length of a packed pretraining example in tokens. Paper C: a context of 2k."""

    ptx_examples_per_backward: int = 8
    """Pretraining examples per forward and backward pass."""

    compute_dtype: ComputeDtype = "auto"
    """auto: bfloat16 where the hardware multiplies it fast, else float32. Weights are fp32."""

    reward_timeout_seconds: float = 120.0
    """A reward function that takes longer than this stops the run at its last checkpoint."""

    accept_affected: bool = False
    """Go on when more than 1 % of the prompts are dropped."""

    checkpoint_every: int = 10
    """Steps between checkpoints."""

    heldout_every: int = 10
    """Steps between looks at held-out prompts; 0: never."""

    heldout_episodes: int = 32
    """Held-out prompts answered at each look."""

    seed: int = 0
    """Seeds prompts, sampling and minibatches."""

    def __post_init__(self) -> None:
        _check_divides(
            "episodes_per_minibatch",
            self.episodes_per_minibatch,
            "episodes_per_step",
            self.episodes_per_step,
        )
        _check_divides(
            "episodes_per_backward",
            self.episodes_per_backward,
            "episodes_per_minibatch",
            self.episodes_per_minibatch,
        )
        _check_divides(
            "samples_per_prompt",
            self.samples_per_prompt,
            "episodes_per_step",
            self.episodes_per_step,
        )
        self._check_ranges()
        self._check_combinations()

    def _check_ranges(self) -> None:
        _check_counts(self, "num_steps", "inner_epochs", "checkpoint_every", "heldout_episodes")
        _check_counts(self, "kl_horizon_episodes", "kl_target_nats_per_response", "klpen_target")
        _check_counts(self, "scale_rewards_episodes", "ptx_examples_per_backward")
        for name in ("warmup_steps", "heldout_every", "trpo_backtracks"):
            _check(getattr(self, name) >= 0, name, ">= 0", getattr(self, name))
        _check(
            self.ptx_tokens_per_example > 1,
            "ptx_tokens_per_example",
            "> 1, for the first is predicted from nothing",
            self.ptx_tokens_per_example,
        )
        prices = ("kl_coef", "ptx_coef", "lr", "value_lr", "value_coef", "entropy_coef")
        for name in (*prices, "klpen_coef"):
            _check(getattr(self, name) >= 0, name, ">= 0", getattr(self, name))
        _check(self.trpo_damping >= 0, "trpo_damping", ">= 0", self.trpo_damping)
        for name in ("gamma", "lam"):
            _check(0 <= getattr(self, name) <= 1, name, "a number in [0, 1]", getattr(self, name))
        names = ("clip", "value_clip", "reward_timeout_seconds", "trpo_max_kl", "trpo_cg_steps")
        for name in names:
            _check(getattr(self, name) > 0, name, "> 0", getattr(self, name))
        _check(
            0 < self.trpo_fisher_share <= 1,
            "trpo_fisher_share",
            "a number in (0, 1]",
            self.trpo_fisher_share,
        )
        _check(0 <= self.ema_decay < 1, "ema_decay", "a number in [0, 1)", self.ema_decay)

    def _check_combinations(self) -> None:
        _check(len(self.reward) > 0, "reward", "at least one reward", self.reward)
        if self.estimator in ("rloo", "grpo") and self.samples_per_prompt < 2:
            raise UserError(
                f"samples_per_prompt: {self.estimator} compares answers to one prompt, "
                f"so it needs at least 2, got {self.samples_per_prompt}"
            )
        if self.estimator == "gae" and self.value == "none":
            raise UserError("estimator: gae needs a value function; set value or another estimator")
        if self.klpen_target is not None and self.loss != "klpen":
            raise UserError(f"klpen_target: is for loss = klpen, got loss = {self.loss}")
        if self.value_from is not None and self.value != "separate":
            raise UserError(f"value_from: is for value = separate, got value = {self.value}")
        if self.loss == "trpo" and self.value == "shared":
            raise UserError(
                "value: with loss trpo a head on the policy's trunk would move the policy out of "
                "its trust region; set value to separate or none"
            )
        if self.loss == "trpo" and self.ptx_coef > 0:
            raise UserError(
                "ptx_coef: loss trpo measures its step on answers, which say nothing of how far "
                "web text may pull; set ptx_coef to 0, or loss to clip or klpen"
            )
        if self.ptx_coef > 0 and self.pretraining is None:
            raise UserError("pretraining: ptx_coef > 0 needs web text; give --pretraining FILE")
        ptx_per_minibatch = self.ptx_examples_per_episode * self.episodes_per_minibatch
        if self.ptx_coef > 0 and (ptx_per_minibatch < 1 or ptx_per_minibatch % 1):
            raise UserError(
                f"ptx_examples_per_episode: times episodes_per_minibatch it must be a whole number "
                f">= 1, got {ptx_per_minibatch}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Collect:
    """Let models answer prompts; have simulated labelers rank the answers, or leave them open."""

    models: tuple[str, ...]
    """Models that write the answers, in turn: run directories, folders or hub names."""

    prompts: str
    """Prompts to answer."""

    num_prompts: int | None = None
    """Use only the first this many; None: all."""

    min_completions: int = 4
    """Smallest K. Paper 3.5: 4."""

    max_completions: int = 9
    """Largest K. Paper 3.5: 9."""

    labelers: str | None = None
    """Function package.module:function that ranks (see docs/data.md); None: leave ranks out."""

    overlap: float = 0.1
    """Share of the prompts that several labelers rank, to measure agreement."""

    sampling: Sampling = field(default_factory=Sampling)

    compute_dtype: ComputeDtype = "auto"
    """auto: bfloat16 where the hardware multiplies it fast, else float32."""

    seed: int = 0
    """Seeds K, sampling and the labelers."""

    def __post_init__(self) -> None:
        _check(len(self.models) > 0, "models", "at least one model", self.models)
        _check_counts(self, "num_prompts")
        _check(self.min_completions >= 2, "min_completions", ">= 2", self.min_completions)
        _check(
            self.max_completions >= self.min_completions,
            "max_completions",
            f">= min_completions = {self.min_completions}",
            self.max_completions,
        )
        _check(0 <= self.overlap <= 1, "overlap", "a number in [0, 1]", self.overlap)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluate:
    """Compare models with the SFT baseline on held-out prompts, with error bars."""

    models: dict[str, str]
    """Name and place of every model to compare: run directories, folders or hub names."""

    prompts: str
    """Held-out prompts; demonstrations and rankings serve too, for their prompts."""

    split: Split | None = None
    """Use only the rows that this split holds out, as the training stages did; None: all."""

    baseline: str = "sft"
    """Name of the model the others are compared with, and the KL is measured to."""

    num_prompts: int | None = None
    """Use only the first this many; None: all."""

    accept_overlap: bool = False
    """Go on when a run behind the models, or behind the reward, was trained on these prompts."""

    reward: str | None = None
    """Reward model (run directory or folder) that scores every answer."""

    gold: str | None = None
    """Function package.module:function that knows the truth, where there is one."""

    gold_parts: dict[str, str] = field(default_factory=dict)
    """More such functions by name; their means are reported beside the gold score."""

    pretraining: str | None = None
    """Held-out web text for the next-token loss."""

    pretraining_examples: int = 100
    """Documents of it that are used."""

    cloze: str | None = None
    """JSONL of {prefix, options, answer}: accuracy by log-probability of the options."""

    sampling: Sampling = field(default_factory=Sampling)

    prompts_per_batch: int = 64
    """Prompts answered at once; changes memory, not the law."""

    compute_dtype: ComputeDtype = "auto"
    """auto: bfloat16 where the hardware multiplies it fast, else float32."""

    seed: int = 0
    """Seeds sampling and the bootstrap."""

    def __post_init__(self) -> None:
        _check_counts(self, "num_prompts", "pretraining_examples", "prompts_per_batch")
        if self.baseline not in self.models:
            raise UserError(
                f"baseline: expected one of the models {sorted(self.models)}, got {self.baseline!r}"
            )


StageConfig = Pretrain | SFT | Reward | PPO | Collect | Evaluate
STAGES: dict[str, type] = {
    "pretrain": Pretrain,
    "sft": SFT,
    "reward": Reward,
    "ppo": PPO,
    "collect": Collect,
    "evaluate": Evaluate,
}
