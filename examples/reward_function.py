"""A reward of your own: answer with the words of the question, and be brief.

    trivium ppo --policy runs/sft --prompts prompts.jsonl \
        --reward runs/reward brief=0.5*examples.reward_function:brief_and_on_topic

Any function works, `async def` too: prompts and responses in, one number per response out.
"""

Prompts = list[list[dict[str, str]]]


def words(text: str) -> list[str]:
    """Words in lower case, without punctuation around them."""
    return [word.strip(".,;:!?\"'()") for word in text.lower().split()]


def brief_and_on_topic(prompts: Prompts, responses: list[str]) -> list[float]:
    """Share of the question's long words that the answer takes up, minus 0.01 per word over 40."""
    scores: list[float] = []
    for prompt, response in zip(prompts, responses, strict=True):
        keywords = {word for word in words(prompt[-1]["content"]) if len(word) > 4}
        answer = words(response)
        on_topic = len(keywords.intersection(answer)) / max(1, len(keywords))
        scores.append(on_topic - 0.01 * max(0, len(answer) - 40))
    return scores
