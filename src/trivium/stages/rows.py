"""From label rows to tokens, with an account of every row: kept, truncated or dropped."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedModel

from trivium.config import Sampling
from trivium.data import DataReport, Dropped, prompt_key
from trivium.errors import UserError
from trivium.labels import Demonstration, Prompt, Ranking, has_untied_pair
from trivium.text import Codec, Sequences, encode_prompt, encode_response, from_lists

Messages = list[dict[str, str]]

TOO_LONG = "too long"
TIED = "all answers tied"


@dataclass(frozen=True, slots=True)
class Prompts:
    """Prompts ready for sampling: messages for rewards, token ids for the policy."""

    ids: list[str]
    messages: list[Messages]
    tokens: list[list[int]]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Rankings:
    """Rankings ready for training, those of one prompt one after another.

    What several people ranked, and what one model wrote twice, is one sequence: it is read once.

    Attributes:
        sequences: every distinct completion after its prompt, prompt by prompt.
        starts: where each prompt's completions begin, and where the last one's end.
        ranked: per prompt its rankings, as numbers into the lists below.
        completions: per ranking (K,) int64, the sequences that it ranks.
        ranks: per ranking (K,) int64, 1 is best.
        scores: per ranking the judge's (K,) scores, None where a row has none.
        texts: per ranking the answers' texts.
        prompts: per ranking its prompt's messages.
        labelers: per ranking who ranked, None if unknown.
        ids: per ranking its id.
        prompt_keys: per ranking what it shares with other rankings of the same prompt.
    """

    sequences: Sequences
    starts: list[int]
    ranked: list[range]
    completions: list[Int[Tensor, " K"]]
    ranks: list[Int[Tensor, " K"]]
    scores: list[list[float] | None]
    texts: list[list[str]]
    prompts: list[Messages]
    labelers: list[str | None]
    ids: list[str]
    prompt_keys: list[str]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def num_prompts(self) -> int:
        """How many prompts were ranked."""
        return len(self.ranked)

    def rows(self, prompt: int) -> range:
        """Sequence numbers of one prompt's completions."""
        return range(self.starts[prompt], self.starts[prompt + 1])


def messages_of(row: Prompt | Demonstration | Ranking) -> Messages:
    """The prompt as plain dicts, as templates and reward functions take it."""
    return [{"role": m.role, "content": m.content} for m in row.prompt]


def encode_prompts(
    rows: Sequence[Prompt], codec: Codec, sampling: Sampling
) -> tuple[Prompts, DataReport]:
    """Prompts that fit; longer ones are dropped and reported."""
    kept, dropped = Prompts(ids=[], messages=[], tokens=[]), []
    for row in rows:
        messages = messages_of(row)
        tokens = encode_prompt(codec, messages, where=row.id)
        if len(tokens) > sampling.max_prompt_tokens:
            dropped.append(Dropped(row.id, TOO_LONG))
            continue
        kept.ids.append(row.id)
        kept.messages.append(messages)
        kept.tokens.append(tokens)
    return kept, DataReport(kept=len(kept), truncated=(), dropped=tuple(dropped))


def encode_demonstrations(
    rows: Sequence[Demonstration], codec: Codec, sampling: Sampling
) -> tuple[Sequences, DataReport]:
    """Demonstrations that fit. Longer ones are dropped, never cut: a cut one would have no EOS."""
    prompts, responses, dropped = [], [], []
    for row in rows:
        prompt = encode_prompt(codec, messages_of(row), where=row.id)
        response = encode_response(codec, row.completion, where=row.id)
        if len(prompt) > sampling.max_prompt_tokens or len(response) > sampling.max_response_tokens:
            dropped.append(Dropped(row.id, TOO_LONG))
            continue
        prompts.append(prompt)
        responses.append(response)
    if not prompts:
        raise UserError(
            f"demonstrations: all {len(rows)} are longer than --sampling.max-prompt-tokens "
            f"{sampling.max_prompt_tokens} or --sampling.max-response-tokens "
            f"{sampling.max_response_tokens}; raise them"
        )
    # Masks come from lengths, so this holds even where padding is EOS; asserted all the same.
    assert all(response[-1] == codec.end_id for response in responses)
    report = DataReport(kept=len(prompts), truncated=(), dropped=tuple(dropped))
    return from_lists(prompts, responses), report


def encode_rankings(
    rows: Sequence[Ranking], codec: Codec, *, max_prompt_tokens: int, max_response_tokens: int
) -> tuple[Rankings, DataReport]:
    """Rankings with an untied pair whose prompt fits. Longer completions are cut, and reported."""
    kept: defaultdict[tuple[int, ...], list[tuple[Ranking, list[list[int]]]]] = defaultdict(list)
    truncated, dropped = [], []
    # Several people's rankings hold the same texts: each is tokenised once.
    prompts: dict[tuple[tuple[str, str], ...], list[int]] = {}
    answers: dict[str, list[int]] = {}
    for row in rows:
        if not has_untied_pair(row):
            dropped.append(Dropped(row.id, TIED))
            continue
        asked = tuple((m.role, m.content) for m in row.prompt)
        if asked not in prompts:
            prompts[asked] = encode_prompt(codec, messages_of(row), where=row.id)
        prompt = prompts[asked]
        if len(prompt) > max_prompt_tokens:
            dropped.append(Dropped(row.id, TOO_LONG))
            continue
        for text in (c.text for c in row.completions):
            if text not in answers:
                answers[text] = encode_response(codec, text, where=row.id)
        encoded = [answers[c.text] for c in row.completions]
        if any(len(e) > max_response_tokens for e in encoded):
            truncated.append(row.id)
        kept[tuple(prompt)].append((row, [e[:max_response_tokens] for e in encoded]))
    rankings = _gather(kept)
    report = DataReport(
        kept=len(rankings) - len(truncated), truncated=tuple(truncated), dropped=tuple(dropped)
    )
    return rankings, report


def _gather(
    kept: Mapping[tuple[int, ...], Sequence[tuple[Ranking, list[list[int]]]]],
) -> Rankings:
    """Rankings by prompt, each distinct completion of a prompt once."""
    prompts: list[list[int]] = []
    responses: list[list[int]] = []
    starts, ranked, completions = [0], [], []
    for prompt, rankings in kept.items():
        number: dict[tuple[int, ...], int] = {}
        for _, encoded in rankings:
            places = [
                number.setdefault(tuple(response), starts[-1] + len(number)) for response in encoded
            ]
            completions.append(torch.tensor(places))
        prompts += [list(prompt)] * len(number)
        responses += map(list, number)
        starts.append(len(responses))
        ranked.append(range(len(completions) - len(rankings), len(completions)))
    rows = [row for rankings in kept.values() for row, _ in rankings]
    return Rankings(
        sequences=from_lists(prompts, responses),
        starts=starts,
        ranked=ranked,
        completions=completions,
        ranks=[torch.tensor([c.rank for c in row.completions]) for row in rows],
        scores=[_scores(row) for row in rows],
        texts=[[c.text for c in row.completions] for row in rows],
        prompts=[messages_of(row) for row in rows],
        labelers=[row.labeler for row in rows],
        ids=[row.id for row in rows],
        prompt_keys=[prompt_key(row.prompt) for row in rows],
    )


def require_ids_inside(sequences: Sequences, model: PreTrainedModel) -> None:
    """No token id outside the embedding: checked here, where it costs nothing and names the cause.

    Raises:
        UserError: an id has no row in the embedding.
    """
    rows = model.get_input_embeddings().weight.shape[0]
    largest = int(sequences.tokens.max())
    if largest >= rows:
        raise UserError(
            f"token id {largest} has no row in the embedding ({rows} rows): "
            f"tokenizer and model don't belong together"
        )


def epoch_order(num_rows: int, *, seed: int, epoch: int) -> Int[Tensor, " n"]:
    """The order of one pass over the data, a function of seed and epoch alone."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(num_rows, generator=generator)


def _scores(row: Ranking) -> list[float] | None:
    scores = [c.score for c in row.completions if c.score is not None]
    return scores if len(scores) == len(row.completions) else None
