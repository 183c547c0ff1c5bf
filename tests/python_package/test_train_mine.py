"""A miner between embedding and loss: Trainer(mine=..) and the estimator."""

import numpy as np
import pytest

import nearfar
from nearfar import mine
from package_support import rows

pytestmark = pytest.mark.filterwarnings("ignore::nearfar.TrainingWarning")

MINERS = [("pair-margin", "pml", {"pos_margin": 0.1, "neg_margin": 1.3}),
          ("multi-similarity", "weston", {"epsilon": 0.3}),
          ("batch-hard", "triplet", {"metric": "sqeuclidean", "normalize": False}),
          ("easy-positive", "hinge", {}),
          ("triplet-margin", "triplet", {"margin": 0.4, "violation": "hard"}),
          ("semi-hard", "margin", {"margin": 0.3}),
          ("distance-weighted", "triplet", {"cutoff": 0.6, "per_anchor": 2})]


def one_step(**options):
    """Every row in one step of plain gradient descent, by a linear map."""
    return nearfar.Trainer(outputs=3, bias=False, standardize=False, sampling="all", epochs=1,
                           optimizer="sgd", momentum=0.0, weight_decay=0.0, lr=0.1,
                           schedule="constant", valid_fraction=0.0, **options)


@pytest.mark.parametrize("miner, name, options", MINERS[:2])
def test_a_step_is_that_of_the_mined_pairs(rng, miner, name, options):
    x, labels = rows(rng, 60, 5, np.float32)
    start = nearfar.Model(5, outputs=3, bias=False, standardize=False, seed=4)
    loss = nearfar.ContrastiveLoss(name)
    trainer = one_step(loss=loss, mine=miner, mine_options=options)
    after = trainer.fit(x, labels, model=start)
    y = start.embed(x)
    found = getattr(mine, miner.replace("-", "_"))(y, labels, **options)
    wanted = loss.pairs(y, found)
    weights = [model.weights[0].astype(float) for model in (start, after)]
    step = -0.1 * (wanted.grad.astype(float).T @ x)
    np.testing.assert_allclose(weights[1] - weights[0], step, rtol=1e-4, atol=1e-6)
    assert trainer.report.mined == len(found.i) == trainer.history[1].mined
    assert trainer.report.first_loss == pytest.approx(wanted.value)
    assert (trainer.report.empty_steps, trainer.history[1].empty_steps) == (0, 0)


@pytest.mark.parametrize("miner, name, options", MINERS[3:4])
def test_triplets_are_two_pairs_to_the_contrastive_family(rng, miner, name, options):
    x, labels = rows(rng, 60, 5, np.float32)
    start = nearfar.Model(5, outputs=3, bias=False, standardize=False, seed=4)
    loss = nearfar.ContrastiveLoss(name)
    trainer = one_step(loss=loss, mine=miner, mine_options=options)
    after = trainer.fit(x, labels, model=start)
    y = start.embed(x)
    found = mine.easy_positive(y, labels)
    i = np.repeat(found.anchor, 2)
    j = np.stack([found.positive, found.negative], 1).ravel()
    wanted = loss.pairs(y, mine.MinedPairs(i, j, np.arange(len(i)) % 2 == 0))
    step = -0.1 * (wanted.grad.astype(float).T @ x)
    moved = after.weights[0].astype(float) - start.weights[0].astype(float)
    np.testing.assert_allclose(moved, step, rtol=1e-4, atol=1e-6)
    assert trainer.report.mined == len(found.anchor)


@pytest.mark.parametrize("miner, name, options", MINERS)
def test_the_file_is_the_program_s(program, rng, miner, name, options):
    x, labels = rows(rng, 90, 5, np.float32)
    program.save(x=x, y=labels)
    own = ("epsilon", "violation", "cutoff", "nonzero_loss_cutoff", "per_anchor")
    words = []
    for key, value in options.items():
        option = ("--" if key in own else "--mine-") + key.replace("_", "-")
        words += ["--mine-no-normalize"] if value is False else [option, value]
    program("train", "x.npy", "--labels", "y.npy", "--loss", name, "--mine", miner, *words, "-e", 3,
            "--batch-size", 40, "--seed", 6, "-o", "m.safetensors")
    trainer = nearfar.Trainer(name, mine=miner, mine_options=options, epochs=3, batch_size=40, seed=6)
    model = trainer.fit(x, labels)
    assert model.to_bytes() == (program.folder / "m.safetensors").read_bytes()
    assert model.metadata["train.mine"] == miner
    assert trainer.history[0].mined == 0 and trainer.report.mined > 0
    assert sum(event.empty_steps for event in trainer.history) == trainer.report.empty_steps


def test_a_boundary_is_learnt_from_what_is_mined(rng):
    x, labels = rows(rng, 90, 5, np.float32)
    trainer = nearfar.Trainer("margin", mine="distance-weighted", learn_beta="global", beta_lr=0.05,
                              epochs=3, batch_size=40)
    trainer.fit(x, labels)
    assert trainer.report.beta != 1.2 and trainer.report.mined > 0


def test_nothing_to_mine_is_no_error(rng):
    x, labels = rows(rng, 60, 5)
    trainer = nearfar.Trainer("triplet", mine="triplet-margin", mine_options={"margin": -9}, epochs=2)
    with pytest.warns(nearfar.TrainingWarning, match="found nothing"):
        trainer.fit(x, labels)
    assert trainer.report.mined == 0 and trainer.report.empty_steps == trainer.report.steps > 0
    assert trainer.report.last_loss == 0


def test_without_a_miner_there_are_no_counts(rng):
    trainer = nearfar.Trainer(epochs=1)
    trainer.fit(*rows(rng, 60, 5))
    assert trainer.report.mined is None and trainer.report.empty_steps is None
    assert trainer.history[-1].mined is None and trainer.history[-1].empty_steps is None


@pytest.mark.parametrize("options, error, words", [
    ({"mine": "hard"}, ValueError, "mine is 'hard': it must be one of 'pair-margin'"),
    ({"mine": "semi-hard", "mine_options": {"epsilon": 1}}, TypeError,
     "mine_options has 'epsilon': semi-hard takes margin, metric, normalize"),
    ({"mine": "distance-weighted", "mine_options": {"seed": 1}}, TypeError, "mine_options has 'seed'"),
    ({"mine_options": {"margin": 1}}, TypeError, "goes with mine"),
    ({"mine": "semi-hard", "mine_options": {"margin": "wide"}}, TypeError, "margin is 'wide'"),
    ({"mine": "semi-hard", "mine_options": {"margin": np.nan}}, ValueError, "margin"),
    ({"loss": "supcon", "mine": "batch-hard"}, ValueError, "no terms for mined ones"),
    ({"loss": "triplet", "mine": "pair-margin"}, ValueError, "needs triplets"),
    ({"mine": "batch-hard", "memory_bank": 50, "sampling": "all"}, ValueError, "memory_bank is 50"),
    ({"mine": "batch-hard", "sampling": "pairs"}, ValueError, "labelled rows")])
def test_misuse_is_named(rng, options, error, words):
    with pytest.raises(error, match=words):
        nearfar.Trainer(**options, epochs=1).fit(*rows(rng, 60, 5))


def test_pairs_made_beforehand_are_not_mined(rng):
    x = rng.normal(size=(20, 4))
    with pytest.raises(ValueError, match="labelled rows"):
        nearfar.Trainer(mine="semi-hard").fit_rows(x, x[::-1], np.arange(20) % 2)


def test_the_estimator_mines():
    sklearn = pytest.importorskip("sklearn")
    from nearfar.sklearn import PairEmbedding
    x, labels = nearfar.load_digits("train")
    embed = PairEmbedding(8, loss="triplet", mine="batch-hard", mine_options={"metric": "cosine"},
                          epochs=15, random_state=3)
    again = sklearn.base.clone(embed)
    assert again.get_params()["mine_options"] == {"metric": "cosine"}
    test = nearfar.load_digits("test")
    assert embed.fit(x, labels).score(*test) > 0.6  # the raw rows: 0.55
    trainer = nearfar.Trainer("triplet", mine="batch-hard", mine_options={"metric": "cosine"},
                              outputs=8, epochs=15, seed=3)
    expected = trainer.fit(x, labels).embed(test[0])
    np.testing.assert_array_equal(again.fit(x, labels).transform(test[0]), expected)
    embed.partial_fit(x, labels)
