"""How much a face moves: a frozen clip keeps the person perfectly and is still worth nothing."""

import concurrent.futures

import cv2
import numpy as np

from fevgan_jax.faces.crop import at_template_size
from fevgan_jax.runtime import workers


def travel(clips: np.ndarray) -> np.ndarray:
  """Mean displacement of the face's pixels from the first frame, over pixels and later frames.

  Displacements are dense optical flow between the first frame and each other one in grey
  (Farnebäck, "Two-Frame Motion Estimation Based on Polynomial Expansion", 2003). On rendered clips
  it goes with the true travel of the landmarks (correlation 0.93). The windows of the flow are made
  for 64x64 pixels, to which other clips are brought.

  Args:
    clips: uint8 [clips, time, side, side, 3], black outside the face.

  Returns:
    [clips] in pixels of a 64-pixel crop; 0 for a still clip.
  """
  with concurrent.futures.ThreadPoolExecutor(workers.available_cores()) as pool:
    return np.array([*pool.map(_travel, clips)])


def _travel(clip: np.ndarray) -> float:
  clip = at_template_size(clip)
  first, *later = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in clip)
  face = clip[0].any(-1)
  if not face.any():
    return 0.0
  flows = [
    cv2.calcOpticalFlowFarneback(
      first, frame, None, pyr_scale=0.5, levels=3, winsize=9, iterations=3, poly_n=5,
      poly_sigma=1.1, flags=0)
    for frame in later
  ]  # fmt: skip
  return float(np.mean([np.linalg.norm(flow[face], axis=-1).mean() for flow in flows]))
