"""nearfar, by its Python package: NumPy arrays in, NumPy arrays out."""

import nearfar
import numpy as np

from .task import ANCHOR_LOSSES, Task, Unsupported, at, version_of


def versions():
    return {**version_of("nearfar", "numpy"), "instruction set": nearfar.instruction_set()}


def start(threads):
    nearfar.set_num_threads(threads)


def _loss(work, inputs):
    loss = (getattr(nearfar, ANCHOR_LOSSES[work])() if work in ANCHOR_LOSSES
            else nearfar.ContrastiveLoss(work))
    x, labels = inputs["x"], inputs["labels"]
    return Task(lambda: loss(x, labels),
                lambda result: {"value": np.float64(result.value), "gradient": result.grad})


def _distances(inputs):
    x, y = inputs["x"], inputs["y"]
    return Task(lambda: nearfar.pairwise_distances(x, y), lambda out: at(out, inputs))


def _pdist(inputs):
    x = inputs["x"]
    return Task(lambda: nearfar.pdist(x), lambda out: {"distances": out[inputs["sample"]]})


def _knn(inputs, options):
    # Without a reference each row itself is left out.
    query, reference = inputs["query"], None if options["self"] else inputs["x"]
    return Task(lambda: nearfar.knn(query, reference, options["k"]),
                lambda result: {"indices": result[0]})


def _train(inputs, options):
    def call():
        trainer = nearfar.Trainer(outputs=options["outputs"], batch_size=options["batch"],
                                  lr=options["lr"], epochs=options["epochs"], sampling="random",
                                  valid_fraction=0)
        return trainer.fit(inputs["x"], inputs["labels"])

    return Task(call, lambda model: {"embedding": model.embed(inputs["valid_x"])})


def prepare(peer, work, inputs, options):
    if work in ("weston", "pml") or work in ANCHOR_LOSSES:
        return _loss(work, inputs)
    if work == "distances":
        return _distances(inputs)
    if work == "pdist":
        return _pdist(inputs)
    if work == "knn":
        return _knn(inputs, options)
    if work == "train":
        return _train(inputs, options)
    raise Unsupported(f"{peer}: {work}")
