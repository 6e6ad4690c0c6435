"""The data that settings are asked for in tests, without reading any."""

from gradlogp.harness import Target

DIGITS = Target("digits", "picture", (1, 8, 8), 1257)
MNIST = Target("mnist", "picture", (1, 28, 28), 55_000)
CIFAR10 = Target("cifar10", "picture", (3, 32, 32), 45_000)
TARGETS = {"digits": DIGITS, "mnist": MNIST}
