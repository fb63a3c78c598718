"""What the pages load: all of it ours or vendored unchanged, nothing from elsewhere, no build."""

import hashlib
import re

import pytest

from trivium.web.rendering import HERE, STATIC

VENDORED = {  # sha256 of the files in the npm package sortablejs 1.15.7
    "sortable-1.15.7.esm.js": "a48a4ec931f04c50a1b80c095d0610dc2ec2014d001d4f083405f808fc9be251",
    "sortable-LICENSE.txt": "e94dfc31e800d169257569db270457c9f028440c9ccae41e7eb78b2db18f1298",
}
OWN = [path for path in sorted(STATIC.iterdir()) if path.is_file()]
TEMPLATES = sorted((HERE / "templates").rglob("*.html"))


def test_vendored_files_are_unchanged_and_licensed():
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (STATIC / "vendor").iterdir()
    }
    assert found == VENDORED
    assert "MIT License" in (STATIC / "vendor" / "sortable-LICENSE.txt").read_text("utf-8")


@pytest.mark.parametrize("path", [*OWN, *TEMPLATES], ids=lambda path: path.name)
def test_nothing_comes_from_elsewhere(path):
    text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.findall(r"(?:https?:)?//[a-z0-9-]+\.[a-z]{2,}", text)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_inline_script_and_no_inline_style(path):
    text = path.read_text("utf-8")
    assert not re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", text)
    assert "|safe" not in text.replace(" ", "")


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_every_form_that_changes_something_has_a_token(path):
    without = {"login.html", "invite.html"}  # nobody is signed in there; see `crosses`
    for form in re.findall(
        r'<form[^>]*method="post".*?</form>', path.read_text("utf-8"), re.DOTALL
    ):
        assert "token" in form or path.name in without


def test_every_file_the_pages_name_is_there():
    text = "".join(path.read_text("utf-8") for path in [*OWN, *TEMPLATES])
    named = set(re.findall(r"/static/([\w./-]+\.\w+)", text))
    assert named
    assert not [name for name in named if not (STATIC / name).is_file()]


def test_the_scripts_stay_small():
    lines = {
        path.name: len(path.read_text("utf-8").splitlines()) for path in OWN if path.suffix == ".js"
    }
    assert max(lines.values()) <= 250, lines
    assert sum(lines.values()) <= 660, lines
