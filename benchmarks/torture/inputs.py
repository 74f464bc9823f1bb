"""Small inputs of every kind: films, a world with known gaze, weights of other frameworks, a run of students."""
import json
import pathlib
import struct
import zipfile
from collections.abc import Callable
from fractions import Fraction

import av
import h5py
import jax
import numpy as np

from configs import sta
from stanet_jax.arrays import AnyArray, Variables
from stanet_jax.data import synthave
from stanet_jax.models import backbones
from stanet_jax.stages import audio_switch
from stanet_jax.stages.nets import example_batch, net_inputs
from stanet_jax.stages.students import make_student
from stanet_jax.training import checkpoint

SIDE = 48
# Name of a film: its codecs of pictures and of sound.
FILMS = {'h264.mp4': ('libx264', 'aac'), 'h264.mkv': ('libx264', 'flac'), 'mpeg4.avi': ('mpeg4', 'libmp3lame'),
         'mpeg2.ts': ('mpeg2video', 'mp2'), 'mjpeg.mov': ('mjpeg', 'pcm_s16le'), 'vp9.webm': ('libvpx-vp9', 'libopus'),
         'hevc.mp4': ('libx265', 'ac3'), 'flv1.flv': ('flv', 'aac'), 'wmv2.asf': ('wmv2', 'libmp3lame'), 'mpeg1.mpg': ('mpeg1video', 'mp2'),
         'ffv1.nut': ('ffv1', 'pcm_s24le'), 'silent.gif': ('gif', '')}


def write_film(path: pathlib.Path, codecs: tuple[str, str] = ('libx264', 'aac'), frames: int = 25, rate: int = 25,
               size: tuple[int, int] = (96, 64)) -> pathlib.Path:
    """Writes a film of a moving square with a tone; `size` is width and height, at least 96 x 64, below which x264 is not deterministic."""
    picture, sound = codecs
    with av.open(str(path), 'w') as container:
        film = container.add_stream(picture, rate=rate, width=size[0], height=size[1])
        formats = {'gif': 'rgb8', 'mjpeg': 'yuvj420p'}
        film.pix_fmt, film.options = formats.get(picture, 'yuv420p'), {'preset': 'ultrafast', 'cpu-used': '8', 'x265-params': 'log-level=0'}
        voice = container.add_stream(sound, rate=48000, layout='mono') if sound else None
        for k in range(frames):
            image = np.full((size[1], size[0], 3), 60, np.uint8)
            image[size[1] // 4:size[1] // 2, k * 3 % (size[0] - 12):][:, :12] = (250, 200, k % 200)
            for packet in film.encode(av.VideoFrame.from_ndarray(image, format='rgb24').reformat(format=film.pix_fmt)):
                container.mux(packet)
        container.mux(film.encode())
        if voice:
            wave = np.float32(0.3 * np.sin(np.arange(48000 * frames // rate) / 20))[None]
            frame = av.AudioFrame.from_ndarray(wave, format='fltp', layout='mono')
            frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
            resampler = av.AudioResampler(voice.codec_context.format, 'mono', 48000, voice.codec_context.frame_size or 1024)
            for part in (*resampler.resample(frame), *resampler.resample(None)):
                container.mux(voice.encode(part))
            container.mux(voice.encode())
    return path


def write_films(folder: pathlib.Path, frames: int = 12) -> list[pathlib.Path]:
    """Writes a short film of every kind of `FILMS`."""
    folder.mkdir(parents=True, exist_ok=True)
    return [write_film(folder / name, codecs, frames) for name, codecs in FILMS.items()]


def make_world(folder: pathlib.Path, clips: int = 6) -> pathlib.Path:
    """A SynthAVE of three categories, `clips` each to train on, and to validate and test on half as many."""
    settings = synthave.Settings(categories=3, train=clips, validation=clips // 2, test=clips // 2, seconds=2.0, side=SIDE)
    synthave.generate(folder, settings, workers=1)
    return folder


def make_students(folder: pathlib.Path, nets: tuple[str, ...] = ('STA',)) -> pathlib.Path:
    """A run of tiny students and their switch, of random weights."""
    config = sta.get_config()
    config.data.side, config.width, config.nets, config.dtype = SIDE, 8, nets, 'float32'
    for where in (folder, folder / 'switch'):
        where.mkdir(parents=True)
        (where / 'config.json').write_text(config.to_json())
    for seed, net in enumerate((*nets, 'switch')):
        model = audio_switch.make_switch(config) if net == 'switch' else make_student(config, net)
        given = net_inputs(example_batch(config, 'SA' if net == 'switch' else net, 1, 1), config.encoder.name)
        checkpoint.save_variables(folder / net / 'variables', random_variables(model.init, seed, **given))
    return folder


def random_variables(init: Callable[..., Variables], seed: int, *args: AnyArray, **inputs: AnyArray) -> Variables:
    """Variables of the shapes that a module's `init` gives, small and random, without compiling it."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(init, jax.random.key(0), *args, **inputs)
    return jax.tree.map(lambda x: rng.uniform(0.01, 0.1, x.shape).astype(x.dtype), shapes)


# ------------------------------------------------------------------------------------------------- weights of other frameworks


def write_torch(path: pathlib.Path, old: bool = False) -> pathlib.Path:
    """Writes a file as torch does: two tensors of one storage."""
    numbers = np.arange(48, dtype='<f4').tobytes()

    def tensor(name, shape, strides):
        key = b'X' + struct.pack('<I', len(name)) + name
        storage = b'((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0' b'0X\x03\0\0\0cpuK\x30' + b'N' * old + b'tQK\0'
        return key + b'ctorch._utils\n_rebuild_tensor_v2\n' + storage + shape + strides + b'\x89ccollections\nOrderedDict\n)RtR'

    tensors = tensor(b'a.weight', b'K\x06K\x08\x86', b'K\x08K\x01\x86') + tensor(b'a.bias', b'K\x08\x85', b'K\x01\x85')
    pickled = b'\x80\x02}(' + tensors + b'u.'
    if old:
        head = b''.join((b'\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.', b'\x80\x02M\xe9\x03.', b'\x80\x02}X\r\0\0\0little_endian\x88s.'))
        path.write_bytes(head + pickled + b'\x80\x02]X\x01\0\0\0' b'0a.' + struct.pack('<q', 48) + numbers)
    else:
        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('archive/data.pkl', pickled)
            archive.writestr('archive/byteorder', 'little')
            archive.writestr('archive/data/0', numbers)
    return path


def write_mxnet(path: pathlib.Path) -> pathlib.Path:
    """Writes a `.params` file of MXNet with one array."""
    array = struct.pack('<IiiqqIii', 0xF993FAC9, 0, 2, 6, 8, 1, 0, 0) + np.arange(48, dtype='<f4').tobytes()
    name = b'arg:conv_weight'
    path.write_bytes(struct.pack('<QQQ', 0x112, 0, 1) + array + struct.pack('<QQ', 1, len(name)) + name)
    return path


def write_keras(path: pathlib.Path) -> pathlib.Path:
    """Writes a `.h5` file of Keras with YAMNet's layers, of random weights."""
    rng, shapes = np.random.default_rng(0), [{'kernel': (3, 3, 1, 32)}, _norm(32)]
    channels = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
    for before, after in zip(channels, channels[1:], strict=False):
        shapes += [{'depthwise_kernel': (3, 3, before, 1)}, _norm(before), {'kernel': (1, 1, before, after)}, _norm(after)]
    shapes.append({'kernel': (1024, 521), 'bias': (521,)})
    with h5py.File(path, 'w') as file:
        file.attrs['layer_names'] = np.array([f'layer{k}'.encode() for k in range(len(shapes))])
        for k, layer in enumerate(shapes):
            group = file.create_group(f'layer{k}')
            group.attrs['weight_names'] = np.array([f'{name}:0'.encode() for name in layer])
            for name, shape in layer.items():
                group[f'{name}:0'] = rng.uniform(0.5, 1.5, shape).astype(np.float32)
    return path


def _norm(channels):
    return {name: (channels,) for name in ('beta', 'moving_mean', 'moving_variance')}


def encoder_of_random_weights(folder: pathlib.Path) -> pathlib.Path:
    """Variables of the tiny image encoder, as `stanet convert` writes variables."""
    frames = np.zeros((1, SIDE, SIDE, 3), np.float32)
    checkpoint.save_variables(folder, random_variables(backbones.create('tiny').init, 0, frames))
    return folder


def config_text(run: pathlib.Path) -> str:
    """The config of a run as its file has it, one field to a line."""
    return json.dumps(json.loads((run / 'config.json').read_text()), indent=2)
