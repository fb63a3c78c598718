"""Loading: every architecture as it was, and everything that can't work refused in one line."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from trivium.config import Sampling
from trivium.errors import UserError
from trivium.models import load_policy, load_reward_model, resolve, response_logprobs
from trivium.models.forward import hidden_states
from trivium.models.load import new_reward_model
from trivium.models.save import save_policy, save_reward_model
from trivium.rollouts import generate
from trivium.text import from_lists


@pytest.fixture
def copied(model_folder, tmp_path):
    """A copy of a model folder that a test may spoil."""

    def copy(architecture: str = "llama", kind: str = "plain"):
        folder = tmp_path / "model"
        return shutil.copytree(model_folder(architecture, kind), folder)

    return copy


@pytest.fixture(scope="module")
def saved_reward(model_folder, cpu, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reward")
    reward = new_reward_model(str(model_folder()), cpu, seed=5)
    save_reward_model(reward, folder, cpu, stage="reward")
    return folder


def refused(load, *arguments, **options) -> str:
    with pytest.raises(UserError) as error:
        load(*arguments, **options)
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [("llama", "bos"), ("gpt2", "gpt2"), ("gpt_neox", "plain"), ("qwen2", "chatml")],
)
def test_load_forward_generate(model_folder, cpu, architecture, kind):
    folder = str(model_folder(architecture, kind))
    policy = load_policy(folder, cpu, context_tokens=256)
    plain = AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.tensor([[5, 1, 7, 2, 40]])
    with torch.no_grad():
        expected = torch.log_softmax(plain(ids).logits[0].double(), -1)
        got, _ = response_logprobs(
            policy.model, from_lists([[5]], [[1, 7, 2, 40]]), cpu, temperature=1.0
        )
    torch.testing.assert_close(
        got.double(), expected[torch.arange(4), ids[0, 1:]], rtol=1e-4, atol=1e-4
    )
    assert not policy.model.training
    assert {p.dtype for p in policy.model.parameters()} == {torch.float32}
    episodes = generate(
        policy.model,
        [[5, 6], [7]],
        Sampling(max_response_tokens=4),
        end_id=policy.codec.end_id,
        compute=cpu,
        generator=torch.Generator().manual_seed(0),
    )
    assert episodes.sequences.prompt_lengths.tolist() == [2, 1]


@pytest.mark.parametrize(("architecture", "kind"), [("llama", "plain"), ("qwen2", "chatml")])
def test_a_saved_policy_is_a_plain_folder(model_folder, cpu, tmp_path, architecture, kind):
    policy = load_policy(str(model_folder(architecture, kind)), cpu)
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.mul_(1.01)
    save_policy(policy, tmp_path, stage="sft")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = torch.randint(0, 290, (3, 30))
    with torch.no_grad():
        torch.testing.assert_close(plain(ids).logits, policy.model(ids).logits)
    assert plain.generation_config.eos_token_id == policy.codec.end_id
    assert not list(tmp_path.glob("*.bin"))
    assert json.loads((tmp_path / "trivium.json").read_text()) == {
        "stage": "sft",
        "kind": "policy",
        "template_hash": policy.codec.hash,
    }
    assert load_policy(str(tmp_path), cpu).codec.hash == policy.codec.hash


def test_the_embedding_of_a_pad_token_is_trained_too(copied, cpu):
    """Where pad is EOS, as in SmolLM2, transformers alone gives EOS's row no gradient."""
    folder = copied()
    config = json.loads((folder / "config.json").read_text())
    pad = 5
    (folder / "config.json").write_text(json.dumps(config | {"pad_token_id": pad}))
    batch = from_lists([[3, pad, 4]], [[pad, 6]])
    for reader in (load_policy, lambda place, cpu: new_reward_model(place, cpu, seed=0)):
        model = reader(str(folder), cpu).model
        hidden_states(model, batch, cpu).square().sum().backward()
        row = model.get_input_embeddings().weight.grad[pad]
        assert row.abs().sum() > 0
    plain = AutoModelForCausalLM.from_pretrained(folder)
    plain.model(torch.tensor([[3, pad, 4, pad, 6]])).last_hidden_state.square().sum().backward()
    assert plain.get_input_embeddings().weight.grad[pad].abs().sum() == 0


def test_a_run_directory_stands_for_its_model(model_folder, tmp_path):
    shutil.copytree(model_folder(), tmp_path / "model")
    assert resolve(str(tmp_path)) == str(tmp_path / "model")
    assert resolve(str(model_folder())) == str(model_folder())
    assert resolve("owner/name") == "owner/name"


def test_folders_that_hold_no_model(cpu, tmp_path):
    assert "no model there" in refused(load_policy, str(tmp_path), cpu)
    assert "no such folder" in refused(load_policy, str(tmp_path / "nothing"), cpu)
    (tmp_path / "config.json").write_text("{ not json")
    assert str(tmp_path) in refused(load_policy, str(tmp_path), cpu)
    assert str(tmp_path) in refused(load_reward_model, str(tmp_path), cpu)


def test_pickled_weights_are_not_read(copied, cpu):
    folder = copied()
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert "no model could be loaded" in refused(load_policy, str(folder), cpu)


def test_gguf_weights_are_not_read(copied, cpu):
    folder = copied()
    (folder / "model.safetensors").unlink()
    (folder / "model.gguf").write_bytes(b"GGUF" + bytes(64))
    assert "no model could be loaded" in refused(load_policy, str(folder), cpu)


def test_a_torn_weights_file(copied, cpu):
    weights = copied() / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert "no model could be loaded" in refused(load_policy, str(weights.parent), cpu)


def test_weights_of_another_shape(copied, cpu):
    folder = copied()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 64}))
    assert "misshapen" in refused(load_policy, str(folder), cpu)


def test_a_missing_weight(copied, cpu):
    folder = copied()
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert "model.layers.1.mlp.up_proj.weight" in refused(load_policy, str(folder), cpu)


def test_no_tokenizer_and_no_eos(copied, tokenizer, cpu):
    folder = copied()
    own = tokenizer("plain")
    own.eos_token = None
    own.save_pretrained(folder)
    assert "no EOS token" in refused(load_policy, str(folder), cpu)
    for file in folder.glob("*token*"):
        file.unlink()
    assert "no tokenizer could be loaded" in refused(load_policy, str(folder), cpu)


def test_a_vocabulary_larger_than_the_embedding(copied, tokenizer, cpu):
    folder = copied()
    own = tokenizer("plain")
    own.add_tokens(["<one>", "<two>"])
    own.save_pretrained(folder)
    rows = len(own) - 2
    assert f"has {len(own)} tokens, the embedding only {rows}" in refused(
        load_policy, str(folder), cpu
    )


def test_a_context_too_short(model_folder, cpu):
    message = refused(load_policy, str(model_folder("gpt2", "gpt2")), cpu, context_tokens=257)
    assert "context is 256 tokens" in message
    flags = "lower --sampling.max-prompt-tokens or --sampling.max-response-tokens"
    assert message.endswith(flags)
    message = refused(
        new_reward_model, str(model_folder("gpt2", "gpt2")), cpu, seed=0, context_tokens=257
    )
    assert message.endswith("lower --max-prompt-tokens or --max-response-tokens")
    load_policy(str(model_folder("gpt2", "gpt2")), cpu, context_tokens=256)


def test_logits_changed_after_the_unembedding(tiny_model, tokenizer, cpu, tmp_path):
    own = tokenizer("plain")
    tiny_model("gemma2", len(own)).save_pretrained(tmp_path)  # soft-caps its logits at 30
    own.save_pretrained(tmp_path)
    assert "soft-capping" in refused(load_policy, str(tmp_path), cpu)


def test_a_language_model_is_no_reward_model(model_folder, copied, cpu):
    assert "not a reward model" in refused(load_reward_model, str(model_folder()), cpu)
    folder = copied()
    config = json.loads((folder / "config.json").read_text())
    labels = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    (folder / "config.json").write_text(json.dumps(config | labels))
    assert "score.weight" in refused(load_reward_model, str(folder), cpu)


def test_changed_weights_fail_the_probes(saved_reward, cpu, tmp_path):
    folder = shutil.copytree(saved_reward, tmp_path / "reward")
    load_reward_model(str(folder), cpu)
    weights = load_file(folder / "model.safetensors")
    weights["score.weight"] = 1.05 * weights["score.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert "probe texts score" in refused(load_reward_model, str(folder), cpu)


@pytest.mark.parametrize("load", [load_policy, load_reward_model])
def test_a_changed_template_is_refused(saved_reward, model_folder, cpu, tmp_path, load):
    folder = tmp_path / "model"
    if load is load_policy:
        folder.mkdir()
        save_policy(load_policy(str(model_folder()), cpu), folder, stage="sft")
    else:
        shutil.copytree(saved_reward, folder)
    load(str(folder), cpu)
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("Instruction", "Question"))
    assert "changed after training" in refused(load, str(folder), cpu)


def test_what_reloads_differently_is_not_kept_silently(model_folder, cpu, tmp_path):
    """A change that no file holds: here a hook on the unembedding."""
    policy = load_policy(str(model_folder()), cpu)
    policy.model.lm_head.register_forward_hook(lambda module, inputs, logits: 1.01 * logits)
    with pytest.raises(AssertionError, match="reloads differently"):
        save_policy(policy, tmp_path, stage="sft")
