"""PairClassifier keeps metric-learn's conventions. Facts of metric-learn 0.7.0 (with scikit-learn
1.5.2), recorded from a learner with the linear map [[1]], so that a pair's distance is |b - a|."""

import numpy as np
import pytest
from sklearn.model_selection import cross_val_score

from nearfar.sklearn import PairClassifier

STRATEGIES = [("accuracy", {}), ("f_beta", {"beta": 1.0}), ("f_beta", {"beta": 0.1}),
              ("f_beta", {"beta": 0}), ("max_tpr", {"min_rate": 0.0}),
              ("max_tpr", {"min_rate": 0.5}), ("max_tpr", {"min_rate": 1.0}),
              ("max_tnr", {"min_rate": 0.0}), ("max_tnr", {"min_rate": 0.5}),
              ("max_tnr", {"min_rate": 1.0})]
pytestmark = pytest.mark.filterwarnings("ignore::nearfar.TrainingWarning")

NOTHING = -np.inf  # the threshold that accepts no pair

# name: distances, y, threshold_ after each of STRATEGIES
RECORDED = {
    "separable": ([0.125, 0.25, 0.375, 1, 1.5], [1, 1, 1, -1, -1],
                  [0.375, 0.375, 0.375, 0.375, 0.375, 0.375, 0.375, NOTHING, 0.375, 0.375]),
    "mixed": ([1, 2, 3, 4, 5, 6, 7], [1, -1, 1, 1, -1, 1, -1],
              [4, 6, 1, 1, 6, 4, 1, NOTHING, 4, 6]),
    "ties": ([0.5, 0.5, 0.5, 0.5, 0.875, 0.875], [1, -1, 1, -1, -1, 1],
             [0.5, 0.875, 0.875, 0.875, 0.875, NOTHING, NOTHING, NOTHING, 0.5, 0.875]),
    "reversed": ([1, 2, 3, 4], [-1, -1, 1, 1],
                 [0, 4, 4, 4, 4, NOTHING, NOTHING, NOTHING, 4, 4]),
    "one each": ([1, 2], [1, -1], [1, 1, 1, 1, 1, 1, 1, NOTHING, 1, 1]),
    "one each, reversed": ([1, 2], [-1, 1], [0, 2, 2, 2, 2, NOTHING, NOTHING, NOTHING, 2, 2]),
}
# Where nearfar does better, and what it gives: metric-learn counts pairs at one distance apart when
# it looks for the best accuracy, puts "accept nothing" at the smallest distance - 1 there, and
# accepts nothing at all for max_tnr with min_rate 0, although the nearest positives cost nothing.
BETTER = {
    ("ties", 0): NOTHING, ("reversed", 0): NOTHING, ("one each, reversed", 0): NOTHING,
    ("separable", 7): 0.375, ("mixed", 7): 1, ("one each", 7): 1,
}


def at(distances):
    """Pairs (p, 2, 1) at these distances."""
    pairs = np.zeros((len(distances), 2, 1))
    pairs[:, 1, 0] = distances
    return pairs


def identity(pairs=at([1, 2, 3, 4]), y=(1, 1, -1, -1), **options):
    """A fitted classifier whose embedding is its input."""
    classifier = PairClassifier(epochs=1, random_state=0, **options).fit(pairs, y)
    classifier.coefs_, classifier.intercepts_ = [np.ones((1, 1), "f4")], None
    classifier.mean_ = classifier.scale_ = None
    return classifier


@pytest.mark.parametrize("name", RECORDED)
def test_thresholds(name):
    distances, y, thresholds = RECORDED[name]
    classifier, pairs, y = identity(), at(distances), np.array(y)
    for k, ((strategy, options), theirs) in enumerate(zip(STRATEGIES, thresholds)):
        ours = classifier.calibrate_threshold(pairs, y, strategy=strategy, **options).threshold_
        assert ours == BETTER.get((name, k), theirs), (strategy, options)
        assert np.array_equal(classifier.predict(pairs), np.where(np.array(distances) <= ours, 1, -1))


def test_the_rest_of_the_convention(rng):
    classifier = identity()
    assert classifier.pair_distance(at([1, 2])).tolist() == [1, 2]
    assert classifier.pair_score(at([1, 2])).tolist() == [-1, -2]
    assert classifier.decision_function(at([1, 2]).tolist()).tolist() == [-1, -2]
    assert classifier.get_metric()([1.0], [3.0]) == 2
    assert classifier.get_metric()([1.0], [3.0], squared=True) == 4
    assert classifier.get_mahalanobis_matrix().tolist() == [[1]]
    mixed, y, _ = RECORDED["mixed"]
    assert classifier.score(at(mixed), y) == pytest.approx(2 / 3, abs=1e-15)
    assert classifier.set_threshold(2).predict(at([1, 2, 3])).tolist() == [1, 1, -1]
    assert PairClassifier().fit(at(mixed), np.array(y)[:, None]).n_features_in_ == 1
    pairs = rng.normal(size=(40, 2, 3))
    assert len(cross_val_score(PairClassifier(epochs=1), pairs, rng.choice([-1, 1], 40))) == 5


@pytest.mark.parametrize("preprocessor", [np.arange(10.0)[:, None],
                                          lambda rows: np.arange(10.0)[rows, None]])
def test_preprocessors(preprocessor):
    numbers, y = np.array([[0, 1], [2, 4], [3, 9], [1, 2]]), [1, 1, -1, -1]
    classifier = identity(numbers, y, preprocessor=preprocessor)
    assert classifier.decision_function(numbers).tolist() == [-1, -2, -6, -1]
    assert classifier.calibrate_threshold(numbers, y).threshold_ == 2
    assert classifier.decision_function(at([1, 2])).tolist() == [-1, -2]
    assert classifier.transform([0, 3]).tolist() == classifier.transform([[0.0], [3.0]]).tolist()


@pytest.mark.parametrize("call", [
    lambda c: c.fit(at([1, 2]), [0, 1]), lambda c: c.fit(at([1, 2]), [1]),
    lambda c: c.predict(np.zeros((3, 3, 1))), lambda c: c.predict(np.zeros((3, 2))),
    lambda c: c.predict(np.zeros((3, 2, 4))), lambda c: c.predict(np.full((3, 2, 1), np.nan)),
    lambda c: c.predict(np.zeros((0, 2, 1))), lambda c: c.set_threshold("a"),
    lambda c: c.set_threshold(None),
    lambda c: c.calibrate_threshold(at([1, 2]), [1, -1], strategy="weird"),
    lambda c: c.calibrate_threshold(at([1, 2]), [1, -1], strategy="max_tpr"),
    lambda c: c.calibrate_threshold(at([1, 2]), [1, -1], strategy="f_beta", beta="a")])
def test_what_both_refuse(call):
    with pytest.raises(ValueError):
        call(identity())
