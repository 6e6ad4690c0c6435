r"""What a network is told beside x: the noise level and the class.

References: Ho et al. (2020), DDPM, arXiv 2006.11239, app. B (the embedding of time); Perez et al.
(2018), FiLM, arXiv 1709.07871, eq. 2; Ho & Salimans (2022), arXiv 2207.12598, algorithm 1 (a class
that stands for none).
"""

import math

import torch
from torch import Tensor, nn


def class_rows(cond: Tensor | None, classes: int, x: Tensor) -> Tensor:
    """Rows [B] of a table of classes + 1: the classes, and last 'no class given', for cond None or
    entries below 0.
    """
    none = torch.full((x.shape[0],), classes, device=x.device)
    return none if cond is None else torch.where(cond < 0, none, cond)


def check_classes(cond: Tensor | None, classes: int, lowest: int = 0) -> None:
    """ValueError where `cond` is no class number from `lowest` on (looked at on the CPU only, where
    looking costs no host sync, and not where a graph is traced, which has no numbers yet).
    """
    if cond is None or torch.compiler.is_compiling():
        return
    if classes == 0:
        raise ValueError(
            "this network was built without classes, but got a `cond`; build it with classes=n."
        )
    if cond.is_floating_point() or (
        cond.device.type == "cpu" and ((cond < lowest) | (cond >= classes)).any()
    ):
        raise ValueError(
            f"a condition is a class number from {lowest} to {classes - 1}, got {cond.min()} to"
            f" {cond.max()} in {cond.dtype}; build the network with more classes, or pass"
            " cond.long()."
        )


class Embedding(nn.Module):
    """(level [B], cond [B]) -> [B, width]; class -1, or no cond at all, stands for 'no class
    given'.
    """

    frequencies: Tensor

    def __init__(self, width: int, classes: int, frequencies: int = 16) -> None:
        super().__init__()
        self.classes = classes
        self.register_buffer(
            "frequencies", torch.linspace(0, math.log(64.0), frequencies).exp(), persistent=False
        )
        self.label = nn.Embedding(classes + 1, width) if classes else None
        self.mlp = nn.Sequential(
            nn.Linear(2 * frequencies, width), nn.SiLU(), nn.Linear(width, width)
        )

    def forward(self, level: Tensor, cond: Tensor | None) -> Tensor:
        check_classes(cond, self.classes, -1)
        angle = level[:, None] * self.frequencies
        embedding = self.mlp(torch.cat([angle.cos(), angle.sin()], 1))
        return (
            embedding
            if self.label is None
            else embedding + self.label(class_rows(cond, self.classes, level))
        )


def modulate(h: Tensor, film: Tensor) -> Tensor:
    """h (1 + scale) + shift for h [B, C, *sizes]; film [B, 2 C] holds a scale and then a shift for
    each channel.
    """
    scale, shift = film.reshape(h.shape[0], -1, *[1] * (h.ndim - 2)).chunk(2, 1)
    return torch.addcmul(shift, h, 1 + scale)
