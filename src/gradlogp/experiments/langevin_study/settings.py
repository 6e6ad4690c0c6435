"""The samplers under study: geometric ladders, steps at each level, other ladders, consistent
annealing, and for pictures other step sizes and ends.

References: Song & Ermon (2019), arXiv 1907.05600, algorithm 1; Song & Ermon (2020), arXiv
2006.09011, techniques 1, 2 and 4; Jolicoeur-Martineau et al. (2021), arXiv 2009.05475.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal, final

from gradlogp.core.annealing import geometric_ratio
from gradlogp.core.noise import EDM, VarianceExploding
from gradlogp.samplers import Annealed, AnnealedLangevin, ConsistentAnnealedLangevin

TOP, BOTTOM = 10.0, 0.05  # noise levels on [-1, 1]
COARSE = 0.3  # where the ladders that stop early end
GEOMETRIC = VarianceExploding(BOTTOM, TOP)
Family = Literal[
    "one step a level",
    "several steps",
    "other ladders",
    "consistent",
    "other step sizes",
    "denoised from .3",
    "not denoised",
]


@final
@dataclass(frozen=True)
class Setting:
    """A sampler with a name, and the curve that it lies on."""

    name: str
    family: Family
    sampler: Annealed


def technique_2(dim: int) -> int:
    """Levels of the geometric ladder from TOP to BOTTOM whose neighbours overlap by half: Song &
    Ermon (2020), technique 2.
    """
    return 1 + math.ceil(math.log(TOP / BOTTOM) / math.log(geometric_ratio(dim)))


def settings(dim: int) -> list[Setting]:
    """Those that are studied on any data of `dim` entries."""
    full = technique_2(dim)
    return [
        *(_annealed(levels) for levels in (10, 20, 40, full)),
        _annealed(10, 4),
        _annealed(20, 5),
        Setting(
            "linear ladder L=40",
            "other ladders",
            AnnealedLangevin(EDM(BOTTOM, TOP, 1.0), 40, step_ratio=0.1),
        ),
        Setting("rho 7 ladder L=40", "other ladders", AnnealedLangevin(EDM(BOTTOM, TOP, 7.0), 40)),
        *(_consistent(levels) for levels in (40, full)),
    ]


def variants(dim: int) -> list[Setting]:
    """For pictures also the step size of technique 4 halved and doubled, and ladders with and
    without the last step.
    """
    base = AnnealedLangevin(GEOMETRIC, 40)
    coarse = replace(base, process=VarianceExploding(COARSE, TOP))
    return [
        *settings(dim),
        *(_scaled(base, factor) for factor in (0.5, 2.0)),
        Setting("L=40 T=1 not denoised", "not denoised", replace(base, denoise=False)),
        Setting("down to .3", "denoised from .3", coarse),
        Setting("down to .3 not denoised", "not denoised", replace(coarse, denoise=False)),
    ]


def _annealed(levels: int, each: int = 1) -> Setting:
    family: Family = "one step a level" if each == 1 else "several steps"
    return Setting(f"L={levels} T={each}", family, AnnealedLangevin(GEOMETRIC, levels, each))


def _consistent(levels: int) -> Setting:
    sampler = ConsistentAnnealedLangevin(GEOMETRIC, levels)
    return Setting(f"consistent L={levels}", "consistent", sampler)


def _scaled(base: AnnealedLangevin, factor: float) -> Setting:
    sampler = replace(base, step_ratio=min(1.99, factor * base.rho))
    return Setting(f"L=40 step x {factor:g}", "other step sizes", sampler)
