"""The pretraining stream against a plain join and cut, and stopped anywhere."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivium.errors import UserError
from trivium.text import make_codec, open_stream

DOCUMENTS = ["The cat saw the dog.", "Hello!! wow!!", "", "List two fruits. Apples and pears."]


@pytest.fixture(scope="module")
def codec(tokenizer):
    return make_codec(tokenizer("bos"))  # adds BOS by itself; packed text has none


@pytest.fixture(scope="module")
def one_pass(codec):
    """All documents joined, each followed by EOS, by the tokenizer's own backend."""
    backend = codec.tokenizer.backend_tokenizer
    ids = []
    for text in DOCUMENTS:
        ids += [*backend.encode(text, add_special_tokens=False).ids, backend.token_to_id("</s>")]
    return ids


def new(codec, length):
    return open_stream(lambda: iter(DOCUMENTS), codec, example_tokens=length)


def test_examples_are_the_joined_text_cut(codec, one_pass):
    stream, endless = new(codec, 7), one_pass * 9
    at = 0
    for count in (1, 3, 2, 10):
        batch = stream.take(count)
        assert batch.tokens.tolist() == endless[at : at + 7 * count]
        assert batch.lengths.tolist() == [7] * count
        assert batch.prompt_lengths.tolist() == [0] * count
        assert len(batch.predicted()) == 6 * count
        at += 7 * count
    assert at > len(one_pass)  # it went round


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.lists(st.integers(1, 4), max_size=5), st.lists(st.integers(1, 4)))
def test_a_stored_stream_goes_on_where_it_stopped(codec, length, before, after):
    stream = new(codec, length)
    for count in before:
        stream.take(count)
    stored = json.loads(json.dumps(stream.state()))
    resumed = new(codec, length)
    resumed.take(3)  # whatever it did before, it goes on from the stored state
    resumed.load(stored)
    for count in after:
        assert resumed.take(count).tokens.tolist() == stream.take(count).tokens.tolist()
    assert resumed.state() == stream.state()


@pytest.mark.parametrize("passes", [1, 2])
def test_stopped_exactly_at_the_end_of_a_pass(codec, one_pass, passes):
    stream = new(codec, len(one_pass))
    stream.take(passes)
    assert stream.state() == {"documents_read": len(DOCUMENTS) * passes, "buffer": []}
    resumed = new(codec, len(one_pass))
    resumed.load(stream.state())
    assert resumed.take(1).tokens.tolist() == one_pass


def test_no_more_is_read_than_needed(codec):
    read = []

    def source():
        for text in DOCUMENTS:
            read.append(text)
            yield text

    open_stream(source, codec, example_tokens=2).take(1)
    assert read == DOCUMENTS[:1]


def test_an_empty_source_is_refused(codec):
    with pytest.raises(UserError, match="no document"):
        open_stream(lambda: iter([]), codec, example_tokens=4).take(1)
