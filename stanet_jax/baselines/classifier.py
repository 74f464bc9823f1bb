"""The class activation maps of a trained S, of frames."""
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, UInt8

from stanet_jax import InputError
from stanet_jax.arrays import AnyArray, Variables
from stanet_jax.baselines import cam
from stanet_jax.models import backbones
from stanet_jax.models.classifiers import Classifier
from stanet_jax.stages.nets import load_net, make_classifier
from stanet_jax.workdir import find_run

MASKS = 32  # masked images, or features, of a frame that are computed at once
SAMPLES: Mapping[str, int] = {'smooth_grad_cam_pp': 4, 'ss_cam': 35}  # noisy ones, of the methods that take such


class TrainedClassifier(NamedTuple):
    """S with its weights, those of its encoder among them.

    Attributes:
        model: the module.
        variables: of it.
        side: of the frames that it was trained on, in pixels.
    """
    model: Classifier
    variables: Variables
    side: int


def load_classifier(path: str | os.PathLike) -> TrainedClassifier:
    """Loads S from its folder, `RUN/S`, or from that of its run; InputError where there is none."""
    run, config, only = find_run(path)
    if config.get('task') != 'classifiers' or 'S' not in config.nets or only not in ('', 'S'):
        raise InputError(f'{path}: not S; class activation maps are of the net S of a run of stanet train --config=scam_coarse')
    variables = load_net(config, run / 'S')
    classes = variables['params']['classifier']['bias'].size
    return TrainedClassifier(make_classifier(config, 'S', classes), variables, config.data.side)


def class_maps(variables: Variables, frames: UInt8[AnyArray, 'b side side 3'], tags: Int[AnyArray, 'b n'] | None = None, *,
               model: Classifier, method: str, samples: int = 0) -> Float[jax.Array, 'b side side']:
    """The maps of frames by a function of `cam`, of C5, in [0, 1], enlarged to the frames' size.

    Args:
        variables: of S.
        frames: RGB.
        tags: the classes of each frame, filled up with -1, whose maps are averaged; by default the one that S predicts.
        model: S.
        method: the function's name.
        samples: how many noisy images or masks, where it takes such; 0 for `SAMPLES`.
    """
    images = backbones.normalise(model.encoder, frames)

    def encode(images):
        return model.apply(variables, images[:, None], method='encode_frames')['C5'][:, 0]

    def forward(features):
        return model.apply(variables, features, method='answer')[0]  # type: ignore[index]

    def predict(images):
        return forward(encode(images))

    function, features = getattr(cam, method), encode(images)
    options: dict[str, Any] = {'samples': samples or SAMPLES[method]} if method in SAMPLES else {}
    # The noise of a frame is that of any other, so that its map does not depend on which are computed with it.
    noise = cam.gaussian_noise(jax.random.key(0), (1, *images.shape[1:3], *((3,) if method == 'smooth_grad_cam_pp' else ())))

    def of_classes(classes):
        if method in ('feature_sum', 'eigen_cam'):
            return function(features)
        if method == 'cam':
            return function(features, variables['params']['classifier']['kernel'][0, 0], classes)
        if method == 'smooth_grad_cam_pp':
            return function(encode, forward, images, classes, noise, **options)
        if method == 'ss_cam':
            return function(predict, images, features, classes, noise, **options, batch=MASKS)
        if method in ('score_cam', 'is_cam'):
            return function(predict, images, features, classes, batch=MASKS)
        return function(forward, features, classes, **({'batch': MASKS} if method == 'ablation_cam' else {}))

    def enlarge(maps):
        return jax.image.resize(maps, frames.shape[:3], 'bilinear')

    if tags is None:
        return enlarge(of_classes(forward(features).argmax(axis=1)))
    there = tags >= 0
    maps = [jnp.where(there[:, k, None, None], of_classes(jnp.maximum(tags[:, k], 0)), 0) for k in range(tags.shape[1])]
    return enlarge(sum(maps) / jnp.maximum(there.sum(axis=1), 1)[:, None, None])
