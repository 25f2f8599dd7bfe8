"""Algorithm 1 of the paper as one pure function of (state, batch, rng)."""

from collections.abc import Mapping

import jax
from jax import lax

from fevgan_jax.models.parts import losses
from fevgan_jax.models.parts.system import Critic, Example, Generated, System, Verdict
from fevgan_jax.training.state import NetworkState, TrainState, update

Array = jax.Array
Metrics = dict[str, Array]


def train_step(
  system: System, state: TrainState, frozen, batch: Mapping[str, Array], rng: Array
) -> tuple[TrainState, Metrics]:
  """One pass of Algorithm 1: the critics on real and generated clips, then the generator against
  them.

  Gradients and metrics are averaged over `system.axis_name` where one is set.

  Args:
    system: the networks, the terms and the optimizers.
    state: before the step.
    frozen: parameters of the face network, or None; never changed.
    batch: 'video' uint8 [batch, time, height, width, 3], 'label' int [batch], and, where they
      are known and used, 'intensity' float [batch] and the features of faces/truth.py.
    rng: key of the run; the step and the device are folded in here.

  Returns:
    The state after the step, and float32 scalars by name.
  """
  rng = jax.random.fold_in(rng, state.step)
  if system.axis_name:
    rng = jax.random.fold_in(rng, lax.axis_index(system.axis_name))
  noise_key, view_key, term_key = jax.random.split(rng, 3)
  example = system.example(frozen, batch)

  def generate(params) -> tuple[Generated, dict]:
    return system.apply(
      system.generator,
      {'params': params, 'batch_stats': state.generator.batch_stats},
      example.image,
      example.label,
      example.features,
      train=True,
      **system.guidance(example),
      rngs={'noise': noise_key},
      mutable=['batch_stats'],
    )

  # Lines 6 and 7: one forward pass serves both updates.
  generated, pull_back, mutated = jax.vjp(generate, state.generator.params, has_aux=True)

  # Lines 8 to 11: D(Y, L), D(Y', L) and the critics' update.
  critics, metrics = {}, {}
  for name, critic in system.critics.items():
    critics[name], values = update_critic(
      system, critic, state.critics[name], example, generated, view_key
    )
    metrics |= {f'{name}/{key}': value for key, value in values.items()}

  # Lines 12 to 15: the generator, judged by the critics.
  judges = state.critics if system.judges_before_update else critics

  def objective(generated: Generated) -> tuple[Array, Metrics]:
    return generator_objective(system, judges, frozen, example, generated, view_key, term_key)

  gradients, terms = jax.grad(objective, has_aux=True)(generated)
  (gradients,) = pull_back(gradients)
  metrics |= terms
  if system.axis_name:
    gradients, metrics = lax.pmean((gradients, metrics), system.axis_name)
  generator = update(state.generator, gradients, mutated.get('batch_stats', {}), system.optimizer)
  return TrainState(state.step + 1, generator, critics), metrics


def update_critic(
  system: System,
  critic: Critic,
  network: NetworkState,
  example: Example,
  generated: Generated,
  view_key: Array,
) -> tuple[NetworkState, Metrics]:
  """Line 10 and 11: real and generated clips in two passes, each normalized by its own batch's
  statistics."""
  real, fake = (critic.view(x, view_key) for x in critic.pair(example, generated))

  def loss(params, stats, key):
    of_real, stats = judge(system, critic, params, stats, real, example.label)
    of_fake, stats = judge(system, critic, params, stats, fake, example.label)
    total, values = critic.game.critic(of_real.logits, of_fake.logits), {}
    if critic.gradient_penalty:
      share = jax.random.uniform(key, (len(real), *(1,) * (real.ndim - 1)))
      between = real + share * (fake - real)
      slopes = jax.grad(
        lambda view: judge(system, critic, params, stats, view, example.label)[0].logits.sum()
      )(between)
      values['slope'] = losses.gradient_penalty(slopes)
      total += critic.gradient_penalty * values['slope']
    if critic.label_weight:
      values['label'] = losses.label_loss(of_real.label_logits, example.label)
      total += critic.label_weight * values['label']
    return total, (stats, values | {'loss': total})

  for i in range(critic.steps):
    gradients, (stats, values) = jax.grad(loss, has_aux=True)(
      network.params, network.batch_stats, jax.random.fold_in(view_key, i)
    )
    if system.axis_name:
      gradients = lax.pmean(gradients, system.axis_name)
    network = update(network, gradients, stats, critic.optimizer)
  return network, values


def generator_objective(
  system: System,
  critics: Mapping[str, NetworkState],
  frozen,
  example: Example,
  generated: Generated,
  view_key: Array,
  term_key: Array,
) -> tuple[Array, Metrics]:
  """Line 14, eq. (1): the critics' verdict and the weighted terms. The critics' statistics stay as
  they are."""
  total, values = 0.0, {}
  for name, critic in system.critics.items():
    verdict, _ = judge(
      system,
      critic,
      critics[name].params,
      critics[name].batch_stats,
      critic.view(critic.pair(example, generated)[1], view_key),
      example.label,
    )
    values[f'generator/{name}'] = critic.game.generator(verdict.logits)
    total += system.adversarial_weight * values[f'generator/{name}']
    if critic.label_weight:
      values[f'generator/{name}_label'] = losses.label_loss(verdict.label_logits, example.label)
      total += critic.label_weight * values[f'generator/{name}_label']
  for i, (name, term) in enumerate(system.terms.items()):
    key = jax.random.fold_in(term_key, i)
    values[f'generator/{name}'] = term.loss(
      example, generated, lambda image: system.encode(frozen, image), key
    )
    total += term.weight * values[f'generator/{name}']
  return total, values | {'generator/loss': total}


def judge(
  system: System, critic: Critic, params, batch_stats, view: Array, label: Array
) -> tuple[Verdict, dict]:
  """What a critic says in training mode, and its statistics after this batch."""
  variables = {'params': params, 'batch_stats': batch_stats}
  verdict, mutated = system.apply(
    critic.module, variables, view, label, train=True, mutable=['batch_stats']
  )
  if not isinstance(verdict, Verdict):
    verdict = Verdict(verdict)
  return verdict, mutated.get('batch_stats', {})
