"""metric-learn: NCA, which takes all rows at once."""

from metric_learn import NCA

from .task import Task, Unsupported, version_of


def versions():
    return version_of("metric-learn", "scikit-learn", "numpy")


def start(threads):
    """BLAS takes its threads from the environment."""


def prepare(peer, work, inputs, options):
    if work != "train":
        raise Unsupported(f"{peer}: {work}")
    x, valid_x = ((inputs[name] - inputs["mean"]) / inputs["std"] for name in ("x", "valid_x"))

    def call():
        nca = NCA(n_components=options["outputs"], max_iter=options["nca_iterations"],
                  init="pca", random_state=0)
        return nca.fit(x, inputs["labels"])

    return Task(call, lambda nca: {"embedding": nca.transform(valid_x)})
