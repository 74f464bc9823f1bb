"""The box is measured against the same work without it."""
import os

from benchmarks import decoding
from benchmarks.prediction import write_video
from stanet_jax.media import box
from stanet_jax.media.moments import read_moments


def process():
    return os.getpid()


def test_without_the_box_is_this_process(tmp_path):
    assert box.call(process) != os.getpid()
    with decoding.without_box():
        assert box.call(process) == os.getpid()
    assert box.call(process) != os.getpid()


def test_both_ways_read_the_film(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, 'LEAST', 0)
    write_video(tmp_path / 'film.mp4', 1)
    frames = []
    boxed, plain, more = decoding.slower(
        lambda: frames.append(len(list(box.iterate(read_moments, tmp_path / 'film.mp4', 32)))), 25, rounds=1)
    assert frames == [25] * 3 and boxed > 0 and abs(plain / boxed - 1 - more) < 1e-6
