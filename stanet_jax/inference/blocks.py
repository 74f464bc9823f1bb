"""The students on a block of consecutive moments: three steps, pure functions that each see a moment once (TPAMI Sec. 5).

The encoders run on a block (`encode_block`); triples of neighbouring moments are blended, which gives STA's maps and the nodes of STA+
(`blend_block`); nodes exchange messages with nodes around them and with some of the past (`reason_block`).
"""
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, UInt8

from stanet_jax import scam
from stanet_jax.arrays import AnyArray, Variables
from stanet_jax.data.features import LEVELS
from stanet_jax.inference.runs import Nets
from stanet_jax.models import backbones
from stanet_jax.stages.nets import feature_shapes, levels_of
from stanet_jax.stages.students import FINAL_FUSIONS, STUDENTS


def encode_block(variables: Mapping[str, Variables], frames: UInt8[AnyArray, 'b h w 3'], audio: Float[AnyArray, 'b f t'],
                 phi: Float[AnyArray, ' b'], *, nets: Nets) -> dict[str, Any]:
    """The features of a block of b moments from each student's encoders, and the audio switch.

    Args:
        variables: as `nets` has them.
        frames: RGB.
        audio: the second around each frame, as the nets hear it.
        phi: 1 where there is sound, else 0.
        nets: the students and their audio switch.
    Returns:
        `phi` [b], 1 where the switch net lets the sound through (its probability is above 0.5), else 0, as without sound; and for each
        student a dict of its image features, `C3`, `C4` and `C5`, or `C5` alone for STA+, and its audio embedding `heard` [b, d].
    """
    pictures, sounds, phi = encode_frozen(variables, frames, audio, phi, nets)
    if 'encoder' in nets.frozen:
        shown: Any = {level: x[:, None] for level, x in pictures.items()}
    else:
        shown = resized(backbones.normalise(nets.switch.encoder, frames), nets.sides['switch'])[:, None]
    opened = nets.switch.apply(variables['switch'], shown, sounds, phi)[0]
    seen: dict[str, Any] = {'phi': phi * (opened[:, 0] > 0)}
    for net, model in nets.models.items():
        given: Any = pictures
        if 'encoder' not in nets.frozen:  # a student that was trained on smaller frames than the first one sees smaller ones here, too
            side = round(frames.shape[1] * nets.sides[net] / nets.sides[next(iter(nets.models))])
            given = resized(backbones.normalise(model.encoder, frames), side)
        features: Any = model.apply(variables[net], given, method='encode_frames')
        heard = model.apply(variables[net], sounds, method='encode_audio')
        seen[net] = {**{level: features[level] for level in levels_of(net)}, 'heard': heard}
    return seen


def resized(pictures: Float[AnyArray, 'b h w 3'], side: int) -> Float[AnyArray, 'b side side 3']:
    """Normalised pictures at another side."""
    same = pictures.shape[1:3] == (side, side)
    return pictures if same else jax.image.resize(pictures, (len(pictures), side, side, 3), 'linear')


def encode_frozen(variables: Mapping[str, Variables], frames: UInt8[AnyArray, 'b h w 3'], audio: Float[AnyArray, 'b f t'],
                  phi: Float[AnyArray, ' b'], nets: Nets) -> tuple[dict[str, AnyArray], Any, Float[AnyArray, ' b']]:
    """What the encoders that all nets share give of a block: the features of pictures, empty where each net has an encoder of its own;
    those of sounds, or else the sounds; and `phi`, which is 0 where there is no ear."""
    config = nets.config
    pictures: Any = {}
    sounds: Any = audio
    if 'encoder' in nets.frozen:
        pictures = nets.frozen['encoder'].apply(variables['encoder'], backbones.normalise(config.encoder.name, frames))
        pictures = {level: pictures[level] for level in LEVELS}
    if 'audio_encoder' in nets.frozen:
        sounds = nets.frozen['audio_encoder'].apply(variables['audio_encoder'], audio)
        sounds = {'embedding': sounds['embedding']}
    elif config.audio_encoder.get('frozen'):
        width = feature_shapes(config.audio_encoder, np.zeros((1, *audio.shape[1:]), np.float32))['embedding']
        sounds, phi = {'embedding': jnp.zeros((len(audio), *width))}, jnp.zeros_like(phi)
    return pictures, sounds, phi


def blend_block(variables: Mapping[str, Variables], seen: Sequence[Mapping[str, Any]], triples: Int[AnyArray, 'b 3'], *,
                nets: Nets, side: int) -> dict[str, AnyArray]:
    """STA's maps and the nodes of STA+ for a block of b moments.

    Args:
        variables: by student.
        seen: what `encode_block` gives of the block before, this block and the one after.
        triples: the moments just before, at and just after each moment, counted from the first moment of the three blocks.
        nets: the students.
        side: of the maps, in pixels.
    Returns:
        For STA its maps in [0, 1], [b, side, side]; for each STA+ its nodes, [b, h, w, 28].
    """
    near, middle = jax.tree.map(lambda *blocks: jnp.concatenate(blocks), *seen), triples[:, 1]
    result: dict[str, Any] = {}
    for net, model in nets.models.items():
        apply, of = functools.partial(model.apply, variables[net]), near[net]
        given = of['C5'][triples], of['heard'][middle], near['phi'][middle]
        if net == 'STA':
            target = (of[level][middle] for level in ('C3', 'C4', 'C5'))
            logits = apply(*target, apply(*given, method='blend'), (side, side), method='decode')[0]
            result[net] = scam.blur(jax.nn.sigmoid(logits), nets.blurs[net] * side)
        else:
            result[net] = apply(*given, method='node')
    return result


def reason_block(variables: Mapping[str, Variables], seen: Mapping[str, Any], blended: Sequence[Mapping[str, AnyArray]],
                 bank: Mapping[str, AnyArray], short: Int[AnyArray, 'b n'], long: Int[AnyArray, 'b n'], keep: Int[AnyArray, ' k'], *,
                 nets: Nets, side: int) -> tuple[dict[str, AnyArray], dict[str, AnyArray]]:
    """The students' maps of a block of b moments, and the bank for the next block.

    Args:
        variables: by student.
        seen: what `encode_block` gives of this block.
        blended: what `blend_block` gives of the block before, this block and the one after.
        bank: the nodes of BANK moments of the past, by STA+ net.
        short: the n short-term fragments of each moment, as places in the bank followed by the three blocks.
        long: the n long-term fragments, likewise.
        keep: the moments that the next bank holds, likewise.
        nets: the students.
        side: of the maps, in pixels.
    Returns:
        Maps in [0, 1], [b, side, side], by student, and where there are all three students also by
        `students.FINAL_FUSIONS`; and the next bank.
    """
    maps: dict[str, AnyArray] = {}
    kept = dict(bank)
    for net, model in nets.models.items():
        if net == 'STA':
            maps[net] = blended[1][net]
            continue
        every = jnp.concatenate([bank[net], *(block[net] for block in blended)])
        nodes = jnp.concatenate([blended[1][net][:, None], every[short if net == 'STA_short' else long]], axis=1)
        logits, _ = model.apply(variables[net], nodes, seen[net]['C5'][:, None], (side, side), method='decode')
        maps[net], kept[net] = scam.blur(jax.nn.sigmoid(logits[:, 0]), nets.blurs[net] * side), every[keep]
    if len(nets.models) == len(STUDENTS):
        three = [maps[net] for net in STUDENTS]
        maps |= {name: fuse(*three) for name, fuse in FINAL_FUSIONS.items()}
    return maps, kept
