"""Adapt embeddings that you already have: frozen features and labels, better retrieval.

A pretrained encoder gives vectors that are good at everything and best at nothing. With labels for
some of them, a small map learned on top brings rows of one class together; the encoder is not
touched, and no deep-learning framework is needed. Everything is judged on rows that no step has
seen, searched among themselves: recall@1 is how often the nearest row has the same label, MAP@R how
well the whole neighbourhood is ordered.

    python examples/adapt_embeddings.py                             # stand-ins, see below
    python examples/adapt_embeddings.py embeddings.npy labels.npy   # yours: (n, d) and (n)

Without arguments the frozen features are 64 principal components of Fashion-MNIST's clothes where
Debian's dataset-fashion-mnist is installed, else the bundled digits; both stand in for an encoder.
"""

import argparse
import os
import time

import numpy as np
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import train_test_split

import nearfar
from nearfar.sklearn import PairEmbedding

FASHION = "/usr/share/datasets/fashion-mnist/train-{}-ubyte.gz"


def stand_in(rows=6000):
    """(name, features, labels) of data that is at hand."""
    images, labels = FASHION.format("images-idx3"), FASHION.format("labels-idx1")
    if not (os.path.exists(images) and os.path.exists(labels)):
        return ("digits", *nearfar.load_digits())
    pixels = nearfar.load_table(images).x[:rows]
    encoder = PCA(64, random_state=0).fit(nearfar.load_table(images).x[-rows:])  # other images
    classes = nearfar.load_table(labels).x[:rows, 0].astype(np.int64)
    return "Fashion-MNIST", encoder.transform(pixels), classes


def maps():
    """What to compare: each is fitted on the training half alone."""
    yield "as they are", None
    yield "LDA (scikit-learn)", LinearDiscriminantAnalysis()
    yield "linear map", PairEmbedding(random_state=0)
    yield "one hidden layer", PairEmbedding(hidden=(256,), random_state=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("embeddings", nargs="?", help="(n, d) array, .npy")
    parser.add_argument("labels", nargs="?", help="(n) array of classes, .npy")
    arguments = parser.parse_args()
    if arguments.embeddings and not arguments.labels:
        parser.error("embeddings need labels")
    if arguments.embeddings:
        name, x, y = arguments.embeddings, np.load(arguments.embeddings), np.load(arguments.labels)
    else:
        name, x, y = stand_in()
    x, unseen_x, y, unseen_y = train_test_split(x, y, test_size=0.5, stratify=y, random_state=0)
    print(f"{name}: {x.shape[1]} features, {len(x)} rows to learn from, {len(unseen_x)} to judge "
          f"by, {len(np.unique(y))} classes\n")
    print(f"{'':22s}{'dimensions':>10s}{'recall@1':>10s}{'MAP@R':>8s}{'seconds':>9s}")
    for title, adapt in maps():
        start = time.perf_counter()
        embedded = unseen_x if adapt is None else adapt.fit(x, y).transform(unseen_x)
        seconds = time.perf_counter() - start
        result = nearfar.evaluate(embedded, unseen_y, verification=False)
        print(f"{title:22s}{embedded.shape[1]:10d}{result.recall[1]:10.3f}{result.map_at_r:8.3f}"
              + (f"{seconds:9.1f}" if adapt is not None else ""))

    # What to keep: the last map. The file is the program's too (nearfar embed) and loads anywhere.
    adapt.model_.save("adapted.safetensors")
    again = nearfar.Model.load("adapted.safetensors").embed(unseen_x)
    assert np.array_equal(again, adapt.model_.embed(unseen_x))
    print("\nsaved adapted.safetensors; nearfar.export_onnx(model, path) writes it for other "
          "runtimes")


if __name__ == "__main__":
    main()
