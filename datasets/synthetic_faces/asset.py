"""The head that everybody is made of: a mesh with named displacements, read from head.npz.

Coordinates are decimetres, +x the person's left (right in the picture), +y up, +z out of the face;
the origin of the mean head lies between its eyes. `build_asset.py` makes the file.
"""

import dataclasses
import functools
import pathlib

import numpy as np
from scipy import ndimage, sparse

from synthetic_faces.raster import rasterize

FILE = pathlib.Path(__file__).parent / 'head.npz'

# MakeHuman's names for its macros: an artist's stereotypes, nobody's description. See README.md.
ANCESTRIES = ('african', 'asian', 'caucasian')

SKIN, EYE_SOCKET, MOUTH, EYE, TEETH, TONGUE = range(6)  # the parts of the mesh

# The rectangle of the UV square that holds the head's skin, as a texture; texels per unit of UV.
TEXTURE_ORIGIN = (0.64, 0.145)
TEXTURE_DENSITY = 560
TEXTURE_SHAPE = (381, 201)  # rows, columns


@dataclasses.dataclass(frozen=True)
class Head:
  """A triangle mesh in which each vertex belongs to one part, and its displacements.

  Attributes:
    base: [vertices, 3] MakeHuman's base mesh, nobody's head: macros are added to it.
    mean: [vertices, 3] the mean young adult, symmetric; skin is painted on it.
    triangles: [triangles, 3] int32, clockwise in a picture whose y points down.
    texels: [triangles, 3, 2] column and row of each corner in the texture; skin only.
    triangle_part, part: [triangles] and [vertices], the part that each belongs to.
    visibility: [vertices, 9] of light from everywhere, in spherical harmonics.
    openness: [vertices] ambient light that arrives, in [0, 1].
    landmarks: [68] vertices of the iBUG points.
    lids: the vertices along the upper and lower lid of the left eye, by x.
    lips: [rows, columns] in [0, 1], the red of the lips in the texture.
    names, starts, indices, values: the displacements, sparse: thousandths of a decimetre.
  """

  base: np.ndarray
  mean: np.ndarray
  triangles: np.ndarray
  texels: np.ndarray
  triangle_part: np.ndarray
  part: np.ndarray
  visibility: np.ndarray
  openness: np.ndarray
  landmarks: np.ndarray
  lids: tuple[np.ndarray, np.ndarray]
  lips: np.ndarray
  names: dict[str, int]
  starts: np.ndarray
  indices: np.ndarray
  values: np.ndarray

  def displace(self, points: np.ndarray, name: str, weight: float) -> None:
    """Adds `weight` times the displacement `name` to points [vertices, 3], in place."""
    i = self.names[name]
    span = slice(self.starts[i], self.starts[i + 1])
    points[self.indices[span]] += (weight / 1000) * self.values[span]

  @functools.cached_property
  def eyes(self) -> tuple[np.ndarray, np.ndarray]:
    """The vertices of the person's left and of their right eyeball."""
    eye = np.flatnonzero(self.part == EYE)
    left = self.mean[eye, 0] > 0
    return eye[left], eye[~left]

  @functools.cached_property
  def incidence(self) -> sparse.csr_array:
    """[vertices, triangles], 1 where they meet: adds normals of triangles up at their vertices."""
    rows, columns = self.triangles.ravel(), np.arange(len(self.triangles)).repeat(3)
    ones = np.ones(len(rows), np.float32)
    return sparse.csr_array((ones, (rows, columns)), (len(self.mean), len(self.triangles)))

  @functools.cached_property
  def texel_positions(self) -> np.ndarray:
    """[rows, columns, 3] places of the texels on the mean head; off the skin, the nearest one's."""
    rows, columns = TEXTURE_SHAPE
    skin = self.triangle_part == SKIN
    side = max(TEXTURE_SHAPE)
    corners = self.texels[skin].reshape(-1, 2)
    faces = np.arange(len(corners)).reshape(-1, 3)
    both_ways = np.concatenate([faces, faces[:, ::-1]])
    texel, face, weights, _ = rasterize(corners, np.zeros(len(corners)), both_ways, side)
    position = self.mean[self.triangles[skin]].reshape(-1, 3)
    image = np.full((side * side, 3), np.nan)
    image[texel] = np.einsum('nk,nkc->nc', weights, position[both_ways[face]])
    image = image.reshape(side, side, 3)[:rows, :columns]
    nearest = ndimage.distance_transform_edt(
      np.isnan(image[..., 0]), return_distances=False, return_indices=True
    )
    return image[tuple(nearest)].astype(np.float32)


@functools.cache
def head() -> Head:
  """Reads head.npz, once per process."""
  with np.load(FILE) as data:
    a = {name: data[name] for name in data.files}
  return Head(
    base=a['base'].astype(np.float64),
    mean=a['mean'].astype(np.float64),
    triangles=a['triangles'].astype(np.int32),
    texels=a['texels'].astype(np.float32),
    triangle_part=a['part'][a['triangles'][:, 0]],
    part=a['part'],
    visibility=a['visibility'].astype(np.float32),
    openness=a['openness'].astype(np.float32),
    landmarks=a['landmarks'].astype(np.int32),
    lids=(a['upper_lid'].astype(np.int32), a['lower_lid'].astype(np.int32)),
    lips=a['lips'].astype(np.float32) / 255,
    names={str(name): i for i, name in enumerate(a['names'])},
    starts=a['starts'],
    indices=a['indices'],
    values=a['values'].astype(np.float64),
  )
