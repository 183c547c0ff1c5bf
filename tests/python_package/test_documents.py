"""The blocks of the documents run, and their links lead somewhere."""

import re

import pytest

from documents import DOCUMENTS, ROOT, blocks, run

pytestmark = pytest.mark.filterwarnings("ignore::nearfar.TrainingWarning")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_blocks(document, tmp_path, monkeypatch):
    assert run(document, "", tmp_path, monkeypatch) > 0


@pytest.mark.parametrize("framework", ["torch", "tensorflow", "jax"])
def test_frameworks_have_blocks(framework):
    """Run by the suite of each framework."""
    assert blocks("README.md", framework) and blocks("doc/python.md", framework)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links(document):
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / document).read_text())
    missing = [name for name in targets if not ((ROOT / document).parent / name).exists()]
    assert not missing
