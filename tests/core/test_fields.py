import pytest
import torch

from gradlogp.core.conditioned import GaussianLikelihood, MaskedField
from gradlogp.core.fields import ClosedForm, Energy, NoisyField, Scaled, Score, Sum, as_field
from gradlogp.samplers import DDIM


def quadratic(x):
    return 3 * x.flatten(1).square().sum(1) / 2


def test_the_score_of_an_energy_is_minus_its_gradient():
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(Energy(quadratic).score(x), -3 * x, atol=1e-12, rtol=0)


def test_energies_add_temper_and_tie():
    x, y = torch.randn(2, 4, 3, dtype=torch.float64)
    both = Sum((Scaled(Energy(quadratic), 0.5), GaussianLikelihood(y, 0.1)))
    torch.testing.assert_close(both.score(x), -1.5 * x + 100 * (y - x), atol=1e-10, rtol=0)


def test_each_row_may_have_a_temperature_of_its_own():
    x = torch.randn(2, 3, dtype=torch.float64)
    t = torch.tensor([0.5, 2.0], dtype=torch.float64)
    energy, score = Scaled(Energy(quadratic), 1 / t).energy_and_score(x)
    torch.testing.assert_close(energy, quadratic(x) / t, atol=1e-12, rtol=0)
    torch.testing.assert_close(score, -3 * x / t[:, None], atol=1e-12, rtol=0)
    with pytest.raises(ValueError, match="one number per example"):
        Scaled(Energy(quadratic), torch.ones(3)).score(x)


def test_scores_are_found_under_no_grad_and_leave_no_graph():
    with torch.no_grad():
        score = Energy(quadratic).score(torch.ones(2, 2))
    assert not score.requires_grad


@pytest.mark.parametrize(
    ("energy", "message"),
    [
        (lambda x: x.sum(), "one number per example"),
        (lambda x: x, "one number per example"),
        (lambda x: torch.zeros(len(x), 2), "one number per example"),
    ],
)
def test_an_energy_that_would_broadcast_is_an_error(energy, message):
    with pytest.raises(ValueError, match=message):
        Energy(energy).score(torch.zeros(3, 4))


def test_a_column_of_energies_is_squeezed_once():
    assert Energy(lambda x: x.sum(1, keepdim=True)).energy(torch.ones(3, 2)).shape == (3,)


@pytest.mark.parametrize(
    "energy",
    [
        lambda x: x.detach().sum(1),
        lambda x: torch.zeros(len(x)),
        lambda x: torch.ones(1, requires_grad=True).expand(len(x)),
        lambda x: torch.as_tensor(x.detach().numpy().sum(1)),
    ],
    ids=["detached", "constant", "of the weights alone", "by numpy"],
)
def test_an_energy_that_does_not_depend_on_x_has_no_score(energy):
    for x in (torch.ones(3, 2), torch.ones(3, 2, requires_grad=True)):
        with pytest.raises(ValueError, match="slope of an energy in x, but this energy has none"):
            Energy(energy).score(x)


def test_a_score_of_another_shape_is_an_error():
    with pytest.raises(ValueError, match="belongs in Energy"):
        Score(lambda x: x.sum(1)).score(torch.zeros(3, 4))
    with pytest.raises(ValueError, match=r"shape of x, \[3, 4\], but this one gave \[3, 1\]"):
        ClosedForm(quadratic, lambda x: -x[:, :1]).score(torch.zeros(3, 4))


def test_a_denoised_x_of_another_shape_is_an_error_in_a_walk():
    class Mean(NoisyField):
        def denoise(self, x, sigma):
            return x.mean(1, keepdim=True)

    with pytest.raises(ValueError, match=r"shape of x, \[3, 4\], but this denoiser gave \[3, 1\]"):
        DDIM().denoised(Mean(), torch.zeros(3, 4), 1.0)


def test_a_condition_for_each_example_reaches_energies_and_scores_alike():
    x, cond = torch.randn(3, 2), torch.tensor([1.0, 2.0, 3.0])
    expected = -cond[:, None] * x
    torch.testing.assert_close(
        Energy(lambda x, c: c * x.square().sum(1) / 2, cond).score(x), expected
    )
    torch.testing.assert_close(Score(lambda x, c: -c[:, None] * x, cond).score(x), expected)
    for field in (Energy(lambda x, c: x.sum(1), cond), Score(lambda x, c: x, cond)):
        with pytest.raises(
            ValueError,
            match=r"cond of shape \[4, ...\], got \[3\]; for one shared condition pass cond.expand",
        ):
            field.score(torch.zeros(4, 2))


def test_a_temperature_is_positive():
    for temperature in (0, -1.0):
        with pytest.raises(ValueError, match="a temperature is positive"):
            Energy(quadratic) / temperature


def test_as_field_takes_callables_and_nothing_else():
    assert as_field(quadratic).score(torch.ones(1, 2)).tolist() == [[-3.0, -3.0]]
    with pytest.raises(ValueError, match="expected a Field or a callable"):
        as_field(3)


def test_a_pinned_field_keeps_its_energy_and_loses_its_score_where_pinned():
    x, mask = torch.randn(4, 3), torch.tensor([True, False, True])
    energy, score = MaskedField(Energy(quadratic), mask).energy_and_score(x)
    assert torch.equal(energy, quadratic(x)) and torch.equal(score, -3 * x * mask)
    assert torch.equal(
        MaskedField(Score(lambda x: x / 0), mask).score(x)[:, 1], torch.zeros(4)
    )  # what is pinned cannot hurt


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(3), "mask.bool"),
        (torch.ones(5, 4, 3, dtype=torch.bool), "must broadcast to x"),
        (torch.ones(2, dtype=torch.bool), "must broadcast to x"),
    ],
)
def test_a_mask_that_does_not_fit_is_an_error(mask, message):
    with pytest.raises(ValueError, match=message):
        MaskedField(Energy(quadratic), mask).score(torch.zeros(4, 3))


def test_an_observation_of_another_shape_is_an_error():
    assert torch.equal(
        GaussianLikelihood(torch.ones(3), 1.0).score(torch.zeros(2, 3)), torch.ones(2, 3)
    )
    with pytest.raises(ValueError, match="repeat_interleave"):
        GaussianLikelihood(torch.ones(1, 3), 1.0).energy(torch.zeros(2, 3))


def test_an_observation_without_noise_is_an_error():
    with pytest.raises(ValueError, match="sigma > 0, got 0.0; for an exact one pin x"):
        GaussianLikelihood(torch.ones(3), 0.0)
