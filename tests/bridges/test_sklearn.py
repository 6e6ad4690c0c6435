"""The estimators keep scikit-learn's contract, whole, and do the work that they are for."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, make_moons
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from gradlogp.bridges.sklearn import (
    EnergyClassifier,
    EnergyDetector,
    EnergyTransformer,
    ScoreDensity,
    ScoreDetector,
)

SMALL = [
    EnergyDetector(),
    ScoreDetector(steps=20),
    EnergyClassifier(steps=120),
    EnergyTransformer(steps=10),
    ScoreDensity(steps=10, levels=6),
]
names = [type(estimator).__name__ for estimator in SMALL]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", SMALL, ids=names)
def test_all_checks_of_scikit_learn_pass(estimator):
    found = check_estimator(estimator, on_fail=None, on_skip=None)
    failed = {row["check_name"]: row["exception"] for row in found if row["status"] == "failed"}
    assert not failed
    assert sum(row["status"] == "passed" for row in found) >= 40


@pytest.mark.parametrize("estimator", SMALL, ids=names)
def test_a_row_has_the_same_answer_alone_and_among_others(estimator):
    x, y = load_iris(return_X_y=True)
    fitted = clone(estimator).fit(x, y)
    ask = next(
        getattr(fitted, name)
        for name in ("score_samples", "transform", "decision_function")
        if hasattr(fitted, name)
    )
    alone = np.concatenate([ask(x[i : i + 1]) for i in range(0, 150, 30)])
    assert np.abs(ask(x)[::30] - alone).max() < 1e-10


@pytest.mark.parametrize("estimator", SMALL, ids=names)
def test_the_random_state_decides(estimator):
    x, y = load_iris(return_X_y=True)
    name = "transform" if hasattr(estimator, "transform") else "score_samples"
    name = name if hasattr(estimator, name) else "decision_function"
    first, again = (getattr(clone(estimator).fit(x, y), name)(x) for _ in range(2))
    assert np.array_equal(first, again)


def eights():
    """Digits other than 8 to learn from, more of them, and all eights among those."""
    digits = load_digits()
    normal = digits.data[digits.target != 8]
    np.random.RandomState(0).shuffle(normal)
    train, rest, odd = normal[:1200], normal[1200:], digits.data[digits.target == 8]
    return train, np.r_[rest, odd], np.r_[np.zeros(len(rest)), np.ones(len(odd))]


def test_the_detectors_find_a_digit_that_they_have_not_seen():
    train, new, odd = eights()
    for detector, least in ((EnergyDetector(level=0.5), 0.75), (ScoreDetector(steps=300), 0.75)):
        fitted = make_pipeline(StandardScaler(), detector).fit(train)
        assert roc_auc_score(odd, -fitted.score_samples(new)) > least


@pytest.mark.parametrize("detector", [EnergyDetector(), ScoreDetector(steps=60)])
def test_the_automatic_threshold_flags_a_tenth_of_fresh_normal_rows(detector):
    """500 rows held out: the threshold's own standard error is .013, that of 2,000 fresh rows .007."""
    rng = np.random.default_rng(0)
    fitted = clone(detector).fit(rng.normal(size=(2500, 5)))
    share = (fitted.predict(rng.normal(size=(2000, 5))) == -1).mean()
    assert abs(share - 0.1) < 4 * (0.1 * 0.9 * (1 / 500 + 1 / 2000)) ** 0.5


def test_contamination_is_the_share_of_the_training_rows_or_refused():
    x = np.random.default_rng(1).normal(size=(200, 3))
    assert (EnergyDetector(contamination=0.05).fit_predict(x) == -1).sum() == 10
    with pytest.raises(ValueError, match=r"'auto' or a share in \(0, 0.5\], got 0.7"):
        EnergyDetector(contamination=0.7).fit(x)


def test_the_names_of_pyod_say_the_same_with_the_other_sign():
    x = np.random.default_rng(1).normal(size=(200, 3))
    fitted = EnergyDetector(contamination=0.05).fit(x)
    assert np.array_equal(fitted.decision_scores_, -fitted.score_samples(x))
    assert np.array_equal(fitted.labels_, (fitted.predict(x) == -1).astype(int))
    assert fitted.labels_.sum() == 10 == (fitted.decision_scores_ > fitted.threshold_).sum()


def test_frames_go_in_and_out_with_the_names_of_their_columns():
    frame = load_iris(as_frame=True).data
    transformer = EnergyTransformer(n_components=3, steps=5).set_output(transform="pandas")
    out = transformer.fit(frame).transform(frame)
    assert isinstance(out, pd.DataFrame) and out.index.equals(frame.index)
    assert list(out.columns) == [f"energytransformer{i}" for i in range(3)]
    assert list(transformer.feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="feature names"):
        transformer.transform(frame[frame.columns[::-1]])


@pytest.mark.slow
def test_a_grid_search_chooses_by_the_likelihood():
    x = make_moons(100, noise=0.1, random_state=0)[0]
    grid = GridSearchCV(ScoreDensity(levels=10), {"steps": [5, 150]}, cv=2).fit(x)
    assert grid.best_params_ == {"steps": 150}


def test_a_classifier_learns_labels_of_any_type():
    x, y = load_iris(return_X_y=True)
    words = np.array(["setosa", "versicolor", "virginica"])[y]
    assert cross_val_score(EnergyClassifier(steps=200), x, words, cv=3).mean() > 0.92
    fitted = EnergyClassifier(steps=100).fit(x, words)
    energies = -np.log(np.exp(fitted.decision_function(x)).sum(1))
    assert np.abs(fitted.energy(x) - energies).max() < 1e-10
    with pytest.raises(ValueError, match="two classes, got one class"):
        fitted.fit(x, np.zeros(150))


def test_features_learned_without_labels_tell_the_classes():
    from sklearn.neighbors import KNeighborsClassifier

    x, y = load_iris(return_X_y=True)
    known = make_pipeline(EnergyTransformer(n_components=16, steps=200), KNeighborsClassifier())
    assert cross_val_score(known, x, y, cv=3).mean() > 0.9


@pytest.mark.slow
def test_the_density_of_a_gaussian_is_found_and_drawn_from_in_its_own_units():
    """N((3, -2), diag(4, 1/4)) has an entropy of log(2 pi e) + log(2 * 1/2) = 2.838 nats."""
    rng = np.random.default_rng(0)
    scale, mean = np.array([2.0, 0.5]), np.array([3.0, -2.0])
    x = rng.normal(size=(2000, 2)) * scale + mean
    density = ScoreDensity(steps=400).fit(x)
    fresh = rng.normal(size=(100, 2)) * scale + mean
    exact = -(((fresh - mean) / scale) ** 2).sum(1) / 2 - np.log(2 * np.pi)
    assert np.abs(density.score_samples(fresh) - exact).mean() < 0.06
    assert density.score(fresh[:5]) == pytest.approx(density.score_samples(fresh[:5]).mean())
    drawn = density.sample(1000)
    assert np.abs((drawn.mean(0) - mean) / scale).max() < 4 / 1000**0.5 + 0.05
    assert np.abs(drawn.std(0) / scale - 1).max() < 0.1
    assert np.array_equal(drawn[:10], density.sample(10))
