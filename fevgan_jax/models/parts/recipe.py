"""What the file of a system says of it: all that the rest of the project knows of any system."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.traverse_util
import ml_collections
import optax

from fevgan_jax.identity import IdentityEncoder
from fevgan_jax.models.parts.system import System

Config = ml_collections.ConfigDict
Change = Callable[[Config], None]  # of a config, in place
# (config, identity encoder or None, optimizer of every network, device axis or None) -> System
Build = Callable[[Config, IdentityEncoder | None, optax.GradientTransformation, str | None], System]


def flatten(config: Config | dict) -> dict[str, Any]:
  """Values by key: {'model': {'width': 32}} -> {'model.width': 32}."""
  tree = config.to_dict() if isinstance(config, Config) else config
  return flax.traverse_util.flatten_dict(tree, sep='.')


def unchanged(config: Config) -> None:
  """The change that changes nothing."""


@dataclasses.dataclass(frozen=True)
class Recipe:
  """How a config becomes a `System`, and what the system is made for.

  A file of `fevgan_jax/models` holds one under the name RECIPE. No other file names a system.

  Attributes:
    title: its name in tables and figures.
    conditions: what of a clip the generator depends on: 'image' (frame 0), 'label', and
      'intensity', which scales the label. A data set without intensities has intensity 1.
    supervision: features of a clip that its losses use where a data set has them.
    needs: features of a clip that it cannot be trained without.
    defaults: makes the sections of the config that are the system's own: 'model', 'critic', 'loss'
      and, with a face network, 'identity'. Every key is explained there.
    build: assembles the system. `models.build` adds what is no matter of the system's: dtype,
      axis_name, and graded, from the conditions.
    published: what its authors train with, where they say so: changes of the shared sections.
    short_run: what a run of minutes on few clips wants.
    long_run: what a run of an hour on more clips wants beside that.
    options: what may follow the system's name in --config FILE:SYSTEM,OPTION.
    without: the parts that a config leaves out, as the paper abbreviates them: () of the whole
      system, ('E_s',) of an ablation.
    sides: pixels per side of the pictures that it has networks for.
    frames: of the clips that it has networks for.
    moves_pixels: whether its generator says how the input's pixels move, in extras 'displacement'
      and those that photograph/motion.py reads, so that a photograph can be moved at its own size.
    paper: what FEV-GAN's paper reports, PSNR, SSIM, ACD and ACD-I, by data set and by what the
      config leaves out.
    preferred: by the raters of FEV-GAN's paper (Table 2), the share that preferred this system, by
      the other one.
  """

  title: str
  conditions: Sequence[str]
  defaults: Callable[[], Config]
  build: Build
  supervision: Sequence[str] = ()
  needs: Sequence[str] = ()
  published: Change = unchanged
  short_run: Change = unchanged
  long_run: Change = unchanged
  options: Mapping[str, Change] = dataclasses.field(default_factory=dict)
  without: Callable[[Config], tuple[str, ...]] = lambda config: ()
  sides: Sequence[int] = (64,)
  frames: int = 32
  moves_pixels: bool = False
  paper: Mapping[str, Mapping[tuple[str, ...], tuple[float, float, float, float]]] = (
    dataclasses.field(default_factory=dict)
  )
  preferred: Mapping[str, float] = dataclasses.field(default_factory=dict)

  @property
  def wanted(self) -> tuple[str, ...]:
    """Features that training is given of clips, beside video and label, where they are known."""
    return (*self.conditions, *self.supervision, *self.needs)
