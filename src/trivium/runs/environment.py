"""Where a run took place: enough to say why two runs differ."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "datasets",
    "numpy",
    "scipy",
    "pyarrow",
    "pydantic",
    "tyro",
)
CHECKOUT = Path(__file__).resolve().parents[3]
"""The source checkout, if the package runs from one (src layout)."""


def describe() -> dict[str, Any]:
    """The environment as JSON-ready values. Loads no library that is not loaded already."""
    return {
        "trivium": _version("trivium"),
        "git": _git(CHECKOUT),
        "argv": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": {"model": _cpu_model(), "count": os.cpu_count(), "usable": _usable_cpus()},
        "threads": _threads(),
        "accelerators": _accelerators(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(checkout: Path) -> dict[str, Any] | None:
    """Commit and whether files differ from it; None outside a checkout or without git."""
    if not (checkout / ".git").exists():
        return None
    try:
        commit = _git_output(checkout, "rev-parse", "HEAD")
        changes = _git_output(checkout, "status", "--porcelain")
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "dirty": changes != ""}


def _git_output(checkout: Path, *words: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(checkout), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip()


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _usable_cpus() -> int | None:
    """Cores this process may use; containers often allow fewer than there are."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()


def _threads() -> dict[str, Any]:
    torch = sys.modules.get("torch")
    return {
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
        "torch": torch.get_num_threads() if torch else None,
    }


def _accelerators() -> list[str]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
