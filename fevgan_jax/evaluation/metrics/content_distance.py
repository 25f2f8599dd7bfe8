"""How well a clip keeps the person: average content distance (ACD), and to the input image (ACD-I).

Features are those of a face network that training did not use, see face_networks.py. Which network
it is, and whether distances are squared, decides the scale: numbers can be compared only where both
are the same. A still clip has ACD 0: read it beside the amount of motion.
"""

import numpy as np
import scipy


def acd(features: np.ndarray, *, pairs: str = 'consecutive', squared: bool = False) -> np.ndarray:
  """Mean L2 distance between the features of two frames of a clip.

  Args:
    features: [..., time, channels], at least two frames.
    pairs: 'consecutive', as the paper words it (section 4.3), or 'all', as MoCoGAN measures.
    squared: whether distances are squared before the mean, as OpenFace's own tools do.

  Returns:
    [...], at least 0.

  Raises:
    ValueError: a clip of one frame, or an unknown choice of pairs.
  """
  time = features.shape[-2]
  if time < 2:
    raise ValueError('ACD needs at least two frames')
  if pairs == 'consecutive':
    first, second = np.arange(time - 1), np.arange(1, time)
  elif pairs == 'all':
    first, second = np.triu_indices(time, 1)
  else:
    raise ValueError(f"pairs: '{pairs}', expected 'consecutive' or 'all'")
  return _distance(features[..., first, :], features[..., second, :], squared).mean(-1)


def acd_i(features: np.ndarray, image: np.ndarray, *, squared: bool = False) -> np.ndarray:
  """Mean L2 distance between the features of the frames of a clip and those of the input image.

  Args:
    features: [..., time, channels].
    image: [..., channels].
    squared: as in `acd`.

  Returns:
    [...], at least 0.
  """
  return _distance(features, image[..., None, :], squared).mean(-1)


def same_person_auc(features: np.ndarray, images: np.ndarray, people: np.ndarray) -> float | None:
  """How surely ACD-I tells one person from another: the area under the ROC curve.

  Every image is held against every other clip: one clip of the same person is the nearer one of the
  two with this probability.

  Args:
    features: [clips, time, channels].
    images: [clips, channels], of the clips' first frames.
    people: [clips], who it is.

  Returns:
    0.5 is chance, 1 is perfect; None where there is one person only, or nobody has two clips.
  """
  same, other = [], []
  squares = np.square(features).sum(-1)
  for i, image in enumerate(images):
    # ACD-I of every clip to this image; |a - b|^2 = |a|^2 - 2 ab + |b|^2 is a matrix product.
    distance = np.sqrt((squares - 2 * features @ image + image @ image).clip(0)).mean(-1)
    is_same = people == people[i]
    other.append(distance[~is_same])
    is_same[i] = False
    same.append(distance[is_same])
  same, other = np.concatenate(same), np.concatenate(other)
  if not len(same) or not len(other):
    return None
  wins = scipy.stats.mannwhitneyu(other, same, method='asymptotic').statistic
  return float(wins / (len(same) * len(other)))


def _distance(a: np.ndarray, b: np.ndarray, squared: bool) -> np.ndarray:
  square = np.square(a - b).sum(-1)
  return square if squared else np.sqrt(square)
