"""Whatever people hand over becomes one kind of tensor, or is refused in one line."""

import math

import numpy as np
import pytest
import torch

from gradlogp.core.arrays import finite, real
from gradlogp.core.errors import UserError

ROWS = np.arange(6.0).reshape(3, 2)
READ_ONLY = ROWS.copy()
READ_ONLY.setflags(write=False)


@pytest.mark.parametrize(
    "x",
    [
        ROWS.tolist(),
        ROWS[::-1][::-1],
        np.asfortranarray(ROWS),
        READ_ONLY,
        *(ROWS.astype(t) for t in ("f2", "f4", ">f8", "g", "u1", "u2", "u4", "i2", ">i4", "i8")),
        torch.from_numpy(ROWS).requires_grad_(),
        torch.from_numpy(ROWS).bfloat16(),
        [torch.tensor(row) for row in ROWS],
    ],
    ids=str,
)
def test_one_table_in_every_form(x):
    found = finite(x, "x")
    assert found.dtype == torch.float64 and not found.requires_grad
    assert found.tolist() == ROWS.tolist()


def test_the_type_is_kept_where_nothing_else_is_asked():
    assert real(ROWS.astype(np.float32), "x").dtype == torch.float32
    assert real(np.array([True, False]), "x").dtype == torch.bool
    assert real([1, 2], "x").dtype == torch.int64


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (ROWS + 1j, "real numbers, but holds torch.complex128"),
        (["a"], "array of numbers, but holds <U1"),
        ([None, 1.0], "array of numbers, but holds object"),
        ([[1.0], [2.0, 3.0]], "array of numbers, but"),
        (ROWS[:0], r"at least one example, but has shape \[0, 2\]"),
        ([[1.0], [math.nan], [math.inf]], "finite numbers, but 2 of 3 examples"),
        (np.array([[1e39], [1.0]]), "1 of 2 examples hold NaN, inf or more than torch.float32"),
    ],
)
def test_what_is_no_table_of_numbers_is_refused(x, message):
    with pytest.raises(UserError, match=message):
        finite(x, "x", torch.float32)
