"""What a person sees when something is wrong: one line, the right exit code, no traceback."""

from pathlib import Path

import pytest

from trivium import classic_commands, cli, commands
from trivium.errors import UserError


def line(capsys) -> str:
    """The one line on stderr; nothing may be on stdout."""
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("trivium: ")
    assert printed.err.count("\n") == 1, printed.err
    return printed.err


EVALUATE = ["evaluate", "--out", "x", "--prompts", "p"]
SFT = ["sft", "--out", "x", "--model", "m", "--demonstrations", "d"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["qickstart"], "did you mean quickstart?"),
        (["data", "chek"], "did you mean check?"),
        (["data", "leak_check"], "did you mean leak-check?"),
        ([*SFT, "--num-epohcs", "3"], "did you mean --num-epochs?"),
        ([*SFT, "--sampling.temprature=3"], "did you mean --sampling.temperature?"),
        ([*SFT, "--zzz", "3"], "unknown flag --zzz; see trivium sft --help"),
        ([*SFT, "--lr", "fast"], "--lr"),
        ([*SFT, "--lr", "1e-5", "--lr", "1e-4"], "--lr is given twice"),
        ([*SFT, "--compute-dtype", "float16"], "'auto', 'float32', 'bfloat16'"),
        ([*SFT, "--sampling.temperature", "-1"], "sampling.temperature: expected a number > 0"),
        ([*SFT, "--examples-per-backward", "5"], "divisor of examples_per_step = 32"),
        (["sft", "--out", "x", "--model", "m"], "missing --demonstrations STR"),
        (["data", "convert", "a"], "missing TARGET, --kind"),
        (["run"], "missing RECIPE, --out PATH"),
        (["run", "tiny_cpu", "more", "--out", "x"], "run: unexpected more\n"),
        (["overoptimise", "nope"], "missing --run PATH, --out PATH; unexpected nope\n"),
        ([*EVALUATE, "--models", "sft"], "--models: expected names and folders in turn: --models "),
        (
            [*EVALUATE, "--models", "sft", "runs/sft", "--gold-parts", "decent"],
            "--gold-parts: expected names and values in turn",
        ),
        (["label", "serve", "--port", "99999"], "--port 99999: expected a number from 0 to 65535"),
        (["label", "serve", "--port", "-1"], "--port -1: expected a number from 0 to 65535"),
        (["run", "tiny_cpo", "--out", "x"], "did you mean 'tiny_cpu'?"),
        (["run", "tiny_cpu", "--out", "x", "--set", "sft.lrr=1"], "did you mean 'lr'?"),
        (["recipe", "show", "nothing-like-it"], "no such recipe"),
        (["resume", "no/such/run"], "no/such/run: no such folder"),
        (["data", "check", "no/such.jsonl", "--kind", "rankings"], "no/such.jsonl"),
    ],
)
def test_mistakes_get_one_line_and_exit_code_2(words, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 2
    assert says in line(capsys)
    assert not list(tmp_path.iterdir()), "a mistyped command left something behind"


def test_a_bug_gets_one_line_and_exit_code_1(capsys, monkeypatch):
    monkeypatch.setattr(cli, "_find", broken)
    assert cli.main(["chat", "my run"]) == 1
    said = line(capsys)
    assert "RuntimeError: first line second line" in said
    assert "trivium chat 'my run' --debug" in said


def broken(words):
    raise RuntimeError("first line\nsecond line")


@pytest.mark.parametrize("words", [["--debug", "chat", "x"], ["chat", "x", "--debug"]])
def test_debug_shows_the_traceback(words, monkeypatch):
    monkeypatch.setattr(cli, "_find", broken)
    with pytest.raises(RuntimeError):
        cli.main(words)


def test_debug_shows_where_a_users_mistake_was_noticed(tmp_path):
    with pytest.raises(UserError):
        cli.main(["resume", str(tmp_path / "none"), "--debug"])


def test_ctrl_c_says_how_to_go_on(capsys, monkeypatch, tmp_path):
    def stop(words):
        with commands.resumable(tmp_path / "run"):
            raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_find", stop)
    assert cli.main(["sft"]) == 130
    assert line(capsys) == f"trivium: stopped; go on with: trivium resume {tmp_path / 'run'}\n"


def test_a_config_file_with_an_unknown_key(tmp_path, capsys):
    file = tmp_path / "mine.yaml"
    file.write_text("model: m\ndemonstratons: d\n")
    assert cli.main(["sft", "--out", str(tmp_path / "out"), "--config", str(file)]) == 2
    assert "mine.yaml: demonstratons: unknown key; did you mean 'demonstrations'?" in line(capsys)


def test_a_key_is_known_by_its_initials_or_not_guessed_at(tmp_path, capsys):
    file = tmp_path / "mine.yaml"
    for key, says in (("learning_rate", "did you mean 'lr'?"), ("momentum", "expected one of")):
        file.write_text(f"{key}: 1\n")
        assert cli.main(["sft", "--out", str(tmp_path / "out"), "--config", str(file)]) == 2
        assert f"mine.yaml: {key}: unknown key; {says}" in line(capsys)


def test_a_config_file_of_another_stage(tmp_path, capsys):
    file = tmp_path / "mine.yaml"
    file.write_text("stage: reward\nmodel: m\n")
    assert cli.main(["sft", "--out", str(tmp_path / "out"), "--config", str(file)]) == 2
    assert "trivium reward" in line(capsys)


def test_a_config_file_that_is_not_there(tmp_path, capsys):
    assert cli.main(["sft", "--out", "x", "--config", str(tmp_path / "none.yaml")]) == 2
    assert line(capsys) == f"trivium: {tmp_path / 'none.yaml'}: not found; check the path\n"


def test_classic_has_a_folder_of_its_own(monkeypatch):
    outs = []
    monkeypatch.setattr(classic_commands, "_train", lambda *_, out, **__: outs.append(out))
    assert cli.main(["classic", "all"]) == 0
    assert cli.main(["classic", "all", "--out", "x"]) == 0
    assert outs == [Path("runs/classic"), Path("x")]


def test_a_recipe_is_not_copied_over_a_file(tmp_path, capsys):
    file = tmp_path / "mine.yaml"
    file.write_text("mine")
    assert cli.main(["recipe", "copy", "tiny_cpu", str(file)]) == 2
    assert "is there already" in line(capsys)
    assert file.read_text() == "mine"
