"""Writes one line per update into the file named by CHAOS_UPDATES: folder, step, rate.

Python imports a module of this name at its start, so every process of a study counts without a word
in the product. In an undisturbed study each line is there once; a second one is an update redone.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from types import ModuleType
from typing import Any

VARIABLE = "CHAOS_UPDATES"
MODULE = "rethink_ray.training.ladder"


class _Counted(importlib.abc.Loader):
    """Loads the ladder and makes its updates leave their line."""

    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        climb: Any = module.train_ladder
        from rethink_ray.training.live import Live

        live: Any = Live
        update = live.update
        folder = ""

        def train_ladder(config: Any, lengths: Any, folders: Any, **options: Any) -> Any:
            nonlocal folder
            folder = str(folders.trial)
            yield from climb(config, lengths, folders, **options)

        def counted(self: Any, *args: Any, rate: float, step: int, **options: Any) -> Any:
            if self.ctx.rank == 0:
                line = f"{folder}|{step}|{rate:.9g}\n".encode()
                handle = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
                os.write(handle, line)
                os.close(handle)
            return update(self, *args, rate=rate, step=step, **options)

        live.update = counted
        module.train_ladder = train_ladder  # type: ignore[attr-defined]


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Any, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Counted(spec.loader)
        return spec


if VARIABLE in os.environ:
    sys.meta_path.insert(0, _Finder())
