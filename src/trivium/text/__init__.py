"""From messages to tokens: chat templates, tokenising, ragged batches, the token viewer."""

from trivium.text.sequences import Sequences, concatenate, from_lists, select
from trivium.text.stream import TextStream, open_stream
from trivium.text.template import (
    PLAIN_TEMPLATE,
    Codec,
    decode_response,
    encode_prompt,
    encode_response,
    make_codec,
)

__all__ = [
    "PLAIN_TEMPLATE",
    "Codec",
    "Sequences",
    "TextStream",
    "concatenate",
    "decode_response",
    "encode_prompt",
    "encode_response",
    "from_lists",
    "make_codec",
    "open_stream",
    "select",
]
