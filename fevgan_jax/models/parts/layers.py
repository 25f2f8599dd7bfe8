"""The layers that the systems share: convolutions that are fast everywhere, and how they begin."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from fevgan_jax.models.parts import conv

Array = jax.Array

# Section 4.2: every trained network starts from N(0, 0.01).
normal_init = nn.initializers.normal(0.01)
# PyTorch's default, U(-1, 1) / sqrt(fan in), of systems whose authors leave it as it is. Of kernels
# [*window, F, C] PyTorch, too, counts F for a transposed convolution.
torch_init = nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform')
# As in VGAN, on which the paper builds.
leaky_relu = functools.partial(nn.leaky_relu, negative_slope=0.2)


def batch_norm(
  config: ml_collections.ConfigDict, axis_name: str | None, epsilon: float | None = None
) -> Callable[[bool], nn.BatchNorm]:
  """Batch normalisation as VGAN initialises it (gamma ~ N(1, 0.02)), averaged over devices.

  Args:
    config: config.norm.
    axis_name: the device axis.
    epsilon: for a network whose authors gave it another than config.norm.epsilon.
  """

  def norm(train: bool) -> nn.BatchNorm:
    return nn.BatchNorm(
      use_running_average=not train,
      momentum=config.momentum,
      epsilon=config.epsilon if epsilon is None else epsilon,
      scale_init=lambda *args: 1 + nn.initializers.normal(0.02)(*args),
      axis_name=axis_name if train else None,
    )

  return norm


def both_sides(padding: int | tuple[int, ...], kernel: tuple[int, ...]) -> list[tuple[int, int]]:
  """(before, after) per axis of the kernel, of one padding or of one per axis."""
  paddings = (padding,) * len(kernel) if isinstance(padding, int) else padding
  return [(p, p) for p in paddings]


class Conv(nn.Module):
  """Strided convolution in as many dimensions as its kernel has."""

  features: int
  kernel: tuple[int, ...]
  strides: tuple[int, ...]
  padding: int | tuple[int, ...] = 1
  bias: bool = True
  kernel_init: nn.initializers.Initializer = normal_init

  @nn.compact
  def __call__(self, x: Array) -> Array:
    kernel = self.param('kernel', self.kernel_init, (*self.kernel, x.shape[-1], self.features))
    x = conv.strided_conv(x, kernel, self.strides, both_sides(self.padding, self.kernel))
    return x + self.param('bias', nn.initializers.zeros, (self.features,)) if self.bias else x


class UpConv(nn.Module):
  """Fractionally strided convolution, the adjoint of `Conv`.

  Attributes:
    repeat_edges: goes on beyond the first and last place of the first axis (time) with these,
      where the plain operation has nothing: there every second tap is missing, and such frames
      come out faint.
  """

  features: int
  kernel: tuple[int, ...] = (4, 4, 4)
  strides: tuple[int, ...] = (2, 2, 2)
  padding: int | tuple[int, ...] = 1
  bias: bool = True
  repeat_edges: bool = False
  kernel_init: nn.initializers.Initializer = normal_init

  @nn.compact
  def __call__(self, x: Array) -> Array:
    kernel = self.param('kernel', self.kernel_init, (*self.kernel, self.features, x.shape[-1]))
    padding = both_sides(self.padding, self.kernel)
    if self.repeat_edges:
      x = jnp.concatenate([x[:, :1], x, x[:, -1:]], axis=1)
      padding[0] = (padding[0][0] + self.strides[0],) * 2  # cuts off what the two places add
    x = conv.transposed_conv(x, kernel, self.strides, padding)
    return x + self.param('bias', nn.initializers.zeros, (self.features,)) if self.bias else x
