"""The blocks of the documents that need this framework run."""

import pytest

from documents import DOCUMENTS, run


@pytest.mark.parametrize("document", DOCUMENTS)
def test_blocks(document, tmp_path, monkeypatch):
    run(document, "tensorflow", tmp_path, monkeypatch)
