"""The crop contract: one template, one similarity from the rigid landmarks, one hull mask.

Every face that a network of this project sees, rendered, from a licensed data set or from a
photograph, went through these functions, so that a model trained on one can be handed another.

Coordinates are (x, y) with x to the right and y down; pixel i covers [i, i + 1), so its center is
at i + 0.5. Landmarks are the 68 points of iBUG 300-W, 0-based, point 0 at the jaw's left end in the
picture. A crop of side `size` is the 64-pixel frame of the template scaled by size / 64.
"""

import numpy as np
import scipy
from PIL import Image

SIDE = 64  # pixels of the template

# The mean head of the rendered data set (datasets/synthetic_faces), frontal, at 30 pixels per
# decimetre: a jaw dropped in surprise and a forehead both stay inside the frame.
TEMPLATE = np.array(
  [
    (13.26, 19.71),
    (13.28, 25.17),
    (13.48, 28.47),
    (14.7, 33.7),
    (15.29, 38.26),
    (17.56, 43.03),
    (20.81, 46.24),
    (25.86, 49.9),
    (32, 51.44),
    (38.14, 49.9),
    (43.19, 46.24),
    (46.44, 43.03),
    (48.71, 38.26),
    (49.3, 33.7),
    (50.52, 28.47),
    (50.72, 25.17),
    (50.74, 19.71),
    (16.88, 16.22),
    (17.91, 15.21),
    (19.85, 14.53),
    (24.21, 15.28),
    (27.33, 14.39),
    (36.67, 14.39),
    (39.79, 15.28),
    (44.15, 14.53),
    (46.09, 15.21),
    (47.12, 16.22),
    (32, 19.13),
    (32, 23.22),
    (32, 27.09),
    (32, 29.77),
    (27.8, 32.68),
    (29.99, 32.97),
    (32, 33.5),
    (34.01, 32.97),
    (36.2, 32.68),
    (19.6, 19.72),
    (22.06, 18.26),
    (24.35, 18.48),
    (26.2, 20.15),
    (24.08, 20.74),
    (21.93, 20.73),
    (37.8, 20.15),
    (39.65, 18.48),
    (41.94, 18.26),
    (44.4, 19.72),
    (42.07, 20.73),
    (39.92, 20.74),
    (25.27, 39.98),
    (27.82, 38.03),
    (29.59, 36.94),
    (32, 37.76),
    (34.41, 36.94),
    (36.18, 38.03),
    (38.73, 39.98),
    (35.85, 42.96),
    (33.89, 43.44),
    (32, 43.57),
    (30.11, 43.44),
    (28.15, 42.96),
    (25.22, 39.78),
    (28.6, 39.31),
    (32, 39.58),
    (35.4, 39.31),
    (38.78, 39.78),
    (35.14, 39.73),
    (32, 40),
    (28.86, 39.73),
  ]
)

# The points that expressions move least (those OpenFace 2.0 aligns by): jaw sides, nose, eye
# corners, lower lids.
RIGID = np.array(
  [*range(1, 5), *range(12, 16), *range(27, 30), *range(31, 37), *range(39, 43), *range(45, 48)]
)

# The upper edge of the mask. x in half-widths of the face about its middle (points 0 and 16), y in
# pixels of the template: no brow moves it, so that the mask's edge does not betray the expression.
FOREHEAD = np.array(
  [
    (-0.97, 12.5),
    (-0.85, 8.0),
    (-0.6, 4.5),
    (-0.3, 2.7),
    (0.0, 2.1),
    (0.3, 2.7),
    (0.6, 4.5),
    (0.85, 8.0),
    (0.97, 12.5),
  ]
)

# A large photograph is first reduced by a whole factor to no fewer than these pixels per pixel of
# the crop: the samples stay few, whatever the photograph.
REDUCED = 4


def similarity(landmarks: np.ndarray, size: int = SIDE) -> np.ndarray:
  """Returns the similarity, see `fit`, that maps rigid landmarks onto the template.

  Args:
    landmarks: [68, 2] in any units, y down.
    size: side of the crop in pixels.
  """
  return fit(landmarks[RIGID], TEMPLATE[RIGID] * (size / SIDE))


def fit(source: np.ndarray, target: np.ndarray) -> np.ndarray:
  """Rotation, uniform scale and translation that best map some points onto others.

  Least squares in closed form: no reflection, no shear.

  Args:
    source: [points, 2].
    target: [points, 2].

  Returns:
    [2, 3] matrix; `transform` applies it.
  """
  source_mean, target_mean = source.mean(0), target.mean(0)
  s, t = source - source_mean, target - target_mean
  norm = (s * s).sum()
  a = (s * t).sum() / norm
  b = (s[:, 0] * t[:, 1] - s[:, 1] * t[:, 0]).sum() / norm
  rotation = np.array([[a, -b], [b, a]])
  return np.column_stack([rotation, target_mean - rotation @ source_mean])


def inverse(matrix: np.ndarray) -> np.ndarray:
  """The [2, 3] matrix that takes back what a [2, 3] matrix does."""
  return np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]


def transform(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
  """Applies a [2, 3] matrix to points [..., 2]."""
  return points @ matrix[:, :2].T + matrix[:, 2]


def hull(landmarks: np.ndarray, size: int = SIDE) -> np.ndarray:
  """The convex polygon that the mask keeps: the landmarks and a forehead above them.

  Args:
    landmarks: [68, 2] in the crop's pixels, after `similarity`.
    size: side of the crop in pixels.

  Returns:
    [corners, 2] in the crop's pixels.
  """
  middle = (landmarks[0, 0] + landmarks[16, 0]) / 2
  half_width = (landmarks[16, 0] - landmarks[0, 0]) / 2
  forehead = np.column_stack([middle + half_width * FOREHEAD[:, 0], FOREHEAD[:, 1] * (size / SIDE)])
  points = np.concatenate([landmarks, forehead])
  return points[scipy.spatial.ConvexHull(points).vertices]


def inside(polygon: np.ndarray, points: np.ndarray) -> np.ndarray:
  """Whether points [n, 2] lie in a convex polygon [corners, 2], either way round: bool [n]."""
  left, right = np.ones((2, len(points)), bool)
  x, y = np.ascontiguousarray(points.T)
  for corner, edge in zip(polygon, np.roll(polygon, -1, axis=0) - polygon):
    side = y * edge[0] - x * edge[1] - (edge[0] * corner[1] - edge[1] * corner[0])
    left &= side >= 0
    right &= side <= 0
  return left | right


def crop(image: np.ndarray, landmarks: np.ndarray, size: int = SIDE) -> np.ndarray:
  """An aligned, masked face: black outside the hull, each pixel the mean of the area it covers.

  Args:
    image: uint8 [height, width, 3].
    landmarks: [68, 2] in the image's pixels.
    size: side of the crop in pixels.

  Returns:
    uint8 [size, size, 3].
  """
  matrix = similarity(landmarks, size)
  shrink = 1 / np.linalg.norm(matrix[:, 0])  # pixels of the image per pixel of the crop
  picture = Image.fromarray(image)
  if (factor := int(shrink / REDUCED)) > 1:
    picture, shrink = picture.reduce(factor), shrink / factor
    matrix = matrix @ np.diag([factor, factor, 1])
    landmarks = landmarks / factor
  samples = max(2, int(np.ceil(shrink)))  # per crop pixel and axis
  fine = size * samples
  to_image = inverse(matrix * samples)
  pixels = np.asarray(
    picture.transform(
      (fine, fine), Image.Transform.AFFINE, to_image.ravel(), Image.Resampling.BILINEAR
    )
  )
  grid = (np.stack(np.meshgrid(np.arange(fine), np.arange(fine)), -1) + 0.5) / samples
  mask = inside(hull(transform(matrix, landmarks), size), grid.reshape(-1, 2))
  masked = np.where(mask.reshape(fine, fine, 1), pixels, np.float32(0))
  means = masked.reshape(size, samples, size, samples, 3).mean((1, 3))
  return means.round().astype(np.uint8)


def at_template_size(images: np.ndarray) -> np.ndarray:
  """Crops as the template's 64-pixel frames, which all see that measure: a clip of another size is
  measured as the same clip.

  Args:
    images: uint8 [..., side, side, 3].

  Returns:
    uint8 [..., 64, 64, 3]: of a larger crop the means of areas, of a smaller one linear
    interpolation, and of one that has this size itself.

  Raises:
    ValueError: they are something else.
  """
  *leading, height, width, channels = images.shape
  if images.dtype != np.uint8 or height != width or channels != 3:
    raise ValueError(f'crops: {images.dtype} {images.shape}, expected uint8 [..., side, side, 3]')
  if width == SIDE:
    return images
  import cv2  # not needed to crop, and so not to render either

  method = cv2.INTER_AREA if width > SIDE else cv2.INTER_LINEAR
  frames = [
    cv2.resize(image, (SIDE, SIDE), interpolation=method)
    for image in images.reshape(-1, height, width, channels)
  ]
  return np.stack(frames).reshape(*leading, SIDE, SIDE, channels)
