"""A trained generator as files for other programs.

- stablehlo: one program with all weights and the face network inside, for CPU, CUDA and TPU.
  Whoever loads it needs JAX and none of this code.
- safetensors: the weights in the manner of the Hugging Face Hub, model.safetensors, config.json
  and a model card. `fevgan_jax.load` reads the folder.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from absl import logging

from fevgan_jax import models
from fevgan_jax.faces.labels import EXPRESSIONS, MAX_INTENSITY, NUM_LABELS
from fevgan_jax.inference import trained
from fevgan_jax.runtime.errors import UserError
from fevgan_jax.runtime.files import replacing

PLATFORMS = 'cpu', 'cuda', 'tpu'
LICENSE = 'Apache-2.0'
CROP = (
  'a face, aligned and masked by fevgan_jax.faces.crop: black outside it; fevgan_jax.load().crop('
  'PHOTO) makes it'
)
CARD = """---
license: apache-2.0
library_name: fevgan-jax
tags:
- jax
- facial-expressions
- video-generation
---

# {title}

One neutral face and an expression to {frames} frames of {side}x{side} pixels. Trained on {data}.

```python
import fevgan_jax

model = fevgan_jax.load('{folder}')
clip = model('me.jpg', 'happiness')
```

`fevgan_jax/weights/README.md` of the project says what it was measured to do, and what not to use
it for. Animate pictures of people only with their consent, and say that the result is synthetic.
"""


def export(
  format: str,  # noqa: A002  the flag's name
  output: pathlib.Path,
  *,
  workdir: pathlib.Path | None = None,
  system: str = trained.BEST,
  overrides: Mapping[str, Any] | None = None,
) -> list[pathlib.Path]:
  """Writes a generator's files.

  Args:
    format: 'safetensors' or 'stablehlo'.
    output: folder for them.
    workdir: of a training run, or None for the weights that come with the project.
    system: whose weights; only read without a workdir.
    overrides: of the config that it was trained with, see `trained.load`.

  Returns:
    The files written.

  Raises:
    UserError: no weights, or what writes the program is not installed.
  """
  generator = trained.load(workdir, overrides, system=system)
  files = {'safetensors': weights, 'stablehlo': program}[format](generator, output)
  logging.info('wrote %s', ', '.join(map(str, files)))
  return files


def weights(generator: trained.TrainedGenerator, output: pathlib.Path) -> list[pathlib.Path]:
  """model.safetensors, in half precision, config.json and README.md."""
  config, plain = generator.config, trained.portable(generator.config.to_dict())
  path = output / trained.WEIGHTS_FILE
  trained.write(path, jax.device_get(generator.variables), plain)
  frames, side = generator.clip_shape[:2]
  card = CARD.format(
    title=models.title(config),
    frames=frames,
    side=side,
    data=f'{config.dataset.name}/{config.dataset.config}',
    folder=output.name,
  )
  files = [output / 'config.json', output / 'README.md']
  for file, text in zip(files, (json.dumps(plain, indent=1) + '\n', card)):
    with replacing(file) as temporary:
      pathlib.Path(temporary).write_text(text)
  return [path, *files]


def program(generator: trained.TrainedGenerator, output: pathlib.Path) -> list[pathlib.Path]:
  """SYSTEM.stablehlo, and SYSTEM.json, which says what goes in and comes out."""
  try:
    import flatbuffers  # noqa: F401  JAX writes programs with it
  except ImportError:
    raise UserError(
      '--format stablehlo: needs flatbuffers, which is not installed: pip install flatbuffers'
    ) from None
  from jax import export as jax_export

  _, side, _, _ = generator.clip_shape

  def one(inputs: tuple[jax.Array, ...]) -> jax.Array:
    picture, condition, intensity = (x[None] for x in inputs)
    noise = jax.random.key(0)
    return generator.generate_traced(picture, condition, noise, intensity=intensity)[0]

  # One after the other: so there may be any number of them.
  traced = jax.jit(lambda *inputs: jax.lax.map(one, inputs))
  (batch,) = jax_export.symbolic_shape('batch')
  inputs = {
    'picture': jax.ShapeDtypeStruct((batch, side, side, 3), jnp.uint8),
    'condition': jax.ShapeDtypeStruct((batch, NUM_LABELS), jnp.float32),
    'intensity': jax.ShapeDtypeStruct((batch,), jnp.float32),
  }
  exported = jax_export.export(traced, platforms=PLATFORMS)(*inputs.values())
  meaning = {
    'picture': CROP,
    'condition': f'shares of {", ".join(EXPRESSIONS)}; one-hot for one of them',
    'intensity': f'0 (still) to {MAX_INTENSITY}, 1 is usual'
    if generator.graded
    else 'not used by this system',
  }
  described = {
    'system': generator.config.system,
    'inputs': {
      name: {'shape': str(x.shape), 'dtype': x.dtype.name, 'meaning': meaning[name]}
      for name, x in inputs.items()
    },
    'output': {
      'clip': {'shape': str((batch, *generator.clip_shape)), 'dtype': 'uint8', 'meaning': 'RGB'}
    },
    'noise': 'where a system draws any: always the same',
    'platforms': PLATFORMS,
    'load': 'jax.export.deserialize(open(FILE, "rb").read()).call(picture, condition, intensity)',
    'license': LICENSE,
  }
  files = [output / f'{generator.config.system}.{kind}' for kind in ('stablehlo', 'json')]
  contents = bytes(exported.serialize()), (json.dumps(described, indent=1) + '\n').encode()
  for file, content in zip(files, contents):
    with replacing(file) as temporary:
      pathlib.Path(temporary).write_bytes(content)
  return files
