"""Commands of trivium in forked processes: started in milliseconds, killed for real.

A new interpreter spends seconds importing torch before its first step, and these tests start a
dozen. Here one process imports everything, computes nothing, and forks a child for each command.
Children share its hash seed, so what is compared must come from two nurseries with different ones.

It reads a line of JSON a request and answers with a number: for {"start": [words], "log": file} the
child's id, for {"wait": id} how it ended, as subprocess would say it, for {"poll": id} the same or
null.
"""

import contextlib
import importlib
import json
import os
import sys
import traceback

IMPORTED = (
    "trivium.cli",
    "trivium.commands",
    "trivium.stages.pipeline",
    "trivium.miniature.simulation",
    "transformers.models.llama.modeling_llama",
    "transformers.models.auto.modeling_auto",
    "torch._dynamo",
    "matplotlib.figure",
    "scipy.stats",
    "jinja2",
    "tyro",
)


def start(words: list[str], log: str) -> int:
    """A child that runs the command; its output goes to a file."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.setsid()
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            for stream in (0, 1, 2):
                os.dup2(output, stream)
            from trivium.cli import main

            code = main(words)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)
    return child


def ended(child: int, options: int) -> int | None:
    """How the child ended; None: it has not."""
    found, status = os.waitpid(child, options)
    return os.waitstatus_to_exitcode(status) if found else None


def main() -> None:
    """Serve until there are no more requests."""
    for name in IMPORTED:
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            answer = start(request["start"], request["log"])
        elif "wait" in request:
            answer = ended(request["wait"], 0)
        else:
            answer = ended(request["poll"], os.WNOHANG)
        print(json.dumps(answer), flush=True)
    os._exit(0)  # to clear away all that was imported would take seconds


if __name__ == "__main__":
    main()
