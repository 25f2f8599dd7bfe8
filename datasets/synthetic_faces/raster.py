"""A z-buffer in NumPy: the triangle in front at each pixel, with no loop over either."""

from typing import NamedTuple

import numpy as np

# Triangles are grouped by the longer side of their box; each group is tested on one dense grid.
GRIDS = (1, 2, 3, 4, 5, 6, 8, 11, 16, 24, 36, 64, 128, 256, 512, 1024, 2048)
TOLERANCE = 1e-5  # in barycentric coordinates: no gap opens between neighbors


class Fragments(NamedTuple):
  """What is in front, at the pixels that a triangle covers, in their order.

  Attributes:
    pixel: int64 [n], row * side + column.
    triangle: int64 [n].
    weights: float32 [n, 3], of its corners; they add up to 1.
    depth: float32 [n].
  """

  pixel: np.ndarray
  triangle: np.ndarray
  weights: np.ndarray
  depth: np.ndarray


def rasterize(
  points: np.ndarray,
  depth: np.ndarray,
  triangles: np.ndarray,
  side: int,
  keep: np.ndarray | None = None,
) -> Fragments:
  """The nearest triangle at the center of every pixel of a square picture.

  Triangles whose corners run clockwise in the picture (y down) face away and are left out.

  Args:
    points: [vertices, 2] x and y in pixels, y down; pixel i covers [i, i + 1).
    depth: [vertices], larger is nearer.
    triangles: [triangles, 3] vertices.
    side: of the picture, in pixels.
    keep: bool [side * side], the pixels that are wanted; all of them by default.
  """
  corners = np.take(points.astype(np.float32), triangles, 0)
  x, y = corners[..., 0], corners[..., 1]
  low_x, high_x = _span(x, side)
  low_y, high_y = _span(y, side)
  area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
  drawn = np.flatnonzero((area < -1e-9) & (high_x >= low_x) & (high_y >= low_y))

  x, y, scale = x[drawn], y[drawn], 1 / area[drawn]
  low_x, low_y = low_x[drawn], low_y[drawn]
  extent = np.maximum(high_x[drawn] - low_x, high_y[drawn] - low_y) + 1
  # The weights of the second and third corner are planes over the picture: their slopes along x and
  # y, and their value at the box's first center.
  right, left = low_x + np.float32(0.5) - x[:, 0], low_y + np.float32(0.5) - y[:, 0]
  slopes = [
    ((y[:, 2] - y[:, 0]) * scale, (x[:, 0] - x[:, 2]) * scale),
    ((y[:, 0] - y[:, 1]) * scale, (x[:, 1] - x[:, 0]) * scale),
  ]
  starts = [a * right + b * left for a, b in slopes]

  fragments = []
  for smaller, grid in zip((0, *GRIDS), GRIDS):
    group = np.flatnonzero((extent > smaller) & (extent <= grid))
    if not len(group):
      continue
    steps = np.arange(grid, dtype=np.float32)[:, None]  # planes are [row, column, triangle]
    second, third = (
      (start[group] + a[group] * steps) + (b[group] * steps)[:, None]
      for start, (a, b) in zip(starts, slopes)
    )
    least = 1 - second
    least -= third
    for weight in (second, third):
      np.minimum(least, weight, out=least)
    hit = np.flatnonzero(least >= -TOLERANCE)
    cell, which = np.divmod(hit, len(group))
    row, column = np.divmod(cell, grid)
    which = group[which]
    row, column = row + low_y[which], column + low_x[which]
    wanted = (row < side) & (column < side)
    pixel = row * side + column
    if keep is not None:
      wanted[wanted] = keep[pixel[wanted]]
    hit = hit[wanted]
    fragments.append((pixel[wanted], which[wanted], second.ravel()[hit], third.ravel()[hit]))
  if not fragments:
    none = np.zeros(0, np.int64)
    return Fragments(none, none, np.zeros((0, 3), np.float32), np.zeros(0, np.float32))
  pixel, which, second, third = (np.concatenate(part) for part in zip(*fragments))

  z = [np.take(corner, which) for corner in depth.astype(np.float32)[triangles[drawn]].T]
  z = z[0] * (1 - second - third) + z[1] * second + z[2] * third
  pixel, front = _nearest(pixel, z, side)
  second, third = second[front], third[front]
  weights = np.stack([1 - second - third, second, third], 1)
  return Fragments(pixel, drawn[which[front]], weights, z[front])


def _span(coordinate: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
  """First and last pixel in the picture whose center the corners [triangles, 3] enclose."""
  a, b, c = coordinate.T
  low = np.ceil(np.minimum(np.minimum(a, b), c) - 0.5)
  high = np.floor(np.maximum(np.maximum(a, b), c) - 0.5)
  return np.maximum(low, 0).astype(np.int64), np.minimum(high, side - 1).astype(np.int64)


def _nearest(pixel: np.ndarray, z: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
  """The covered pixels and each one's nearest fragment: a maximum over keys of depth and number."""
  if not len(z):
    return pixel, np.zeros(0, np.int64)
  unit = (z - z.min()) / (np.ptp(z) + np.float32(1e-9))
  key = (unit * np.float32((1 << 30) - 1)).astype(np.int64) << 32 | np.arange(len(z))
  best = np.full(side * side, -1, np.int64)
  np.maximum.at(best, pixel, key)
  covered = np.flatnonzero(best >= 0)
  return covered, best[covered] & 0xFFFFFFFF
