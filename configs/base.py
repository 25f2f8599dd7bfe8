"""Every key of the configuration, with the place in the paper that it comes from, and what other
systems than FEV-GAN set otherwise. The other files only override.

Of identity, model, critic and loss each system reads a part: KEYS of its file in fevgan_jax/models.
"""

from collections.abc import Callable

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  config = ml_collections.ConfigDict()
  config.system = 'fevgan'  # a file of fevgan_jax/models
  config.seed = 0  # of the weights, the order of the data and any noise
  config.epochs = 400.0  # passes over the training clips; section 4.2; fractions are fine
  config.batch_size = 8  # over all devices; not given in the paper, whose 4 GB card bounds it
  # what the networks compute in: 'float32', 'bfloat16', or 'auto': bfloat16 on GPU and TPU.
  # Parameters, optimiser, statistics and losses are float32 always. Not in the paper
  config.precision = 'auto'

  config.dataset = dataset = ml_collections.ConfigDict()
  dataset.name = 'synthetic_faces'  # a folder of datasets/
  dataset.config = 'quick'  # one of its builder's configurations
  # where prepared data lies; empty for TFDS' own default (~/tensorflow_datasets)
  dataset.data_dir = ''
  # where files lie that cannot be downloaded; empty for TFDS' own default, downloads/manual in the
  # folder above
  dataset.manual_dir = ''

  config.identity = identity = ml_collections.ConfigDict()
  # E_Id, section 3.1; 'dlib' needs no file; '' is the ablation "w/o E_Id"
  identity.network = 'vgg_face'
  identity.weights = ''  # its weight file; only 'dlib' has one of its own

  config.model = model = ml_collections.ConfigDict()
  # of the decoder: 512-256-128-64 channels; 128 is the wide reading. Not in the paper
  model.width = 64
  # of E_s, 64 to 512 ("512 maps", section 3.1); 0 is the ablation "w/o E_s"
  model.spatial_width = 64
  # the one-hot label is multiplied by it where it joins the features, section 3.1
  model.label_scale = 1.0
  # the decoder sees its first and last frame repeated beyond the clip, not zeros
  model.repeat_edges = False
  model.noise = 100  # of VGAN and ImaGINator: numbers from N(0, 1) per clip
  model.content = 50  # of MoCoGAN: numbers from N(0, 1) per clip
  model.motion = 10  # of MoCoGAN: numbers from N(0, 1) per frame, and of its recurrent network

  config.critic = critic = ml_collections.ConfigDict()
  critic.width = 64  # 64-128-256-512 channels. Not in the paper: "almost inverts" the decoder
  # where it is told the label: 'input', tiled beside the video, or 'hidden', after its first layer
  critic.label = 'input'
  # the generator is judged by the critic before its update (line 14 as printed) or after it
  critic.judges_before_update = False
  # of a clip, that MoCoGAN's video critic sees: 32, or 16, every second one
  critic.frames = 32

  config.norm = norm = ml_collections.ConfigDict()
  norm.momentum = 0.9  # of the running statistics; not in the paper
  norm.epsilon = 1e-5  # not in the paper; VGAN's decoder

  config.loss = loss = ml_collections.ConfigDict()
  loss.adversarial = 1.0  # of eq. (3) in eq. (1)
  # of the cross-entropy of the label, in the losses of a critic that classifies and of its
  # generator: MoCoGAN
  loss.label = 1.0
  # lambda_1 of eq. (1) on the mean of eq. (4); no value in the paper, ImaGINator's here
  loss.reconstruction = 100.0
  loss.motion_weight = 0.0  # of moving pixels in eq. (4), see losses.py; not in the paper
  # lambda_2 of eq. (1) on the mean of eq. (5), features at unit scale; no value in the paper
  loss.identity = 5.0
  loss.identity_frames = 4  # of the clip's 32, section 3.3
  loss.identity_choice = 'even'  # which: evenly spaced, or 'random' ones at each step
  # what they are compared with: 'image' (eq. 5) or 'video' (Algorithm 1, line 13)
  loss.identity_target = 'image'
  loss.mask = 0.1  # of VGAN, on the mean of the mask: what rests is left to the background
  loss.first_frame = 10.0  # of C-VGAN, on the mean |input - first frame|

  config.optimizer = optimizer = ml_collections.ConfigDict()
  optimizer.learning_rate = 2e-5  # section 4.2; of Adam, for every network
  optimizer.b1 = 0.5  # the "momentum" of section 4.2
  optimizer.b2 = 0.999  # not in the paper; Adam's default
  optimizer.weight_decay = 0.0  # not in the paper
  optimizer.schedule = 'constant'  # 'cosine' falls to zero over the run, for short ones

  config.log_every = 10  # steps, to metrics.jsonl and TensorBoard
  config.sample_every = 500  # steps between sheets of generated clips
  config.checkpoint_every = 200  # steps
  config.checkpoints_kept = 2  # the newest ones

  config.evaluation = evaluation = ml_collections.ConfigDict()
  # which face network measures ACD and ACD-I: 'sface', 'dlib', 'openface' (the paper's, section
  # 4.3) or 'auto': never the one that training used
  evaluation.face_network = 'auto'
  evaluation.weights = ''  # the weight file of 'openface', nn4.small2.v1.t7
  evaluation.batch_size = 8  # clips at once
  return config


def no_spatial(config: ml_collections.ConfigDict) -> None:
  """The ablation "w/o E_s" of Table 3."""
  config.model.spatial_width = 0


def no_identity(config: ml_collections.ConfigDict) -> None:
  """The ablation "w/o E_Id" of Table 3."""
  config.identity.network = ''
  config.loss.identity = 0.0


def vgan(config: ml_collections.ConfigDict) -> None:
  """VGAN (Vondrick, Pirsiavash and Torralba, 2016) as its authors' main.lua trains it.

  Not as there: 400 epochs as all systems here, for 100 of a far larger collection; the critic has
  one logit for its two, and its loss is not halved, which Adam does not notice; the generator is
  judged by the updated critic anew, where it reuses the verdict that led to the update.
  """
  config.identity.network = ''
  config.batch_size = 64
  config.optimizer.learning_rate = 2e-4
  config.optimizer.b1 = 0.5
  config.model.width = 64  # of both streams, 512-256-128-64
  config.model.noise = 100
  config.critic.width = 64  # 64-128-256-512
  config.loss.mask = 0.1


def cvgan(config: ml_collections.ConfigDict) -> None:
  """C-VGAN: VGAN behind an encoder of a picture, as its authors' main_conditional.lua trains it,
  with the label that FEV-GAN's section 4.2 gives it.

  Not as there: what is said of VGAN. The label joins the latent code as a tiled one-hot. That
  section has the code "fed to the generator" and says nothing of the critic, so that it hears no
  label, as in main_conditional.lua: what it asks for is not checked by anything in training.
  """
  config.identity.network = ''
  config.batch_size = 32
  config.optimizer.learning_rate = 2e-4
  config.optimizer.b1 = 0.5
  config.model.width = 128  # of encoder and both streams, 1024-512-256-128
  config.model.label_scale = 1.0
  config.critic.width = 128  # 128-256-512-1024
  config.loss.first_frame = 10.0


def mocogan(config: ml_collections.ConfigDict) -> None:
  """MoCoGAN (Tulyakov et al., 2018), what its code trains with.

  Departures: batches of `batch_size` clips, the image critic on one random frame of each, where
  theirs has batches of its own (10 images, 3 videos); the labels of the batch, where theirs draws
  some; the generator is judged on the clips that the critics have just seen, where theirs generates
  anew; 32 frames, where theirs trains on 16, every second one; Algorithm 1's schedule, epochs for
  their 100,000 iterations.
  """
  config.identity.network = ''
  config.model.content = 50
  config.model.motion = 10
  # Its critic is made for 16 frames: of 32 it judges every 16 that follow each other.
  config.critic.frames = 32
  config.critic.judges_before_update = False
  config.loss.adversarial = 1.0
  config.loss.label = 1.0
  config.optimizer.learning_rate = 2e-4
  config.optimizer.b1 = 0.5
  config.optimizer.b2 = 0.999
  config.optimizer.weight_decay = 1e-5


def imaginator(config: ml_collections.ConfigDict) -> None:
  """ImaGINator (Wang et al., 2020), what its code trains with.

  Departures: the input is the clip's first frame, the neutral face, where theirs is the first of a
  random window; the image critic sees the same frame of real and generated clips, where theirs
  draws two; `epochs` are those of all systems, theirs are 5,001.
  """
  config.identity.network = ''
  config.batch_size = 64
  config.model.noise = 512
  config.critic.judges_before_update = True  # the generator's update comes first
  config.loss.adversarial = 1.0
  config.loss.reconstruction = 100.0
  config.loss.motion_weight = 0.0
  config.optimizer.learning_rate = 2e-4
  config.optimizer.b1 = 0.5
  config.optimizer.b2 = 0.999


# What a system sets otherwise than get_config, whose values are FEV-GAN's and FEV-GAN+'s.
SYSTEMS = {'vgan': vgan, 'cvgan': cvgan, 'mocogan': mocogan, 'imaginator': imaginator}
ABLATIONS = {'no_spatial': no_spatial, 'no_identity': no_identity}  # of FEV-GAN alone


def choose(
  config: ml_collections.ConfigDict,
  argument: str,
  settings: Callable[[ml_collections.ConfigDict], None] | None = None,
  **options: Callable[[ml_collections.ConfigDict], None],
) -> ml_collections.ConfigDict:
  """Applies what follows the colon in `--config FILE:SYSTEM,OPTION,...`.

  Args:
    config: changed in place.
    argument: the system's name, then options, separated by commas; empty for none.
    settings: of a config file that wants others than a system's published ones; applied after the
      system and before the options.
    **options: functions that change a config, by name; FEV-GAN's ablations are always among them.

  Raises:
    ValueError: an option that does not exist, or not for this system.
  """
  options |= ABLATIONS
  system, *names = argument.split(',')
  config.system = system or config.system
  if config.system in SYSTEMS:
    SYSTEMS[config.system](config)
  if settings is not None:
    settings(config)
  for name in names:
    if name not in options:
      raise ValueError(f"no option '{name}': expected one of {', '.join(sorted(options))}")
    if name in ABLATIONS and config.system != 'fevgan':
      raise ValueError(f"option '{name}': an ablation of fevgan, '{config.system}' has none")
    options[name](config)
  return config
