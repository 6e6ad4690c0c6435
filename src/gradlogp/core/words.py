"""Counts in sentences: 1 file is, 2 files are."""


def counted(n: int, noun: str, plural: str = "") -> str:
    """`n` of a thing, by its noun in the singular: "1 file", "1,200 files"."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def are(n: int) -> str:
    """The verb of `n` things."""
    return "is" if n == 1 else "are"
