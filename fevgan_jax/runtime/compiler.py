"""Options of XLA's compiler. They are no interface: any release of JAX may drop one."""

import functools

import jax
from absl import logging

Options = dict[str, str | int | bool]


def known(options: Options) -> Options:
  """Returns those of the options that the installed compiler has, for `compiler_options` of JAX."""
  return {name: value for name, value in options.items() if _is_known(name, value)}


@functools.cache
def _is_known(name: str, value: str | int | bool) -> bool:
  try:
    jax.jit(lambda: 0, compiler_options={name: value}).lower().compile()
  except (jax.errors.JaxRuntimeError, ValueError) as error:
    logging.info('the compiler has no option %s=%s: %s', name, value, error)
    return False
  return True
