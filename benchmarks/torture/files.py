"""Damaged files of other kinds: checkpoints, annotations, maps, lists, configs. Each ends in a result or in one line."""
import collections
import json
import pathlib
import shutil
import traceback
from collections.abc import Callable, Mapping
from typing import NamedTuple

import h5py
import numpy as np
import PIL.Image
import safetensors.numpy
import scipy.io

from benchmarks.torture import inputs
from benchmarks.torture.campaign import Campaign, Summary
from benchmarks.torture.mutations import mutate
from configs import scam_coarse
from stanet_jax import InputError
from stanet_jax.data import annotations, ave, folders, vggsound, voc
from stanet_jax.evaluation import fixations, map_files
from stanet_jax.evaluation.fixations import Video
from stanet_jax.inference.opening import open_students
from stanet_jax.media import box
from stanet_jax.media.picture import read_picture
from stanet_jax.training import checkpoint
from stanet_jax.weights import keras_file, mxnet_file, packed, torch_file
from stanet_jax.workdir import open_workdir, read_config

QUICK, LONG = 8, 100  # of each kind


class Kind(NamedTuple):
    """A kind of file.

    Attributes:
        make: writes a good one to a path.
        read: what the product does with it.
        name: of the file or the folder.
        damaged: which files of a folder are.
    """
    make: Callable[[pathlib.Path], object]
    read: Callable[[pathlib.Path], object]
    name: str
    damaged: str = '*'


def torture(campaign: Campaign) -> Summary:
    """Runs the campaign."""
    count, ends = QUICK if campaign.quick else LONG, collections.Counter[str]()
    for name, kind in KINDS.items():
        good = campaign.work / name / 'good' / kind.name
        good.parent.mkdir(parents=True)
        kind.make(good)
        failed = attempt(name, good)
        if failed[0] != 'read':
            campaign.fault(f'{name}: {failed[1]} without any damage', f'files.attempt({name!r}, {good.name})', [good])
        for number in range(count):
            bad, how = damage(good, kind.damaged, campaign.work / name / 'bad', campaign.generator(name, number))
            try:
                end, told = box.call(_attempt, bad, name)
            except InputError as error:  # a crash or a hang of the child
                end, told = 'fault', str(error)
            ends[end] += 1
            if end == 'fault':
                campaign.fault(f'{name} after {how}: {told}', f'files.attempt({name!r}, {bad.name})', [bad])
    told = ', '.join(f'{number} {end}' for end, number in ends.most_common())
    return Summary(f'files of {len(KINDS)} kinds, damaged ({", ".join(KINDS)})', count * len(KINDS), told)


def damage(good: pathlib.Path, which: str, folder: pathlib.Path, rng: np.random.Generator) -> tuple[pathlib.Path, str]:
    """Copies a file or a folder and damages it, or one file in it; gives the copy and what was done."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    bad = folder / good.name
    shutil.copytree(good, bad) if good.is_dir() else shutil.copy(good, bad)
    files = sorted(path for path in bad.rglob(which) if path.is_file()) if bad.is_dir() else [bad]
    chosen = files[rng.integers(len(files))]
    content, how = mutate(chosen.read_bytes(), rng)
    chosen.write_bytes(content)
    return bad, f'{how} of {chosen.relative_to(folder)}'


def attempt(name: str, path: pathlib.Path) -> tuple[str, str]:
    """How reading a file of a kind ends, 'read', 'refused' or 'fault', and what is told."""
    return _attempt(path, name)


def _attempt(path, name):
    try:
        KINDS[name].read(path)
        return 'read', ''
    except (InputError, OSError) as error:
        return ('fault', f'not one line: {error!r}') if '\n' in str(error) or not str(error) else ('refused', str(error))
    except Exception:  # what would be a traceback
        return 'fault', traceback.format_exc()


# -------------------------------------------------------------------------------------------------------------------- kinds


def make_variables(folder):
    """Variables of an encoder, as Orbax writes them."""
    inputs.encoder_of_random_weights(folder)


def make_mat(path):
    """Fixations as MATLAB writes them up to v7."""
    scipy.io.savemat(path, {'eyeMap': np.eye(24, 32, dtype=np.uint8), 'observers': np.array([[3., 4.], [10, 20]])}, do_compression=True)


def make_hdf5_mat(path):
    """Fixations as MATLAB writes them from v7.3 on."""
    with h5py.File(path, 'w', userblock_size=512) as file:
        file['eyeMap'], file['observers'] = np.eye(32, 24, dtype=np.uint8), np.array([[3., 10], [4, 20]])
    content = path.read_bytes()
    path.write_bytes(b'MATLAB 7.3 MAT-file'.ljust(124, b' ') + b'\0\2IM' + content[128:])


def read_mat(path):
    """Reads fixations as scoring does."""
    folder = path.parent
    video = Video('v', 1, 25.0, folder, folder, folder / 'v.wav')
    video.fixations(0), video.counts(0)


def make_picture(path):
    """A map as a picture of the suffix's format."""
    PIL.Image.fromarray(np.uint8(np.add.outer(np.arange(48), 2 * np.arange(64)))).save(path)


def read_map(path):
    """Reads a picture in every way that the product has."""
    failed = []
    for read in (read_picture, lambda path: fixations.read_image(path, 'L'), lambda path: fixations.read_image(path, 'RGB'),
                 voc.read_labels):
        try:
            read(path)
        except InputError as error:
            failed.append(error)
    if failed:
        raise failed[0]


def make_table(path):
    """A CSV file that lists videos."""
    lines = [f'{k}.mp4,tag {k % 3};other,{k},{k + 2.5},film {k % 4}' for k in range(30)]
    path.write_text('\n'.join(['file,tag,start,end,source_video', *lines]) + '\n')


def make_vggsound(folder):
    """VGGSound's table in a folder."""
    folder.mkdir()
    lines = [f'abcdefghij{k % 10},{k},"playing, loudly",{("train", "test")[k % 2]}' for k in range(30)]
    (folder / 'vggsound.csv').write_text('\n'.join(lines) + '\n')


def make_ave(folder):
    """AVE's annotation files in a folder."""
    folder.mkdir()
    for name in ('trainSet.txt', 'valSet.txt', 'testSet.txt'):
        (folder / name).write_text(''.join(f'Dog & co&video{k:06d}&good&{k % 5}&{k % 5 + 4}\n' for k in range(20)))


def make_set(folder):
    """A fixation set of one video with a fold list, and maps of it."""
    for part in ('annotations/S/v/maps', 'video_frames/S/v', 'fold_lists', 'maps/v/maps'):
        (folder / part).mkdir(parents=True)
    (folder / 'fold_lists' / 'S_list_test_fps.txt').write_text('v 2 25\n')
    for k in (1, 2):
        make_mat(folder / f'annotations/S/v/fixMap_{k:05d}.mat')
        for picture in (f'annotations/S/v/maps/eyeMap_{k:05d}.jpg', f'video_frames/S/v/img_{k:05d}.jpg', f'maps/v/maps/eyeMap_{k:05d}.png'):
            make_picture(folder / picture)
    np.save(folder / 'maps' / 'v.npy', np.zeros((48, 64), np.float32))


def read_set(folder):
    """Opens a set and its maps, and reads all that is listed."""
    _, videos, _ = fixations.open_set(folder, '')
    for video in videos:
        for k in range(min(video.frames, 4)):
            video.density(k), video.fixations(k), video.observers(k), video.frame(k)
    found = map_files.match_maps(folder / 'maps', videos).found
    for video in videos:
        list(map_files.MapReader({'maps': found})(video))


def make_lists(folder):
    """VOC's lists of ids, classes and tags."""
    folder.mkdir()
    for name in voc.LISTS.values():
        (folder / name).write_text(''.join(f'2007_{k:06d}\n' for k in range(10)))
    (folder / 'classes.txt').write_text('cat\ndog\n')
    (folder / 'tags.txt').write_text(''.join(f'2007_{k:06d} {1 + k % 2}\n' for k in range(10)))


def read_lists(folder):
    """Reads VOC's lists."""
    for path in voc.lists(folder).values():
        voc.read_ids(path)
    voc.read_tags(folder, len(voc.class_names(folder)))


def make_manifest(path):
    """A file of JSON lines, as stages write them for each other."""
    path.write_text(''.join(json.dumps({'clip': f'c{k}', 'frame': k, 'box': [0, 0, 1, 1], 'labels': [1, 0]}) + '\n' for k in range(20)))


def make_run(folder):
    """The config of a run, and the run itself."""
    inputs.make_students(folder)


def make_config(folder):
    """A run's folder with a config alone."""
    folder.mkdir()
    open_workdir(scam_coarse.get_config(), folder)


def read_config_of(folder):
    """Reads the config of a run, and opens the run to go on with it."""
    open_workdir(scam_coarse.get_config(), folder)
    read_config(folder)


def read_run(folder):
    """Opens the students of a run."""
    open_students(folder)


def make_safetensors(path):
    """Tensors in the format of safetensors."""
    safetensors.numpy.save_file({'params/conv/kernel': np.zeros((3, 4), np.float32), 'params/conv/bias': np.ones(4, np.float16)}, path)


def read_any_weights(path):
    """Reads weights as `stanet convert` does."""
    torch_file.read(path)


def make_keras(path):
    """A small `.h5` file of a Keras model."""
    with h5py.File(path, 'w') as file:
        file.attrs['layer_names'] = np.array([b'conv', b'norm'])
        for name, weights in (('conv', ('kernel', 'bias')), ('norm', ('beta', 'moving_mean'))):
            group = file.create_group(name)
            group.attrs['weight_names'] = np.array([f'{weight}:0'.encode() for weight in weights])
            for weight in weights:
                group[f'{weight}:0'] = np.arange(64, dtype=np.float32)


KINDS: Mapping[str, Kind] = {
    'Orbax': Kind(make_variables, checkpoint.load_variables, 'variables'),
    'pth': Kind(inputs.write_torch, read_any_weights, 'a.pth'),
    'old pth': Kind(lambda path: inputs.write_torch(path, old=True), read_any_weights, 'a.pth'),
    'safetensors': Kind(make_safetensors, lambda path: (read_any_weights(path), packed.load_file(path)), 'a.safetensors'),
    'params': Kind(inputs.write_mxnet, mxnet_file.read, 'a.params'),
    'h5': Kind(make_keras, keras_file.read_layers, 'a.h5'),
    'mat': Kind(make_mat, read_mat, 'fixMap_00001.mat'),
    'mat v7.3': Kind(make_hdf5_mat, read_mat, 'fixMap_00001.mat'),
    'PNG': Kind(make_picture, read_map, 'a.png'),
    'JPEG': Kind(make_picture, read_map, 'a.jpg'),
    'CSV': Kind(make_table, lambda path: folders.source(path).read(), 'videos.csv'),
    'VGGSound': Kind(make_vggsound, lambda folder: vggsound.source(folder).read(), 'set'),
    'AVE': Kind(make_ave, lambda folder: ave.source(folder).read(), 'set'),
    'fixation set': Kind(make_set, read_set, 'set'),
    'VOC lists': Kind(make_lists, read_lists, 'set'),
    'JSON lines': Kind(make_manifest, lambda path: annotations.read_lines(path, 'make it again'), 'manifest.jsonl'),
    'config': Kind(make_config, read_config_of, 'run'),
    'run': Kind(make_run, read_run, 'run', 'config.json'),
}
