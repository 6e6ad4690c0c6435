"""A table with empty cells comes back letter by letter, with these filled in and no others."""

import pytest
import torch

from gradlogp.core.errors import UserError
from gradlogp.data import load
from gradlogp.data.holes import read_holes

HEAD = "id,height,age,town,flag,unit,size"
FULL = [
    f"n{i:02d}x,{i / 4},{20 + i},{'abc'[i % 3]},{'TRUE' if i % 2 else 'FALSE'},kg,{i}"
    for i in range(40)
]
HOLED = ["1.50 m,,30,a,TRUE,kg,1", "x,2.50,NA,,,,2", '"a, b",0.10,25,c,FALSE,kg,']


def columns(tmp_path, rows=FULL):
    path = tmp_path / "train.csv"
    path.write_text("\n".join([HEAD, *rows]) + "\n")
    return load(f"csv:{path}").columns


def holed(tmp_path, known, rows=HOLED, separator=",", decimal="."):
    path = tmp_path / "new.csv"
    path.write_text("\n".join([HEAD, *rows]) + "\n")
    return read_holes(path, known)


def filling(holes):
    """Rows with 7.6 in each empty cell of a number, and the last category in that of another."""
    x = holes.x.clone()
    for column, span in zip(holes.columns.members, holes.columns.spans, strict=True):
        values = torch.zeros(column.width).double()
        values[-1:] = 1 if column.categories else 7.6
        values = torch.tensor([7.6, 0]).double() if column.missing else values
        x[:, span] = torch.where(holes.free[:, span], values, x[:, span])
    return x


@pytest.mark.parametrize("lost", [False, True], ids=["no cell was empty in training", "some were"])
def test_only_empty_cells_are_filled_and_all_else_is_as_it_was(tmp_path, lost):
    """Whole numbers stay whole, categories and truths are spelled as the file spells them, a column
    of one value is filled with it, and names, which no model knows, keep their letters.
    """
    rows = FULL + [f"y{i},,,,,kg,{i}" for i in range(9)] if lost else FULL
    holes = holed(tmp_path, columns(tmp_path, rows))
    assert holes.counts == {"height": 1, "age": 1, "town": 1, "flag": 1, "unit": 1, "size": 1}
    assert holes.x.shape[1] == holes.columns.width and holes.empty.sum() == 6
    holes.write(tmp_path / "out.csv", filling(holes))
    assert (tmp_path / "out.csv").read_text().splitlines() == [
        HEAD,
        "1.50 m,7.6,30,a,TRUE,kg,1",
        "x,2.50,8,c,TRUE,kg,2",
        '"a, b",0.10,25,c,FALSE,kg,8',
    ]


def test_line_ends_and_the_mark_of_utf8_are_kept(tmp_path):
    """And an empty cell of a column that the model does not know stays nothing at all."""
    known, path = columns(tmp_path), tmp_path / "new.csv"
    path.write_bytes("\r\n".join([HEAD, ",,30,a,TRUE,kg,1", ""]).encode("utf-8-sig"))
    holes = read_holes(path, known)
    holes.write(tmp_path / "out.csv", filling(holes))
    expected = "\r\n".join([HEAD, ",7.6,30,a,TRUE,kg,1", ""]).encode("utf-8-sig")
    assert (tmp_path / "out.csv").read_bytes() == expected


def test_a_mark_that_a_model_has_learned_is_known_and_not_set(tmp_path):
    known = columns(tmp_path, FULL + [f"y{i},,40,,TRUE,kg,1" for i in range(9)])
    holes = holed(tmp_path, known)
    names = [column.name for column in known.members]
    height, town = (known.spans[names.index(name)] for name in ("height", "town"))
    assert holes.free[0, height].tolist() == [True, False] and holes.x[0, height][1] == 0
    assert holes.free[1, town].tolist() == [False, True, True, True] and holes.x[1, town][0] == 0


@pytest.mark.parametrize(("source", "target"), [("csv", "parquet"), ("parquet", "csv")])
def test_parquet_holds_types(tmp_path, source, target):
    from pyarrow import csv, parquet

    known, path = columns(tmp_path), tmp_path / f"new.{source}"
    text = tmp_path / "text.csv"
    text.write_text("\n".join([HEAD, *HOLED]) + "\n")
    if source == "parquet":
        options = csv.ConvertOptions(strings_can_be_null=True)
        parquet.write_table(csv.read_csv(text, convert_options=options), path)
    else:
        text.rename(path)
    holes = read_holes(path, known)
    out = tmp_path / f"out.{target}"
    holes.write(out, filling(holes))
    table = csv.read_csv(out) if target == "csv" else parquet.read_table(out)
    rows = table.drop_columns(["id"]).to_pylist()
    assert list(rows[1].values()) == [2.5, 8, "c", True, "kg", 2]
    assert rows[0]["height"] == pytest.approx(7.6) and rows[2]["size"] == 8


def test_separator_and_decimal_commas_are_kept(tmp_path):
    known = columns(tmp_path)
    path = tmp_path / "new.csv"
    path.write_text("id;height;age;town;flag;unit;size\na;1,25;;b;TRUE;kg;3\nb;;21;b;TRUE;kg;3\n")
    holes = read_holes(path, known)
    holes.write(tmp_path / "out.csv", filling(holes))
    found = (tmp_path / "out.csv").read_text().splitlines()
    assert found[1:] == ["a;1,25;8;b;TRUE;kg;3", "b;7,6;21;b;TRUE;kg;3"]


def test_a_table_without_an_empty_cell_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match="none of its 1 row has an empty cell in a column that"):
        holed(tmp_path, columns(tmp_path), ["x,1,30,a,TRUE,kg,1"])
