"""Says where the time and the memory of a training step go.

    taskset -c 0 python tests/training/profile_step.py --config configs/synthetic_faces.py

Traces a few steps on random clips with XLA's own profiler and adds up its operations, each without
those that it calls, by the network that they belong to and by what they do. On one core the sum is
the time of a step; on more, operations overlap. Memory is what XLA reserves, and what the process
has beside it. No test: pytest does not collect it.
"""

import collections
import json
import pathlib
import re
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[2]
STEPS = 3
NETWORKS = {  # by what the name of an operation contains
  'face network': r'VGGFace|ResNet29',
  'critics': r'Discriminator|Critic|critic',
  'generator': r'Generator|decoder|encoder',
}
KINDS = ('convolutions', 'around them', 'the rest')


def operations(text: str) -> dict[str, tuple[str, str]]:
  """Of a compiled program's instructions, by name: the network and the kind."""
  computations, inside = collections.defaultdict(list), ''
  for line in text.splitlines():
    if line.startswith(('%', 'ENTRY')):
      inside = line.split()[line.startswith('ENTRY')].lstrip('%')
    computations[inside].append(line.strip().removeprefix('ROOT '))
  result = {}
  for line in sum(computations.values(), []):
    if not (match := re.match(r'%([\w.\-]+) = \S+.*? ([\w\-]+)\(', line)):
      continue
    name, kind = match.groups()
    called = re.search(r'calls=%([\w.\-]+)', line)
    body = ' '.join([kind + '(', *computations[called[1] if called else '']])
    source = re.search(r'op_name="([^"]*)"', line)
    source = source[1] if source else ''
    network = next((key for key, word in NETWORKS.items() if re.search(word, source)), 'the rest')
    if re.search(r'\b(dot|convolution|custom-call)\(', body):
      doing = 'convolutions'
    else:  # _by_platform leaves its branch in the name
      doing = 'around them' if 'branch_0_fun' in source else 'the rest'
    result[name] = network, doing
  return result


def seconds(folder: pathlib.Path, known: dict) -> dict:
  """By network and kind, of all steps in a trace."""
  import jax

  trace = next(folder.rglob('*.xplane.pb'))
  found = collections.Counter()
  for plane in jax.profiler.ProfileData.from_file(str(trace)).planes:
    for line in plane.lines:
      if not line.name.startswith('tf_XLA'):
        continue
      open_until = []
      for event in sorted(line.events, key=lambda event: (event.start_ns, -event.duration_ns)):
        while open_until and open_until[-1][0] <= event.start_ns:
          open_until.pop()
        if event.name in known:
          found[known[event.name]] += event.duration_ns
          if open_until and open_until[-1][1]:
            found[open_until[-1][1]] -= event.duration_ns
        open_until.append((event.start_ns + event.duration_ns, known.get(event.name)))
  return {key: value / 1e9 for key, value in found.items()}


def main() -> None:
  sys.path.insert(0, str(ROOT))
  from fevgan_jax.runtime import memory

  memory.keep_freed()
  import jax

  from fevgan_jax import command_line
  from fevgan_jax.training import benchmark

  imports = memory.peak()
  _, arguments, _ = command_line.parse([sys.argv[0], '--mode', 'benchmark', *sys.argv[1:]])
  timed = benchmark.setting(arguments['config'])
  timed.step()
  compiled = timed.train_step.compiled
  memory.forget_peak()
  before = memory.peak()
  with tempfile.TemporaryDirectory() as folder:
    with jax.profiler.trace(folder):
      took = sum(benchmark.seconds(timed.step) for _ in range(STEPS)) / STEPS
    found = seconds(pathlib.Path(folder), operations(compiled.as_text()))
  rows = [*NETWORKS, 'the rest']
  print(f'{"milliseconds":14}' + ''.join(f'{kind:>14}' for kind in (*KINDS, 'sum')))
  for row in rows:
    cells = [1e3 * found.get((row, kind), 0) / STEPS for kind in KINDS]
    print(f'{row:14}' + ''.join(f'{cell:14.0f}' for cell in (*cells, sum(cells))))
  cells = [1e3 * sum(found.get((row, kind), 0) for row in rows) / STEPS for kind in KINDS]
  print(f'{"sum":14}' + ''.join(f'{cell:14.0f}' for cell in (*cells, sum(cells))))
  print(f'a step takes {1e3 * took:.0f}, {1e3 * took - sum(cells):.0f} of it in no operation')
  sizes = compiled.memory_analysis()
  print(
    json.dumps(
      {
        'imports': imports,
        'parameters, moments and clips': sizes.argument_size_in_bytes,
        'temporaries': sizes.temp_size_in_bytes,
        'before a step': before,
        'peak': memory.peak(),
      }
    )
  )


if __name__ == '__main__':
  main()
