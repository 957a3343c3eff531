"""The model hub, without waiting for one that cannot be reached."""

import contextlib
import functools
from collections.abc import Iterator

import datasets
from huggingface_hub import constants, get_session

TIMEOUT_SECONDS = 4.0


@functools.cache
def hub_is_reachable() -> bool:
    """Whether the hub answers: asked once per process, through the user's proxies if any."""
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=TIMEOUT_SECONDS)
    except Exception:  # the client's own errors: no name, no route, no certificate, timeout
        return False
    return True


@contextlib.contextmanager
def hub_offline_unless_reachable(*, local: bool = False) -> Iterator[None]:
    """Answers from the local caches alone where the hub cannot be reached, or is not needed.

    Otherwise every look-up would be tried six times, for half a minute. The two constants are
    what HF_HUB_OFFLINE=1 sets, which the libraries read only when they are imported.
    """
    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    if local or not hub_is_reachable():
        constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before
