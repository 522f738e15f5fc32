from pathlib import Path

import pytest

from tests.sweeps.reciting import RecitingRuns


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RecitingRuns:
    return RecitingRuns(tmp_path, monkeypatch)
