"""Who is compared, and on what."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Peer:
    name: str
    environment: str  # the requirements file and the virtual environment
    driver: str


PEERS = {peer.name: peer for peer in (
    Peer("nearfar", "nearfar", "nearfar_driver"),
    Peer("NumPy", "nearfar", "numpy_driver"),
    Peer("PyTorch", "torch", "torch_driver"),
    Peer("torch.compile", "torch", "torch_driver"),
    Peer("JAX jit", "jax", "jax_driver"),
    Peer("TensorFlow", "tensorflow", "tensorflow_driver"),
    Peer("TensorFlow XLA", "tensorflow", "tensorflow_driver"),
    Peer("pytorch-metric-learning", "pytorch-metric-learning", "pml_driver"),
    Peer("scikit-learn", "scikit-learn", "sklearn_driver"),
    Peer("SciPy", "scipy", "scipy_driver"),
    Peer("faiss", "faiss", "faiss_driver"),
    Peer("metric-learn NCA", "metric-learn", "metric_learn_driver"),
)}

_LOSS = ("nearfar", "NumPy", "PyTorch", "torch.compile", "JAX jit", "TensorFlow", "TensorFlow XLA")
_PML = ("nearfar", "pytorch-metric-learning")
_DISTANCES = ("nearfar", "scikit-learn", "SciPy", "NumPy", "PyTorch", "JAX jit")
_PDIST = ("nearfar", "SciPy", "PyTorch")
_KNN = ("nearfar", "faiss", "scikit-learn")


@dataclass(frozen=True)
class Case:
    work: str  # weston, pml, a loss of anchors, distances, pdist, knn, train
    data: str  # a function of data.py
    n: int
    d: int
    peers: tuple[str, ...]
    m: int | None = None  # columns of a distance matrix, or queries
    options: dict = field(default_factory=dict)
    threads: tuple[int, ...] = (1, 2)
    once: bool = False  # the first call is the measurement

    @property
    def name(self):
        size = f"{self.n}" if self.m is None else f"{self.m}x{self.n}"
        return f"{self.work}-{self.data}-{size}x{self.d}"


def _weston(n, d, **more):
    return Case("weston", "spread_classes", n, d, _LOSS, **more)


def _pml(n, d):
    return Case("pml", "spread_classes", n, d, _PML)


def _anchors(work, n, classes, **more):
    more = {"d": 64, "peers": _PML, "threads": (2,), **more}
    return Case(work, "normal_classes", n, options={"classes": classes}, **more)


def _neighbours(k):
    return {"k": k, "self": False}


# One linear layer, batches of any 128 rows, Adam with a cosine schedule; the result must reach the
# target, MAP@R of rows held out. Every peer runs all epochs.
_RECIPE = {"outputs": 64, "batch": 128, "lr": 0.003}

DEFAULT = (
    _weston(16, 64), _weston(64, 64), _weston(256, 64),
    _weston(1024, 128), _weston(4096, 128), _weston(8192, 128),
    _pml(256, 64), _pml(1024, 128), _pml(4096, 128),
    _anchors("triplet", 256, 16), _anchors("triplet", 1024, 16), _anchors("triplet", 20000, 100),
    _anchors("nt-xent", 256, 64), _anchors("nt-xent", 512, 64), _anchors("nt-xent", 4096, 64),
    _anchors("lifted", 256, 64), _anchors("lifted", 512, 64),
    _anchors("supcon", 8192, 64), _anchors("multi-similarity", 8192, 64),
    Case("distances", "near_pairs", 8192, 128, _DISTANCES, m=8192),
    Case("pdist", "near_rows", 4096, 128, _PDIST),
    Case("knn", "fashion_queries", 60000, 784, _KNN, m=10000, options=_neighbours(100), once=True,
         threads=(2,)),
    Case("train", "fashion", 50000, 784, ("nearfar", "PyTorch", "torch.compile"),
         options={**_RECIPE, "epochs": 3, "target": 0.5}),
    Case("train", "fashion_few", 2000, 784, ("nearfar", "PyTorch", "metric-learn NCA"),
         options={**_RECIPE, "epochs": 10, "target": 0.3, "nca_iterations": 30}, threads=(2,),
         once=True),
)

LONG = DEFAULT + (
    _weston(16384, 128), _pml(8192, 128),
    Case("distances", "near_pairs", 2048, 128, _DISTANCES, m=2048),
    Case("knn", "fashion", 60000, 784, _KNN, options={"k": 100, "self": True}, once=True),
)

# A few seconds in all: what the suites run, with NumPy as the only peer.
_BOTH = ("nearfar", "NumPy")
SMOKE = (
    Case("weston", "spread_classes", 16, 8, _BOTH),
    Case("weston", "spread_classes", 64, 8, _BOTH),
    Case("pml", "spread_classes", 48, 8, ("nearfar",)),
    *(_anchors(work, 48, 6, d=8, peers=("nearfar",))
      for work in ("triplet", "nt-xent", "lifted", "supcon", "multi-similarity")),
    Case("distances", "near_pairs", 200, 8, _BOTH, m=150),
    Case("pdist", "near_rows", 100, 8, ("nearfar",)),
    Case("knn", "clusters", 300, 8, _BOTH, options={"k": 5, "self": True}),
    Case("knn", "clusters", 300, 8, _BOTH, m=100, options=_neighbours(5)),
    Case("train", "clusters", 300, 8, ("nearfar",),
         options={**_RECIPE, "outputs": 4, "batch": 64, "epochs": 5, "target": 0.6}),
)
