"""Reading --reward."""

import pytest

from trivium.errors import UserError
from trivium.rewards.spec import RewardSpec, is_function, parse_rewards


@pytest.mark.parametrize(
    ("text", "name", "weight", "target"),
    [
        ("runs/reward", "reward", 1.0, "runs/reward"),
        ("runs/reward/", "reward", 1.0, "runs/reward/"),
        ("@reward", "reward", 1.0, "@reward"),
        ("acme/tiny-rm", "tiny-rm", 1.0, "acme/tiny-rm"),
        (r"C:\runs\rm", "rm", 1.0, r"C:\runs\rm"),
        ("my.rewards:brevity", "brevity", 1.0, "my.rewards:brevity"),
        ("my.rewards:Judge.score", "score", 1.0, "my.rewards:Judge.score"),
        ("helpful=runs/rm", "helpful", 1.0, "runs/rm"),
        ("short=0.25*my.rewards:brevity", "short", 0.25, "my.rewards:brevity"),
        ("short=-1e-1*my.rewards:length", "short", -0.1, "my.rewards:length"),
        ("watch=0*runs/rm", "watch", 0.0, "runs/rm"),
        ("./lr=1e-5/rm", "rm", 1.0, "./lr=1e-5/rm"),
        ("helpful=runs/lr=1e-5", "helpful", 1.0, "runs/lr=1e-5"),
        ("  helpful=runs/rm ", "helpful", 1.0, "runs/rm"),
    ],
)
def test_forms(text: str, name: str, weight: float, target: str) -> None:
    assert parse_rewards([text]) == (RewardSpec(name=name, weight=weight, target=target),)


def test_order_is_kept() -> None:
    assert [r.name for r in parse_rewards(["b=x", "a=y", "c=z"])] == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("specs", "said"),
    [
        (["runs/a/rm", "runs/b/rm"], "'rm' is taken .*OTHER_NAME=runs/b/rm"),
        (["a=m:f", "a=m:g"], "'a' is taken"),
        ([""], "nothing after '';"),
        (["a="], "nothing after '='"),
        (["a=2*"], r"nothing after '\*'"),
        (["a=two*runs/rm"], "finite number before '\\*', got 'two'"),
        (["a=nan*runs/rm"], "finite number before '\\*', got 'nan'"),
        (["a=*runs/rm"], "finite number before '\\*', got ''"),
        (["2*runs/rm"], r"write NAME=2\*runs/rm"),
        (["my reward=runs/rm"], "name 'my reward' may hold"),
        (["=runs/rm"], "name '' may hold"),
        ([".."], "cannot make a name"),
        (["rewards.py:score"], "write package.module:function"),
        (["a=2*code/rewards.py:score"], "write package.module:function"),
    ],
)
def test_mistakes_are_one_clear_line(specs: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        parse_rewards(specs)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("target", ["m:f", "package.module:function", "a.b.c:D.e"])
def test_functions(target: str) -> None:
    assert is_function(target)


@pytest.mark.parametrize(
    "target",
    ["runs/rm", "@rm", "acme/rm", r"C:\rm", "hf://acme/rm", "m:", ":f", "a b:f", "m", "m:f:g"],
)
def test_paths(target: str) -> None:
    assert not is_function(target)
