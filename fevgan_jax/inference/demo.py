"""A page in the browser: a photograph, an expression, how strong it is, and the clip plays.

Gradio serves it to this machine alone. Nothing leaves the machine, and what the page writes on disk
is gone when the server stops.
"""

import collections
import contextlib
import functools
import logging as python_logging
import os
import pathlib
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from absl import logging
from einops import rearrange

from fevgan_jax import models
from fevgan_jax.faces.labels import EXPRESSIONS, MAX_INTENSITY
from fevgan_jax.inference import trained
from fevgan_jax.inference.model import Model
from fevgan_jax.runtime import interrupt, media
from fevgan_jax.runtime.errors import UserError
from fevgan_jax.runtime.media import SYNTHETIC

PORT = 7860  # Gradio's own
LARGEST = 720  # pixels: a page is no cinema, and a clip should play at once
GIF_SIDE = 320
KEPT = 20  # answers whose files are kept
FACES = pathlib.Path(__file__).parent / 'faces'  # rendered people, to try it with

ALL = 'all'

TITLE = 'FEV-GAN: a face makes an expression'
CSS = """
.expressions button { flex-direction: column }
.expressions button img { width: 72px; height: 72px; border-radius: 8px }
"""
CONSENT = (
  'Animate pictures of people only with their consent, and say that the result is synthetic: its '
  'metadata do. The photograph stays on this machine.'
)


def demo(
  workdir: pathlib.Path | None = None,
  *,
  system: str = trained.BEST,
  overrides: Mapping[str, Any] | None = None,
  port: int = PORT,
) -> None:
  """Serves the page at http://127.0.0.1:PORT and opens it, until Ctrl-C or SIGTERM.

  Args:
    workdir: of a training run, or None for the weights that come with the project.
    system: whose weights; only read without a workdir.
    overrides: of the config that it was trained with, see `trained.load`.
    port: of this machine.

  Raises:
    UserError: Gradio is not installed; no weights; or the port is taken.
  """
  os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
  try:
    import gradio
  except ImportError:
    raise UserError(
      "--mode demo: needs Gradio, which is not installed: pip install 'gradio>=6,<7'"
    ) from None
  model = Model(trained.load(workdir, overrides, system=system))
  with tempfile.TemporaryDirectory(prefix='fevgan_demo_') as folder:
    os.environ['GRADIO_TEMP_DIR'] = folder
    blocks = page(gradio, Studio(model, pathlib.Path(folder)))
    try:
      blocks.launch(
        server_name='127.0.0.1',
        server_port=port,
        inbrowser=True,
        prevent_thread_lock=True,
        quiet=True,
        footer_links=[],
        css=CSS,
        theme=gradio.themes.Default(font=['system-ui', 'sans-serif'], font_mono=['monospace']),
      )
    except OSError as error:
      raise UserError(f'--port: {port} is taken: name another one, or stop what uses it') from error
    logging.info('the page is at http://127.0.0.1:%d; Ctrl-C ends it', port)
    ended = threading.Event()
    try:
      with interrupt.deferred(lambda number: ended.set(), 'closing the page'):
        ended.wait()
      logging.info('the page is closed')
    finally:
      blocks.close(verbose=False)


class Studio:
  """What the page asks for: clips as files.

  Attributes:
    model: that makes them.
    frames: what of a photograph it can show, the best first.
    graded: whether it uses an intensity.
    icons: a picture of each expression, a file.
  """

  def __init__(self, model: Model, folder: pathlib.Path):
    self.model = model
    moves = models.recipe(model.generator.config.system).moves_pixels
    self.frames = ('face', 'whole', 'crop') if moves else ('crop',)
    self.graded = model.generator.graded
    self._folder = folder
    self._answers: collections.deque[pathlib.Path] = collections.deque()
    self.icons = self._icons()

  def clip(
    self, name: str, picture: str, intensity: float, frame: str, curve: str, frames: int
  ) -> tuple[str, str]:
    """An expression or a mixture, or ALL expressions side by side: an MP4 and a GIF file.

    Raises:
      UserError: the photograph does not serve, or what was typed is no mixture or curve.
    """
    try:
      pace = {'curve': [float(word) for word in curve.split(',')], 'frames': int(frames)}
    except ValueError:
      raise UserError(f"Curve: '{curve}', expected numbers from 0 to 1, as 0,1,0") from None
    names, largest = ([name], LARGEST) if name != ALL else (EXPRESSIONS, LARGEST // 3)
    intensity = intensity if self.graded else 1.0
    if frame == 'crop':
      clips = self.model(picture, names, intensity)
    else:
      clips = self.model.animate(picture, names, intensity, frame=frame, largest=largest, **pace)
    if name == ALL:
      clips = rearrange(clips, '(r c) t h w rgb -> 1 t (r h) (c w) rgb', c=3)
    return self._written(re.sub('[ :,]', '-', name), clips[0])

  def _icons(self) -> dict[str, str]:
    """A picture of each expression: the apex, of the first rendered face."""
    files = {name: self._folder / f'{name}.png' for name in EXPRESSIONS}
    clips = self.model(min(FACES.glob('*.png')), EXPRESSIONS)
    for path, clip in zip(files.values(), clips):
      media.write_png(path, clip[-1], comment=SYNTHETIC)
    return {name: str(path) for name, path in files.items()}

  def _written(self, name: str, clip: np.ndarray) -> tuple[str, str]:
    answer = pathlib.Path(tempfile.mkdtemp(dir=self._folder))
    self._answers.append(answer)
    if len(self._answers) > KEPT:
      shutil.rmtree(self._answers.popleft(), ignore_errors=True)
    mp4, gif = answer / f'{name}.mp4', answer / f'{name}.gif'
    media.write_mp4(mp4, clip, comment=SYNTHETIC)
    media.write_gif(gif, media.fit(clip, GIF_SIDE), comment=SYNTHETIC)
    return str(mp4), str(gif)


@contextlib.contextmanager
def warnings() -> Iterator[list[str]]:
  """Collects what is logged as a warning in the block."""
  lines = []
  handler = python_logging.Handler(python_logging.WARNING)
  handler.emit = lambda record: lines.append(record.getMessage())
  logging.get_absl_logger().addHandler(handler)
  try:
    yield lines
  finally:
    logging.get_absl_logger().removeHandler(handler)


def page(gradio, studio: Studio):
  """The page, a `gradio.Blocks`."""

  def answer(name: str, picture: str | None, *how) -> tuple[str, str, str]:
    if not picture:
      raise gradio.Error('Choose a photograph first.', duration=10, print_exception=False)
    try:
      with warnings() as lines:
        mp4, gif = studio.clip(name, picture, *how)
    except UserError as error:
      words = str(error).replace(f'{picture}: ', '')
      raise gradio.Error(words, duration=10, print_exception=False) from None
    for line in lines:
      gradio.Warning(line.replace(f'{picture}: ', ''), duration=10)
    return mp4, mp4, gif

  # The file as it is: that it is no picture is ours to say. In the class itself: Gradio makes the
  # page's components anew for each visitor, and for a subclass it writes a file beside this one.
  gradio.Image.preprocess = lambda self, payload: payload and payload.path
  with gradio.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(600, 3600)) as blocks:
    gradio.Markdown(f'# {TITLE}\n{CONSENT}')
    asked = gradio.State(None)  # the expression that is shown, or ALL
    with gradio.Row():
      with gradio.Column():
        picture = gradio.Image(
          label='A neutral face, from the front', sources=['upload', 'webcam'], height=280
        )
        gradio.Examples(
          [str(path) for path in sorted(FACES.glob('*.png'))], picture, label='Rendered faces'
        )
        intensity = gradio.Slider(
          0, MAX_INTENSITY, 1, step=0.1, label='Intensity', visible=studio.graded
        )
        frame = gradio.Radio(
          studio.frames, value=studio.frames[0], label='Show', visible=len(studio.frames) > 1
        )
        buttons = {}
        for names in (EXPRESSIONS[:3], EXPRESSIONS[3:]):
          with gradio.Row(elem_classes='expressions'):
            for name in names:
              buttons[name] = gradio.Button(name, icon=studio.icons[name], min_width=90)
        buttons[ALL] = gradio.Button('all six')
        with gradio.Accordion('Mixtures and pace', open=False, visible=studio.graded):
          mixture = gradio.Textbox(
            'happiness:0.6,surprise:0.5', label='Mixture', submit_btn='Animate'
          )
          curve = gradio.Textbox('0,1', label='Curve: 0 is neutral, 1 the apex; 0,1,0 goes back')
          frames = gradio.Slider(2, 250, 32, step=1, label='Frames, 25 in a second')
      with gradio.Column():
        clip = gradio.Video(label='Clip', autoplay=True, loop=True, interactive=False, height=480)
        with gradio.Row():
          mp4 = gradio.DownloadButton('MP4', min_width=90)
          gif = gradio.DownloadButton('GIF', min_width=90)

    # One at a time: a clip takes every core. Who comes later waits in a queue.
    event = {'concurrency_limit': 1, 'concurrency_id': 'clips', 'scroll_to_output': True}
    how, files = [picture, intensity, frame, curve, frames], [clip, mp4, gif]
    for name, button in buttons.items():
      shown = button.click(lambda name=name: name, None, asked)
      shown.then(functools.partial(answer, name), how, files, api_name=name, **event)
    mixture.submit(lambda name: name, mixture, asked).then(answer, [mixture, *how], files, **event)
    for change in (intensity.release, frame.input):
      change(
        lambda name, *rest: answer(name, *rest) if name else (None, None, None),
        [asked, *how],
        files,
        **event,
      )
  return blocks
