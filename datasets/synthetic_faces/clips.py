"""Clips of many people on all cores: the same bytes in the same order, however many processes."""

import concurrent.futures
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fevgan_jax.faces.labels import EXPRESSIONS
from fevgan_jax.runtime import workers
from synthetic_faces import performance, person, renderer, truth

Clip = dict[str, Any]


def clips_of_person(
  seed: int,
  takes: int,
  size: int,
  frames: int,
  strengths: tuple[float, float] = performance.STRENGTHS,
) -> list[Clip]:
  """Every take of every expression of one person.

  Args:
    seed: of the person.
    takes: per expression.
    size: side of the frames in pixels.
    frames: per clip.
    strengths: of the takes, see `performance.perform`.

  Returns:
    Examples as the data set's features describe them, expression by expression.
  """
  who = person.draw(seed)
  clips = []
  for label in EXPRESSIONS:
    for number in range(takes):
      take = performance.perform(who, label, number, frames, strengths)
      scene = renderer.frames(who, take, size)
      video, landmarks = renderer.render(scene)
      clips.append(
        {
          'video': video,
          'label': label,
          'subject': f'{seed:07d}',
          'take': f'take{number:03d}',
          'landmarks': landmarks,
          'action_units': take.action_units.astype(np.float32),
          'intensity': np.float32(take.intensity),
          **truth.of_clip(scene),
        }
      )
  return clips


def clips_of_people(
  seeds: Sequence[int],
  takes: int,
  size: int,
  frames: int,
  processes: int | None = None,
  strengths: tuple[float, float] = performance.STRENGTHS,
) -> Iterator[Clip]:
  """`clips_of_person` for each seed, in order, in fresh processes.

  Processes are spawned, never forked: the caller may have JAX loaded, whose threads do not survive
  a fork. A script that calls this needs `if __name__ == '__main__':`.

  Args:
    seeds: of the people.
    takes: see `clips_of_person`, and so the following.
    size: of the frames.
    frames: per clip.
    strengths: of the takes.
    processes: how many; by default as many as this process may use cores.

  Raises:
    concurrent.futures.process.BrokenProcessPool: a process was killed, for example for memory.
  """
  processes = min(processes or workers.available_cores(), len(seeds))
  with workers.pool(processes) as pool:
    waiting: list[concurrent.futures.Future[list[Clip]]] = []
    remaining = iter(seeds)
    while True:
      for seed in remaining:  # a few people ahead of the reader, no more: clips are large
        waiting.append(pool.submit(clips_of_person, seed, takes, size, frames, strengths))
        if len(waiting) > 2 * processes:
          break
      if not waiting:
        return
      yield from waiting.pop(0).result()
