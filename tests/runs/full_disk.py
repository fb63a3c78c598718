"""A disk that is really full, in a process of its own: python full_disk.py WHAT HOW DIR

WHAT: models, tensors, state or log. HOW: tmpfs (DIR lies on a small one) or limit (no file may grow
beyond 64 KiB: the kernel refuses as on a disk that is full, and no mount is needed).
Prints the UserError's message.
"""

import json
import resource
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from trivium.config import Pretrain
from trivium.errors import UserError
from trivium.runs.directory import open_run

LIMIT = 64 * 1024


def fill(what: str, out: Path) -> None:
    with open_run(out, stage="pretrain", config=Pretrain()) as run:
        run.log(0, {"pretrain/loss": 1.0})
        run.save(1, write_models=lambda folder: None, tensors={}, state={})
        if what == "models":
            big = {"weight": torch.zeros(LIMIT)}
            run.save(
                2,
                write_models=lambda folder: save_file(big, folder / "model.safetensors"),
                tensors={},
                state={},
            )
        if what == "tensors":
            run.save(2, write_models=lambda f: None, tensors={"a": torch.zeros(LIMIT)}, state={})
        if what == "state":
            run.save(2, write_models=lambda f: None, tensors={}, state={"a": "x" * 4 * LIMIT})
        if what == "log":
            for step in range(1, 4 * LIMIT):
                run.log(step, {"pretrain/loss": 1.0})


def main(what: str, how: str, out: Path) -> None:
    if how == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
    try:
        fill(what, out)
    except UserError as error:
        print(json.dumps(str(error)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
