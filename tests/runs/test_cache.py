"""What is shared is made once, and never stale."""

import torch

from gradlogp.runs.cache import Cache, checksum


def test_what_is_shared_is_made_once_and_never_stale(tmp_path):
    cache, made = Cache(tmp_path), []

    def make():
        made.append(1)
        return {"x": torch.arange(3.0)}

    first, again, other = (cache("a b", [key], make) for key in (0, 0, 1))
    assert torch.equal(first["x"], again["x"]) and len(made) == 2 and float(other["seconds"]) >= 0


def test_a_checksum_is_of_order_sign_shape_and_kind():
    x = torch.arange(6.0)
    others = (x.flip(0), -x, x.reshape(2, 3), x.double(), x[:5])
    assert len({checksum(y) for y in (x, x.clone(), *others)}) == 1 + len(others)
