"""The terms of the objective against numbers worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fevgan_jax.models.parts import losses


def test_critic_loss_by_hand():
  # Logits 0: -log(1/2) twice, 2 log 2.
  assert losses.critic_loss(jnp.zeros(3), jnp.zeros(3)) == pytest.approx(2 * np.log(2))
  # Real at log 3 has probability 3/4, fake at log 3 probability 1/4 of being called fake: -log 3/4
  # - log 1/4.
  logit = jnp.full(2, np.log(3))
  assert losses.critic_loss(logit, logit) == pytest.approx(-np.log(3 / 4) - np.log(1 / 4), rel=1e-5)


def test_critic_loss_saturates_instead_of_overflowing():
  assert losses.critic_loss(jnp.array([1e4]), jnp.array([-1e4])) == 0
  assert losses.critic_loss(jnp.array([-1e4]), jnp.array([1e4])) == pytest.approx(2e4)


def test_adversarial_loss_pulls_where_the_critic_is_sure():
  # -log sigmoid has slope sigmoid(x) - 1: -1/2 at 0, almost -1 where the critic is certain of a
  # fake.
  slope = jax.grad(lambda x: losses.adversarial_loss(x))
  assert slope(jnp.zeros(1))[0] == pytest.approx(-0.5)
  assert slope(jnp.full(1, -20.0))[0] == pytest.approx(-1, abs=1e-6)


def test_reconstruction_loss_is_a_mean():
  # Half of the values differ by 1/2, half by 0: 1/4, whatever the sizes.
  for shape in ((1, 2, 2, 2, 3), (3, 4, 8, 8, 3)):
    real = jnp.zeros(shape)
    assert losses.reconstruction_loss(real, real.at[:, ::2].set(0.5)) == pytest.approx(0.25)


def test_moving_pixels_may_count_more():
  # Two frames of one pixel, at 0 and then at 1/2, a mean of 1/4: with weight 3 the first counts
  # once and the second 1 + 3 * 2 = 7 times. The fake is off by 1/4 in both: (1/4 + 7/4) / 2.
  real = jnp.array([0.0, 0.5]).reshape(1, 2, 1, 1, 1)
  assert losses.reconstruction_loss(real, real + 0.25) == pytest.approx(0.25)
  for size in (1, 0.1):  # a fainter motion counts as much
    loss = losses.reconstruction_loss(size * real, size * real + 0.25, motion_weight=3.0)
    assert loss == pytest.approx(1.0, rel=1e-3)


def test_identity_loss_compares_every_frame_with_the_reference():
  # One value per frame: |1 - 0|, |1 - 3|: mean 1.5.
  features = jnp.ones((1, 1, 1, 1, 1))
  frames = jnp.array([0.0, 3.0]).reshape(1, 2, 1, 1, 1)
  assert losses.identity_loss(features, frames) == pytest.approx(1.5)
  assert losses.identity_loss(frames, frames) == 0


def test_shapes_that_do_not_match_are_refused():
  with pytest.raises(AssertionError):
    losses.critic_loss(jnp.zeros(2), jnp.zeros(3))
  with pytest.raises(AssertionError):
    losses.reconstruction_loss(jnp.zeros((1, 2, 2, 2, 3)), jnp.zeros((1, 1, 2, 2, 3)))
  with pytest.raises(AssertionError):
    losses.identity_loss(jnp.zeros((1, 4, 4, 8)), jnp.zeros((1, 2, 4, 4, 8)))


def test_wasserstein_losses_and_the_slope_by_hand():
  real, fake = jnp.array([3.0, 5.0]), jnp.array([1.0, 2.0])
  assert losses.WASSERSTEIN.critic(real, fake) == -2.5
  assert losses.WASSERSTEIN.generator(fake) == -1.5
  # Norms of 5 and 0: ((5 - 1)^2 + (0 - 1)^2) / 2.
  slopes = jnp.zeros((2, 3, 2)).at[0, 0, 0].set(3.0).at[0, 2, 1].set(4.0)
  assert losses.gradient_penalty(slopes) == pytest.approx(8.5, rel=1e-5)
