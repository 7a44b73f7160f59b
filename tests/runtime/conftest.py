"""A data directory of its own for each test."""

import pytest

from monitor.runtime.store import Store


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def store(folder):
    store = Store.open(folder)
    yield store
    store.close()
