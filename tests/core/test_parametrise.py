import torch

from gradlogp.core import parametrise as p


def test_every_name_leads_to_every_other_and_back():
    g = torch.Generator().manual_seed(0)
    x0, eps = torch.randn(2, 64, 3, generator=g, dtype=torch.float64)
    for alpha, sigma in ((1.0, 0.3), (0.8, 0.6), (0.1, 7.0)):
        xt = alpha * x0 + sigma * eps
        score, v = -eps / sigma, alpha * eps - sigma * x0
        close = lambda a, b: torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-10)
        close(p.score_from_x0(x0, xt, alpha, sigma), score)
        close(p.x0_from_score(score, xt, alpha, sigma), x0)
        close(p.score_from_eps(p.eps_from_score(score, sigma), sigma), score)
        close(p.x0_from_eps(p.eps_from_x0(x0, xt, alpha, sigma), xt, alpha, sigma), x0)
        close(p.v_from_eps_x0(eps, x0, alpha, sigma), v)
        close(p.x0_from_v(v, xt, alpha, sigma), x0)
        close(p.eps_from_v(v, xt, alpha, sigma), eps)
