"""Light on a face: one key lamp, sky and ground, and what of it reaches each vertex."""

import dataclasses
import functools

import numpy as np

# How far light creeps round the terminator, by color: red light scatters deepest in skin.
WRAP = np.array([0.32, 0.18, 0.12], np.float32)
KNEE, SHOULDER = 0.45, 0.55  # linear light above the knee is compressed towards their sum
SHARE = 0.62  # of the light that diffuse reflection keeps


@dataclasses.dataclass(frozen=True)
class Light:
  """The light of a person's studio.

  Attributes:
    azimuth, elevation: of the key lamp, radians; 0, 0 is the camera.
    key, sky: intensities; `ground` is a share of the sky.
    warmth: how red, and not blue, the key is; the sky is tinted the other way.
    exposure: of a white wall that faces the camera.
  """

  azimuth: float
  elevation: float
  key: float
  sky: float
  ground: float
  warmth: float
  exposure: float

  @functools.cached_property
  def direction(self) -> np.ndarray:
    """[3] unit vector towards the key lamp."""
    a, e = self.azimuth, self.elevation
    return np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)], np.float32)

  @functools.cached_property
  def colors(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Linear RGB [3] of key, sky and ground."""
    w = self.warmth
    key = self.key * np.array([1 + w, 1, 1 - w])
    sky = self.sky * np.array([1 - 0.5 * w, 1, 1 + 0.6 * w])
    ground = self.ground * sky * np.array([1.05, 1, 0.92])
    wall = (sky + ground).mean() / 2 + key.mean() * max(self.direction[2], 0.3)
    gain = self.exposure / (SHARE * wall)
    return tuple((gain * color).astype(np.float32) for color in (key, sky, ground))

  def jittered(self, rng: np.random.Generator) -> 'Light':
    """The same studio on another day."""
    return dataclasses.replace(
      self,
      azimuth=self.azimuth + rng.normal(0, 0.06),
      elevation=self.elevation + rng.normal(0, 0.04),
      key=self.key * np.exp(rng.normal(0, 0.04)),
      exposure=self.exposure * np.exp(rng.normal(0, 0.02)),
    )


def draw_light(rng: np.random.Generator) -> Light:
  """A person's light. Were it the take's, people would seem to change from take to take."""
  return Light(
    azimuth=rng.uniform(-0.9, 0.9),
    elevation=rng.uniform(0.15, 0.85),
    key=rng.uniform(1.4, 2.4),
    sky=rng.uniform(0.55, 0.9),
    ground=rng.uniform(0.35, 0.6),
    warmth=np.clip(rng.normal(0, 0.04), -0.05, 0.05),
    exposure=rng.uniform(0.88, 1.07),
  )


def spherical_harmonics(directions: np.ndarray) -> np.ndarray:
  """The nine real harmonics up to order 2 of unit vectors: [..., 3] -> [..., 9]."""
  x, y, z = np.moveaxis(directions, -1, 0)
  return np.stack(
    [
      np.full_like(x, 0.282095),
      0.488603 * y,
      0.488603 * z,
      0.488603 * x,
      1.092548 * x * y,
      1.092548 * y * z,
      0.315392 * (3 * z * z - 1),
      1.092548 * x * z,
      0.546274 * (x * x - y * y),
    ],
    -1,
  )


def key_visibility(harmonics: np.ndarray, direction: np.ndarray) -> np.ndarray:
  """How much of the key lamp the soft shadows of nose and brow leave.

  Args:
    harmonics: [vertices, 9], visibility from everywhere.
    direction: [3] towards the lamp, in the frame of the head.

  Returns:
    [vertices] in [0, 1].
  """
  seen = harmonics @ spherical_harmonics(direction)
  return np.clip((seen - np.float32(0.12)) / np.float32(0.7), 0, 1)


def shade(
  light: Light,
  normals: np.ndarray,
  visible: np.ndarray,
  openness: np.ndarray,
  wrap: np.ndarray,
  roughness: float,
) -> np.ndarray:
  """Light that leaves a white surface, and its highlight.

  Args:
    light: in the camera's frame, as are the normals.
    normals: [vertices, 3] unit vectors.
    visible: [vertices] of the key lamp, in [0, 1].
    openness: [vertices] of the ambient light, in [0, 1].
    wrap: [vertices, 1], 1 where light creeps round the terminator (skin) and 0 where it does not.
    roughness: exponent of the highlight.

  Returns:
    float32 [vertices, 6]: diffuse RGB, highlight RGB, linear.
  """
  key, sky, ground = light.colors
  facing = normals @ light.direction
  creep = WRAP * wrap
  diffuse = np.maximum((facing[:, None] + creep) / (1 + creep), 0)
  up = 0.5 + 0.5 * normals[:, 1:2]
  # What little light there is in a crease is red: it came through skin.
  visible, openness = visible[:, None], openness[:, None]
  reddened = visible * (1 - visible) * np.array([0.2, 0, -0.1], np.float32) + visible
  ambient = openness * (1 - openness) * np.array([0.2, 0, -0.08], np.float32) + openness
  result = np.empty((len(normals), 6), np.float32)
  result[:, :3] = SHARE * ((sky * up + ground * (1 - up)) * ambient + key * diffuse * reddened)
  half = light.direction + np.array([0, 0, 1], np.float32)
  shine = np.maximum(normals @ (half / np.linalg.norm(half)), 1e-6)
  shine = 0.042 * (roughness + 2) / 20 * shine ** np.float32(roughness)
  result[:, 3:] = shine[:, None] * visible * key
  return result


def expose(light: np.ndarray) -> np.ndarray:
  """Linear light as a camera records it: highlights roll off and stay below 1."""
  bright = np.maximum(light - KNEE, 0)
  return np.minimum(light, KNEE) + SHOULDER * bright / (SHOULDER + bright)


def to_linear(srgb: np.ndarray) -> np.ndarray:
  """sRGB in [0, 1] to linear light."""
  srgb = np.asarray(srgb, np.float64)
  return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: np.ndarray) -> np.ndarray:
  """Linear light to sRGB in [0, 1]."""
  linear = np.clip(linear, 0, 1)
  return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
