r"""Hamiltonian Monte Carlo and NUTS on three densities, 64 chains of each, all at one step size
without adaptation:

* a Gaussian of 50 dimensions whose standard deviations go from .03 to 1, begun at its own draws; * a
logistic regression of 200 rows on 10 columns with a N(0, 1) prior, begun at 0; * Neal's funnel of 10
dimensions, begun at its own draws.

What is compared is CPU seconds for an effective sample of the worst coordinate.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor
from torch.nn.functional import softplus

from gradlogp.bench.peers.case import COMPILED, OURS, Case, Maker, Work, global_seed, traces
from gradlogp.core.compiled import compiled
from gradlogp.core.fields import Energy, Field
from gradlogp.core.kernel import run
from gradlogp.core.random import seeded
from gradlogp.samplers import HMC, NUTS

CHAINS, DEPTH = 64, 7
Density = Callable[[Any], Any]


@final
@dataclass(frozen=True)
class Target:
    """An energy of x [B, d] in torch, minus the log-density of one x [d] by jax, and settings."""

    energy: Callable[[Tensor], Tensor]
    jax: Callable[[Any], Density]  # jax.numpy -> x [d] -> log p
    start: Tensor
    step_size: float
    leaps: int


def gaussian() -> Target:
    scales = torch.logspace(-1.5, 0, 50)

    def log_density(np: Any) -> Density:
        kept = np.asarray(scales.numpy())
        return lambda x: -((x / kept) ** 2).sum() / 2

    start = scales * torch.randn(CHAINS, 50, generator=seeded("gaussian"))
    return Target(lambda x: (x / scales).square().sum(1) / 2, log_density, start, 0.03, 30)


def regression() -> Target:
    rows = torch.randn(200, 10, generator=seeded("rows"))
    odds = rows @ torch.linspace(-1, 1, 10)
    signs = torch.where(torch.rand(200, generator=seeded("labels")) < odds.sigmoid(), -1.0, 1.0)
    signed = rows * signs[:, None]

    def energy(x: Tensor) -> Tensor:
        return softplus(x @ signed.T).sum(1) + x.square().sum(1) / 2

    def log_density(np: Any) -> Density:
        kept = np.asarray(signed.numpy())
        return lambda x: -np.logaddexp(0.0, kept @ x).sum() - (x**2).sum() / 2

    return Target(energy, log_density, torch.zeros(CHAINS, 10), 0.1, 10)


def funnel() -> Target:
    """v ~ N(0, 9), and nine x ~ N(0, e^v)."""

    def energy(x: Tensor) -> Tensor:
        v, rest = x[:, 0], x[:, 1:]
        return v.square() / 18 + 4.5 * v + rest.square().sum(1) * (-v).exp() / 2

    def log_density(np: Any) -> Density:
        return lambda x: -(x[0] ** 2 / 18 + 4.5 * x[0] + (x[1:] ** 2).sum() * np.exp(-x[0]) / 2)

    start = torch.randn(CHAINS, 10, generator=seeded("funnel"))
    start[:, 0] *= 3
    start[:, 1:] *= (start[:, :1] / 2).exp()
    return Target(energy, log_density, start, 0.1, 20)


TARGETS = {
    "Gaussian of unequal scales": gaussian,
    "logistic regression": regression,
    "funnel": funnel,
}


def cases(steps: int = 60) -> Iterator[Case]:
    for name, make in TARGETS.items():
        yield hmc(name, make(), steps)
    for name, make in TARGETS.items():
        yield nuts(name, make(), steps // 3)


def hmc(name: str, target: Target, steps: int) -> Case:
    def torchebm() -> Work:
        from torchebm.samplers import HamiltonianMonteCarlo

        from gradlogp.bench.peers.chains import as_torchebm

        model = as_torchebm(_Module(target.energy))
        sampler = HamiltonianMonteCarlo(
            model, step_size=target.step_size, n_leapfrog_steps=target.leaps
        )
        return lambda: sampler.sample(x=target.start, n_steps=steps, return_trajectory=True)

    def blackjax() -> Work:
        import blackjax as theirs

        return _scanned(target, steps, theirs.hmc, num_integration_steps=target.leaps)

    def ebmkit() -> Work:
        import ebm

        sampler = ebm.HMC(step_size=target.step_size, leapfrog_steps=target.leaps)
        return _ebmkit(sampler, target, steps)

    sampler = HMC(target.step_size, target.leaps)
    makers = _both(sampler, target, steps)
    makers |= {"ebmkit": ebmkit, "torchebm": torchebm, "blackjax": blackjax}
    return Case("HMC", name, "step", steps, "traces", makers)


def nuts(name: str, target: Target, steps: int) -> Case:
    def ebmkit() -> Work:
        import ebm

        sampler = ebm.NUTS(step_size=target.step_size, warmup=0, max_depth=DEPTH)
        return _ebmkit(sampler, target, steps)

    def blackjax() -> Work:
        import blackjax as theirs

        return _scanned(target, steps, theirs.nuts, max_num_doublings=DEPTH)

    sampler = NUTS(target.step_size, max_depth=DEPTH)
    makers = _both(sampler, target, steps) | {"ebmkit": ebmkit, "blackjax": blackjax}
    return Case("NUTS", name, "step", steps, "traces", makers)


class _Module(torch.nn.Module):
    def __init__(self, energy: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.energy = energy

    def forward(self, x: Tensor) -> Tensor:
        return self.energy(x)


def _both(sampler: HMC | NUTS, target: Target, steps: int) -> dict[str, Maker]:
    """Ours on the field as it is, and on the compiled one."""

    def quicker() -> Work:
        if shutil.which("g++") is None:
            raise ImportError("torch compiles by a C++ compiler, and there is none.")
        return _ours(sampler, compiled(Energy(target.energy)), target, steps)

    return {
        OURS: lambda: _ours(sampler, Energy(target.energy), target, steps),
        COMPILED: quicker,
    }


def _ours(sampler: HMC | NUTS, field: Field, target: Target, steps: int) -> Work:
    def work() -> Tensor:
        draws: list[Tensor] = []
        watch = lambda i, state, info: draws.append(state.x.clone())  # noqa: E731
        run(sampler, field, target.start, steps, seeded(0), watch)
        return traces(draws)

    return work


def _ebmkit(sampler: Any, target: Target, steps: int) -> Work:
    def work() -> Tensor:
        global_seed()
        found = sampler.sample(target.energy, target.start, steps=steps, return_trajectory=True)
        return found[1:].transpose(0, 1)

    return work


def _scanned(target: Target, steps: int, algorithm: Any, **settings: Any) -> Work:
    """Chains of blackjax side by side (vmap), the loop compiled as one (scan, jit)."""
    import jax

    start = jax.numpy.asarray(target.start.numpy())
    mass = jax.numpy.ones(start.shape[1])
    kernel = algorithm(target.jax(jax.numpy), target.step_size, mass, **settings)

    @jax.jit
    def chains(key: Any) -> Any:
        def step(state: Any, key: Any) -> tuple[Any, Any]:
            state, _ = jax.vmap(kernel.step)(jax.random.split(key, CHAINS), state)
            return state, state.position

        states = jax.vmap(kernel.init)(start)
        return jax.lax.scan(step, states, jax.random.split(key, steps))[1]

    def work() -> Tensor:
        found = chains(jax.random.key(0)).block_until_ready()
        return torch.from_numpy(jax.numpy.asarray(found).__array__().copy()).transpose(0, 1)

    return work
