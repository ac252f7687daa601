import os

import pytest


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    """What fsync promises is tested where processes are killed; here it would only cost time."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
