import pytest
import torch

from gradlogp.objectives import ReplayBuffer


def zeros(x, generator):
    return x.zero_()


def buffer(capacity=1000, restart_prob=0.0, noise=zeros, **more):
    return ReplayBuffer(
        capacity, (1,), noise, torch.Generator().manual_seed(0), restart_prob, **more
    )


def test_ancestry_survives_two_thousand_updates():
    """With same-slot write-back no chain is ever copied over another: every ancestry is still there
    at the end.
    """
    kept, g = buffer(), torch.Generator().manual_seed(1)
    kept.x[:, 0] = torch.arange(1000.0)
    for _ in range(2000):
        draw = kept.draw(64, g)
        kept.put(draw.slots, draw.x)
    assert kept.x[:, 0].tolist() == list(range(1000))


def test_the_share_of_fresh_chains():
    kept = buffer(restart_prob=0.05, noise=lambda x, g: x.fill_(7.0))
    g = torch.Generator().manual_seed(1)
    kept.x.zero_()
    n, fresh = 0, 0
    for _ in range(500):
        draw = kept.draw(64, g)
        assert torch.equal(
            draw.x[:, 0] == 7.0, draw.restarted
        )  # a restart is a restart, not a nudge
        n, fresh = n + 64, fresh + int(draw.restarted.sum())
    assert abs(fresh - 0.05 * n) / (0.05 * 0.95 * n) ** 0.5 < 4


def test_every_chain_is_drawn_equally_often_and_never_twice_at_once():
    kept = buffer(200)
    g = torch.Generator().manual_seed(1)
    counts = torch.zeros(200)
    for _ in range(1000):
        slots = kept.draw(50, g).slots
        assert len(slots.unique()) == 50
        counts[slots] += 1
    z = (counts - 250) / (1000 * 0.25 * 0.75) ** 0.5
    assert z.abs().max() < 5 and abs(float(z.var()) - 1) < 0.5


def test_a_slot_keeps_its_class():
    classes = torch.tensor([0, 0, 1])  # two thirds, one third
    kept = buffer(300, restart_prob=0.5, classes=classes)
    g = torch.Generator().manual_seed(1)
    before = kept.cond.clone()
    draw = kept.draw(300, g)
    kept.put(draw.slots, draw.x + draw.cond[:, None])
    assert torch.equal(kept.cond, before) and before.bincount().tolist() == [200, 100]
    assert torch.equal(kept.x[:, 0].long(), before)


def test_it_comes_back_exactly():
    kept = buffer()
    other = buffer()
    g = torch.Generator().manual_seed(1)
    kept.put(kept.draw(64, g).slots, torch.randn(64, 1, generator=g))
    other.load({k: v.clone() for k, v in kept.state().items()})
    assert torch.equal(other.x, kept.x)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: buffer(0), "capacity >= 1"),
        (lambda: buffer(restart_prob=1.5), "restart_prob"),
        (lambda: buffer(10).draw(11, torch.Generator()), "cannot give 11 distinct"),
        (lambda: buffer(10).load({"x": torch.zeros(9, 1)}), "resume with the settings"),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
