"""Code that a task's YAML names with `!function` is run only where its folder is trusted."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lm_eval.tasks
from lm_eval.tasks import _yaml_loader

from attnres_eval.errors import UserError
from attnres_eval.study_file import bundled_folder

FLAG = "--trust-task-code"


def trusted(folder: Path) -> bool:
    """Whether a folder is part of lm-eval or of this package."""
    homes = [Path(home) for home in lm_eval.tasks.__path__] + [bundled_folder("tasks")]
    return any(folder.resolve().is_relative_to(home.resolve()) for home in homes)


@contextlib.contextmanager
def only_trusted_code() -> Iterator[None]:
    """While it lasts, lm-eval refuses functions of task files that lie in other folders.

    Raises:
        UserError: from within lm-eval, before any of that code is read.
    """

    def guarded(function: Callable[..., Any], folder_of: Callable[..., Path]) -> Callable[..., Any]:
        def checked(*arguments: Any) -> Any:
            folder = folder_of(*arguments)
            if not trusted(folder):
                raise UserError(
                    f"a task in {folder} runs code of its own (!function); read it, and give"
                    f" {FLAG} if you trust it"
                )
            return function(*arguments)

        return checked

    by_name, load = _yaml_loader._import_func_in_yml, _yaml_loader._load_module_with_cache
    _yaml_loader._import_func_in_yml = guarded(by_name, lambda name, folder: folder)
    _yaml_loader._load_module_with_cache = guarded(load, lambda path: path.parent)
    try:
        yield
    finally:
        _yaml_loader._import_func_in_yml, _yaml_loader._load_module_with_cache = by_name, load
