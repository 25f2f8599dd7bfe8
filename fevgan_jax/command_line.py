"""What the person typed, checked before anything is compiled."""

import dataclasses
import difflib
import os
import pathlib
import re

import flax.traverse_util
import ml_collections
from absl import flags
from ml_collections import config_flags

from fevgan_jax import models
from fevgan_jax.runtime.errors import UserError

MODES = ('train', 'prepare', 'evaluate', 'compare', 'generate', 'benchmark')
OUTPUTS = {'generate': 'generated', 'compare': 'comparison'}  # folders, if none is named
COUNTS = ('log_every', 'sample_every', 'checkpoint_every', 'checkpoints_kept')
READ_IN_PART = ('identity', 'model', 'critic', 'loss')  # sections; see models.keys
BEST = 'fevgan_plus'  # whose weights animate a photograph if neither config nor workdir is named
DEFAULT = pathlib.Path(__file__).parent.parent / 'configs' / 'synthetic_faces.py'


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
    intensities: how strong, in mode generate.
    seed: of the noise, in mode generate.
    output: a folder, in modes generate and compare.
    workdirs: of the runs to compare.
    coordinator: HOST:PORT or 'auto' in a run of several processes, else empty.
    processes: their number; None unless HOST:PORT was given.
    process: which one is this; None unless HOST:PORT was given.
  """

  mode: str
  config: ml_collections.ConfigDict
  workdir: pathlib.Path
  named_workdir: pathlib.Path | None
  image: str
  expression: str
  intensities: list[float]
  seed: int
  output: pathlib.Path
  workdirs: list[pathlib.Path]
  coordinator: str
  processes: int | None
  process: int | None


def parse(argv: list[str]) -> Options:
  """Reads the command line.

  Raises:
    UserError: an unknown flag, mode, config, system, option or key, a value of the wrong type, or
      a folder that cannot be written.
  """
  named, others = _split_config(argv[1:])
  chosen = str(DEFAULT) if named is None else named
  if not pathlib.Path(chosen.partition(':')[0]).is_file():
    known = ', '.join(
      f'configs/{path.name}'
      for path in sorted(DEFAULT.parent.glob('*.py'))
      if path.name != 'base.py'
    )
    raise UserError(f"--config: no file '{chosen}': expected one of {known}, or a file like them")
  argv = [argv[0], f'--config={chosen}', *others]
  values = flags.FlagValues()
  try:
    config_flags.DEFINE_config_file('config', None, flag_values=values, sys_argv=argv)
    flags.DEFINE_enum('mode', 'train', MODES, 'what to do', flag_values=values)
    flags.DEFINE_string('workdir', '', 'folder of the run', flag_values=values)
    flags.DEFINE_string('image', '', 'a photograph with a face', flag_values=values)
    flags.DEFINE_string('expression', 'all', 'what the face shall show', flag_values=values)
    flags.DEFINE_list('intensity', ['1'], 'how strongly', flag_values=values)
    flags.DEFINE_integer('seed', 0, 'of the noise', 0, 2**32 - 1, flag_values=values)
    flags.DEFINE_string('output', '', 'folder for what is made', flag_values=values)
    flags.DEFINE_list('workdirs', [], 'of the runs to compare', flag_values=values)
    flags.DEFINE_string('coordinator', '', 'HOST:PORT of process 0, or auto', flag_values=values)
    flags.DEFINE_integer('processes', None, 'of this run', lower_bound=1, flag_values=values)
    flags.DEFINE_integer('process', None, 'which is this', lower_bound=0, flag_values=values)
    rest = values(argv)
    config = values.config
  except Exception as error:  # absl and a config file raise what they like  # noqa: BLE001
    raise UserError(_explain(error, chosen)) from error
  if config.system not in models.NAMES:
    raise UserError(f"no system '{config.system}': expected one of {', '.join(models.NAMES)}")
  _check_read(config.system, chosen, others)
  counts = {key: config[key] for key in COUNTS}
  counts['evaluation.batch_size'] = config.evaluation.batch_size
  for key, value in counts.items():
    if value < 1:
      raise UserError(f'config.{key}: {value}, expected at least 1')
  if len(rest) > 1:
    raise UserError(f"'{rest[1]}': expected only flags, such as --mode train")
  _check_processes(values)
  workdir = pathlib.Path(values.workdir or _default_workdir(chosen)).expanduser()
  if values.mode == 'train' and not values.process:
    _check_writable(workdir)
  if values.mode == 'generate':
    if not values.image:
      raise UserError('--mode generate: --image is missing: give a photograph with a face')
    if named is None:
      config.system = BEST
  if values.mode == 'compare' and not values.workdirs:
    raise UserError('--mode compare: --workdirs is missing: give runs, as --workdirs runs/a,runs/b')
  output = pathlib.Path(values.output or OUTPUTS.get(values.mode, '')).expanduser()
  if values.mode in OUTPUTS:
    _check_writable(output)
  return Options(
    values.mode,
    config,
    workdir,
    workdir if values.workdir else None,
    os.path.expanduser(values.image),
    values.expression,
    _intensities(values.intensity),
    values.seed,
    output,
    [pathlib.Path(workdir).expanduser() for workdir in values.workdirs],
    values.coordinator,
    values.processes,
    values.process,
  )


def _check_read(system: str, chosen: str, words: list[str]) -> None:
  """No key is set in vain: each system reads a part of them."""
  keys = (re.match('--?config[.]([^=]*)', word) for word in words)
  for key in (match.group(1) for match in keys if match):
    if key == 'system':
      file = chosen.partition(':')[0]
      raise UserError(f'--config.system: is chosen behind the file: --config {file}:SYSTEM')
    section = key.partition('.')[0]
    if section in READ_IN_PART and key not in models.keys(system):
      known = ', '.join(k for k in models.keys(system) if k.startswith(f'{section}.'))
      raise UserError(
        f'config.{key}: {system} does not read it, '
        + (f'only {known}' if known else f'nor any other of config.{section}')
      )


def _intensities(words: list[str]) -> list[float]:
  try:
    numbers = [float(word) for word in words]
  except ValueError:
    numbers = []
  if not numbers or len(set(numbers)) < len(numbers):
    raise UserError(
      f"--intensity: '{','.join(words)}', expected different numbers, as --intensity 0.3,0.6,1"
    )
  return numbers


def _check_processes(values: flags.FlagValues) -> None:
  """--coordinator, --processes and --process go together."""
  explicit = values.processes is not None, values.process is not None
  if not values.coordinator and not any(explicit):
    return
  if values.mode not in ('train', 'benchmark'):
    raise UserError(f'--mode {values.mode}: runs in one process, without --coordinator')
  if values.coordinator == 'auto':
    if any(explicit):
      raise UserError('--coordinator auto: --processes and --process come from the cluster')
    return
  host, _, port = values.coordinator.rpartition(':')
  if not host or not re.fullmatch('[0-9]{1,5}', port) or not 0 < int(port) < 2**16:
    raise UserError(f"--coordinator: '{values.coordinator}', expected HOST:PORT or auto")
  if not all(explicit):
    raise UserError(
      f'--coordinator {values.coordinator}: --processes N and --process I are missing, I from 0'
    )
  if values.process >= values.processes:
    raise UserError(
      f'--process {values.process}: expected 0 to {values.processes - 1} of --processes '
      f'{values.processes}'
    )


def _split_config(words: list[str]) -> tuple[str | None, list[str]]:
  """FILE[:SYSTEM[,OPTION...]] of --config, None without it, and the other words: absl wants it
  before the keys that override it."""
  chosen, others = None, []
  words = iter(words)
  for word in words:
    flag, equals, value = word.partition('=')
    if flag in ('--config', '-config'):
      chosen = value if equals else next(words, '')
    else:
      others.append(word)
  return chosen, others


def _default_workdir(chosen: str) -> str:
  """runs/CONFIG[-SYSTEM[-OPTION...]]: every choice has a folder of its own."""
  file, _, argument = chosen.partition(':')
  return '-'.join(['runs/' + pathlib.Path(file).stem, *filter(None, argument.split(','))])


def _check_writable(folder: pathlib.Path) -> None:
  try:
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / '.writable'
    probe.write_bytes(b'.')
    probe.unlink()
  except OSError as error:
    raise UserError(
      f'{folder}: cannot be written ({error.strerror}): name another folder'
    ) from error


def _explain(error: Exception, chosen: str) -> str:
  """One line from whatever absl, ml_collections or the config file raised."""
  text = str(error).strip()
  if isinstance(error, AttributeError | KeyError):
    key = re.search(r'\w*', text.lstrip('\'"\\')).group()
    near = difflib.get_close_matches(key, _keys(chosen), 3, 0.4)
    hint = f'did you mean {" or ".join(near)}?' if near else 'configs/base.py holds all keys'
    return f"no key '{key}' in the config: {hint}"
  return text.splitlines()[-1].removeprefix('ValueError: ')


def _keys(chosen: str) -> list[str]:
  """Every section and every key with its section, of the config as its file makes it."""
  values = flags.FlagValues()
  argv = ['', f'--config={chosen}']
  config_flags.DEFINE_config_file('config', None, flag_values=values, sys_argv=argv)
  values(argv)
  config = values.config.to_dict()
  return [*config, *flax.traverse_util.flatten_dict(config, sep='.')]
