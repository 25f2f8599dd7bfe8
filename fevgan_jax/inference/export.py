"""A trained generator as files for other programs.

- stablehlo: one program with all weights and the face network inside, for CPU, CUDA and TPU.
  Whoever loads it needs JAX and none of this code.
- onnx: the same for ONNX runtimes, browsers among them: matrix products and rearrangements in
  place of transposed convolutions.
- safetensors: the weights in the manner of the Hugging Face Hub, model.safetensors, config.json
  and a model card. `fevgan_jax.load` reads the folder.
"""

import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from absl import logging

from fevgan_jax import models
from fevgan_jax.faces.labels import EXPRESSIONS, MAX_INTENSITY, NUM_LABELS
from fevgan_jax.inference import trained
from fevgan_jax.runtime import conv
from fevgan_jax.runtime.errors import UserError
from fevgan_jax.runtime.files import replacing
from fevgan_jax.training import weights_file

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
    format: 'safetensors', 'stablehlo' or 'onnx'.
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
  write = {'safetensors': weights, 'stablehlo': stablehlo, 'onnx': onnx}[format]
  files = write(generator, output)
  logging.info('wrote %s', ', '.join(map(str, files)))
  return files


def weights(generator: trained.TrainedGenerator, output: pathlib.Path) -> list[pathlib.Path]:
  """model.safetensors, in half precision, config.json and README.md."""
  config, plain = generator.config, weights_file.portable(generator.config.to_dict())
  path = output / trained.WEIGHTS_FILE
  weights_file.write(path, jax.device_get(generator.variables), plain)
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


def stablehlo(generator: trained.TrainedGenerator, output: pathlib.Path) -> list[pathlib.Path]:
  """SYSTEM.stablehlo, and SYSTEM.json, which says what goes in and comes out."""
  try:
    import flatbuffers  # noqa: F401  JAX writes programs with it
  except ImportError:
    raise UserError(
      '--format stablehlo: needs flatbuffers, which is not installed: pip install flatbuffers'
    ) from None
  from jax import export as jax_export

  one = clip_of(generator)
  # One after the other: so there may be any number of them.
  traced = jax.jit(lambda *inputs: jax.lax.map(lambda each: one(*each), inputs))
  (batch,) = jax_export.symbolic_shape('batch')
  inputs = inputs_of(generator, batch)
  with conv.portable():
    exported = jax_export.export(traced, platforms=PLATFORMS)(*inputs.values())
  load = 'jax.export.deserialize(open(FILE, "rb").read()).call(picture, condition, intensity)'
  return written(
    generator, output, 'stablehlo', bytes(exported.serialize()), platforms=PLATFORMS, load=load
  )


def onnx(generator: trained.TrainedGenerator, output: pathlib.Path) -> list[pathlib.Path]:
  """SYSTEM.onnx, and SYSTEM.json, which says what goes in and comes out."""
  try:
    import jax2onnx
  except ImportError:
    raise UserError(
      '--format onnx: needs jax2onnx, which is not installed: pip install jax2onnx'
    ) from None
  inputs = inputs_of(generator, 'batch')
  single = [jax.ShapeDtypeStruct(x.shape[1:], x.dtype) for x in inputs.values()]
  # Primitives alone: of the functions above them the library knows what runtimes do not.
  with conv.by_products():
    one = jax.make_jaxpr(clip_of(generator))(*single)

  def all_of_them(*inputs: jax.Array) -> jax.Array:
    return jax.lax.map(lambda each: jax.core.eval_jaxpr(one.jaxpr, one.consts, *each)[0], inputs)

  names = {'input_names': [*inputs], 'output_names': ['clip']}
  try:
    model = jax2onnx.to_onnx(
      all_of_them, [*inputs.values()], model_name=generator.config.system, **names
    )
  except NotImplementedError as error:
    raise UserError(
      f'--format onnx: {generator.config.system} has what ONNX has not ({error}): '
      'expected a system without noise; or take --format stablehlo'
    ) from error
  model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = 'batch'
  load = 'onnxruntime.InferenceSession(FILE).run(["clip"], {"picture": ..., ...})'
  return written(generator, output, 'onnx', model.SerializeToString(), load=load)


def clip_of(generator: trained.TrainedGenerator) -> Callable[..., jax.Array]:
  """The clip of one picture, condition and intensity."""

  def one(*inputs: jax.Array) -> jax.Array:
    picture, condition, intensity = (x[None] for x in inputs)
    noise = jax.random.key(0)
    return generator.generate_traced(picture, condition, noise, intensity=intensity)[0]

  return one


def inputs_of(generator: trained.TrainedGenerator, batch: Any) -> dict[str, jax.ShapeDtypeStruct]:
  """What a program is given, by name."""
  _, side, _, _ = generator.clip_shape
  return {
    'picture': jax.ShapeDtypeStruct((batch, side, side, 3), jnp.uint8),
    'condition': jax.ShapeDtypeStruct((batch, NUM_LABELS), jnp.float32),
    'intensity': jax.ShapeDtypeStruct((batch,), jnp.float32),
  }


def written(
  generator: trained.TrainedGenerator, output: pathlib.Path, kind: str, program: bytes, **more: Any
) -> list[pathlib.Path]:
  """Writes a program and its description."""
  meaning = {
    'picture': CROP,
    'condition': f'shares of {", ".join(EXPRESSIONS)}; one-hot for one of them',
    'intensity': f'0 (still) to {MAX_INTENSITY}, 1 is usual'
    if generator.graded
    else 'not used by this system',
  }

  def shaped(shape: tuple, dtype: str, meaning: str) -> dict[str, Any]:
    return {'shape': ['batch', *shape], 'dtype': dtype, 'meaning': meaning}

  described = {
    'system': generator.config.system,
    'inputs': {
      name: shaped(x.shape[1:], x.dtype.name, meaning[name])
      for name, x in inputs_of(generator, 1).items()
    },
    'output': {'clip': shaped(generator.clip_shape, 'uint8', 'RGB')},
    'noise': 'where a system draws any: always the same',
    **more,
    'license': LICENSE,
  }
  contents = {kind: program, 'json': (json.dumps(described, indent=1) + '\n').encode()}
  files = []
  for ending, content in contents.items():
    files.append(output / f'{generator.config.system}.{ending}')
    with replacing(files[-1]) as temporary:
      pathlib.Path(temporary).write_bytes(content)
  return files
