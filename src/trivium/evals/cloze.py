"""Multiple-choice accuracy by likelihood: does the model still know what it learned."""

import math
from collections.abc import Sequence

from trivium.evals.intervals import Interval, bootstrap_share


def cloze_accuracy(
    option_logprobs: Sequence[Sequence[float]], answers: Sequence[int], *, seed: int
) -> Interval:
    """Share of questions whose right option is the likeliest, with a bootstrap over questions.

    Where k options share the top the right one among them counts 1 / k, so that a model that sees
    no difference scores chance and not the share of questions whose answer comes first.

    Args:
        option_logprobs: log-likelihood of each option in nats, a list a question; normalise for
            length beforehand if options differ in it.
        answers: index of the right option of each question.
        seed: of the bootstrap.

    Raises:
        ValueError: no questions, lists of different length, or an answer that is no option.
    """
    credits: list[float] = []
    for question, (options, answer) in enumerate(zip(option_logprobs, answers, strict=True)):
        if not 0 <= answer < len(options):
            raise ValueError(f"question {question}: answer {answer} of {len(options)} options")
        if any(map(math.isnan, options)):
            raise ValueError(f"question {question}: an option's log-likelihood is not a number")
        best = max(options)
        credits.append((options[answer] == best) / list(options).count(best))
    return bootstrap_share(credits, seed=seed)
