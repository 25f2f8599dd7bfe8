"""A person's take as a clip: camera, crop, rasterizer and shading, in NumPy on one core.

python -m synthetic_faces.renderer            # milliseconds per frame
"""

import argparse
import functools
import time

import numpy as np
from scipy import sparse

from fevgan_jax.faces import crop
from fevgan_jax.faces.labels import EXPRESSIONS
from synthetic_faces import asset, performance, person
from synthetic_faces.action_units import wrinkling
from synthetic_faces.lighting import expose, key_visibility, shade, to_linear, to_srgb
from synthetic_faces.look import smoothstep
from synthetic_faces.raster import Fragments, rasterize
from synthetic_faces.skin import canvas

CAMERA = 11.0  # dm in front of the eyes
NECK = np.array([0, -0.3, -0.6])  # the head turns about it
SAMPLES = 3  # per pixel and axis

# Light inside eyes and mouth: visibility was baked for closed lids and lips.
# Shares of the key lamp and of the ambient light.
OPENINGS = {
  asset.EYE_SOCKET: (0.3, 0.35),
  asset.MOUTH: (0.55, 0.7),
  asset.EYE: (0.75, 0.85),
  asset.TEETH: (0.55, 0.7),
  asset.TONGUE: (0.55, 0.7),
}
SOFT = (asset.SKIN, asset.EYE_SOCKET, asset.MOUTH)
COLORS = {
  asset.MOUTH: (0.22, 0.05, 0.05),
  asset.TEETH: (0.80, 0.75, 0.66),
  asset.TONGUE: (0.42, 0.13, 0.13),
}  # linear
SOCKET_TINT = np.array([0.55, 0.35, 0.33])  # of the skin's own color
FOLD_TINT = np.array([0.75, 0.9, 0.95], np.float32)  # share of each color that a fold swallows
IRIS_RADIUS, PUPIL_RADIUS = 0.43, 0.17  # radians from the eye's axis
SCLERA = to_linear([0.90, 0.865, 0.845])


def frames(
  who: person.Person, take: performance.Take, size: int = crop.SIDE, samples: int = SAMPLES
) -> list['Frame']:
  """Every frame of a take, ready to be drawn.

  Args:
    who: the person.
    take: what they do.
    size: side of the frames in pixels.
    samples: per pixel and axis.
  """
  return [Frame(who, take, i, size, samples) for i in range(len(take.pose))]


def render(frames: list['Frame']) -> tuple[np.ndarray, np.ndarray]:
  """Draws frames, aligned and masked as `crop` does with photographs.

  Returns:
    video uint8 [frames, size, size, 3], black outside the face, and landmarks float32
    [frames, 68, 2] in its pixels.
  """
  video = np.stack([frame.draw() for frame in frames])
  return video, np.stack([frame.landmarks for frame in frames])


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
  """[3, 3]: turn the head about y, then x, then z. Positive pitch looks down."""
  (cy, cp, cr), (sy, sp, sr) = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
  about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
  about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
  about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
  return about_z @ about_x @ about_y


class Frame:
  """One picture in the making: geometry on construction, pixels from `draw`.

  Attributes:
    landmarks: float32 [68, 2] in pixels of the crop.
  """

  def __init__(
    self, who: person.Person, take: performance.Take, index: int, size: int, samples: int
  ):
    self.who, self.light, self.size, self.samples = who, take.light, size, samples
    self.units = take.action_units[index]
    self.head = asset.head()
    self.rotation = rotation(*take.pose[index])
    self.vertices = deform(who, self.head, self.units, take.lopsided[index])
    turned, flat = self.project(self.vertices)
    matrix = crop.similarity(flat[self.head.landmarks], size)
    self.landmarks = crop.transform(matrix, flat[self.head.landmarks]).astype(np.float32)
    self.triangles = self.head.triangles
    self.points, self.depth = crop.transform(matrix, flat), turned[:, 2]
    if who.glasses:
      turned, flat = self.project(who.glasses[0])
      self.triangles = np.concatenate([self.triangles, who.glasses[1] + len(self.points)])
      self.points = np.concatenate([self.points, crop.transform(matrix, flat)])
      self.depth = np.concatenate([self.depth, turned[:, 2]])

  def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points [n, 3] of the head, turned with it [n, 3], and as a pinhole camera sees them [n, 2].

    The picture's y points down; its unit is a decimetre at the eyes' distance.
    """
    turned = (points - NECK) @ self.rotation.T + NECK
    return turned, turned[:, :2] * [1, -1] * (CAMERA / (CAMERA - turned[:, 2:]))

  @functools.cached_property
  def seen(self) -> Fragments:
    """What is in front at every sample inside the mask."""
    mask = hull_mask(crop.hull(self.landmarks, self.size), self.size, self.samples)
    side = self.size * self.samples
    return rasterize(self.points * self.samples, self.depth, self.triangles, side, mask)

  @functools.cached_property
  def exposed(self) -> np.ndarray:
    """Light [n, 3] of every sample of `seen` as the camera records it, linear RGB."""
    _, triangle, weights, _ = self.seen
    face = triangle < len(self.head.triangles)
    _, sky, _ = self.light.colors
    light = np.empty((len(triangle), 3), np.float32)
    light[~face] = self.who.glasses_color * (0.5 + 0.5 * sky)
    light[face] = expose(self.shade(triangle[face], weights[face]))
    return light

  def draw(self) -> np.ndarray:
    """uint8 [size, size, 3]."""
    side = self.size * self.samples
    light = np.zeros((side * side, 3), np.float32)
    light[self.seen.pixel] = self.exposed
    light = light.reshape(self.size, self.samples, -1)
    light = sum(light[:, i] for i in range(self.samples))
    light = light.reshape(self.size, self.size, self.samples, 3)
    light = sum(light[:, :, i] for i in range(self.samples))
    return (255 * to_srgb(light / self.samples**2) + 0.5).astype(np.uint8)

  def shade(self, triangle: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Linear RGB [n, 3] of samples on triangles [n], with their corners' weights [n, 3]."""
    corners = np.take(self.head.triangles, triangle, 0)
    arriving = blend(self.vertex_light, corners, weights)
    part = np.take(self.head.triangle_part, triangle)
    result = np.empty((len(triangle), 3), np.float32)
    at = np.flatnonzero(part == asset.SKIN)
    albedo, gloss = self.skin_color(triangle[at], weights[at])
    light = np.take(arriving, at, 0)
    result[at] = albedo * light[:, :3] + gloss * light[:, 3:]
    socket = SOCKET_TINT * to_linear(self.who.look.skin)
    for inner, color in {**COLORS, asset.EYE_SOCKET: socket}.items():
      at = np.flatnonzero(part == inner)
      result[at] = arriving[at, :3] * np.array(color, np.float32)
    at = np.flatnonzero(part == asset.EYE)
    place = blend(self.head.mean.astype(np.float32), corners[at], weights[at])
    result[at] = self.eye_color(place, arriving[at, :3])
    return result

  @functools.cached_property
  def vertex_light(self) -> np.ndarray:
    """`lighting.shade` at every vertex: the mesh is finer than the pixels."""
    head = self.head
    first, second, third = np.take(self.vertices, head.triangles.T, 0)
    normals = head.incidence @ np.cross(second - first, third - first)
    for eye in head.eyes:  # balls that only turn
      normals[eye] = head.mean[eye] - head.mean[eye].mean(0)
    normals /= np.sqrt(np.einsum('ij,ij->i', normals, normals) + 1e-12)[:, None]
    towards_key = self.light.direction @ self.rotation.astype(np.float32)  # in the head's frame
    visible = key_visibility(head.visibility, towards_key)
    inner, key, openness, soft = surface()
    visible[inner] = key
    normals = (normals @ self.rotation.T).astype(np.float32)
    return shade(self.light, normals, visible, openness, soft, self.who.skin.roughness)

  def skin_color(self, triangle: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Albedo [n, 3] and gloss [n, 1]: the painted skin, darker where the expression folds it."""
    texels, corners = self.head.texels.reshape(-1, 2), 3 * triangle[:, None] + np.arange(3)
    place = blend(texels, corners.astype(np.int32), weights).astype(np.int32)
    rows, columns = asset.TEXTURE_SHAPE
    texel = np.clip(place[:, 1], 0, rows - 1) * columns + np.clip(place[:, 0], 0, columns - 1)
    skin = self.who.skin
    depth = (wrinkling(self.units) * skin.folding).astype(np.float32)
    folds = canvas().folds.reshape(rows * columns, -1)
    fold = np.clip(np.take(folds, texel, 0) @ depth, 0, 0.8)[:, None]
    albedo = np.take(skin.albedo.reshape(-1, 3), texel, 0)
    gloss = np.take(skin.gloss.reshape(-1, 1), texel, 0)
    return albedo * (1 - fold * FOLD_TINT), gloss * (1 - fold)

  def eye_color(self, place: np.ndarray, arriving: np.ndarray) -> np.ndarray:
    """Linear RGB [n, 3] of eyeballs: white, iris, pupil and a glint.

    Args:
      place: [n, 3] on the mean head, so that an eye that turns carries its iris along.
      arriving: [n, 3] light.
    """
    centers = np.stack([self.head.mean[eye].mean(0) for eye in self.head.eyes]).astype(np.float32)
    direction = place - np.where(place[:, :1] > 0, centers[0], centers[1])
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    angle = np.arccos(np.clip(direction[:, 2:], -1, 1))
    red = 0.25 * smoothstep(0.5, 0.95, angle)
    color = SCLERA * (1 - red * [0.1, 0.9, 0.9])
    iris = self.who.iris * (1.5 - 0.9 * smoothstep(0.18, IRIS_RADIUS, angle))
    color = color + smoothstep(IRIS_RADIUS + 0.04, IRIS_RADIUS - 0.04, angle) * (iris - color)
    color = color + smoothstep(PUPIL_RADIUS + 0.03, PUPIL_RADIUS - 0.03, angle) * (0.01 - color)
    color = color * (1 - 0.45 * np.exp(-0.5 * ((angle - IRIS_RADIUS) / 0.05) ** 2))
    shadow = 0.8 * (1 - 0.5 * smoothstep(-0.02, 0.06, place[:, 1:2]))  # of the upper lid
    half = self.light.direction + np.array([0, 0, 1])
    facing = np.maximum(direction @ (self.rotation.T @ (half / np.linalg.norm(half))), 0)[:, None]
    return color * arriving * shadow + 0.45 * facing**120 * self.light.colors[0]


@functools.cache
def surface() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
  """Returns the part of the light on the head that no picture changes.

  Returns:
    The vertices [n] inside eyes and mouth, and how much of the key lamp reaches these; of every
    vertex, how much of the ambient light reaches it, and 1 [vertices, 1] where it is soft, else 0.
  """
  head = asset.head()
  key, openness = np.ones_like(head.openness), np.minimum(1.05 * head.openness, 1)
  depth = smoothstep(-0.12, 0.27, head.mean[:, 2]) ** 1.6  # it gets dark towards the throat
  for part, (of_key, ambient) in OPENINGS.items():
    of = head.part == part
    dim = depth[of] if part in COLORS else 1
    key[of], openness[of] = of_key * dim, ambient * dim
  inner = np.flatnonzero(np.isin(head.part, list(OPENINGS)))
  soft = np.isin(head.part, SOFT)[:, None].astype(np.float32)
  return inner, key[inner], openness, soft


def deform(
  who: person.Person,
  head: asset.Head,
  units: np.ndarray,
  lopsided: np.ndarray,
) -> np.ndarray:
  """[vertices, 3]: the neutral face moved by action units, the left side a little more or less."""
  active = np.flatnonzero(units)
  even, odd = np.stack([units, lopsided])[:, active].astype(np.float32) @ who.basis[active]
  side = np.tanh(4 * head.mean[:, :1]).astype(np.float32)
  return who.vertices + even.reshape(-1, 3) + side * odd.reshape(-1, 3)


def blend(values: np.ndarray, corners: np.ndarray, weights: np.ndarray) -> np.ndarray:
  """Values [vertices, c] between three vertices: corners [n, 3], weights [n, 3] -> [n, c]."""
  rows, shape = np.arange(0, corners.size + 1, 3, np.int32), (len(corners), len(values))
  return sparse.csr_matrix((weights.ravel(), corners.ravel(), rows), shape) @ values


def hull_mask(hull: np.ndarray, size: int, samples: int) -> np.ndarray:
  """Which sample centers `crop.inside` keeps: bool [(size * samples)^2].

  The hull is convex: a pixel whose four corners are inside lies inside, and only pixels near the
  edge are tested sample by sample.
  """
  line = np.arange(size + 1)
  grid = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
  corner = crop.inside(hull, grid).reshape(size + 1, size + 1)
  pixels = np.stack([corner[:-1, :-1], corner[:-1, 1:], corner[1:, :-1], corner[1:, 1:]])
  whole = pixels.all(0)
  near = np.pad(pixels.any(0), 1)
  near = near[:-2] | near[1:-1] | near[2:]
  near = near[:, :-2] | near[:, 1:-1] | near[:, 2:]
  rows, columns = np.nonzero(near & ~whole)
  step = (np.arange(samples) + 0.5) / samples
  y, x = rows[:, None, None] + step[:, None], columns[:, None, None] + step
  y, x = np.broadcast_arrays(y, x)
  mask = np.repeat(whole[:, None, :, None], samples, 1).repeat(samples, 3)
  inside = crop.inside(hull, np.stack([x.ravel(), y.ravel()], 1)).reshape(-1, samples, samples)
  mask[rows, :, columns, :] = inside
  return mask.reshape(-1)


def main() -> None:
  parser = argparse.ArgumentParser(
    description='Times the renderer; set OPENBLAS_NUM_THREADS=1 for one core.'
  )
  parser.add_argument('--size', type=int, default=crop.SIDE)
  parser.add_argument('--samples', type=int, default=SAMPLES)
  parser.add_argument('--people', type=int, default=3)
  options = parser.parse_args()
  render(
    frames(person.draw(0), performance.perform(person.draw(0), 'fear', 0, 2))
  )  # reads the asset
  drawing = rendering = 0.0
  for seed in range(options.people):
    start = time.process_time()
    who = person.draw(seed)
    drawing += time.process_time() - start
    start = time.process_time()
    for label in EXPRESSIONS:
      take = performance.perform(who, label, 0, 8)
      render(frames(who, take, options.size, options.samples))
    rendering += time.process_time() - start
  drawn = options.people * len(EXPRESSIONS) * 8
  print(
    f'{1000 * rendering / drawn:.1f} ms per frame of {options.size} pixels, {options.samples} '
    f'samples a side; {1000 * drawing / options.people:.0f} ms per person'
  )


if __name__ == '__main__':
  main()
