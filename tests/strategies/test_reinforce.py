import numpy as np
import pytest

from nas_skeleton.strategies import Result
from nas_skeleton.strategies.encoding import operations
from nas_skeleton.strategies.reinforce import Reinforce


def test_learns_as_torch_does_in_float64():
    torch = pytest.importorskip("torch")
    strategy = Reinforce(seed=3)
    logits = torch.tensor(strategy._logits, requires_grad=True)
    optimiser = torch.optim.Adam([logits], lr=0.01)
    numerator = denominator = 0.0
    rewards = np.random.default_rng(0)
    for _ in range(200):
        trial = strategy.ask()
        reward = float(rewards.uniform(0.1, 0.9))
        strategy.tell(trial, Result(reward))

        numerator = 0.9 * numerator + 0.1 * 100 * reward
        denominator = 0.9 * denominator + 0.1
        actions = torch.tensor(operations()[trial.arch_index])
        log_prob = torch.distributions.Categorical(logits=logits).log_prob(actions)
        loss = (-log_prob * (100 * reward - numerator / denominator)).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    # Steps are of 1e-2. The first gradient is zero but for rounding, of which Adam makes 1e-9.
    np.testing.assert_allclose(strategy._logits, logits.detach().numpy(), rtol=0, atol=1e-7)


def test_draws_from_its_distribution():
    strategy = Reinforce(seed=0)
    strategy._logits = np.log(np.tile([0.1, 0.2, 0.3, 0.15, 0.25], (6, 1)))
    cells = operations()[[strategy.ask().arch_index for _ in range(3000)]]
    for edge in range(6):
        shares = np.bincount(cells[:, edge], minlength=5) / 3000
        assert shares == pytest.approx([0.1, 0.2, 0.3, 0.15, 0.25], abs=0.035)


def test_comes_to_prefer_what_is_rewarded():
    strategy = Reinforce(seed=1)
    for _ in range(600):
        trial = strategy.ask()
        strategy.tell(trial, Result(float((operations()[trial.arch_index] == 3).mean())))
    assert (strategy._probabilities().argmax(axis=1) == 3).all()
