"""What a run has to cost at the least: arithmetic, bytes moved, bytes held.

Nothing is measured here and no library is loaded: these are formulas over a model's shape and over
counts of tokens. They count what exact arithmetic needs when no padding is read, a shared prompt is
read once and nothing is computed twice; `tests/speed` holds the stages against them, and
`trivium plan` makes times of them.

Legend: N weights of the layers' matrix products, L layers, d hidden size, A = heads x head size,
G = key-value heads x head size, f width of the feed-forward layer, V vocabulary; M tokens read,
each once; P prompt and R response tokens; c bytes a number takes. A multiplication and an addition
are 2 FLOPs.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

ADAMW_BYTES = 28
"""An update reads weight, gradient and two moments and writes all but the gradient, in fp32;"""

CLIP_BYTES = 12
"""and before it the gradient is read for its norm, read again and written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the cost of a decoder depends on.

    Attributes:
        layers: L.
        hidden: d.
        query_width: A.
        key_width: G.
        inner: f.
        vocabulary: V, rows of the unembedding.
        matrices: N, numbers in the matrices that every token passes through in all layers.
        parameters: all weights, tied ones counted once.
    """

    layers: int
    hidden: int
    query_width: int
    key_width: int
    inner: int
    vocabulary: int
    matrices: int
    parameters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Text that is read, whatever its model.

    Attributes:
        tokens: M, read once each.
        pairs: (query, key) pairs of causal attention, a token and itself included.
        predicted: tokens whose log-probability is wanted: rows of the unembedding's product.
    """

    tokens: int
    pairs: int
    predicted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Flops:
    """FLOPs by what they are spent on."""

    layers: int
    attention: int
    head: int

    @property
    def total(self) -> int:
        """Their sum."""
        return self.layers + self.attention + self.head


def tree(prompt: int, responses: Sequence[int], *, predicted: int = 0) -> Reading:
    """A prompt and the responses that go on from it, the prompt read once.

        M = P + sum R,   pairs = P (P + 1) / 2 + sum (R P + R (R + 1) / 2)

    Args:
        prompt: P, maybe 0.
        responses: R of each.
        predicted: tokens whose log-probability is wanted.
    """
    own = sum(r * prompt + r * (r + 1) // 2 for r in responses)
    return Reading(
        tokens=prompt + sum(responses),
        pairs=prompt * (prompt + 1) // 2 + own,
        predicted=predicted,
    )


def sampled(prompt: int, responses: Sequence[int]) -> Reading:
    """The same while the responses are being written: the last token of each is never read.

    M = P + sum (R - 1), all sum R tokens are drawn from logits; what R - 1 tokens look at is
    what they look at in `tree`.
    """
    read = tree(prompt, [max(r - 1, 0) for r in responses])
    return Reading(tokens=read.tokens, pairs=read.pairs, predicted=sum(responses))


def total(readings: Iterable[Reading]) -> Reading:
    """All of them."""
    tokens = pairs = predicted = 0
    for one in readings:
        tokens, pairs = tokens + one.tokens, pairs + one.pairs
        predicted += one.predicted
    return Reading(tokens=tokens, pairs=pairs, predicted=predicted)


def forward_flops(shape: Shape, reading: Reading) -> Flops:
    """FLOPs of reading.

        2 N M + 4 L A pairs + 2 V d predicted

    A pair costs 2 A for its score and 2 A for its share of the value. Norms, activations, softmax
    and position embeddings are left out: they are additions to numbers, not products of matrices.
    """
    return Flops(
        layers=2 * shape.matrices * reading.tokens,
        attention=4 * shape.layers * shape.query_width * reading.pairs,
        head=2 * shape.vocabulary * shape.hidden * reading.predicted,
    )


def training_flops(shape: Shape, reading: Reading) -> Flops:
    """FLOPs of reading with gradients: three times `forward_flops`.

    Backward makes two products for each one of forward: the gradient of the input and that of the
    weight (in attention: of scores and values). Nothing is read a second time.
    """
    one = forward_flops(shape, reading)
    return Flops(layers=3 * one.layers, attention=3 * one.attention, head=3 * one.head)


def decode_steps(responses: Sequence[int], *, slots: int) -> int:
    """Forward passes of one token a slot that write these responses: the first of each comes with
    reading its prompt.

    A slot that falls free is filled at once: max(longest R - 1, sum (R - 1) / slots).
    """
    left = [max(r - 1, 0) for r in responses]
    return max(max(left, default=0), math.ceil(sum(left) / slots))


def decode_bytes(
    shape: Shape, prompts: Sequence[int], responses: Sequence[int], *, slots: int, number_bytes: int
) -> int:
    """Bytes read while responses are written, one prompt for each.

    steps c (N + V d)  +  2 c L G sum over the tokens fed of what each looks at
    """
    steps = decode_steps(responses, slots=slots)
    looks = sum(
        tree(p, [max(r - 1, 0)]).pairs - tree(p, []).pairs
        for p, r in zip(prompts, responses, strict=True)
    )
    weights = steps * (shape.matrices + shape.vocabulary * shape.hidden)
    return number_bytes * (weights + 2 * shape.layers * shape.key_width * looks)


def update_bytes(parameters: int) -> int:
    """Bytes that the clip and AdamW move in one update of fp32 weights."""
    return (ADAMW_BYTES + CLIP_BYTES) * parameters


def static_bytes(parameters: int, *, trained: bool) -> int:
    """Bytes held from the first update on: fp32 weights; trained: gradient and two moments too."""
    return (16 if trained else 4) * parameters


def activation_bytes(shape: Shape, tokens: int, *, number_bytes: int) -> int:
    """Bytes kept for backward of M packed tokens, without checkpointing.

        c L M (6 d + 3 A + 2 G + 4 f)

    What eager PyTorch keeps of a pre-norm layer with a gated feed-forward. Each of two norms: its
    input, the normed numbers, and those times the norm's weight, which the matrices read: 6 d.
    Attention: query, output, and the output as the next matrix reads it, key and value.
    Feed-forward: gate, activated gate, up, their product.
    """
    width = 6 * shape.hidden + 3 * shape.query_width + 2 * shape.key_width + 4 * shape.inner
    return number_bytes * shape.layers * tokens * width


def logit_bytes(shape: Shape, predicted: int, *, most: int) -> int:
    """Bytes of the fp32 logits alive at once, made for at most ``most`` numbers at a time."""
    return 4 * min(predicted * shape.vocabulary, max(most, shape.vocabulary))


def memory_bytes(shape: Shape, *, slots: int, capacity: int, number_bytes: int) -> int:
    """Bytes of keys and values: 2 c L G slots (P + R)."""
    return 2 * number_bytes * shape.layers * shape.key_width * slots * capacity
