"""What the numbers say, in sentences that a page and a terminal share."""

from collections.abc import Iterator
from itertools import combinations

from gradlogp.reports import words
from gradlogp.reports.numbers import Key
from gradlogp.reports.read import Method, Page


def sentences(page: Page) -> list[str]:
    """Beside the winners of each column: what would be missed without."""
    return list(_at_training_steps(page))


def _at_training_steps(page: Page) -> Iterator[str]:
    """Energies trained by chains of the same length, compared after as many steps as that."""
    steps = {m.name: m.first.recipe.get("chain_steps") for m in page.methods}
    for one, other in combinations(page.methods, 2):
        n = steps[one.name]
        key = Key("fd", (("steps", n),))
        if n is None or n != steps[other.name] or n == _drawn(one):
            continue
        if page.numbers.cell(one.name, key) and page.numbers.cell(other.name, key):
            yield _compared(page, one, other, key, n)


def _drawn(method: Method) -> int | None:
    return method.first.recipe.get("generate_steps")


def _compared(page: Page, one: Method, other: Method, key: Key, steps: int) -> str:
    """The better of the two first, in name and in number."""
    found = page.numbers.pairwise(one.name, other.name, [key])
    one, other = (other, one) if found.worse else (one, other)
    sure = found.better or found.worse
    verdict = f"**{one.title}** is better" if sure else "neither is clearly better"
    return (
        f"After the {steps} steps that both are trained with, instead of {_drawn(one)}, {verdict}:"
        f" {words.metric(Key('fd')).name} {_value(page, one, key)} against"
        f" {_value(page, other, key)}. What a buffer buys are chains that go on well after that."
    )


def _value(page: Page, method: Method, key: Key) -> str:
    cell = page.numbers.cell(method.name, key)
    assert cell is not None
    stderr = "" if cell.stderr is None else f" \u00b1 {words.number(cell.stderr, cell.stderr)}"
    return f"{words.number(cell.value, cell.stderr)}{stderr}"
