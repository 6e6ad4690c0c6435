"""Bits per dimension of whole numbers: a model that is a known Gaussian has that Gaussian's bits,
picture by picture.
"""

import math
from types import SimpleNamespace

import pytest
import torch

from gradlogp import data as shelf
from gradlogp.core.errors import UserError
from gradlogp.core.fields import NoisyField, column
from gradlogp.data import Dataset, Split
from gradlogp.experiments import RECIPES
from gradlogp.harness import likelihood, specify
from gradlogp.harness.kinds import Picture
from gradlogp.harness.likelihood import gaussian_bits, grid, histogram_bits, shrunk
from gradlogp.runs import Run
from tests.targets import DIGITS

to_model = Picture().to_model

K, N = 16, 4000  # numbers 0 to K, in pictures of 1 x 2 x 2
G = torch.Generator().manual_seed(0)
MIX = torch.tensor([[1.0, 0, 0, 0], [0.8, 0.6, 0, 0], [0, 0, 1, 0], [0.5, 0, 0.5, 0.7]])
CODES = (
    (8 + 2.5 * torch.randn(N, 4, generator=G) @ MIX.T)
    .round()
    .clamp(0, K)
    .byte()
    .reshape(N, 1, 2, 2)
)
DATA = Dataset(
    "whole numbers",
    Split(CODES[:3000], None, K),
    Split(CODES[3000:3100], None, K),
    Split(CODES[3100:], None, K),
)


class ExactGaussian(NoisyField):
    """The posterior mean under the Gaussian with the mean and covariance of the training pictures."""

    def __init__(self):
        flat = to_model(DATA.train.scaled()).flatten(1).double()
        self.mean, self.cov = flat.mean(0), flat.T.cov(correction=0)

    def denoise(self, x, sigma):
        values, vectors = torch.linalg.eigh(self.cov)
        centred = (x.flatten(1).double() - self.mean) @ vectors
        shrunk = (
            centred
            * values
            / (values + column(torch.as_tensor(sigma).double().expand(len(x)), centred) ** 2)
        )
        return (self.mean + shrunk @ vectors.T).reshape(x.shape).to(x.dtype)


@pytest.fixture
def fitted(tmp_path):
    return SimpleNamespace(
        model=ExactGaussian(),
        recipe=RECIPES["ncsn"](DIGITS),
        spec=specify(DATA),
        device="cpu",
        run=Run.create(tmp_path / "a", {}),
    )


def test_an_exact_gaussian_has_the_bits_of_the_gaussian_reference(fitted):
    """The finest noise has the variance of a bin, so both are one law; a data scale of K + 1 for K
    is .087 bits off.
    """
    ours, histogram, trivial = likelihood.likelihood(fitted, DATA, n=60, probes=None, levels=30)
    assert (ours["metric"], trivial["metric"]) == ("bits_per_dim", "bits_per_dim_gaussian")
    assert ours["value"] == pytest.approx(trivial["value"], abs=5e-3)
    assert ours["stderr"] == pytest.approx(trivial["stderr"], rel=0.01) and ours["n"] == 60
    assert [row["metric"] for row in fitted.run.results()] == [
        "bits_per_dim",
        "bits_per_dim_histogram",
        "bits_per_dim_gaussian",
    ]
    assert (
        ours["trivial"] == min(histogram["value"], trivial["value"])
        and "17 numbers, bins of 0.125" in ours["protocol"]
    )


def test_hutchinsons_bits_agree_within_their_error(fitted):
    exact, few = (
        likelihood.likelihood(fitted, DATA, n=200, probes=probes, levels=12)[0]["value"]
        for probes in (None, 4)
    )
    assert exact != few and abs(exact - few) < 0.05


def test_the_references_are_what_they_say():
    test = DATA.test
    counts = torch.stack([(DATA.train.x == k).sum(0).flatten() for k in range(K + 1)])
    by_hand = [
        sum(
            -torch.log2((counts[k, i] + 1) / (3000 + K + 1))
            for i, k in enumerate(picture.flatten().tolist())
        )
        / 4
        for picture in test.x[:5]
    ]
    torch.testing.assert_close(
        histogram_bits(DATA.train, test[:5]), torch.stack(by_hand).double(), atol=1e-6, rtol=0
    )
    bins, width = grid(test), 2 / K
    flat = to_model(DATA.train.scaled()).flatten(1).double()
    density = torch.distributions.MultivariateNormal(
        flat.mean(0), flat.T.cov(correction=0) + width**2 / 12 * torch.eye(4).double()
    )
    x = bins.dequantise(test.x[:5], G)
    torch.testing.assert_close(
        gaussian_bits(DATA.train, x, bins),
        -density.log_prob(x.flatten(1).double()) / (4 * math.log(2)) + 3,
    )


def test_whole_numbers_stand_in_the_middle_of_their_bins():
    bins = grid(DATA.test)
    codes = torch.arange(K + 1, dtype=torch.uint8)[:, None]
    middle = bins.low + (codes.double() + 0.5) / bins.data_scale
    torch.testing.assert_close(middle, to_model(codes.double() / K), atol=1e-12, rtol=0)


def test_energies_and_rows_of_tables_are_refused(fitted):
    fitted.recipe = RECIPES["ebm"](DIGITS)
    fitted.run = SimpleNamespace(path="runs/a")
    with pytest.raises(UserError, match="ebm is an energy trained by short chains: a generator"):
        likelihood.likelihood(fitted, DATA)
    with pytest.raises(UserError, match="whole numbers"):
        grid(Split(torch.zeros(3, 2)))


def test_a_shrunk_covariance_is_that_of_ledoit_and_wolf():
    from sklearn.covariance import ledoit_wolf

    rows = torch.randn(30, 12, dtype=torch.float64, generator=G) * torch.linspace(0.2, 2, 12)
    expected, share = ledoit_wolf(rows.numpy())
    assert 0.02 < share < 0.9
    found = shrunk(rows.T.cov(correction=0), rows)
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=0, atol=1e-10)


def test_the_gaussian_of_few_pictures_is_no_nonsense():
    """40 digits of 64 pixels: as they are 3 times the bits of all digits, shrunk 1.2 times."""
    digits = shelf.load("digits")
    x = to_model(digits.test.scaled())
    few, many = (
        float(gaussian_bits(part, x, grid(digits.test)).mean())
        for part in (digits.train[:40], digits.train)
    )
    assert many < few < 1.5 * many
