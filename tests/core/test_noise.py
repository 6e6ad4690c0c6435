import math

import pytest
import torch

from gradlogp.core.noise import VarianceExploding, geometric_ratio


def test_levels_are_geometric_and_time_inverts_sigma():
    process = VarianceExploding(0.01, 50.0)
    ladder = torch.tensor(process.ladder(232), dtype=torch.float64)
    assert ladder[0] == pytest.approx(50, abs=1e-10) and ladder[-1] == pytest.approx(0.01, abs=1e-12)
    torch.testing.assert_close(ladder[:-1] / ladder[1:], torch.full((231,), 5000 ** (1 / 231), dtype=torch.float64))
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    torch.testing.assert_close(process.time(process.sigma(t)), t, atol=1e-12, rtol=0)


def test_signal_to_noise_falls():
    assert (VarianceExploding().log_snr(torch.linspace(0, 1, 9)).diff() < 0).all()


def test_technique_2_has_half_its_overlap():
    """Song & Ermon (2020), eq. 5: Phi(sqrt(2D)(g-1) + 3g) - Phi(sqrt(2D)(g-1) - 3g) = .5."""
    phi = lambda z: 0.5 * (1 + math.erf(z / math.sqrt(2)))
    for dim in (784, 3072):
        g, root = geometric_ratio(dim), math.sqrt(2 * dim)
        assert phi(root * (g - 1) + 3 * g) - phi(root * (g - 1) - 3 * g) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("levels", [(0.0, 1.0), (2.0, 1.0), (-1.0, 1.0)])
def test_levels_out_of_order_are_an_error(levels):
    with pytest.raises(ValueError, match="0 < sigma_min < sigma_max"):
        VarianceExploding(*levels)
