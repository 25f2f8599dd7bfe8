"""The layers that the systems share: convolutions that are fast everywhere, and how they begin."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from fevgan_jax.runtime import conv

Array = jax.Array

# Section 4.2: every trained network starts from N(0, 0.01).
normal_init = nn.initializers.normal(0.01)
# DCGAN's, of systems that descend from it.
dcgan_init = nn.initializers.normal(0.02)
# PyTorch's default, U(-1, 1) / sqrt(fan in), of systems whose authors leave it as it is. Of kernels
# [*window, F, C] PyTorch, too, counts F for a transposed convolution.
torch_init = nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform')
# The same for kernels of transposed convolutions that are kept as [*window, C, F].
torch_up_init = nn.initializers.variance_scaling(1 / 3, 'fan_out', 'uniform')
SLOPE = 0.2  # below zero; as in VGAN, on which the paper builds


@jax.custom_jvp
def leaky_relu(x: Array) -> Array:
  """max(x, SLOPE x). Its derivative is that of the sign of the result, which the next layer keeps
  anyway, so that x need not be kept."""
  return jnp.maximum(x, SLOPE * x)


@leaky_relu.defjvp
def _leaky_relu_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
  y = leaky_relu(*primals)
  return y, jnp.where(y >= 0, 1, SLOPE).astype(y.dtype) * tangents[0]


def batch_norm(
  config: ml_collections.ConfigDict, axis_name: str | None, epsilon: float | None = None
) -> Callable[[bool], nn.BatchNorm]:
  """Batch normalization as VGAN initializes it (gamma ~ N(1, 0.02)), averaged over devices.

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


# Strided convolution in as many dimensions as its kernel has.
Conv = functools.partial(
  nn.Conv,
  padding=1,
  kernel_init=normal_init,
  conv_general_dilated_cls=lambda: conv.general_conv,
)


class UpConv(nn.Module):
  """Fractionally strided convolution, the adjoint of `Conv`.

  Attributes:
    repeat_edges: goes on beyond the first and last place of the first axis (time) with these,
      where the plain operation has nothing: there every second tap is missing, and such frames
      come out faint.
    outputs_last: keeps the kernel as [*window, C, F], the matrix that `SpectralUpConv` normalizes.
  """

  features: int
  kernel_size: tuple[int, ...] = (4, 4, 4)
  strides: tuple[int, ...] = (2, 2, 2)
  padding: int | tuple[int, ...] = 1
  use_bias: bool = True
  repeat_edges: bool = False
  outputs_last: bool = False
  kernel_init: nn.initializers.Initializer = normal_init

  @nn.compact
  def __call__(self, x: Array) -> Array:
    channels = (self.features, x.shape[-1])[:: -1 if self.outputs_last else 1]
    kernel = self.param('kernel', self.kernel_init, (*self.kernel_size, *channels))
    kernel = kernel.swapaxes(-1, -2) if self.outputs_last else kernel
    axes = len(self.kernel_size)
    paddings = (self.padding,) * axes if isinstance(self.padding, int) else self.padding
    padding = [(p, p) for p in paddings]
    if self.repeat_edges:
      x = jnp.concatenate([x[:, :1], x, x[:, -1:]], axis=1)
      padding[0] = (padding[0][0] + self.strides[0],) * 2  # cuts off what the two places add
    x = conv.transposed_conv(x, kernel, self.strides, padding)
    return x + self.param('bias', nn.initializers.zeros, (self.features,)) if self.use_bias else x


class SpectralConv(nn.Module):
  """`Conv` whose kernel is divided by its largest singular value, which every training pass knows
  better by one power iteration (Miyato et al., 2018). Flax divides the first kernel itself, too,
  which PyTorch does not; that scale does not matter but for the relative size of Adam's steps."""

  features: int
  kernel_size: tuple[int, ...]
  strides: tuple[int, ...]
  padding: int | tuple[int, ...] = 1

  @nn.compact
  def __call__(self, x: Array, train: bool) -> Array:
    convolution = Conv(
      self.features,
      self.kernel_size,
      self.strides,
      padding=self.padding,
      kernel_init=dcgan_init,
    )
    # The statistics are float32 and would make the kernel so.
    return nn.SpectralNorm(convolution, dtype=x.dtype)(x, update_stats=train)


class SpectralUpConv(nn.Module):
  """`UpConv` without bias, likewise; the matrix has a column for each output channel."""

  features: int
  kernel_size: tuple[int, ...]
  strides: tuple[int, ...]
  padding: int | tuple[int, ...] = 1

  @nn.compact
  def __call__(self, x: Array, train: bool) -> Array:
    convolution = UpConv(
      self.features,
      self.kernel_size,
      self.strides,
      self.padding,
      use_bias=False,
      outputs_last=True,
      kernel_init=torch_up_init,
    )
    return nn.SpectralNorm(convolution, dtype=x.dtype)(x, update_stats=train)
