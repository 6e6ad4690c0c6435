import itertools
import math

import pytest
import torch

from gradlogp.core.noise import (
    EDM,
    PROCESSES,
    Rectified,
    VarianceExploding,
    VariancePreserving,
    ddpm_ladder,
)
from gradlogp.core.parametrise import (
    CLOCKS,
    KINDS,
    NoiseLevel,
    Predicts,
    convert,
    measure_sigma_data,
    step_clock,
)
from gradlogp.core.targets import GaussianMixture

close = lambda a, b: torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-10)
DENSITY = GaussianMixture(
    torch.tensor([[1.0, -0.5], [-1.0, 0.3]], dtype=torch.float64),
    torch.tensor([[0.4, 0.7], [0.6, 0.3]], dtype=torch.float64),
    torch.tensor([0.3, 0.7], dtype=torch.float64),
)


def truth(kind, x0, eps, alpha, sigma, rates, sigma_data):
    """Each kind as its own paper writes it."""
    xt, level = alpha * x0 + sigma * eps, sigma / alpha
    if kind == "edm":
        skip = sigma_data**2 / (level**2 + sigma_data**2)
        return (x0 - skip * xt / alpha) / (level * sigma_data / (level**2 + sigma_data**2) ** 0.5)
    return {
        "x0": x0,
        "eps": eps,
        "sigma_score": -eps,
        "score": (alpha * x0 - xt) / sigma**2,
        "v": alpha * eps - sigma * x0,
        "velocity": rates[0] * x0 + rates[1] * eps,
    }[kind]


@pytest.mark.parametrize(("source", "target"), list(itertools.product(KINDS, KINDS)))
def test_every_name_leads_to_every_other_and_back(source, target):
    x0, eps = torch.randn(
        2, 64, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    for place in (
        NoiseLevel(1.0, 0.3, (0.0, 2.0), 0.6),
        NoiseLevel(0.8, 0.6, (-1.0, 0.7), 0.6),
        NoiseLevel(0.1, 7.0, sigma_data=2.0),
        NoiseLevel(
            torch.rand(64, dtype=torch.float64) + 0.1,
            torch.rand(64, dtype=torch.float64) + 0.1,
            sigma_data=0.3,
        ),
    ):
        columns = [v[:, None, None] if isinstance(v, torch.Tensor) else v for v in place[:2]]
        given, wanted = (truth(kind, x0, eps, *columns, *place[2:]) for kind in (source, target))
        xt = columns[0] * x0 + columns[1] * eps
        there = convert(given, xt, source, target, place)
        close(there, wanted)
        close(convert(there, xt, target, source, place), given)


def exact_net(kind, process, sigma_data, fed=lambda t, level: t):
    """A network that knows the mixture: of x_t (c_in x for edm) and t, it gives `kind`."""

    def net(x, time):
        t = fed(time)[:, None]
        alpha, sigma = process.alpha(t), process.sigma(t)
        y = x * (process.level(t) ** 2 + sigma_data**2).sqrt() if kind == "edm" else x / alpha
        d = DENSITY.denoise(y, process.level(t[:, 0]))
        return truth(kind, d, (y - d) * alpha / sigma, alpha, sigma, process.rates(t), sigma_data)

    return net


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PROCESSES)
def test_a_network_of_any_kind_in_any_process_is_the_field_it_learned(name, kind):
    process = PROCESSES[name]()
    x = 3 * torch.randn(32, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    field = Predicts(
        exact_net(kind, process, 0.7, lambda time: time), kind, process, sigma_data=0.7
    )
    for sigma in (0.02, 0.5, 3.0, 20.0, torch.linspace(0.1, 9, 32, dtype=torch.float64)):
        close(field.denoise(x, sigma), DENSITY.denoise(x, sigma))
    close(field.at(0.5).score(x), DENSITY.score(x, 0.5))


@pytest.mark.parametrize(
    ("clock", "back"),
    [
        ("t", lambda time, process: time),
        ("1 - t", lambda time, process: 1 - time),
        ("999 t", lambda time, process: time / 999),
        ("sigma", lambda time, process: process.time(time)),
        ("ln sigma", lambda time, process: process.time(time.exp())),
        ("ln sigma / 4", lambda time, process: process.time((4 * time).exp())),
        (lambda t, level: 7 * t, lambda time, process: time / 7),
    ],
)
def test_the_clock_is_what_the_network_was_fed(clock, back):
    x = torch.randn(9, 2, dtype=torch.float64)
    process = VariancePreserving()
    field = Predicts(
        exact_net("eps", process, 1.0, lambda time: back(time, process)), "eps", process, clock
    )
    close(field.denoise(x, 0.8), DENSITY.denoise(x, 0.8))
    wrong = Predicts(
        exact_net("eps", process, 1.0, lambda time: back(time, process)),
        "eps",
        process,
        lambda t, level: 0.3 + 0 * t,
    )
    if not callable(clock):
        assert (
            clock in CLOCKS and (wrong.denoise(x, 2.0) - DENSITY.denoise(x, 2.0)).abs().max() > 0.01
        )


def test_a_ddpm_is_fed_its_step_numbers():
    ladder = ddpm_ladder(torch.linspace(1e-4, 0.02, 1000).tolist())
    fed = []
    field = Predicts(
        lambda x, step: fed.append(step) or x, "eps", VariancePreserving(), step_clock(ladder)
    )
    x = torch.randn(1000, 3)
    field.denoise(x, torch.tensor(ladder))
    assert fed[0].dtype == torch.int64 and fed[0].tolist() == list(range(999, -1, -1))
    field.denoise(x[:2], torch.tensor([1e-5, 1e5]))
    assert fed[1].tolist() == [0, 999]


def test_an_ncsnv2_network_is_divided_by_sigma_and_a_condition_is_handed_on():
    x, cond = torch.randn(5, 1, 4, 4), torch.arange(5)
    seen = []
    net = lambda x, time, cond: seen.append((time, cond)) or -x
    field = Predicts(net, "sigma_score", VarianceExploding(), "ln sigma", cond=cond)
    torch.testing.assert_close(field.at(0.5).score(x), -x / 0.5)
    assert (
        seen[0][1] is cond
        and seen[0][0].tolist() == pytest.approx([math.log(0.5)] * 5)
        and seen[0][0].dtype == x.dtype
    )


def test_a_zero_edm_network_is_the_linear_denoiser_of_its_sigma_data():
    x = torch.randn(6, 3, dtype=torch.float64)
    field = Predicts(
        lambda x, time: torch.zeros_like(x), "edm", EDM(), "ln sigma / 4", sigma_data=0.5
    )
    close(field.denoise(x, 2.0), 0.25 / 4.25 * x)


def test_gradients_reach_x_and_the_weights():
    weight = torch.tensor(0.3, requires_grad=True)
    x = torch.randn(4, 2, requires_grad=True)
    Predicts(lambda x, t: weight * x, "v", VariancePreserving()).denoise(x, 0.5).sum().backward()
    assert weight.grad is not None and x.grad is not None and x.grad.abs().min() > 0


def test_sigma_data_is_over_all_entries():
    x = torch.arange(6.0).reshape(3, 1, 2)
    assert measure_sigma_data(x) == pytest.approx((35 / 12) ** 0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: convert(x[:1], x, "eps", "x0", NoiseLevel(1.0, 1.0)), "has the shape of x_t"),
        (lambda x: convert(x, x, "noise", "x0", NoiseLevel(1.0, 1.0)), "predicts one of x0, eps"),
        (lambda x: convert(x, x, "edm", "x0", NoiseLevel(1.0, 1.0)), "measure_sigma_data"),
        (
            lambda x: convert(x, x, "eps", "x0", NoiseLevel(torch.ones(2), 1.0)),
            "one number per example",
        ),
        (lambda x: Predicts(lambda x, t: x, "edm", EDM()), "measure_sigma_data"),
        (lambda x: Predicts(lambda x, t: x, "eps", EDM(), "seconds"), "a clock is"),
        (
            lambda x: Predicts(lambda x, t: x.sum(1), "eps", Rectified()).denoise(x, 1.0),
            "has the shape of x_t",
        ),
    ],
)
def test_wrong_use_is_an_error(make, message):
    with pytest.raises(ValueError, match=message):
        make(torch.zeros(3, 2))
