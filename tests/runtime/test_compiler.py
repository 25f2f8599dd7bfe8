"""Options of the compiler that a release may drop."""

from fevgan_jax.runtime import compiler


def test_unknown_options_are_left_out():
  options = {
    'xla_backend_optimization_level': 0,
    'xla_no_such_option': True,
    'xla_cpu_scheduler_type': 'NO_SUCH_SCHEDULER',
  }
  assert compiler.known(options) == {'xla_backend_optimization_level': 0}
