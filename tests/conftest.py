"""Tiny tokenizers and models for the rooms that need one: random weights, milliseconds a pass."""

import os
import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

CORPUS = [
    "Hello!! wow!! The cat saw the dog, and the dog saw the cat.",
    "Instruction: Why is the sky blue?\n\nResponse:\nBecause air scatters blue light.",
    "List two fruits. Apples and pears.",
]
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Before the first test: is there what the chosen ones need? If not, one line says so."""
    marks = {mark.name for item in session.items for mark in item.iter_markers()}
    if "browser" in marks and find_browser() is None:
        raise pytest.UsageError(
            "no browser: expected Chromium on the PATH; install your system's package (Debian: "
            "chromium), or set CHROMIUM to the program"
        )
    for peer in PEERS if "peers" in marks else ():
        if not find_peer(peer).is_file():
            raise pytest.UsageError(
                f"no {peer}: expected its Python at {find_peer(peer)}; run `make test-peers`, "
                f"which installs it, or set {PEERS[peer]} to the Python of one that has it"
            )
    if "postgres" in marks:
        import local_postgres

        try:
            local_postgres.programs()
        except local_postgres.NoServer as error:
            raise pytest.UsageError(str(error)) from None


def find_browser() -> str | None:
    """CHROMIUM, else a browser of the PATH."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


PEERS = {"trl-1.12.0": "TRL_PYTHON", "trl": "TRL_NEWEST_PYTHON"}
"""Environments of `make bench-peers`, and what names another Python in their place."""


def find_peer(name: str) -> Path:
    """The variable's, else where `make test-peers` puts it."""
    default = Path(__file__).parents[1] / f"build/peers/{name}/bin/python"
    return Path(os.environ.get(PEERS[name], default))


@pytest.fixture(scope="session")
def trl_python() -> Path:
    """The Python of an environment with TRL 1.12.0."""
    return find_peer("trl-1.12.0")


@pytest.fixture(scope="session")
def newest_trl_python() -> Path:
    """The Python of an environment with TRL 1.16.0."""
    return find_peer("trl")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's program."""
    path = find_browser()
    assert path is not None
    return path


def make_tokenizer(kind: str, corpus: list[str] = CORPUS):
    """A byte-level BPE of about 300 tokens.

    Kinds: "plain" has EOS and another padding token; "gpt2" has EOS alone, which is also BOS and
    unknown, at the end of the vocabulary; "bos" puts a BOS before every text and pads with EOS;
    "chatml" ends turns with <|im_end|>, a token that is special without being named so.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    first = {"plain": ["<|end|>", "<|pad|>"], "bos": ["<s>", "</s>"]}
    last = {"gpt2": ["<|endoftext|>"], "chatml": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]}
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=first.get(kind, []),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(corpus * 3, trainer)
    bpe.add_special_tokens([AddedToken(t, special=True) for t in last.get(kind, [])])
    if kind == "bos":
        bos = bpe.token_to_id("<s>")
        bpe.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", bos)])
    text = "<|endoftext|>"
    named = {
        "plain": {"eos_token": "<|end|>", "pad_token": "<|pad|>"},
        "gpt2": {"eos_token": text, "bos_token": text, "unk_token": text},
        "bos": {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"},
        "chatml": {"eos_token": text, "pad_token": text},
    }
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, clean_up_tokenization_spaces=False, **named[kind]
    )
    if kind == "chatml":
        tokenizer.chat_template = CHATML
    return tokenizer


def make_model(architecture: str, vocab_size: int, *, seed: int = 0):
    """Two layers, 32 numbers wide, with weights large enough that logits differ by several nats."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    llama = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 256,
    }
    shapes = {
        "llama": llama | {"num_key_value_heads": 2},
        "qwen2": llama | {"num_key_value_heads": 2, "tie_word_embeddings": True},
        "mistral": llama | {"num_key_value_heads": 2, "sliding_window": 6},
        "gemma2": llama | {"num_key_value_heads": 2, "head_dim": 8},
        "gpt_neox": llama,
        "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256},
        "gpt_neo": {
            "hidden_size": 32,
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global"], 2]],
            "max_position_embeddings": 256,
        },
    }
    config = AutoConfig.for_model(
        architecture,
        vocab_size=vocab_size,
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
        **shapes[architecture],
    )
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.fixture(scope="session")
def tokenizer() -> Callable[..., object]:
    """Return a function from a kind (and maybe a corpus) to a new tokenizer."""
    return make_tokenizer


@pytest.fixture(scope="session")
def tiny_model() -> Callable[..., object]:
    """Return a function from an architecture and a vocabulary size to a new random model."""
    return make_model


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Callable[..., Path]:
    """Return a function from an architecture and a kind of tokenizer to a folder with both.

    The folder is written by transformers alone, once; tests must not change it.
    """
    written: dict[tuple[str, str], Path] = {}

    def folder(architecture: str = "llama", kind: str = "plain") -> Path:
        key = (architecture, kind)
        if key not in written:
            written[key] = tmp_path_factory.mktemp(f"{architecture}_{kind}_")
            tokenizer = make_tokenizer(kind)
            make_model(architecture, len(tokenizer)).save_pretrained(written[key])
            tokenizer.save_pretrained(written[key])
        return written[key]

    return folder


@pytest.fixture(scope="session")
def cpu():
    """Return fp32 on the processor."""
    import torch

    from trivium.models import Compute

    return Compute(device=torch.device("cpu"), dtype=torch.float32)


@pytest.fixture(scope="session")
def new_postgres_database(tmp_path_factory) -> Iterator[Callable[[], str]]:
    """Return a function that makes a store with nothing in it, in PostgreSQL, and gives its URL."""
    import local_postgres
    import psycopg
    from sqlalchemy import make_url

    from trivium.store.database import close_store, open_store

    made = count()
    with local_postgres.running(sync=False) as template:
        url = make_url(template)
        close_store(open_store(template, journal=tmp_path_factory.mktemp("empty") / "journal"))

        def new() -> str:
            name = f"store_{next(made)}"
            there = {"host": url.query["host"], "user": url.username, "dbname": "postgres"}
            with psycopg.connect(**there, autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name} TEMPLATE {url.database}")
            return url.set(database=name).render_as_string(hide_password=False)

        yield new


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def backend(request) -> str:
    """Return the kind of database: tests of a store run on both."""
    return request.param


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory) -> Path:
    """A migrated database to copy: quicker than migrating one for each test."""
    from trivium.store.database import close_store, open_store

    path = tmp_path_factory.mktemp("empty") / "labels.db"
    close_store(open_store(f"sqlite:///{path}"))
    return path


@pytest.fixture
def new_url(backend, request, tmp_path) -> Callable[[str], str]:
    """Return a function from a name to the URL of a store with nothing in it."""
    if backend == "postgres":
        new_database = request.getfixturevalue("new_postgres_database")
        return lambda name: new_database()
    empty = request.getfixturevalue("empty_database")
    return lambda name: f"sqlite:///{shutil.copyfile(empty, tmp_path / f'{name}.db')}"
