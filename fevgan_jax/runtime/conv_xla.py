"""Strided convolution, its transpose and the kernel's gradient as XLA has them.

On GPU and TPU they are the vendor's; on a CPU only the first is fast, and of two axes. Shapes and
arguments are those of conv.py.
"""

import functools

import jax
from jax import lax

Array = jax.Array


def strided_conv(x: Array, kernel: Array, *, strides, padding) -> Array:
  space = 'DHW'[-len(strides) :]
  layouts = (f'N{space}C', f'{space}IO', f'N{space}C')
  return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=layouts)


def transposed_conv(y: Array, kernel: Array, *, strides, padding, fine) -> Array:
  x = jax.ShapeDtypeStruct((y.shape[0], *fine, kernel.shape[-2]), y.dtype)
  down = functools.partial(strided_conv, kernel=kernel, strides=strides, padding=padding)
  return jax.linear_transpose(down, x)(y)[0]


def kernel_gradient(x: Array, y: Array, *, window, strides, padding) -> Array:
  kernel = jax.ShapeDtypeStruct((*window, x.shape[-1], y.shape[-1]), x.dtype)
  down = lambda kernel: strided_conv(x, kernel, strides=strides, padding=padding)  # noqa: E731
  return jax.linear_transpose(down, kernel)(y)[0]
