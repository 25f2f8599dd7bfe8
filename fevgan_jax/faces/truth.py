"""What a renderer knows of a clip and no camera does: where each point of the face was in frame 0,
whether it was seen there, and how the light on it has changed since.

A data set that knows it stores three features of small integers, for every pixel of every frame.
"""

import numpy as np

FEATURES = {
  'displacement': np.int8,  # [..., 2], to where the point was in frame 0, down and to the right
  'visibility': np.uint8,
  'shading': np.int8,  # base-2 logarithm of the light that a point sends over that in frame 0
}
DISPLACEMENT_UNIT = 1 / 10  # of a pixel of the crop's 64-pixel template
SHADING_UNIT = 1 / 32  # of a factor of two in linear light
# Kinds of pixels: no face, seen in frame 0, not seen there. The other features are 0 where a point
# was not seen.
UNKNOWN, VISIBLE, HIDDEN = 0, 1, 2
# What teaches: the features above, and the landmarks, float [..., 68, 2], which say what is what.
KNOWN = {**FEATURES, 'landmarks': np.float32}
# A face is sheets, each of which moves smoothly: the skin above the line through the eyes, that
# below it, that below the line between the lips, and the eyeballs.
SHEETS = BROW, CHEEK, JAW, EYES = 0, 1, 2, 3
# Landmarks at the edges of sheets: lids, lips and their corners.
EDGES = {
  BROW: (36, 37, 38, 39, 42, 43, 44, 45),
  CHEEK: (36, 39, 40, 41, 42, 45, 46, 47, 60, 61, 62, 63, 64),
  JAW: (60, 64, 65, 66, 67),
}
# The line between the lips as pairs of landmarks, whose middles it joins, from corner to corner;
# the corners of the eyes, from left to right; and the eyes' outlines.
LIP_LINE = (60, 60), (61, 67), (62, 66), (63, 65), (64, 64)
EYE_LINE = 36, 39, 42, 45
EYE_OUTLINES = tuple(range(36, 42)), tuple(range(42, 48))
