"""What the viewer paints, read back from its spans."""

import io
from collections import Counter

import pytest
from rich.console import Console

from trivium.text import encode_prompt, encode_response, from_lists, make_codec
from trivium.text.viewer import END, PADDING, PROMPT, TRAINED, colour_batch, episode_table, legend


@pytest.mark.parametrize("kind", ["plain", "bos", "gpt2"])  # "bos" pads with EOS
def test_colours_follow_the_lengths(tokenizer, kind):
    codec = make_codec(tokenizer(kind))
    turns = [{"role": "user", "content": "Hi"}]
    prompts = [encode_prompt(codec, turns, where="row")] * 2
    responses = [
        encode_response(codec, text, where="row") for text in ("The cat saw the dog.", "No")
    ]
    lines = colour_batch(codec, from_lists(prompts, responses))
    longest = len(responses[0])
    for line, prompt, response in zip(lines, prompts, responses, strict=True):
        styles = Counter(str(span.style) for span in line.spans)
        assert styles[PROMPT] == len(prompt)
        assert styles[TRAINED] == len(response) - 1
        assert styles[END] == 1  # every row shows one trained end, whatever pads
        assert line.plain.count("·") == longest - len(response)
        painted = sum(span.end - span.start for span in line.spans if span.style == PADDING)
        assert painted == longest - len(response)
    assert lines[1].plain.startswith(codec.tokenizer.decode(prompts[1]).replace("\n", "⏎\n"))


def test_with_the_prompt_trained_only_the_first_token_is_not(tokenizer):
    codec = make_codec(tokenizer("plain"))
    prompt, response = codec.tokenizer.encode("The cat"), encode_response(codec, "saw", where="row")
    (line,) = colour_batch(codec, from_lists([prompt], [response]), prompts_too=True)
    styles = [str(span.style) for span in line.spans]
    assert styles == [PROMPT, *[TRAINED] * (len(prompt) + len(response) - 2), END]


def test_the_legend_names_every_colour():
    assert {str(span.style) for span in legend().spans} == {PROMPT, TRAINED, END, PADDING}


def test_episode_table_shows_every_number():
    row = {
        "text": " cat\n",
        "logprob": -1.25,
        "ref_logprob": -1.5,
        "kl": 0.25,
        "reward": 0,
        "value": 0.125,
        "advantage": -0.0625,
    }
    console = Console(file=io.StringIO(), width=120)
    console.print(episode_table([row], "episode 3"))
    shown = console.file.getvalue()
    assert "episode 3" in shown
    line = next(x for x in shown.splitlines() if "cat" in x)
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells == ["' cat\\n'", "-1.250", "-1.500", "+0.250", "+0.000", "+0.125", "-0.062"]
