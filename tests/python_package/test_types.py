"""The type hints: true of the extension, and of use to a caller."""

import subprocess
import sys

ALLOWED = r"nearfar\._core\..*\.__match_args__"  # what every struct sequence has

USE = '''
import numpy as np
import nearfar
from nearfar import ContrastiveLoss, Model, Trainer

x, labels = np.ones((4, 2)), [0, 0, 1, 1]
value: float = nearfar.loss(x, labels, preset="hinge", margin=2).value
pairs: int = nearfar.loss(x, labels).counts.positive_pairs
index, distance = nearfar.knn(x, k=1)
index.astype(np.int32)
loss: ContrastiveLoss = ContrastiveLoss("weston", metric="cosine").replace(margin=2)
loss.rows(x, x, [True, False, 1, 0]).grad
loss.pairs(x, nearfar.sample_pairs(labels, 3))
model: Model = Trainer(loss, outputs=2, on_epoch=lambda event: event.epoch > 3).fit(x, labels)
copy: Model = Model.load("m").with_metadata(note="a")
nearfar.pdist(x, "euclid")  # type: ignore[arg-type]
nearfar.pdist(x, normalise=True)  # type: ignore[call-arg]
nearfar.loss(x, labels, loss="weston")  # type: ignore[arg-type]
ContrastiveLoss(margin="1")  # type: ignore[arg-type]
'''


def mypy(folder, *arguments):
    run = subprocess.run([sys.executable, "-m", *arguments], cwd=folder, capture_output=True,
                         text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_stub_is_what_the_extension_has(tmp_path):
    (tmp_path / "allowed").write_text(ALLOWED + "\n")
    mypy(tmp_path, "mypy.stubtest", "nearfar._core", "--allowlist", "allowed")


def test_a_caller_s_types_are_checked(tmp_path):
    (tmp_path / "use.py").write_text(USE)
    mypy(tmp_path, "mypy", "--strict", "use.py")
