"""No option of the C structs is missing from a function or an object."""

import inspect

import numpy as np
import pytest

import nearfar
from nearfar import _core
from nearfar.kinds import CLASSES
from option_support import CHANGED, IDS, NO_OPTION, data, fields, loss_fields


def parameters(function):
    return set(inspect.signature(function).parameters)


def test_reasons_are_for_fields_that_exist():
    assert set(NO_OPTION) <= set(fields("loss.h", "nf_loss"))


def test_loss_takes_every_field():
    assert set(loss_fields()) <= parameters(nearfar.loss)


@pytest.mark.parametrize("cls, field, options", CHANGED, ids=IDS)
def test_object_takes_every_field_of_its_kind(cls, field, options):
    loss = cls(**options)
    for name, value in options.items():
        assert getattr(loss, name) == value
    if field == "stats":
        assert loss(*data()).counts.mean_positive_distance is not None
    else:
        # What frameworks are handed differs, so that they cannot lose it unseen.
        assert loss._numbers() != cls()._numbers()
    assert loss.replace() == loss != cls()
    assert repr(loss) != repr(cls())


@pytest.mark.parametrize("cls, field, options", CHANGED, ids=IDS)
def test_function_gives_what_the_object_gives(cls, field, options):
    x, labels = data()
    preset = "weston" if cls is nearfar.ContrastiveLoss else cls._preset
    function, result = nearfar.loss(x, labels, preset=preset, **options), cls(**options)(x, labels)
    assert function.value == result.value and function.counts == result.counts
    assert np.array_equal(function.grad, result.grad)


MARGIN = [(field, options) for cls, field, options in CHANGED if cls is nearfar.MarginLoss]


@pytest.mark.parametrize("field, options", MARGIN, ids=[field for field, _ in MARGIN])
def test_margin_loss_takes_what_its_object_takes(field, options):
    x, labels = data()
    result, right = nearfar.margin_loss(x, labels, **options), nearfar.MarginLoss(**options)(x, labels)
    assert result.value == right.value and result.counts == right.counts
    assert np.array_equal(result.grad, right.grad)


def test_margin_loss_takes_every_field_of_a_learnt_boundary():
    offered = parameters(nearfar.margin_loss)
    assert parameters(nearfar.MarginLoss) <= offered
    # How many there are an array says itself, and its gradient is a result.
    assert set(fields("loss.h", "nf_margin_beta")) - {"count", "gradient"} <= offered
    assert {"reference", "reference_labels", "ids", "reference_ids"} <= offered


def test_margin_loss_over_two_sets():
    x, labels = data()
    result = nearfar.margin_loss(x[:10], labels[:10], 1.1, reference=x, reference_labels=labels,
                                 ids=np.arange(10), reference_ids=np.arange(24))
    right = nearfar.MarginLoss(beta=1.1).reference(x[:10], labels[:10], x, labels, np.arange(10),
                                                   np.arange(24))
    assert result.value == right.value > 0
    for own, other in zip(result.grad, right.grad, strict=True):
        assert np.array_equal(own, other)
    step = 1e-6
    up, down = (nearfar.margin_loss(x[:10], labels[:10], 1.1 + s, reference=x,
                                    reference_labels=labels, ids=np.arange(10),
                                    reference_ids=np.arange(24)).value for s in (step, -step))
    assert (up - down) / (2 * step) == pytest.approx(result.beta_grad, rel=1e-5)
    with pytest.raises(TypeError, match="reference"):
        nearfar.margin_loss(x, labels, reference_labels=labels)


# Of a list each pair is computed directly.
DISTANCES = {"pairwise_distances": set(), "pdist": set(), "knn": set(),
             "pair_distances": {"fast"}}


@pytest.mark.parametrize("name", DISTANCES)
def test_distances_take_every_field(name):
    missing = set(fields("distance.h", "nf_distance_options")) - parameters(getattr(nearfar, name))
    assert missing == DISTANCES[name]


# per_anchor and seed are for draws, and so on: each miner has those it reads.
def test_miners_take_every_field_between_them():
    miners = [nearfar.mine.pair_margin, nearfar.mine.multi_similarity, nearfar.mine.batch_hard,
              nearfar.mine.easy_positive, nearfar.mine.triplet_margin, nearfar.mine.semi_hard,
              nearfar.mine.distance_weighted]
    offered = set().union(*map(parameters, miners))
    assert set(fields("mine.h", "nf_mine_options")) - offered == {"miner"}  # the function's name
    hard = set(fields("mine.h", "nf_mine_hard_options")) - parameters(nearfar.mine.hard_negatives)
    assert hard == {"random"} and "sampling" in parameters(nearfar.mine.hard_negatives)


def test_pair_sampling_takes_every_field():
    assert set(fields("pairs.h", "nf_pair_sample_options")) - parameters(nearfar.sample_pairs) == set()


def test_every_kind_has_a_class():
    kinds = {_core.Loss(name).kind for name in nearfar.presets()}
    assert kinds == {"contrastive", *CLASSES}
