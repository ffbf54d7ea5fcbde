"""What tests of runs share."""

from __future__ import annotations

import pytest

from tests.running.videos import video


@pytest.fixture(scope="session")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A video of PICTURES pictures."""
    return video(tmp_path_factory.mktemp("videos") / "video.mp4")
