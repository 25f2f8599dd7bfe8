"""Every key of the configuration, with the place in the paper that it comes from. The other files
only override."""

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

  config.critic = critic = ml_collections.ConfigDict()
  critic.width = 64  # 64-128-256-512 channels. Not in the paper: "almost inverts" the decoder
  # where it is told the label: 'input', tiled beside the video, or 'hidden', after its first layer
  critic.label = 'input'
  # the generator is judged by the critic before its update (line 14 as printed) or after it
  critic.judges_before_update = False

  config.norm = norm = ml_collections.ConfigDict()
  norm.momentum = 0.9  # of the running statistics; not in the paper
  norm.epsilon = 1e-5  # not in the paper; VGAN's decoder

  config.loss = loss = ml_collections.ConfigDict()
  loss.adversarial = 1.0  # of eq. (3) in eq. (1)
  # lambda_1 of eq. (1) on the mean of eq. (4); no value in the paper, ImaGINator's here
  loss.reconstruction = 100.0
  loss.motion_weight = 0.0  # of moving pixels in eq. (4), see losses.py; not in the paper
  # lambda_2 of eq. (1) on the mean of eq. (5), features at unit scale; no value in the paper
  loss.identity = 5.0
  loss.identity_frames = 4  # of the clip's 32, section 3.3
  loss.identity_choice = 'even'  # which: evenly spaced, or 'random' ones at each step
  # what they are compared with: 'image' (eq. 5) or 'video' (Algorithm 1, line 13)
  loss.identity_target = 'image'

  config.optimizer = optimizer = ml_collections.ConfigDict()
  optimizer.learning_rate = 2e-5  # section 4.2; of Adam, for every network
  optimizer.b1 = 0.5  # the "momentum" of section 4.2
  optimizer.b2 = 0.999  # not in the paper; Adam's default
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


def choose(
  config: ml_collections.ConfigDict, argument: str, **options
) -> ml_collections.ConfigDict:
  """Applies what follows the colon in `--config FILE:SYSTEM,OPTION,...`.

  Args:
    config: changed in place.
    argument: the system's name, then options, separated by commas; empty for none.
    **options: functions that change a config, by name; the ablations are always among them.

  Raises:
    ValueError: an option that does not exist.
  """
  options |= {'no_spatial': no_spatial, 'no_identity': no_identity}
  system, *names = argument.split(',')
  config.system = system or config.system
  for name in names:
    if name not in options:
      raise ValueError(f"no option '{name}': expected one of {', '.join(sorted(options))}")
    options[name](config)
  return config
