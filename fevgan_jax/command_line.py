"""What the person typed, checked before anything is compiled."""

import difflib
import pathlib
import re
import shlex
from typing import Any, NamedTuple

from absl import flags
from ml_collections import config_flags

from fevgan_jax.faces import labels
from fevgan_jax.models.parts.recipe import flatten
from fevgan_jax.runtime import files
from fevgan_jax.runtime.errors import UserError

# What the function of each mode is given. Other flags are refused.
MODES = {
  'train': ('config', 'workdir', 'processes', 'command'),
  'prepare': ('config', 'beam', 'again'),
  'evaluate': ('workdir', 'overrides'),
  'compare': ('workdirs', 'output', 'overrides'),
  'generate': (
    'image', 'expression', 'intensity', 'seed', 'frame', 'loop', 'largest', 'curve', 'frames',
    'sway', 'output', 'workdir', 'system', 'overrides',
  ),
  'study': ('workdirs', 'pairs', 'output', 'overrides'),
  'tally': ('votes', 'output'),
  'demo': ('port', 'workdir', 'system', 'overrides'),
  'export': ('format', 'output', 'workdir', 'system', 'overrides'),
  'benchmark': ('config', 'processes'),
}  # fmt: skip
NEEDED = {'generate': 'image', 'compare': 'workdirs', 'study': 'workdirs', 'tally': 'votes'}
# Folders, if none is named.
OUTPUTS = {
  'generate': 'generated',
  'compare': 'comparison',
  'study': 'study',
  'tally': 'study',
  'export': 'export',
}
WITH_WEIGHTS = ('generate', 'demo', 'export')  # use the project's, if no workdir is named
FORMATS = ('safetensors', 'stablehlo', 'onnx')
PROCESSES = ('coordinator', 'processes', 'process')
COUNTS = ('log_every', 'sample_every', 'checkpoint_every', 'checkpoints_kept')
DEFAULT = pathlib.Path(__file__).parents[1] / 'configs' / 'synthetic_faces.py'


class Command(NamedTuple):
  """The command line.

  Attributes:
    mode: one of MODES.
    arguments: keyword arguments of the mode's function.
    processes: keyword arguments of `parallel.initialize` in a run of several processes, else empty.
  """

  mode: str
  arguments: dict[str, Any]
  processes: dict[str, Any]


def parse(argv: list[str]) -> Command:
  """Reads the command line.

  Raises:
    UserError: an unknown flag, mode, config, system, option or key, a value of the wrong type, a
      flag that the mode does not use, or a folder that cannot be written.
  """
  command = shlex.join(['python', *argv])
  named, words = _split_config(argv[1:])
  chosen = str(DEFAULT) if named is None else named
  file, _, argument = chosen.partition(':')
  if not pathlib.Path(file).is_file():
    others = (path.name for path in sorted(DEFAULT.parent.glob('*.py')) if path.name != 'base.py')
    known = ', '.join(f'configs/{name}' for name in others)
    raise UserError(f"--config: no file '{chosen}': expected one of {known}, or a file like them")
  argv = [argv[0], f'--config={chosen}', *words]
  typed = [key for word in words for key in re.findall('^--?(?:no)?config[.]([^=]*)', word)]
  values = flags.FlagValues()
  config_flags.DEFINE_config_file('config', None, flag_values=values, sys_argv=argv[:2])
  _read(values, argv[:2])
  _check_keys(values.config, typed, file)
  values = _define(argv)
  rest = _read(values, argv)
  if len(rest) > 1:
    raise UserError(f"'{rest[1]}': expected only flags, such as --mode train")
  _check_counts(values.config)
  _check_uses(values, named)
  if values.expression != 'all':
    labels.parts(values.expression)

  _make_absolute(values.config)
  mode, system = values.mode, argument.partition(',')[0]
  flat = flatten(values.config)
  overrides = {key: flat[key] for key in typed}
  if named is not None:  # it must fit the run: `trained.load` refuses what does not
    overrides |= {'system': system} if system else {}
    overrides |= {
      key: flat[key] for key in ('dataset.name', *_options(file, system, flat, argument))
    }
  workdir = _folder(values.workdir or _default_workdir(chosen))
  given = {
    'command': command,
    'config': values.config,
    'overrides': overrides,
    'workdir': workdir if values.workdir or mode not in WITH_WEIGHTS else None,
    'workdirs': [_folder(folder) for folder in values.workdirs],
    'pairs': values.pairs,
    'votes': [_folder(file) for file in values.votes],
    'output': _folder(values.output or OUTPUTS.get(mode, '')),
    'image': _folder(values.image),
    'intensity': [float(word) for word in values.intensity],
    'expression': values.expression,
    'seed': values.seed,
    'frame': values.frame or '',
    'loop': values.loop,
    'largest': values.largest,
    'curve': _numbers(values.curve),
    'frames': values.frames,
    'sway': values.sway,
    'port': values.port,
    'beam': values.beam,
    'again': values.again,
    'format': values.format,
  }
  given |= {'system': system} if system else {}
  if mode == 'train' and not values.process:
    _check_writable(workdir)
  if mode in OUTPUTS:
    _check_writable(given['output'])
  arguments = {name: given[name] for name in MODES[mode] if name in given}
  processes = {name: values[name].value for name in PROCESSES} if values.coordinator else {}
  return Command(mode, arguments, processes)


def _read(values: flags.FlagValues, argv: list[str]) -> list[str]:
  """Sets the flags; returns what is none."""
  try:
    return values(argv)
  except Exception as error:  # absl and a config file raise what they like  # noqa: BLE001
    line = str(error).strip().splitlines()[-1]
    if isinstance(error, AttributeError) and 'get_config' in line:
      line = '--config: the file defines no get_config: expected one like configs/mug.py'
    raise UserError(re.sub(r'^([\w.]+Error: |flags? [^:]*: (?=--))', '', line)) from error


def _check_keys(config, typed: list[str], file: str) -> None:
  """Every key that was typed is one of the chosen system's."""
  known = flatten(config)
  for key in typed:
    if key == 'system':
      raise UserError(f'--config.system: goes after the file name: --config {file}:SYSTEM')
    if key in known:
      continue
    near = difflib.get_close_matches(key, known, 3)
    section = [other for other in known if other.partition('.')[0] == key.partition('.')[0]]
    hint = f'did you mean {" or ".join(near)}?' if near else f'expected one of {", ".join(section)}'
    if not near and not section:
      hint = 'configs/base.py says where keys are explained'
    raise UserError(f'--config.{key}: {config.system} has no such key: {hint}')


def _define(argv: list[str]) -> flags.FlagValues:
  values = flags.FlagValues()
  config_flags.DEFINE_config_file('config', None, flag_values=values, sys_argv=argv)
  flags.DEFINE_enum('mode', 'train', [*MODES], 'what to do', flag_values=values)
  flags.DEFINE_string('workdir', '', 'folder of the run', flag_values=values)
  flags.DEFINE_string('image', '', 'a photograph with a face', flag_values=values)
  flags.DEFINE_string(
    'expression', 'all', 'or a mixture, as fear:0.5,anger:0.5', flag_values=values
  )
  flags.DEFINE_string('curve', '', 'as 0,1,0, or a file of such numbers', flag_values=values)
  flags.DEFINE_integer('frames', None, 'of a clip', 2, 3000, flag_values=values)
  flags.DEFINE_list('intensity', ['1'], 'how strongly', flag_values=values)
  flags.DEFINE_integer('seed', 0, 'of the noise', 0, 2**32 - 1, flag_values=values)
  flags.DEFINE_enum('frame', None, ['crop', 'face', 'whole'], 'what to show', flag_values=values)
  flags.DEFINE_boolean('loop', False, 'there and back', flag_values=values)
  flags.DEFINE_boolean('sway', False, 'the head drifts as well', flag_values=values)
  flags.DEFINE_integer('largest', None, 'pixels of a side', 16, 8192, flag_values=values)
  flags.DEFINE_enum('format', 'safetensors', FORMATS, 'of what is exported', flag_values=values)
  flags.DEFINE_boolean('again', False, 'also where data are prepared', flag_values=values)
  flags.DEFINE_string('beam', '', 'a runner of Apache Beam, and its options', flag_values=values)
  flags.DEFINE_integer('port', 7860, 'of the page', 1024, 65535, flag_values=values)
  flags.DEFINE_string('output', '', 'folder for what is made', flag_values=values)
  flags.DEFINE_list('workdirs', [], 'of the runs to compare', flag_values=values)
  flags.DEFINE_integer('pairs', 30, 'that a rater sees', 1, 1000, flag_values=values)
  flags.DEFINE_list('votes', [], 'files of raters', flag_values=values)
  flags.DEFINE_string('coordinator', '', 'HOST:PORT of process 0, or auto', flag_values=values)
  flags.DEFINE_integer('processes', None, 'of this run', lower_bound=1, flag_values=values)
  flags.DEFINE_integer('process', None, 'which is this', lower_bound=0, flag_values=values)
  flags.register_validator(
    'intensity',
    _are_different_numbers,
    'expected different numbers, as --intensity 0.3,0.6,1',
    flag_values=values,
  )
  flags.register_multi_flags_validator(PROCESSES, _check_processes, flag_values=values)
  return values


def _numbers(words: str) -> list[float]:
  """Numbers between commas, or in a file, one in a line or several."""
  if not words:
    return []
  try:
    file = pathlib.Path(words).expanduser()
    text = file.read_text() if file.is_file() else words
    return [float(word) for word in re.split(r'[,;\s]+', text.strip())]
  except (OSError, ValueError) as error:
    raise UserError(f"--curve: '{words}', expected numbers as 0,1,0, or a file of them") from error


def _are_different_numbers(words: list[str]) -> bool:
  try:
    return 0 < len({float(word) for word in words}) == len(words)
  except ValueError:
    return False


def _check_processes(values: dict[str, Any]) -> bool:
  """--coordinator, --processes and --process go together."""
  coordinator, processes, process = (values[name] for name in PROCESSES)
  explicit = processes is not None, process is not None
  if not coordinator and not any(explicit):
    return True
  if coordinator == 'auto':
    if any(explicit):
      raise flags.ValidationError(
        '--coordinator auto: --processes and --process come from the cluster'
      )
    return True
  host, _, port = coordinator.rpartition(':')
  if not host or not re.fullmatch('[0-9]{1,5}', port) or not 0 < int(port) < 2**16:
    raise flags.ValidationError(f"--coordinator: '{coordinator}', expected HOST:PORT or auto")
  if not all(explicit):
    raise flags.ValidationError(
      f'--coordinator {coordinator}: --processes N and --process I are missing, I from 0'
    )
  if process >= processes:
    raise flags.ValidationError(
      f'--process {process}: expected 0 to {processes - 1} of --processes {processes}'
    )
  return True


def _check_counts(config) -> None:
  counts = {key: config[key] for key in COUNTS}
  counts['evaluation.batch_size'] = config.evaluation.batch_size
  for key, value in counts.items():
    if value < 1:
      raise UserError(f'config.{key}: {value}, expected at least 1')
  if not (minutes := config.checkpoint_minutes) >= 0:
    raise UserError(f'config.checkpoint_minutes: {minutes}, expected at least 0; 0 is for never')


def training_command(argv: list[str]) -> str:
  """The command that trains with the config of another command, as `--mode prepare`."""
  words = iter(argv[1:])
  kept = []
  for word in words:
    flag, equals, _ = word.partition('=')
    name = flag.lstrip('-')
    if name in ('mode', 'beam') and not equals:
      next(words, '')
    if name not in ('mode', 'beam', 'again', 'noagain'):
      kept.append(word)
  return shlex.join(['python', argv[0], *kept])


def _make_absolute(config) -> None:
  """Places on this machine, so that a run can be used from any folder."""
  from fevgan_jax.training import checkpoint  # takes a second, and what is wrong is told before

  for key in checkpoint.PLACES:
    section, _, name = key.partition('.')
    if place := config.get(section, {}).get(name):
      config[section][name] = str(pathlib.Path(place).expanduser().absolute())


def _check_uses(values: flags.FlagValues, named: str | None) -> None:
  """Every flag that was typed is used, and none that the mode needs is missing."""
  mode = values.mode
  if (needed := NEEDED.get(mode)) and not values[needed].value:
    example = {
      'image': 'a photograph with a face',
      'workdirs': 'runs, as --workdirs runs/a,runs/b',
      'votes': 'what raters sent back, as --votes votes-1.json,votes-2.json',
    }
    raise UserError(f'--mode {mode}: --{needed} is missing: give {example[needed]}')
  uses = {'mode', *MODES[mode]}
  uses |= set(PROCESSES) if 'processes' in uses else set()
  for name in values:
    if name.startswith('config') or name in uses or values[name].using_default_value:
      continue
    reason = 'runs in one process' if name in PROCESSES else 'does not use it'
    raise UserError(f'--{name}: --mode {mode} {reason}')
  if mode in ('compare', 'study', 'tally') and named is not None:
    raise UserError(f'--config: --mode {mode} does not use it: workdirs know their own')


def _options(file: str, system: str, flat: dict[str, Any], argument: str) -> list[str]:
  """The keys of networks and data that the options behind a system change."""
  if ',' not in argument:
    return []
  plain = flags.FlagValues()
  argv = ['', f'--config={file}:{system}']
  config_flags.DEFINE_config_file('config', None, flag_values=plain, sys_argv=argv)
  _read(plain, argv)
  before = flatten(plain.config)
  sections = 'dataset', 'model', 'identity'
  return [k for k in flat if k.partition('.')[0] in sections and flat[k] != before.get(k)]


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
    with files.folder_made(folder):
      probe = folder / '.writable'
      probe.write_bytes(b'.')
      probe.unlink()
  except OSError as error:
    raise UserError(
      f'{folder}: cannot be written ({error.strerror}): name another folder'
    ) from error


def _folder(word: str) -> pathlib.Path:
  return pathlib.Path(word).expanduser()
