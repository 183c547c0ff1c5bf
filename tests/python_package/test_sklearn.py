"""The scikit-learn estimators."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import nearfar
from nearfar.sklearn import PairClassifier, PairEmbedding

pytestmark = pytest.mark.filterwarnings("ignore::nearfar.TrainingWarning")


@parametrize_with_checks([
    PairEmbedding(4, epochs=3), PairEmbedding(2, hidden=(5,), epochs=2, loss="pml"),
    PairEmbedding(3, loss=nearfar.ContrastiveLoss("hinge"), sampling="random", epochs=2)])
def test_scikit_learn_s_own_checks(estimator, check):
    check(estimator)


@pytest.fixture
def blobs():
    x, y = make_blobs(240, 6, centers=5, cluster_std=2.5, random_state=0)
    return x, y


def test_it_is_the_trainer(blobs):
    x, y = blobs
    options = dict(hidden=(8,), epochs=5, lr=0.01, batch_size=50)
    embedding = PairEmbedding(3, margin=2, random_state=7, **options).fit(x, y)
    model = nearfar.Trainer(nearfar.training_loss(margin=2), outputs=3, seed=7, **options).fit(x, y)
    assert np.array_equal(embedding.transform(x), model.embed(x))
    assert embedding.transform(x).dtype == np.float64
    assert embedding.transform(x.astype("f4")).dtype == np.float32
    assert np.array_equal(embedding.model_.embed(x), model.embed(x))
    assert embedding.score(x, y) == nearfar.evaluate(embedding.transform(x), y).map_at_r


def test_state_is_arrays_that_pickle(blobs):
    x, y = blobs
    embedding = PairEmbedding(3, epochs=2, random_state=0).fit(x, y)
    for name, value in vars(embedding).items():
        for part in value if isinstance(value, list) else [value]:
            assert part is None or isinstance(part, (np.ndarray, int, float, str, bool, tuple)), name
    again = pickle.loads(pickle.dumps(embedding))
    assert np.array_equal(again.transform(x), embedding.transform(x))
    fresh = clone(embedding)
    assert not hasattr(fresh, "coefs_") and fresh.get_params() == embedding.get_params()
    assert np.array_equal(fresh.fit(x, y).transform(x), embedding.transform(x))


def test_linear_embedding_is_a_matrix(blobs):
    x, y = blobs
    embedding = PairEmbedding(3, epochs=2).fit(x, y)
    distance = embedding.pair_distance(x[:-1], x[1:])
    step = (x[:-1] - x[1:]) @ embedding.components_.T
    assert np.allclose(distance, np.linalg.norm(step, axis=1), rtol=1e-4)
    assert not hasattr(PairEmbedding(3, hidden=(4,), epochs=1).fit(x, y), "components_")


def test_unlabelled_rows_take_no_part(blobs):
    x, y = blobs
    mixed = y.copy()
    mixed[::3] = -1
    labelled = mixed != -1
    options = dict(epochs=4, random_state=0, valid_fraction=0.0, standardize=False)
    with_unlabelled = PairEmbedding(3, **options).fit(x, mixed)
    without = PairEmbedding(3, **options).fit(x[labelled], mixed[labelled])
    assert np.array_equal(with_unlabelled.classes_, np.unique(y))
    assert with_unlabelled.transform(x).shape == without.transform(x).shape
    assert with_unlabelled.score(x, mixed) == pytest.approx(
        nearfar.evaluate(with_unlabelled.transform(x[labelled]), mixed[labelled]).map_at_r)
    with pytest.raises(ValueError, match="unlabelled"):
        PairEmbedding().fit(x, np.where(y > 1, 1, -1))


def test_labels_of_other_types(blobs):
    x, y = blobs
    names = np.array(["a", "b", "c", "d", "e"])[y]
    options = dict(epochs=2, random_state=0)
    expected = PairEmbedding(3, **options).fit(x, y).transform(x)
    for given in (names, names.astype(object), y.astype("f8"), y.tolist()):
        assert np.array_equal(PairEmbedding(3, **options).fit(x, given).transform(x), expected)
    with pytest.raises(ValueError, match="continuous"):
        PairEmbedding().fit(x, y + 0.5)
    with pytest.raises(ValueError, match="negative"):
        PairEmbedding().fit(x, np.zeros(len(x), int))


def test_pipeline_and_grid(blobs):
    x, y = blobs
    pipeline = make_pipeline(PairEmbedding(3, epochs=10, random_state=0),
                             KNeighborsClassifier(5))
    assert cross_val_score(pipeline, x, y, cv=3).mean() > 0.6
    grid = GridSearchCV(pipeline, {"pairembedding__margin": [0.5, 2.0],
                                   "pairembedding__loss": ["weston", "hinge"]}, cv=3).fit(x, y)
    assert set(grid.best_params_) == {"pairembedding__margin", "pairembedding__loss"}
    alone = GridSearchCV(PairEmbedding(epochs=3, random_state=0), {"n_components": [1, 4]}, cv=2)
    assert alone.fit(x, y).best_score_ > 0.2


def test_frames_in_and_out(blobs):
    pandas = pytest.importorskip("pandas")
    x, y = blobs
    frame = pandas.DataFrame(x, columns=[f"f{k}" for k in range(6)])
    embedding = PairEmbedding(2, epochs=1).set_output(transform="pandas").fit(frame, y)
    out = embedding.transform(frame)
    assert list(out.columns) == ["pairembedding0", "pairembedding1"]
    assert list(embedding.feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="feature names"):
        embedding.transform(frame.rename(columns={"f0": "g"}))
    polars = pytest.importorskip("polars")
    out = embedding.set_output(transform="polars").transform(frame)
    assert isinstance(out, polars.DataFrame)


def test_partial_fit_learns(blobs):
    x, y = blobs
    embedding = PairEmbedding(3, random_state=0)
    embedding.partial_fit(x[:120], y[:120])
    first = embedding.loss_curve_[-1]
    for _ in range(30):
        embedding.partial_fit(x[:120], y[:120]).partial_fit(x[120:], y[120:])
    assert embedding.loss_curve_[-1] < first
    with pytest.raises(ValueError, match="features"):
        embedding.partial_fit(x[:, :3], y)


def pairs_of(x, y, count, seed=0):
    i, j, same, _ = nearfar.sample_pairs(y, count, seed=seed)
    return x[i], x[j], same


def test_fit_pairs_and_threshold(blobs):
    x, y = blobs
    left, right, same = pairs_of(x, y, 400)
    embedding = PairEmbedding(3, epochs=20, random_state=0).fit_pairs(left, right, same)
    distance = embedding.pair_distance(left, right)
    assert roc_auc_score(same, -distance) > 0.7
    embedding.calibrate_threshold(left, right, same)
    accuracy = np.mean(embedding.predict_pairs(left, right) == same)
    every = [np.mean((distance <= t) == same) for t in np.append(distance, -1)]
    assert accuracy == max(every)
    with pytest.raises(ValueError, match=r"same\[0\]|same_encoding"):
        embedding.fit_pairs(left, right, np.where(same, 1, -1))


@pytest.mark.parametrize("strategy, options", [
    ("accuracy", {}), ("f_beta", {"beta": 2.0}), ("max_tpr", {"min_rate": 0.8}),
    ("max_tnr", {"min_rate": 0.8})])
def test_thresholds_are_best_of_all(blobs, strategy, options):
    x, y = blobs
    left, right, same = pairs_of(np.round(x), y, 150)
    embedding = PairEmbedding(2, epochs=3, random_state=0).fit_pairs(left, right, same)
    embedding.calibrate_threshold(left, right, same, strategy, **options)
    distance = embedding.pair_distance(left, right)

    def quality(t):
        yes = distance <= t
        tpr, tnr = np.mean(yes[same]), np.mean(~yes[~same])
        if strategy == "accuracy":
            return np.mean(yes == same)
        if strategy == "f_beta":
            true = np.sum(yes & same)
            return 5 * true / (np.sum(yes) + 4 * np.sum(same))
        if strategy == "max_tpr":
            return tpr if tnr >= 0.8 else -1
        return tnr if tpr >= 0.8 else -1

    best = max(quality(t) for t in np.append(distance, -1.0))
    assert quality(embedding.threshold_) == pytest.approx(best)
    with pytest.raises(ValueError, match="strategy"):
        embedding.calibrate_threshold(left, right, same, "best")
    with pytest.raises(ValueError, match="min_rate"):
        embedding.calibrate_threshold(left, right, same, "max_tpr")
    with pytest.raises(ValueError, match="both kinds"):
        embedding.calibrate_threshold(left, right, np.ones(150))


def test_pair_classifier(blobs):
    x, y = blobs
    i, j, same, _ = nearfar.sample_pairs(y, 400, seed=2)
    pairs, target = np.stack([x[i], x[j]], axis=1), np.where(same, 1, -1)
    classifier = PairClassifier(epochs=20, random_state=0).fit(pairs, target)
    assert classifier.transform(x).shape == x.shape
    assert classifier.score(pairs, target) == roc_auc_score(target,
                                                            classifier.decision_function(pairs))
    assert classifier.score(pairs, target) > 0.7
    assert set(classifier.predict(pairs)) <= {-1, 1}
    distance = classifier.pair_distance(pairs)
    assert np.array_equal(classifier.predict(pairs) == 1, distance <= classifier.threshold_)
    assert np.array_equal(classifier.pair_score(pairs), -distance)
    metric, matrix = classifier.get_metric(), classifier.get_mahalanobis_matrix()
    step = x[0] - x[1]
    assert metric(x[0], x[1]) == pytest.approx(np.sqrt(step @ matrix @ step), rel=1e-4)
    assert metric(x[0], x[1], squared=True) == pytest.approx(step @ matrix @ step, rel=1e-4)

    by_number = PairClassifier(epochs=20, random_state=0, preprocessor=x)
    by_number.fit(np.stack([i, j], axis=1), target)
    assert np.array_equal(by_number.pair_distance(np.stack([i, j], axis=1)), distance)
    by_call = PairClassifier(epochs=20, random_state=0, preprocessor=lambda rows: x[rows])
    assert np.array_equal(by_call.fit(np.stack([i, j], 1), target).transform(np.arange(9)),
                          classifier.transform(x[:9]))
    strict = classifier.calibrate_threshold(pairs, target, "max_tnr", min_rate=0.5).threshold_
    assert classifier.set_threshold(strict).threshold_ == strict
    assert np.array_equal(pickle.loads(pickle.dumps(classifier)).predict(pairs),
                          classifier.predict(pairs))
    assert cross_val_score(clone(classifier), pairs, target, cv=3).mean() > 0.6


def test_pair_classifier_refuses(blobs):
    x, y = blobs
    pairs, target = np.stack([x[:-1], x[1:]], 1), np.where(y[:-1] == y[1:], 1, -1)
    for given, labels, text in ((x, target, "shape"), (pairs, target[:-1], "y has"),
                                (pairs, target > 0, "-1"), (pairs * np.nan, target, "NaN")):
        with pytest.raises(ValueError, match=text):
            PairClassifier(epochs=1).fit(given, labels)
    fitted = PairClassifier(epochs=1).fit(pairs, target)
    with pytest.raises(ValueError, match="features"):
        fitted.predict(pairs[:, :, :3])
