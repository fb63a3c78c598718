"""Files and folders: whole or not at all."""

import errno
import json

import pytest

from trivium.errors import UserError
from trivium.runs.atomic import explain_full_disk, recover, replace_folder, write_json, write_text


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_text_is_written_and_replaced(tmp_path):
    path = tmp_path / "new" / "a.txt"
    write_text(path, "öne\n")
    write_text(path, "two\n")
    assert path.read_bytes() == b"two\n"
    assert names(path.parent) == ["a.txt"]


def test_json_comes_back_and_nan_does_not_go(tmp_path):
    obj = {"é": [1, 2.5, None, True], "n": {"x": 1e-300}}
    write_json(tmp_path / "a.json", obj)
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == obj
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == obj


def folder(path, text):
    (path / "inner").mkdir(parents=True)
    (path / "inner" / "file").write_text(text)
    return path


def test_a_folder_takes_the_place_of_another(tmp_path):
    final = tmp_path / "final"
    replace_folder(folder(tmp_path / "tmp", "one"), final)
    replace_folder(folder(tmp_path / "tmp", "two"), final)
    assert (final / "inner" / "file").read_text() == "two"
    assert names(tmp_path) == ["final"]


def test_a_replacement_killed_between_its_renames_is_undone(tmp_path):
    folder(tmp_path / ".old-final", "one")
    recover(tmp_path / "final")
    assert (tmp_path / "final" / "inner" / "file").read_text() == "one"
    assert names(tmp_path) == ["final"]


def test_a_replacement_killed_after_its_renames_is_finished(tmp_path):
    folder(tmp_path / ".old-final", "one")
    folder(tmp_path / "final", "two")
    recover(tmp_path / "final")
    assert (tmp_path / "final" / "inner" / "file").read_text() == "two"
    assert names(tmp_path) == ["final"]


def test_replacing_over_a_killed_replacement(tmp_path):
    folder(tmp_path / ".old-final", "one")
    replace_folder(folder(tmp_path / "tmp", "three"), tmp_path / "final")
    assert (tmp_path / "final" / "inner" / "file").read_text() == "three"
    assert names(tmp_path) == ["final"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_room_is_the_users_to_mend(tmp_path, number):
    with (
        pytest.raises(UserError, match=r"no room to write it .* \d+ [KMGT]iB free"),
        explain_full_disk(tmp_path / "not" / "there"),
    ):
        raise OSError(number, "x")


def test_other_failures_stay_what_they_are(tmp_path):
    with pytest.raises(PermissionError), explain_full_disk(tmp_path):
        raise PermissionError(errno.EACCES, "no")
    with pytest.raises(RuntimeError, match="os error 13"), explain_full_disk(tmp_path):
        raise RuntimeError("I/O error (os error 13)")
