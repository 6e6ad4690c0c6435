"""Gibbs samplers on laws small enough to enumerate: the kernel itself is in balance, and the
sampler draws from that kernel.
"""

import math

import pytest
import torch
from torch.nn.functional import one_hot

from gradlogp.core.discrete import sites
from gradlogp.core.fields import Energy
from gradlogp.core.kernel import run
from gradlogp.core.random import Streams, seeded
from gradlogp.core.targets import Ising, Potts
from gradlogp.models.rbm import BernoulliRBM, GaussianRBM, binary_states
from gradlogp.samplers import Masked
from gradlogp.samplers.block import BlockGibbs, GibbsLangevin
from gradlogp.samplers.gibbs import CheckerboardGibbs, Gibbs, GibbsWithGradients

N = 40_000
BITS = torch.cat(list(binary_states(4, torch.zeros((), dtype=torch.float64))))


def normal(seed, *shape):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


class World:
    """A law over an enumerated list of states x [S, *shape]."""

    def __init__(self, energy, x, values):
        self.field = Energy(energy)
        self.x = x
        self.values = values
        self.p = (-energy(x)).softmax(0)

    def index(self, x):
        """The number of each x [B, *shape] in the list, [B]."""
        flat, known = x.flatten(1), self.x.flatten(1)
        return (flat[:, None] == known).all(-1).long().argmax(1)


def wiggly(x):
    """An energy with interactions of every order, so that no trick for quadratic ones is exact."""
    flat = x.flatten(1)
    return (flat @ normal(1, flat.shape[1], 5)).sin().sum(1) + (
        flat @ normal(2, flat.shape[1])
    ).square() / 6


def ising(x):
    """Four spins on a square, of unequal couplings, in a field."""
    row, column = normal(3, 2, 2)
    grid = x.reshape(-1, 2, 2)
    pairs = (row * grid[:, 0] * grid[:, 1]).sum(1) + (column * grid[..., 0] * grid[..., 1]).sum(1)
    return -pairs - grid.flatten(1) @ normal(4, 4) / 3


def potts(x):
    """Two sites in a row, of three states."""
    return -torch.einsum("bk,kl,bl->b", x[:, 0], normal(5, 3, 3), x[:, 1]) - (
        x[:, 0] @ normal(6, 3)
    )


CATEGORIES = one_hot(torch.cartesian_prod(torch.arange(3), torch.arange(3)), 3).double()
BINARY = World(wiggly, BITS, (0.0, 1.0))
SPINS = World(ising, (2 * BITS - 1).reshape(-1, 2, 2), (-1.0, 1.0))
ONE_HOT = World(wiggly, CATEGORIES, None)
POTTS = World(potts, CATEGORIES, None)


def site_kernels(world, sampler):
    """[sites, S, S]: the update of each site, by the sampler's own energies."""
    n, size = sites(world.x, world.values), len(world.x)
    kernels = torch.zeros(n, size, size, dtype=torch.float64)
    for i in range(n):
        energies, to = sampler.energies(
            world.field, world.x, world.field.energy(world.x), torch.full((size,), i)
        )
        for s, p in enumerate((-energies).softmax(1).T):
            kernels[i, torch.arange(size), world.index(to[:, s])] += p
    return kernels


def gradient_kernel(world, sampler):
    """Gibbs with gradients: q(x -> x') min(1, p(x') q(x' -> x) / p(x) q(x -> x')), by the sampler's
    own proposal.
    """
    size, x = len(world.x), world.x
    q = sampler.log_proposal(x, world.field.score(x)).exp().detach()
    proposal = torch.zeros(size, size, dtype=torch.float64)
    for m in range(q.shape[1]):
        if (q[:, m] > 0).any():
            to, _ = sampler.move(x, torch.full((size,), m))
            proposal[torch.arange(size), world.index(to)] += q[:, m]
    flow = world.p[:, None] * proposal
    kernel = torch.where(proposal > 0, torch.minimum(flow, flow.T) / world.p[:, None], 0)
    return kernel + torch.diag(1 - kernel.sum(1))


def block_kernel(rbm):
    """P(v' | v) = sum over h of P(v' | h) P(h | v)."""
    v = BITS
    h = torch.cat(list(binary_states(rbm.weight.shape[1], BITS)))
    bernoulli = lambda p, x: torch.prod(torch.where(x[None] > 0, p[:, None], 1 - p[:, None]), -1)
    return (bernoulli(rbm.hidden(v), h) @ bernoulli(rbm.visible(h), v)).detach()


def imbalance(p, kernel):
    flow = p[:, None] * kernel
    return (flow - flow.T).abs().max()


def rbm():
    return BernoulliRBM.of(normal(7, 4, 3), normal(8, 4) / 2, normal(9, 3) / 2)


WORLDS = [
    pytest.param(BINARY, id="binary"),
    pytest.param(SPINS, id="spins"),
    pytest.param(ONE_HOT, id="one-hot"),
]


@pytest.mark.parametrize("world", WORLDS)
def test_gibbs_is_in_detailed_balance_site_by_site(world):
    for kernel in site_kernels(world, Gibbs(world.values)):
        assert (kernel.sum(1) - 1).abs().max() < 1e-15 and imbalance(world.p, kernel) < 1e-15


@pytest.mark.parametrize("world", WORLDS)
def test_gibbs_with_gradients_is_in_detailed_balance(world):
    sampler = GibbsWithGradients(world.values)
    assert imbalance(world.p, gradient_kernel(world, sampler)) < 1e-15
    q = sampler.log_proposal(world.x, world.field.score(world.x)).exp()
    assert (q.sum(1) - 1).abs().max() < 1e-14


def test_the_proposal_by_gradients_is_the_papers():
    """Flip i with probability proportional to exp(-(2 x_i - 1) df/dx_i / 2), f = -E; for a linear
    energy the estimate is exact.
    """
    f = BINARY.field.score(BITS)
    torch.testing.assert_close(
        GibbsWithGradients().log_proposal(BITS, f), (-(2 * BITS - 1) * f / 2).log_softmax(1)
    )
    slope = normal(10, 4)
    gain = GibbsWithGradients().log_proposal(BITS, slope.expand(16, 4)).exp()
    p = lambda x: (x @ slope).exp()
    flips = torch.stack([p((BITS - torch.eye(4)[i]).abs()) for i in range(4)], 1)
    root = (flips / p(BITS)[:, None]).sqrt()
    torch.testing.assert_close(gain, root / root.sum(1, keepdim=True))


def test_block_gibbs_keeps_and_reverses_its_distribution():
    machine = rbm()
    p = (-machine(BITS)).softmax(0).detach()
    kernel = block_kernel(machine)
    assert (p @ kernel - p).abs().max() < 1e-15 and imbalance(p, kernel) < 1e-15


def colour_kernel(world, sampler):
    """Even sites given odd ones, then odd given even: the product of commuting site kernels."""
    kernels = site_kernels(world, sampler)
    return (
        kernels[0] @ kernels[3] @ kernels[1] @ kernels[2]
        if len(kernels) == 4
        else kernels[0] @ kernels[1]
    )


def power(kernels):
    kernels = list(kernels)
    out = kernels[0]
    for kernel in kernels[1:]:
        out = out @ kernel
    return out


CASES = {
    "gibbs sweep": (BINARY, Gibbs(), lambda w: power(site_kernels(w, Gibbs()))),
    "gibbs random site": (
        BINARY,
        Gibbs(random_sites=1),
        lambda w: site_kernels(w, Gibbs()).mean(0),
    ),
    "gibbs sweep, spins": (
        SPINS,
        Gibbs((-1.0, 1.0)),
        lambda w: power(site_kernels(w, Gibbs((-1.0, 1.0)))),
    ),
    "gibbs sweep, one-hot": (ONE_HOT, Gibbs(None), lambda w: power(site_kernels(w, Gibbs(None)))),
    "checkerboard, spins": (
        SPINS,
        CheckerboardGibbs((-1.0, 1.0)),
        lambda w: colour_kernel(w, Gibbs((-1.0, 1.0))),
    ),
    "checkerboard, potts": (
        POTTS,
        CheckerboardGibbs(None),
        lambda w: colour_kernel(w, Gibbs(None)),
    ),
    "gradients, binary": (
        BINARY,
        GibbsWithGradients(),
        lambda w: gradient_kernel(w, GibbsWithGradients()),
    ),
    "gradients, spins": (
        SPINS,
        GibbsWithGradients((-1.0, 1.0)),
        lambda w: gradient_kernel(w, GibbsWithGradients((-1.0, 1.0))),
    ),
    "gradients, one-hot": (
        ONE_HOT,
        GibbsWithGradients(None),
        lambda w: gradient_kernel(w, GibbsWithGradients(None)),
    ),
}


def z_of_counts(drawn, p, n):
    """Pearson's chi-square as a number of standard deviations; states that cannot be reached must
    not be.
    """
    possible = p > 1e-12
    counts = torch.bincount(drawn, minlength=len(p))
    assert counts[~possible].sum() == 0
    expected, freedom = n * p[possible], int(possible.sum()) - 1
    chi2 = ((counts[possible] - expected) ** 2 / expected).sum()
    return float(chi2 - freedom) / (2 * freedom) ** 0.5


@pytest.mark.parametrize("name", CASES)
def test_a_step_draws_from_the_kernel_and_keeps_the_distribution(name):
    """From one state the end follows its row of the kernel; from exact draws it follows the law."""
    world, sampler, make = CASES[name]
    kernel, g = make(world), seeded(11, name)
    assert (world.p @ kernel - world.p).abs().max() < 1e-15
    for row in (0, 5):
        end = run(sampler, world.field, world.x[row].expand(N, *world.x.shape[1:]), 1, g)
        assert abs(z_of_counts(world.index(end), kernel[row], N)) < 4
    start = world.x[torch.multinomial(world.p, N, replacement=True, generator=g)]
    assert abs(z_of_counts(world.index(run(sampler, world.field, start, 3, g)), world.p, N)) < 4


def test_block_gibbs_draws_from_its_kernel():
    machine, g = rbm(), seeded(12)
    world = World(lambda x: machine(x).detach(), BITS, (0.0, 1.0))
    end = run(BlockGibbs(), machine.field(), BITS[6].expand(N, 4), 1, g)
    assert abs(z_of_counts(world.index(end), block_kernel(machine)[6], N)) < 4
    end = run(BlockGibbs(), machine.field(), machine.sample(N, g), 3, g)
    assert abs(z_of_counts(world.index(end), world.p, N)) < 4


MACHINE = rbm()
MASKED = {
    "gibbs": (BINARY, Gibbs(), [True, False, True, True]),
    "random sites": (BINARY, Gibbs(random_sites=2), [True, False, True, True]),
    "one-hot": (ONE_HOT, Gibbs(None), [[True] * 3, [False] * 3]),
    "checkerboard": (SPINS, CheckerboardGibbs((-1.0, 1.0)), [[True, False], [True, True]]),
    "block": (World(MACHINE, BITS, (0.0, 1.0)), BlockGibbs(), [True, False, True, True]),
    "gradients": (BINARY, GibbsWithGradients(), [True, False, True, True]),
    "gradients, one-hot": (ONE_HOT, GibbsWithGradients(None), [[True] * 3, [False] * 3]),
}


@pytest.mark.parametrize("name", MASKED)
def test_what_is_pinned_stays_and_the_rest_is_conditional(name):
    world, sampler, free = MASKED[name]
    mask, start = torch.tensor(free), world.x[5]
    same = (world.x == start).masked_fill(mask, True).flatten(1).all(1)
    p = torch.where(same, world.p.detach(), 0)
    n = N // 4
    end = run(
        Masked(sampler, mask), world.field, start.expand(n, *start.shape), 30, seeded(30, name)
    )
    assert abs(z_of_counts(world.index(end), p / p.sum(), n)) < 4


def test_from_a_point_the_chains_reach_the_distribution_and_say_how_they_went():
    infos = []
    end = run(
        GibbsWithGradients(),
        BINARY.field,
        BITS[:1].expand(N, 4),
        40,
        seeded(13),
        lambda i, s, info: infos.append(info),
    )
    assert abs(z_of_counts(BINARY.index(end), BINARY.p, N)) < 4
    rate = torch.stack([info.accept.mean() for info in infos[20:]]).mean()
    kernel = gradient_kernel(BINARY, GibbsWithGradients())
    q = BINARY.p
    stay = (q * kernel.diag()).sum()  # a move is always elsewhere, so staying is rejecting
    assert abs(rate - (1 - stay)) < 0.01


def test_without_the_metropolis_test_the_distribution_is_another():
    """The proposal by gradients alone does not keep p: the test above would see it."""
    proposal = torch.zeros(16, 16, dtype=torch.float64)
    q = GibbsWithGradients().log_proposal(BITS, BINARY.field.score(BITS)).exp().detach()
    for m in range(4):
        proposal[
            torch.arange(16), BINARY.index(GibbsWithGradients().move(BITS, torch.full((16,), m))[0])
        ] = q[:, m]
    assert (BINARY.p @ proposal - BINARY.p).abs().max() > 0.01


LATTICES = {
    "gibbs": (Ising(4, 4, 0.3, field=0.2), Gibbs(random_sites=8)),
    "checkerboard": (Ising(4, 4, 0.3, field=0.2), CheckerboardGibbs()),
    "gradients": (Ising(4, 4, 0.3, field=0.2), GibbsWithGradients()),
    "potts": (Potts(3, 3, 0.4, field=(0.3, 0.0, -0.2)), Gibbs(None, random_sites=6)),
    "potts checkerboard": (Potts(4, 2, 0.4, field=(0.3, 0.0, -0.2)), CheckerboardGibbs(None)),
    "potts gradients": (Potts(3, 3, 0.4, field=(0.3, 0.0, -0.2)), GibbsWithGradients(None)),
}


@pytest.mark.parametrize("name", LATTICES)
def test_lattices_keep_their_exact_energy(name):
    """From exact draws the mean of the energy and of its square stay, against as many other exact
    draws.
    """
    lattice, sampler = LATTICES[name]
    first = lattice.sample(4_000, seeded(31))
    other = lattice.sample(4_000, seeded(32))
    a = lattice.energy(run(sampler, lattice, first, 6, seeded(33)))
    b = lattice.energy(other)
    for x, y in ((a, b), (a**2, b**2)):
        assert abs(x.mean() - y.mean()) / ((x.var() + y.var()) / 4_000) ** 0.5 < 4


def plain(d=2):
    """A machine whose hidden units do nothing: v ~ N(mean, variance)."""
    zeros = torch.zeros(d + 1, 3, dtype=torch.float64)
    return GaussianRBM.of(
        zeros[1:], normal(14, d), torch.tensor([4.0, 0.25], dtype=torch.float64).log(), zeros[0]
    )


def z_of_variance(x, var):
    return ((x.var(0) / var - 1) / (2 / len(x)) ** 0.5).abs().max()


@pytest.mark.parametrize("inner", [1, 3])
def test_gibbs_langevin_has_its_known_bias_and_none_when_adjusted(inner):
    machine, eta = plain(), 0.6
    sampler = GibbsLangevin(eta, inner)
    start = machine.mean.detach() + machine.variance.detach().sqrt() * normal(15, N, 2)
    biased = run(sampler, machine.field(), start, 40, seeded(16))
    assert (
        z_of_variance(biased, machine.variance / (1 - eta / 2))
        < 4
        < 20
        < z_of_variance(biased, machine.variance)
    )
    adjusted = run(GibbsLangevin(eta, inner, adjust=True), machine.field(), start, 20, seeded(17))
    assert z_of_variance(adjusted, machine.variance) < 4


def test_the_inner_steps_are_an_ar1_process():
    """From u, k steps of u' = (1 - eta) u + sqrt(2 eta) z: the mean shrinks k times, and the noise
    adds up.
    """
    machine = plain()
    eta = 0.3
    k = 4
    end = run(
        GibbsLangevin(eta, k),
        machine.field(),
        torch.zeros(N, 2, dtype=torch.float64),
        1,
        seeded(18),
    ).detach()
    u = (end - machine.mean.detach()) / machine.variance.detach().sqrt()
    first = -machine.mean.detach() / machine.variance.detach().sqrt()
    var = 2 * eta * sum((1 - eta) ** (2 * i) for i in range(k))
    assert ((u.mean(0) - (1 - eta) ** k * first) / (var / N) ** 0.5).abs().max() < 4
    assert z_of_variance(u, torch.full((2,), var)) < 4


@pytest.mark.parametrize("batch", [1, 512])
@pytest.mark.parametrize(
    "sampler", [BlockGibbs(), GibbsLangevin(0.5, 2, adjust=True), GibbsLangevin(0.01, 20)]
)
def test_the_mixtures_moments_are_kept_at_any_batch(sampler, batch):
    """The temperature does not depend on how many chains run side by side."""
    machine = GaussianRBM.of(normal(19, 2, 3), normal(20, 2), normal(21, 2) / 3, normal(22, 3) / 2)
    h = torch.cat(list(binary_states(3, BITS)))
    p = (-machine.hidden_energy(h)).softmax(0).detach()
    means = machine.visible(h).detach()
    mean = p @ means
    var = machine.variance.detach() + p @ (means - mean) ** 2
    runs, g = (40, seeded(23)) if batch == 512 else (500, seeded(24))
    start = machine.sample(runs * batch, g)
    end = torch.cat(
        [run(sampler, machine.field(), part, 5, g) for part in start.split(batch)]
    ).detach()
    squares = (end - mean) ** 2
    assert ((end.mean(0) - mean) / (var / len(end)) ** 0.5).abs().max() < 4
    assert ((squares.mean(0) - var) / (squares.std(0) / len(end) ** 0.5)).abs().max() < 4


def test_the_adjusted_step_reports_its_acceptance():
    machine, seen = plain(), []
    start = machine.mean.detach() + machine.variance.detach().sqrt() * normal(25, N, 2)
    run(
        GibbsLangevin(0.6, 1, adjust=True),
        machine.field(),
        start,
        3,
        seeded(26),
        lambda i, s, info: seen.append(info.accept),
    )
    u = normal(27, N, 2)
    new = 0.4 * u + math.sqrt(1.2) * normal(28, N, 2)
    log = lambda x, y: (
        -((y - 0.4 * x) ** 2).sum(1) / 2.4
    )  # of the proposal density, by its definition
    accept = ((u**2 - new**2).sum(1) / 2 + log(new, u) - log(u, new)).clamp(max=0).exp()
    assert abs(seen[-1].mean() - accept.mean()) / (accept.std() * (2 / N) ** 0.5) < 4


@pytest.mark.parametrize("sampler", [Gibbs(), GibbsWithGradients()])
def test_images_and_streams(sampler):
    """Chain i of a seed is the same whatever the batch."""
    x = (torch.rand(30, 1, 3, 3, generator=seeded(29)) > 0.5).double()
    whole = run(sampler, BINARY.field, x, 4, Streams(0, 0, 30))
    assert whole.shape == x.shape
    assert torch.equal(whole[20:], run(sampler, BINARY.field, x[20:], 4, Streams(0, 20, 10)))


@pytest.mark.parametrize(
    ("lattice", "sampler", "fits"),
    [
        (Ising(3, 3, 0.3), CheckerboardGibbs(), False),
        (Ising(3, 4, 0.01), CheckerboardGibbs(), False),
        (Potts(3, 3, 0.3), CheckerboardGibbs(None), False),
        (Ising(3, 3, 0.3, periodic=False), CheckerboardGibbs(), True),
        (Ising(4, 2, 0.3, field=0.4), CheckerboardGibbs(), True),
        (Potts(4, 4, 0.3), CheckerboardGibbs(None), True),
    ],
    ids=str,
)
def test_whether_a_lattice_has_two_colours_does_not_depend_on_the_start(lattice, sampler, fits):
    """Of the single chains on a 3 x 3 torus, 39 % began where one move of all sites tells nothing."""
    starts = lattice.sample(12, seeded(0))
    for x in (
        lattice.encode(torch.zeros(1, lattice.height, lattice.width, dtype=torch.long)),
        *starts.split(1),
        starts,
    ):
        if fits:
            sampler.init(lattice, x)
        else:
            with pytest.raises(ValueError, match="couples sites of one colour"):
                sampler.init(lattice, x)


def test_only_what_is_free_must_have_two_colours():
    torus, alone = Ising(3, 3, 0.3), torch.zeros(3, 3, dtype=torch.bool)
    alone[1, 1] = True
    Masked(CheckerboardGibbs(), alone).init(torus, torus.sample(1, seeded(0)))
    with pytest.raises(ValueError, match="couples sites of one colour"):
        Masked(CheckerboardGibbs(), ~alone).init(torus, torus.sample(1, seeded(0)))


def test_what_cannot_be_is_refused():
    x = torch.rand(3, 4)
    for sampler in (Gibbs(), CheckerboardGibbs(), GibbsWithGradients()):
        with pytest.raises(ValueError, match="expected entries 0 and 1 only"):
            run(sampler, BINARY.field, x, 1, seeded(0))
    with pytest.raises(ValueError, match="single 1 along the last axis"):
        run(Gibbs(None), BINARY.field, torch.ones(2, 3, 3), 1, seeded(0))
    with pytest.raises(ValueError, match="low < high"):
        Gibbs((1.0, 0.0))
    with pytest.raises(ValueError, match="use Gibbs, or a periodic"):
        run(CheckerboardGibbs(), BINARY.field, BITS, 1, seeded(0))
    with pytest.raises(ValueError, match="pass an RBM's field"):
        run(BlockGibbs(), BINARY.field, BITS, 1, seeded(0))
    with pytest.raises(ValueError, match="pass a GaussianRBM's field"):
        run(GibbsLangevin(), rbm().field(), BITS, 1, seeded(0))
    with pytest.raises(ValueError, match=r"step_size in \(0, 2\)"):
        GibbsLangevin(2.0)
    with pytest.raises(ValueError, match="1 or more"):
        Gibbs(random_sites=0)
