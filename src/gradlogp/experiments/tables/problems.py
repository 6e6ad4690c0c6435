r"""Three questions to one table, and the rows that answer them.

* **detect**: which rows are unusual? The test part, anomalies against normal rows.
* **impute**: what stands in a missing cell? Cells of the normal test rows are hidden, each with the
  same probability, and filled in again:

  .. math:: \mathrm{NRMSE} = \sqrt{\mathrm{mean}_{\text{hidden}} (\hat x_{ij} - x_{ij})^2 / s_j^2} ,

  with s_j the standard deviation of the normal training rows: 1 is what their mean achieves.
* **synthesise**: can new rows be told from normal test rows?

Normal rows are those of the class that the training part has most of; without classes, all are. All
methods learn from the normal training rows alone, standardised by them; whatever is chosen is
chosen on normal validation rows. A column of categories is hidden whole.

References: Rubin (1976), Inference and Missing Data (missing completely at random); Han et al.
(2022), ADBench, arXiv 2206.09426.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Generator, Tensor

from gradlogp import data as readers
from gradlogp.core.errors import UserError
from gradlogp.core.random import seeded
from gradlogp.data import Dataset, Split
from gradlogp.harness.kinds import Row
from gradlogp.harness.recipe import specify
from gradlogp.harness.trial import Context


@final
@dataclass(frozen=True, eq=False)
class Problem:
    """One table, standardised by its normal training rows: to learn from, to choose on and to test
    on, [n, d]; the anomalies of the test part [m, d]; the entries of each column.
    """

    name: str
    train: Tensor
    held_out: Tensor
    test: Tensor
    anomalies: Tensor
    spans: tuple[slice, ...]

    def hidden(self, rows: Tensor, share: float) -> Tensor:
        """Which cells of `rows` are hidden, bool [n, d]: the same for every method."""
        generator = seeded("hidden cells", self.name, f"{share:g}")
        return hide(rows, self.spans, share, generator)


def hide(rows: Tensor, spans: tuple[slice, ...], share: float, generator: Generator) -> Tensor:
    """Cells [n, d] hidden completely at random with probability `share`; one at least stays known
    and one is hidden in every row.
    """
    draws = torch.rand(len(rows), len(spans), generator=generator)
    least, most = draws.argmin(1, keepdim=True), draws.argmax(1, keepdim=True)
    columns = (draws < share).scatter(1, least, True).scatter(1, most, False)
    widths = torch.tensor([span.stop - span.start for span in spans])
    return columns.repeat_interleave(widths, 1)


def problems(context: Context, further: tuple[str, ...], rows: int) -> Iterator[Problem]:
    """Of the data set at hand, then of `further` ones; of each at most `rows` normal test rows."""
    for data in (context.data, *(readers.load(name, context.root) for name in further)):
        yield problem(data, rows)


def problem(data: Dataset, rows: int) -> Problem:
    """The normal rows of a table, and the others of its test part. Raises UserError for data that
    are no rows, and for fewer than two columns.
    """
    if data.kind != "row":
        raise UserError(f"{data.name} holds no rows of a table; take csv:PATH or adbench:TABLE.")
    labels = data.train.labels
    usual = 0 if labels is None else int(labels.bincount().argmax())
    train = _of(data.train, usual)
    kind = specify(Dataset(data.name, train, train, train, kind="row")).coordinates
    assert isinstance(kind, Row)
    columns = data.columns
    spans = tuple(slice(i, i + 1) for i in range(len(kind.scale)))
    if columns is not None:
        spans = tuple(span for span in columns.spans if span.stop > span.start)
    if len(spans) < 2:
        raise UserError(f"{data.name} has one column that varies; imputation needs two or more.")
    test = data.test.scaled()
    normal = torch.ones(len(test), dtype=torch.bool)
    if data.test.labels is not None:
        normal = data.test.labels == usual
    parts = (train.scaled(), _of(data.validation, usual).scaled(), test[normal], test[~normal])
    x, held_out, known, others = map(kind.to_model, parts)
    return Problem(data.name, x, held_out, known[:rows], others, spans)


def _of(split: Split, usual: int) -> Split:
    return split if split.labels is None else split[(split.labels == usual).nonzero()[:, 0]]
