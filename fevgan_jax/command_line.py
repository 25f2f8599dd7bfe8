"""What the person typed, checked before anything is compiled."""

import dataclasses
import difflib
import os
import pathlib
import re

import ml_collections
from absl import flags
from ml_collections import config_flags

from fevgan_jax.errors import UserError

MODES = ('train', 'prepare', 'evaluate', 'generate')
ROOT = pathlib.Path(__file__).parent.parent


@dataclasses.dataclass(frozen=True)
class Options:
  """The command line.

  Attributes:
    mode: one of MODES.
    config: complete and locked.
    workdir: of the run.
    named_workdir: the same, or None where the user named none.
    image: a photograph, in mode generate.
    expression: a label or 'all', in mode generate.
    output: a folder, in mode generate.
  """
  mode: str
  config: ml_collections.ConfigDict
  workdir: pathlib.Path
  named_workdir: pathlib.Path | None
  image: str
  expression: str
  output: pathlib.Path


def parse(argv: list[str]) -> Options:
  """Reads the command line.

  Raises:
    UserError: an unknown flag, mode, config, system, option or key, a value of the wrong type, or a folder that
      cannot be written.
  """
  values = flags.FlagValues()
  config_flags.DEFINE_config_file(
      'config', str(ROOT / 'configs' / 'synthetic_faces.py'), 'FILE[:SYSTEM[,OPTION...]]', flag_values=values)
  flags.DEFINE_enum('mode', 'train', MODES, 'what to do', flag_values=values)
  flags.DEFINE_string('workdir', '', 'folder of the run; runs/CONFIG[-SYSTEM] by default', flag_values=values)
  flags.DEFINE_string('image', '', 'a photograph with a face, for --mode generate', flag_values=values)
  flags.DEFINE_string('expression', 'all', 'what it shall show, for --mode generate', flag_values=values)
  flags.DEFINE_string('output', 'generated', 'folder for --mode generate', flag_values=values)
  flags.DEFINE_bool('help', False, 'this text', short_name='h', flag_values=values)
  try:
    rest = values(_flags_first(argv))
    config = values.config
  except Exception as error:  # absl and a config file raise what they like  # noqa: BLE001
    raise UserError(_explain(error, values)) from error
  if values.help:
    print((__import__('main').__doc__ or '') + values.main_module_help())
    raise SystemExit(0)
  if len(rest) > 1:
    raise UserError(f"'{rest[1]}': expected only flags, such as --mode train")
  workdir = pathlib.Path(values.workdir or _default_workdir(argv)).expanduser()
  if values.mode == 'train':
    _check_writable(workdir)
  if values.mode == 'generate':
    if not values.image:
      raise UserError('--mode generate: --image is missing: give a photograph with a face')
    _check_writable(pathlib.Path(values.output).expanduser())
  return Options(
      values.mode, config, workdir, workdir if values.workdir else None,
      os.path.expanduser(values.image), values.expression, pathlib.Path(values.output).expanduser())


def _flags_first(argv: list[str]) -> list[str]:
  """Moves --config before the keys that override it, so that their order does not matter."""
  config = [i for i, word in enumerate(argv) if re.match(r'--?config(=|$)', word)]
  words = [argv[j] for i in config for j in ((i, i + 1) if '=' not in argv[i] else (i,)) if j < len(argv)]
  taken = {j for i in config for j in ((i, i + 1) if '=' not in argv[i] else (i,))}
  return argv[:1] + words + [word for i, word in enumerate(argv) if i and i not in taken]


def _default_workdir(argv: list[str]) -> str:
  """runs/CONFIG[-SYSTEM[-OPTION...]]: every sub-mode of a config has a folder of its own."""
  text = ' '.join(argv)
  match = re.search(r'--?config[= ](\S+)', text)
  file, _, argument = (match.group(1) if match else 'synthetic_faces.py').partition(':')
  return '-'.join(['runs/' + pathlib.Path(file).stem, *filter(None, argument.split(','))])


def _check_writable(folder: pathlib.Path) -> None:
  try:
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / '.writable'
    probe.write_bytes(b'.')
    probe.unlink()
  except OSError as error:
    raise UserError(f'{folder}: cannot be written ({error.strerror}): name another folder') from error


def _explain(error: Exception, values: flags.FlagValues) -> str:
  """One line from whatever absl, ml_collections or the config file raised."""
  text = ' '.join(str(error).split())
  if isinstance(error, OSError):
    known = ', '.join(f'configs/{path.name}' for path in sorted((ROOT / 'configs').glob('*.py'))
                      if path.name != 'base.py')
    return f'--config: {text}: expected one of {known}, or a file like them'
  if isinstance(error, AttributeError | KeyError):
    key = text.strip('\'"')
    near = difflib.get_close_matches(key, _keys(values), 3, 0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else 'configs/base.py holds all keys'
    return f"no key '{key}' in the config: {hint}"
  return text


def _keys(values: flags.FlagValues) -> list[str]:
  """Every key of the config, with its section and without it."""
  from configs import base  # only to explain an error
  names = []
  for name, value in base.get_config().items():
    names.append(name)
    if isinstance(value, ml_collections.ConfigDict):
      names += list(value)
  return names
