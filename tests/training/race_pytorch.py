"""Races the training step and the generator against PyTorch, call by call in alternation.

    pip install torch && python tests/training/race_pytorch.py --width 32 --batch 4

Four programs do the same work on the same random clips, FEV-GAN with VGG-Face of random weights:
ours; the same with XLA's own convolutions in place of conv.py ("stock"); PyTorch, eager; and its
networks under torch.compile ("compiled"). Prints one JSON line: medians and quartiles in seconds,
the ratios of ours to PyTorch's, and the peak memory of each process after its first calls. It does
not start beside other work. No test: pytest does not collect it.
"""

import argparse
import functools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[2]
SIDES = ('ours', 'stock', 'pytorch', 'compiled')
BUSY = 0.3  # load of the last minute, beside which times say nothing


def jax_calls(width: int, batch: int, stock: bool) -> dict:
  """name -> what is timed."""
  from fevgan_jax.runtime import memory

  memory.keep_freed()
  from configs import base
  from fevgan_jax.runtime import conv, conv_xla
  from fevgan_jax.training import benchmark

  if stock:
    conv._by_platform = lambda name, _, *arrays, **sizes: getattr(conv_xla, name)(*arrays, **sizes)
  config = base.get_config()
  config.model.grid, config.model.spatial_growth = 4, 2  # the layers below
  config.batch_size = batch
  config.model.width = config.critic.width = width
  timed = benchmark.setting(config)
  generators = {f'generator of {n}': functools.partial(timed.generate, n) for n in {1, batch}}
  return {'step': timed.step} | generators


def pytorch_calls(width: int, batch: int, compiled: bool) -> dict:
  """The same in PyTorch."""
  import torch
  from torch import nn
  from torch.nn import functional

  def norm(channels: int, flat: bool = False) -> nn.Module:
    return nn.BatchNorm2d(channels) if flat else nn.BatchNorm3d(channels)

  class VGGFace(nn.Module):
    def __init__(self):
      super().__init__()
      channels = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
      self.convolutions = nn.ModuleList(
        nn.Conv2d(a, b, 3, padding=1) for a, b in zip(channels, channels[1:])
      )
      self.requires_grad_(False)

    def forward(self, x):
      for i, convolution in enumerate(self.convolutions):
        x = functional.relu(convolution(x))
        if i in (1, 3, 6, 9):
          x = pooled = functional.max_pool2d(x, 2)
      return torch.cat([pooled, x], 1)

  class Generator(nn.Module):
    def __init__(self):
      super().__init__()
      act = nn.LeakyReLU(0.2)
      spatial = [nn.Conv2d(3, 64, 4, 2, 1), act]
      for a in (64, 128, 256):
        spatial += [nn.Conv2d(a, 2 * a, 4, 2, 1, bias=False), norm(2 * a, flat=True), act]
      self.spatial = nn.Sequential(*spatial)
      first = nn.ConvTranspose3d(1024 + 512 + 6, 8 * width, (2, 1, 1), bias=False)
      decoder = [first, norm(8 * width), nn.ReLU()]
      for a in (8 * width, 4 * width, 2 * width):
        up = nn.ConvTranspose3d(a, a // 2, 4, 2, 1, bias=False)
        decoder += [up, norm(a // 2), nn.ReLU()]
      self.decoder = nn.Sequential(*decoder, nn.ConvTranspose3d(width, 3, 4, 2, 1), nn.Tanh())

    def forward(self, image, label, features):
      tiled = label[:, :, None, None].expand(-1, -1, 4, 4)
      return self.decoder(torch.cat([tiled, features, self.spatial(image)], 1)[:, :, None])

  class Discriminator(nn.Module):
    def __init__(self):
      super().__init__()
      act = nn.LeakyReLU(0.2)
      layers = [nn.Conv3d(3 + 6, width, 4, 2, 1), act]
      for a in (width, 2 * width, 4 * width):
        layers += [nn.Conv3d(a, 2 * a, 4, 2, 1, bias=False), norm(2 * a), act]
      self.layers = nn.Sequential(*layers, nn.Conv3d(8 * width, 1, (2, 4, 4)))

    def forward(self, video, label):
      tiled = label[:, :, None, None, None].expand(-1, -1, *video.shape[2:])
      return self.layers(torch.cat([video, tiled], 1)).flatten()

  identity, generator, critic = VGGFace(), Generator(), Discriminator()
  adams = [torch.optim.Adam(n.parameters(), 2e-5, (0.5, 0.999)) for n in (generator, critic)]
  if compiled:
    identity, generator, critic = map(torch.compile, (identity, generator, critic))
  pixels = torch.randint(0, 256, (batch, 3, 32, 64, 64), dtype=torch.uint8)
  label = functional.one_hot(torch.arange(batch) % 6, 6).float()
  entropy = functional.binary_cross_entropy_with_logits

  def one_step() -> None:
    video = pixels.float() / 127.5 - 1
    image = video[:, :, 0]
    features = identity(image)
    fake = generator(image, label, features)
    real_logits, fake_logits = critic(video, label), critic(fake.detach(), label)
    loss = entropy(real_logits, torch.ones(batch)) + entropy(fake_logits, torch.zeros(batch))
    adams[1].zero_grad()
    loss.backward()
    adams[1].step()
    critic.requires_grad_(False)
    frames = fake[:, :, [0, 10, 21, 31]].transpose(1, 2).flatten(0, 1)
    difference = identity(frames) - features.repeat_interleave(4, 0)
    loss = entropy(critic(fake, label), torch.ones(batch))
    loss = loss + 100 * (video - fake).abs().mean() + 5 * difference.abs().mean()
    adams[0].zero_grad()
    loss.backward()
    adams[0].step()
    critic.requires_grad_(True)

  @torch.no_grad()
  def generate(images: int) -> None:
    generator.eval()
    image = pixels[:images, :, 0].float() / 127.5 - 1
    clips = generator(image, label[:images], identity(image))
    ((clips + 1) * 127.5).round().clamp(0, 255).byte().numpy()
    generator.train()

  calls = {'step': one_step}
  return calls | {f'generator of {n}': lambda n=n: generate(n) for n in {1, batch}}


def serve(side: str, width: int, batch: int) -> None:
  """Does a call for each name on standard input and answers with its seconds."""
  sys.path.insert(0, str(ROOT))
  from fevgan_jax.runtime import memory

  if side in ('pytorch', 'compiled'):
    calls = pytorch_calls(width, batch, side == 'compiled')
  else:
    calls = jax_calls(width, batch, side == 'stock')
  warm_up = time.perf_counter()
  calls['step']()
  print(time.perf_counter() - warm_up, flush=True)
  for call in calls.values():
    call()
  memory.give_back()
  memory.forget_peak()
  for line in sys.stdin:
    start = time.perf_counter()
    calls[line.strip()]()
    print(time.perf_counter() - start, flush=True)
  print(memory.peak(), flush=True)


def race(sides: list[str], width: int, batch: int, rounds: int) -> dict:
  """Medians and quartiles by side."""
  result = {'width': width, 'batch': batch, 'rounds': rounds}
  names = ['step', *(f'generator of {n}' for n in sorted({1, batch}))]
  runners = {}
  for side in sides:
    words = ['--serve', side, '--width', str(width), '--batch', str(batch)]
    runners[side] = subprocess.Popen(
      [sys.executable, __file__, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    result[f'{side}, first step'] = round(float(runners[side].stdout.readline()), 1)
  for name in names:
    times = {side: [] for side in sides}
    for _ in range(rounds):
      for side, runner in runners.items():
        runner.stdin.write(name + '\n')
        runner.stdin.flush()
        times[side].append(float(runner.stdout.readline()))
    quartiles = {side: statistics.quantiles(values) for side, values in times.items()}
    result[name] = {}
    for side, (low, median, high) in quartiles.items():
      result[name][side] = {
        'median': round(median, 4),
        'quartiles': [round(low, 4), round(high, 4)],
      }
      if 'ours' in sides and side in ('pytorch', 'compiled'):
        result[name][f'ours / {side}'] = round(quartiles['ours'][1] / median, 2)
  for side, runner in runners.items():
    runner.stdin.close()
    result[f'{side}, peak memory'] = int(runner.stdout.readline())
    runner.wait()
  return result


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--width', type=int, default=32)
  parser.add_argument('--batch', type=int, default=4)
  parser.add_argument('--rounds', type=int, default=11)
  parser.add_argument('--sides', nargs='+', choices=SIDES, default=['ours', 'pytorch'])
  parser.add_argument('--serve', choices=SIDES, help=argparse.SUPPRESS)
  arguments = parser.parse_args()
  if arguments.serve:
    serve(arguments.serve, arguments.width, arguments.batch)
    return
  if arguments.rounds < 2:
    parser.error(f'--rounds: {arguments.rounds}, expected 2 at least')
  if (load := os.getloadavg()[0]) > BUSY:
    parser.error(f'the machine is busy: a load of {load:.2f}, expected {BUSY} at most; wait for it')
  result = race(arguments.sides, arguments.width, arguments.batch, arguments.rounds)
  print(json.dumps(result), flush=True)


if __name__ == '__main__':
  main()
