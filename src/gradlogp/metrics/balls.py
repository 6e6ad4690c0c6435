r"""Who lies in whose ball, exactly, at about the price of a matrix product.

A quick look at all pairs goes by single precision,

.. math:: |x - y|^2 \approx |x|^2 - 2\, x \cdot y + |y|^2,
          \qquad \text{wrong by at most } 2 (d + 8)\, u\, (|x| + |y|)^2,

u being half of the machine's epsilon. It decides nearly all of them. The few whose distance it
cannot tell from the radius of a ball are measured again by differences, in the precision that they
are given in: such as copies, whose distance is 0, and ties with the rim. So the answers are those
of the whole table by differences, at a tenth of its price, and no more than a block of the table is
held at once.

References: Higham (2002), Accuracy and Stability of Numerical Algorithms, section 3.1 (the rounding
error of an inner product).
"""

from collections.abc import Iterator

import torch
from torch import Tensor

CELLS = 2**23  # distances held at once: 32 MiB
MORE = 10  # candidates for the k nearest, beyond k
BY_DIFFERENCES = "donot_use_mm_for_euclid_dist"


class Pairs:
    """The pairs of rows of x [n, d] and y [m, d]; of a sample with itself but for i = j, where y is
    None.
    """

    def __init__(self, x: Tensor, y: Tensor | None = None) -> None:
        self.itself = y is None
        self.x, self.y = x, x if y is None else y
        centre = self.y.mean(0)
        a, b = self.x - centre, self.y - centre
        self.scale = float(torch.maximum(a.abs().max(), b.abs().max())) or 1.0
        plain = torch.get_float32_matmul_precision() == "highest"
        self.a, self.b = (
            z.div(self.scale).to(torch.float32 if plain else torch.float64) for z in (a, b)
        )
        self.squares = [z.square().sum(1) for z in (self.a, self.b)]
        most = sum(float(z.max()) for z in self.squares)
        self.error = 4 * (x.shape[1] + 8) * torch.finfo(self.a.dtype).eps / 2 * most

    def near(self, k: int) -> Tensor:
        """The distance from each x to its k-th nearest y, [n]."""
        found = []
        for rows, table in self._blocks():
            others = table.shape[1] - self.itself
            candidates = table.topk(min(k + MORE, others), largest=False)
            beyond = candidates.values[:, -1] - candidates.values[:, k - 1]
            x = self.x[rows, None]
            exact = _distances(x, self.y[candidates.indices])[:, 0]
            reach = exact.kthvalue(k).values
            if k + MORE < others:
                for i in (beyond <= 2 * self.error).nonzero()[:, 0].tolist():
                    reach[i] = self._whole(rows.start + i).kthvalue(k).values
            found.append(reach)
        return torch.cat(found)

    def inside(self, *reaches: Tensor) -> Iterator[list[tuple[Tensor, Tensor]]]:
        """For each of the `reaches`, [n, 1] of the balls of x or [m] of those of y, the pairs (i,
        j) no further apart than that; some rows at a time.
        """
        for rows, table in self._blocks():
            yield [self._inside(rows, table, r[rows] if r.ndim == 2 else r) for r in reaches]

    def _inside(self, rows: slice, table: Tensor, reach: Tensor) -> tuple[Tensor, Tensor]:
        limit = (reach / self.scale).square()
        i, j = (table <= (limit + self.error).to(table.dtype)).nonzero(as_tuple=True)
        edge, reach = (z.expand(table.shape)[i, j] for z in (limit - self.error, reach))
        sure = table[i, j] <= edge
        for doubt in (~sure).nonzero()[:, 0].split(max(1, CELLS // self.x.shape[1])):
            x, y = self.x[i[doubt] + rows.start, None], self.y[j[doubt], None]
            sure[doubt] = _distances(x, y)[:, 0, 0] <= reach[doubt]
        return i[sure] + rows.start, j[sure]

    def _blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """The quick look at the squared distances of some rows, in units of the scale; all in the
        same memory.
        """
        step = max(1, CELLS // len(self.y))
        memory = self.a.new_empty(min(step, len(self.x)), len(self.y))
        for start in range(0, len(self.x), step):
            rows = slice(start, min(start + step, len(self.x)))
            a, table = self.a[rows], memory[: rows.stop - start]
            torch.addmm(self.squares[1], a, self.b.T, alpha=-2, out=table)
            table += self.squares[0][rows, None]
            if self.itself:
                table.diagonal(start).fill_(torch.inf)
            yield rows, table

    def _whole(self, i: int) -> Tensor:
        """All distances from one x, [m], by differences."""
        distance = _distances(self.x[i : i + 1], self.y)[0]
        if self.itself:
            distance[i] = torch.inf
        return distance


def _distances(x: Tensor, y: Tensor) -> Tensor:
    return torch.cdist(x, y, compute_mode=BY_DIFFERENCES)
