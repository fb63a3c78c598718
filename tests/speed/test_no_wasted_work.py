"""No FLOP, no token and no byte that the stages could do without: guards that need no clock.

The analytic minimum is `trivium.cost`, held against hand counts in tests/cost; the FLOPs are
torch's own count of what ran. Lengths differ from row to row, prompts are shared where answers to
them are compared, and every bound is a law of exact arithmetic, not a time.

Legend: V vocabulary, R predicted tokens.
"""

import pytest
import torch

from trivium import cost
from trivium.maths import ranking_loss
from trivium.models import forward, response_logprobs, token_losses
from trivium.models.shape import shape_of
from trivium.rewards import score_sequences
from trivium.rollouts import Episodes, generate
from trivium.stages.lm import backward_next_token
from trivium.stages.ppo_experience import RewardScale, act, judge
from trivium.stages.ppo_learn import accumulate, take
from trivium.stages.reward import score_rankings
from trivium.stages.rows import Prompts, Rankings
from trivium.text import from_lists

ALLOWED = 1.02
"""Two per cent: what the counter sees of masked attention above what is looked at."""

VOCABULARY = 4096

PROMPTS = [7, 31, 12, 19, 25, 9, 16, 22]
RESPONSES = [20, 11, 24, 5, 17, 23, 8, 14]


def words(count: int, seed: int) -> list[int]:
    g = torch.Generator().manual_seed(seed)
    return torch.randint(5, 250, (count,), generator=g).tolist()


@pytest.fixture
def rows():
    """Eight prompts and responses, no two equally long."""
    prompts = [words(n, seed) for seed, n in enumerate(PROMPTS)]
    return from_lists(prompts, [words(n, 100 + seed) for seed, n in enumerate(RESPONSES)])


@pytest.fixture
def nine():
    """Two prompts with nine answers each."""
    ks = [[14, 9, 21, 17, 6, 11, 19, 8, 13], [5, 16, 10, 22, 7, 12, 20, 15, 18]]
    prompts = [words(n, 200 + n) for n in (33, 18)]
    flat = [(p, words(r, r)) for p, answers in zip(prompts, ks, strict=True) for r in answers]
    return Rankings(
        sequences=from_lists([p for p, _ in flat], [r for _, r in flat]),
        starts=[0, 9, 18],
        ranked=[range(1), range(1, 2)],
        completions=[torch.arange(9), torch.arange(9, 18)],
        ranks=[torch.arange(1, 10)] * 2,
        scores=[None] * 2,
        texts=[["text"] * 9] * 2,
        prompts=[[]] * 2,
        labelers=[None] * 2,
        ids=["a", "b"],
        prompt_keys=["a", "b"],
    ), cost.total([cost.tree(33, ks[0]), cost.tree(18, ks[1])])


def minimum_of_rows(shape, *, heads: bool = True) -> int:
    """FLOPs of learning from `rows`: each read once, the head on response tokens alone."""
    trees = [
        cost.tree(p, [r], predicted=r * heads) for p, r in zip(PROMPTS, RESPONSES, strict=True)
    ]
    return cost.training_flops(shape, cost.total(trees)).total


def within(counted: int, minimum: int) -> None:
    # Below the minimum something is not counted; then this guard guards nothing.
    assert minimum <= counted <= ALLOWED * minimum, f"{counted / minimum:.4f} of the minimum"


def test_flops_of_an_sft_micro_batch(stand, rows, cpu, count_flops):
    policy = stand.networks.policy
    counted = count_flops(
        lambda: backward_next_token(policy, rows, cpu, rows_per_backward=4, weight=1.0)
    )
    within(counted, minimum_of_rows(shape_of(policy.model)))


def test_flops_of_a_reward_micro_batch(stand, nine, cpu, count_flops):
    rankings, reading = nine

    def step():
        scores = score_rankings(stand.reward, rankings, [0, 1], cpu)
        losses = [ranking_loss(s, rankings.ranks[i]) for i, s in scores.items()]
        torch.stack(losses).sum().backward()

    shape = shape_of(stand.reward.model)
    within(count_flops(step), cost.training_flops(shape, reading).total)


def test_flops_of_a_ppo_minibatch(stand, rows, cpu, count_flops):
    experience = judged(stand, written(stand, rows, cpu), cpu)
    batch = take(experience, experience.advantages, torch.arange(8))
    counted = count_flops(
        lambda: accumulate(stand.config, stand.networks, batch, klpen_coef=1.0, compute=cpu)
    )
    shape = shape_of(stand.networks.policy.model)
    within(counted, minimum_of_rows(shape) + minimum_of_rows(shape, heads=False))


def test_flops_of_judging(stand, rows, cpu, count_flops):
    """Reference with the head, critic without: a third of the same text with gradients."""
    episodes = written(stand, rows, cpu)
    counted = count_flops(lambda: judged(stand, episodes, cpu))
    shape = shape_of(stand.networks.policy.model)
    within(counted, (minimum_of_rows(shape) + minimum_of_rows(shape, heads=False)) // 3)


def test_flops_of_sampling(stand, cpu, count_flops):
    """Four answers to each of three prompts; the prompt is read once and no answer's last token."""
    prompts, model = [words(n, n) for n in (21, 13, 30)], stand.networks.policy.model
    copies = [p for p in prompts for _ in range(4)]
    # Answers differ in length when they end at a word from the middle of one.
    end_id = answers(stand, copies, cpu, end_id=-1).responses()[1][9]
    made: list[Episodes] = []

    def sample():
        made.append(answers(stand, copies, cpu, end_id=end_id))

    counted = count_flops(sample)
    lengths = made[0].sequences.response_lengths.view(3, 4).tolist()
    assert len({tuple(row) for row in lengths}) > 1  # some end early
    readings = [cost.sampled(len(p), r) for p, r in zip(prompts, lengths, strict=True)]
    within(counted, cost.forward_flops(shape_of(model), cost.total(readings)).total)


def test_tokens_read_in_a_whole_ppo_step(stand, cpu, count_rows):
    """Sampling, reference, critic, policy and critic again: each real token once, and no other."""
    prompts = Prompts(
        ids=list("abcdefgh"),
        messages=[[{"role": "user", "content": "x"}]] * 8,
        tokens=[words(n, n) for n in PROMPTS],
    )
    networks, chosen = stand.networks, list(range(8))
    generator = torch.Generator().manual_seed(0)
    with (
        count_rows(networks.policy.model) as policy,
        count_rows(networks.reference.model) as reference,
        count_rows(networks.critic.trunk) as critic,
    ):
        episodes = act(
            stand.config, networks.policy, prompts, chosen, compute=cpu, generator=generator
        )
        fed = sum(policy)
        experience = judge(
            stand.config, networks, episodes, prompts, chosen,
            kl_coef=0.1, scale=RewardScale(mean=0.0, std=1.0), compute=cpu,
        )  # fmt: skip
        batch = take(experience, experience.advantages, torch.arange(8))
        accumulate(stand.config, networks, batch, klpen_coef=1.0, compute=cpu)
    real = len(episodes.sequences.tokens)
    assert fed == real - 8  # the last token of an answer is drawn and never fed
    assert sum(policy) - fed == real
    assert sum(reference) == real
    assert sum(critic) == 2 * real


def test_tokens_read_for_nine_ranked_answers(stand, nine, cpu, count_rows, tmp_path):
    rankings, _ = nine
    with count_rows(stand.reward.model) as learned:
        score_rankings(stand.reward, rankings, [0], cpu)[0].sum().backward()
    assert learned == [33 + sum([14, 9, 21, 17, 6, 11, 19, 8, 13])]
    with count_rows(stand.reward.model) as scored:
        score_sequences(stand.reward, rankings.sequences, cpu)
    assert sum(scored) == 33 + 18 + 118 + 125


def test_the_first_ratio_needs_no_second_reading(stand, rows, cpu):
    """Log-probabilities taken while sampling are those of learning's own forward pass."""
    episodes = answers(stand, [words(n, n) for n in PROMPTS], cpu, end_id=-1)
    with torch.no_grad():
        again, _ = response_logprobs(
            stand.networks.policy.model, episodes.sequences, cpu, temperature=1.0
        )
    deviation = (again - episodes.sampler_logprobs).expm1().abs().max()
    assert float(deviation) < cpu.ratio_tolerance


@pytest.mark.parametrize("work", ["losses", "logprobs", "entropies"])
def test_no_tensor_of_all_logits(narrow, rows, cpu, watch, monkeypatch, work):
    """With chunks of 8 rows nothing as large as R x V is made, forward or backward."""
    monkeypatch.setattr(forward, "LOGIT_ELEMENTS", 8 * VOCABULARY)
    with watch() as seen:
        read(work, narrow, rows, cpu).sum().backward()
    weights = VOCABULARY * narrow.config.hidden_size
    assert seen.most <= weights < sum(RESPONSES) * VOCABULARY


@pytest.mark.parametrize("work", ["losses", "logprobs", "entropies"])
def test_logits_are_not_kept_for_backward(narrow, rows, cpu, monkeypatch, work):
    """What autograd keeps does not grow with the vocabulary: at most one chunk of logits."""
    monkeypatch.setattr(forward, "LOGIT_ELEMENTS", 8 * VOCABULARY)
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        read(work, narrow, rows, cpu)
    weights = {p.untyped_storage().data_ptr() for p in narrow.parameters()}
    logits = [t for key, t in kept.items() if key not in weights and VOCABULARY in t.shape]
    assert sum(t.numel() for t in logits) <= 8 * VOCABULARY


def read(work: str, model, sequences, cpu) -> torch.Tensor:
    if work == "losses":
        return token_losses(model, sequences, cpu)
    logprobs, entropies = response_logprobs(
        model, sequences, cpu, temperature=0.7, with_entropy=work == "entropies"
    )
    return logprobs if entropies is None else logprobs + entropies


def answers(stand, prompts: list[list[int]], cpu, *, end_id: int) -> Episodes:
    return generate(
        stand.networks.policy.model,
        prompts,
        stand.config.sampling,
        end_id=end_id,
        compute=cpu,
        generator=torch.Generator().manual_seed(1),
    )


def written(stand, rows, cpu) -> Episodes:
    """`rows` as if the policy had written them."""
    with torch.no_grad():
        logprobs, _ = response_logprobs(stand.networks.policy.model, rows, cpu, temperature=1.0)
    finished = torch.ones(len(rows), dtype=torch.bool)
    return Episodes(sequences=rows, sampler_logprobs=logprobs, finished=finished)


def judged(stand, episodes: Episodes, cpu):
    """Their experience."""
    count = len(episodes)
    prompts = Prompts(
        ids=[str(i) for i in range(count)],
        messages=[[{"role": "user", "content": "x"}]] * count,
        tokens=[[0]] * count,  # what was read is in the episodes
    )
    return judge(
        stand.config, stand.networks, episodes, prompts, list(range(count)),
        kl_coef=0.1, scale=RewardScale(mean=0.0, std=1.0), compute=cpu,
    )  # fmt: skip
