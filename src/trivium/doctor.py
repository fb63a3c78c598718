"""`trivium doctor`: what is installed, what the machine can do, and how to mend what is missing."""

import importlib
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from trivium.errors import UserError

CHECKOUT = Path(__file__).resolve().parents[2]
CONSTRAINTS = CHECKOUT / "constraints.txt"
PACKAGES = {
    "torch": "torch",
    "transformers": "transformers",
    "tokenizers": "tokenizers",
    "datasets": "datasets",
    "safetensors": "safetensors",
    "pyarrow": "pyarrow",
    "pydantic": "pydantic",
    "numpy": "numpy",
    "scipy": "scipy",
    "matplotlib": "matplotlib",
    "jinja2": "jinja2",
    "rich": "rich",
    "tyro": "tyro",
    "jaxtyping": "jaxtyping",
    "pyyaml": "yaml",
}
"""What runs need: the module of each package."""
MIN_MEMORY_GB = 3.0
"""The quickstart's peak, with room to spare."""
MIN_DISK_GB = 2.0
"""A quickstart's run directories, with room to spare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the examination."""

    what: str
    found: str
    fix: str | None = None
    """What to do; None: nothing is wrong."""


def run() -> None:
    """Print every finding.

    Raises:
        UserError: something is wrong; its fix has been printed.
    """
    tested = tested_versions(CONSTRAINTS)
    findings = [python(), *packages(tested), *machine()]
    for finding in findings:
        print(f"{'!!' if finding.fix else 'ok'}  {finding.what:<14} {finding.found}")
        if finding.fix:
            print(f"    {'':<14} fix: {finding.fix}")
    problems = sum(finding.fix is not None for finding in findings)
    if problems:
        raise UserError(f"doctor: problems: {problems}; each has its fix beside it")
    print("all is well; try `trivium quickstart`")


def tested_versions(constraints: Path) -> dict[str, str]:
    """Versions by package, in lower case; none where there is no checkout to read them from."""
    if not constraints.is_file():
        return {}
    lines = constraints.read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if "==" in line and not line.startswith("#")]
    return {name.strip().lower(): version.strip() for name, version in pins}


def python() -> Finding:
    """The interpreter; pip refuses versions that are too old, a bare PYTHONPATH doesn't."""
    version = ".".join(map(str, sys.version_info[:3]))
    fix = "install Python 3.11 or newer" if sys.version_info < (3, 11) else None
    return Finding(what="python", found=f"{version} at {sys.executable}", fix=fix)


def packages(tested: Mapping[str, str]) -> Iterator[Finding]:
    """Each package that runs need: there, of the tested version, and loading."""
    for name, module in PACKAGES.items():
        yield package(name, module, tested.get(name))


def package(name: str, module: str, tested: str | None) -> Finding:
    """Whether it is installed and loads; a version other than ``tested`` is said, not blamed."""
    pin = f"{name}=={tested}" if tested else name
    fix = f"pip install '{pin}'"
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(what=name, found="not installed", fix=fix)
    try:
        importlib.import_module(module)
    except Exception as error:  # whatever a broken installation raises
        found = f"{version} does not load: {type(error).__name__}: {error}"
        return Finding(what=name, found=found, fix=f"pip install --force-reinstall '{pin}'")
    public = re.sub(r"\+.*", "", version)  # torch says which build it is, such as 2.13.0+cpu
    note = f" (tested with {tested}: {fix})" if tested and public != tested else ""
    return Finding(what=name, found=version + note)


def machine() -> Iterator[Finding]:
    """Cores, memory, disk, and how fast the arithmetic can be. Needs torch for the last."""
    yield Finding(
        what="cores", found=f"{len(os.sched_getaffinity(0))} usable, {os.cpu_count()} there"
    )
    yield memory(available_memory_gb())
    yield disk(shutil.disk_usage(Path.cwd()).free / 1e9)
    try:
        from trivium.models.compute import compute_for
    except ImportError:
        return  # torch's own line has said it
    import torch

    compute = compute_for("auto")
    gpu = (
        torch.cuda.get_device_name() if compute.device.type == "cuda" else "none; runs use the CPU"
    )
    yield Finding(what="gpu", found=gpu)
    fast = compute.dtype is torch.bfloat16
    found = "fast, used" if fast else "not multiplied fast here, so float32 is used"
    yield Finding(what="bfloat16", found=found)


def available_memory_gb() -> float | None:
    """Memory a run may still take, in GB (10^9 bytes); None where the system doesn't say."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.is_file():
        return None
    free = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(), re.MULTILINE)
    limits = [int(free[1]) * 1024] if free else []
    container = Path("/sys/fs/cgroup/memory.max")
    if container.is_file() and (text := container.read_text().strip()).isdigit():
        limits.append(int(text))
    return min(limits) / 1e9 if limits else None


def memory(gigabytes: float | None) -> Finding:
    """Enough for the quickstart?"""
    if gigabytes is None:
        return Finding(what="memory", found="unknown")
    fix = f"free {MIN_MEMORY_GB:g} GB: close other programs or take a larger machine"
    return Finding(
        what="memory",
        found=f"{gigabytes:.1f} GB available",
        fix=fix if gigabytes < MIN_MEMORY_GB else None,
    )


def disk(gigabytes: float) -> Finding:
    """Enough for the run directories of a quickstart?"""
    fix = f"free {MIN_DISK_GB:g} GB, or give --out a folder on a larger disk"
    return Finding(
        what="disk",
        found=f"{gigabytes:.1f} GB free in this folder",
        fix=fix if gigabytes < MIN_DISK_GB else None,
    )
