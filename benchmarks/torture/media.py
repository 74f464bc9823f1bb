"""Damaged media files: each ends in frames or in one line; nothing else is raised, and neither crashes this process nor hangs anything."""
import collections
import os
import pathlib
import shutil
import time
import traceback
from collections.abc import Callable

import av

from benchmarks.torture import inputs
from benchmarks.torture.campaign import Campaign, Summary
from benchmarks.torture.mutations import mutate
from stanet_jax import InputError
from stanet_jax.data.shards import read_clip
from stanet_jax.inference.films import FilmPredictor
from stanet_jax.inference.training_free import TrainingFree
from stanet_jax.inference.videos import predict_video
from stanet_jax.media import box

QUICK, LONG = 40, 1000
TIMEOUT = 10.0  # seconds without a frame, after which a file is given up
ENDS = {'crashes the decoder': 'crashed the decoder', 'no frame of it for': 'hung in the decoder'}  # by what is told
LONGEST = 90.0  # seconds; what takes longer hangs


def torture(campaign: Campaign) -> Summary:
    """Runs the campaign."""
    os.environ[box.TIMEOUT] = str(TIMEOUT)
    films = inputs.write_films(campaign.work / 'films', 8 if campaign.quick else 25)
    predictor, count = TrainingFree('centre', side=32), QUICK if campaign.quick else LONG
    ends: collections.Counter[str] = collections.Counter()
    for number in range(count):
        film = films[number % len(films)]
        content, how = mutate(film.read_bytes(), campaign.generator(number))
        path = campaign.work / f'{number:04d}_{film.name}'
        path.write_bytes(content)
        end, told = attempt(path, lambda path: read(path, predictor, campaign.work / 'out'))
        ends[end] += 1
        if end == 'fault':
            campaign.fault(f'{film.name} after {how}: {told}', f'media.read({path.name})', [path])
        path.unlink()
    del os.environ[box.TIMEOUT]
    told = ', '.join(f'{number} {end}' for end, number in ends.most_common())
    return Summary(f'films in {len(films)} containers and codecs, damaged, predicted and read as clips', count, told)


def read(path: pathlib.Path, predictor: FilmPredictor, out: pathlib.Path) -> None:
    """Predicts a film and reads it as a clip, as preparation does."""
    shutil.rmtree(out, ignore_errors=True)
    predict_video(predictor, path, out)
    read_clip(str(path), 8, 32, 0, None)


def attempt(path: pathlib.Path, use: Callable[[pathlib.Path], object]) -> tuple[str, str]:
    """How the use of a file ends, and what is told: 'read', 'refused', 'crashed the decoder', 'hung in the decoder', or 'fault'."""
    begin = time.monotonic()
    try:
        use(path)
        end, told = 'read', ''
    except (InputError, OSError, av.FFmpegError) as error:  # what commands tell in one line
        told = str(error)
        end = next((end for words, end in ENDS.items() if words in told), 'refused')
    except Exception:  # what would be a traceback
        return 'fault', traceback.format_exc()
    if '\n' in told or not told and end != 'read':
        return 'fault', f'not one line: {told!r}'
    seconds = time.monotonic() - begin
    return (end, told) if seconds < LONGEST else ('fault', f'took {seconds:.0f} s')
