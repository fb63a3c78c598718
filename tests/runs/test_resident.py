"""What the allocator keeps and gives back, counted by the kernel in a process of its own."""

import json
import platform
import subprocess
import sys

GLIBC = platform.libc_ver()[0] == "glibc"
"""Other allocators are left as they are."""

PROGRAM = """
import json, resource, sys
import torch
from trivium.runs import resident

def work():
    return sum(len(part) for part in [torch.ones(2**20) for _ in range(40)])

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if sys.argv[1] == "kept":
    resident.keep_freed()
work()
before = faults()
work()
again, held = faults() - before, resident.resident_bytes()
resident.give_back()
print(json.dumps({"again": again, "given_back": held - resident.resident_bytes()}))
"""


def measure(how: str) -> dict[str, int]:
    command = [sys.executable, "-c", PROGRAM, how]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def test_what_is_freed_serves_the_next_pass_until_it_is_given_back():
    plain, kept = measure("plain"), measure("kept")
    pages = 40 * 2**20 * 4 // 4096
    assert plain["again"] > pages // 2 or not GLIBC
    assert (kept["again"] < plain["again"] / 4) == GLIBC
    assert (kept["given_back"] > 0.9 * pages * 4096) == GLIBC
