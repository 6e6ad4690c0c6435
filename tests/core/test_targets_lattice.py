"""Ising and Potts models against enumerations written out here, Kaufman's solution, and their own
Gibbs conditionals.
"""

import itertools
import math

import pytest
import torch

from gradlogp.core.fields import Energy
from gradlogp.core.random import seeded
from gradlogp.core.targets import Ising, Potts


def bonds(height, width, periodic):
    """Every site with its neighbours down and to the right, wrapped around on a torus."""
    for i, j in itertools.product(range(height), range(width)):
        if periodic or i + 1 < height:
            yield (i, j), ((i + 1) % height, j)
        if periodic or j + 1 < width:
            yield (i, j), (i, (j + 1) % width)


def weights(height, width, periodic, colours, bond, site):
    """exp(-E) of every state by a loop over its bonds."""
    for flat in itertools.product(range(colours), repeat=height * width):
        c = [flat[i * width : (i + 1) * width] for i in range(height)]
        yield math.exp(
            sum(bond(c[a][b], c[d][e]) for (a, b), (d, e) in bonds(height, width, periodic))
            + sum(map(site, flat))
        )


def kaufman(k, n, m):
    """Z of the n x m torus at coupling k, without a field. Reference: Kaufman (1949), Crystal
    Statistics II.
    """

    def gamma(j):
        if j == 0:
            return 2 * k + math.log(math.tanh(k))
        return math.acosh(math.cosh(2 * k) ** 2 / math.sinh(2 * k) - math.cos(math.pi * j / n))

    def products(parity):
        gammas = [gamma(2 * j + parity) for j in range(n)]
        return math.prod(2 * math.cosh(m * g / 2) for g in gammas), math.prod(
            2 * math.sinh(m * g / 2) for g in gammas
        )

    return (2 * math.sinh(2 * k)) ** (n * m / 2) / 2 * sum(products(1) + products(0))


def test_the_smallest_lattices_by_hand():
    k = 0.37
    assert Ising(2, 2, k, periodic=False).log_z() == pytest.approx(
        math.log(12 + 4 * math.cosh(4 * k)), abs=1e-12
    )
    assert Ising(2, 2, k).log_z() == pytest.approx(
        math.log(12 + 4 * math.cosh(8 * k)), abs=1e-12
    )  # each bond twice
    torus = sum(
        n * math.exp(-e * k) for e, n in {-18: 2, -10: 18, -6: 48, -2: 198, 2: 144, 6: 102}.items()
    )
    assert Ising(3, 3, k).log_z() == pytest.approx(math.log(torus), abs=1e-12)
    assert Ising(1, 5, k, periodic=False).log_z() == pytest.approx(
        math.log(2 * (2 * math.cosh(k)) ** 4), abs=1e-12
    )
    assert Potts(1, 4, k, periodic=False).log_z() == pytest.approx(
        math.log(3 * (math.exp(k) + 2) ** 3), abs=1e-12
    )


@pytest.mark.parametrize(("height", "width"), [(3, 3), (4, 4), (8, 8), (9, 5)])
@pytest.mark.parametrize("k", [0.2, 0.44068679, 0.6])
def test_the_torus_is_kaufmans(k, height, width):
    assert Ising(height, width, k).log_z() == pytest.approx(
        math.log(kaufman(k, height, width)), rel=1e-11
    )
    assert Ising(height, width, k / 2).log_z() != pytest.approx(
        math.log(kaufman(k, height, width)), rel=1e-3
    )


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize(("height", "width"), [(2, 3), (3, 2), (3, 3)])
def test_ising_energies_are_sums_over_bonds(height, width, periodic):
    model = Ising(height, width, 0.3, periodic, field=-0.2)
    exact = torch.tensor(
        list(
            weights(
                height,
                width,
                periodic,
                2,
                lambda a, b: 0.3 * (2 * a - 1) * (2 * b - 1),
                lambda a: -0.2 * (2 * a - 1),
            )
        ),
        dtype=torch.float64,
    )
    torch.testing.assert_close((-model.energy(model.states())).exp(), exact, atol=0, rtol=1e-12)
    assert model.log_z() == pytest.approx(float(exact.sum().log()), abs=1e-12)


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize(("height", "width"), [(2, 3), (3, 2)])
def test_potts_energies_are_sums_over_bonds(height, width, periodic):
    field = (0.1, 0.0, -0.4)
    model = Potts(height, width, 0.7, periodic, 3, field)
    exact = torch.tensor(
        list(weights(height, width, periodic, 3, lambda a, b: 0.7 * (a == b), lambda a: field[a])),
        dtype=torch.float64,
    )
    torch.testing.assert_close((-model.energy(model.states())).exp(), exact, atol=0, rtol=1e-12)
    assert model.log_z() == pytest.approx(float(exact.sum().log()), abs=1e-12)


def test_potts_with_two_colours_is_ising_at_half_the_coupling():
    """[a = b] = (1 + s s') / 2, over 12 bonds of the free 3 x 3 lattice."""
    assert Potts(3, 3, 0.8, False, 2).log_z() == pytest.approx(
        Ising(3, 3, 0.4, False).log_z() + 12 * 0.4, abs=1e-12
    )


@pytest.mark.parametrize(
    "model",
    [
        Ising(4, 3, 0.3, False, 0.1),
        Ising(3, 4, 0.3, True, 0.1),
        Potts(2, 3, 0.6, True, 3, (0.2, 0.0, -0.1)),
    ],
    ids=repr,
)
def test_the_score_is_minus_the_gradient_and_the_conditional_logits(model):
    states = model.states()
    x = torch.rand(5, *model.shape, dtype=torch.float64, generator=seeded("relaxed"))
    torch.testing.assert_close(model.score(x), Energy(model.energy).score(x), atol=1e-12, rtol=0)
    x, p = states[:50], (-model.energy(states)).exp()
    if isinstance(model, Ising):
        for i, j in itertools.product(range(model.height), range(model.width)):
            up, down = x.clone(), x.clone()
            up[:, i, j], down[:, i, j] = 1, 0
            torch.testing.assert_close(
                model.conditional(x)[:, i, j],
                model.energy(down) - model.energy(up),
                atol=1e-12,
                rtol=0,
            )
    else:
        joint = p.view(3, -1) / p.sum()  # rows: the colour of the first site, the slowest to change
        found = model.conditional(states)[:, 0, 0].softmax(1).view(3, -1, 3)[0].T
        torch.testing.assert_close(found, joint / joint.sum(0), atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    "model",
    [
        Ising(2, 3, 0.5, True, 0.1),
        Ising(3, 2, 0.5, False, -0.2),
        Ising(3, 3, 0.4),
        Ising(1, 4, 0.5, False, 0.3),
        Potts(2, 2, 0.8, False, 3, (0.3, 0.0, -0.3)),
        Potts(3, 2, 0.5, True, 2),
    ],
    ids=repr,
)
def test_samples_have_the_frequencies_of_all_states(model):
    n, states = 40_000, model.states().flatten(1)
    p = (-model.energy(model.states()) - model.log_z()).exp()
    place = 2.0 ** torch.arange(states.shape[1], dtype=torch.float64)
    key, order = (states @ place).sort()
    drawn = order[torch.searchsorted(key, model.sample(n, seeded("lattice")).flatten(1) @ place)]
    counts, expected = drawn.bincount(minlength=len(p)), n * p
    assert expected.sum() == pytest.approx(n)
    chi2 = ((counts - expected) ** 2 / expected).sum()
    variance = 2 * (len(p) - 1) + (1 / expected).sum()
    assert abs(chi2 - (len(p) - 1)) < 4 * variance**0.5


@pytest.mark.parametrize("periodic", [False, True])
def test_samples_of_a_larger_lattice_have_the_mean_energy_of_log_z(periodic):
    """<sum of s s'> = d log Z / dJ, by a central difference: at the critical point, where chains
    are slow.
    """

    def log_z(k):
        return Ising(10, 6, k, periodic).log_z()

    exact = (log_z(0.44 + 1e-4) - log_z(0.44 - 1e-4)) / 2e-4
    model = Ising(10, 6, 0.44, periodic)
    sums = -model.energy(model.sample(4000, seeded("critical"))) / 0.44
    assert abs(sums.mean() - exact) < 4 * sums.std() / len(sums) ** 0.5


def test_the_lattice_may_come_flat_and_in_float32():
    for model in (Ising(3, 4), Potts(3, 4)):
        x = model.sample(5, seeded(0))
        assert x.shape == (5, *model.shape)
        torch.testing.assert_close(
            model.energy(x.float().flatten(1)).double(), model.energy(x), atol=1e-5, rtol=0
        )
        assert model.score(x.float().flatten(1)).shape == x.flatten(1).shape
        assert model.score(x.float()).dtype == torch.float32
        assert torch.equal(model.encode(x.long() if isinstance(model, Ising) else x.argmax(-1)), x)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Ising(1, 4), "a torus of 2 or more"),
        (lambda: Ising(5, 5).states(), "too many to list"),
        (lambda: Ising(11, 11).log_z(), "take a smaller lattice"),
        (lambda: Ising(3, 3).energy(torch.zeros(2, 8)), "expected x of shape"),
        (lambda: Potts(2, 2, field=(1.0,)), "one entry for each of 3 colours"),
    ],
)
def test_lattices_that_do_not_fit_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
