"""Versions of what a study's numbers depend on, read without importing any of it."""

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("rethink-ray", "torch", "torchvision", "ray", "optuna", "scipy", "numpy", "hotcoco")


def versions() -> dict[str, str]:
    """Package -> version; the interpreter's own is under ``python``."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
