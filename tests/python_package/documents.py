"""The blocks of Python in the documents, run as they stand.

A block's first line names what it needs beside NumPy and scikit-learn: ```` ```python torch ````.
The blocks of one document that need the same run in one namespace, in order.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = ["README.md", "doc/python.md", "doc/migration.md"]
_BLOCK = re.compile(r"^```python *(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(document, needs):
    """(line, code) of each block with these needs."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return [(text.count("\n", 0, match.start(2)), match[2]) for match in _BLOCK.finditer(text)
            if match[1] == needs]


def run(document, needs, folder, monkeypatch):
    """Run a document's blocks in a folder of their own; how many there were."""
    monkeypatch.chdir(folder)
    namespace = {"__name__": "document"}
    found = blocks(document, needs)
    for line, code in found:
        exec(compile("\n" * line + code, str(ROOT / document), "exec"), namespace)
    return len(found)
