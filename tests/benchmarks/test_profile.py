"""What the profile says of threads whose work is known, and of a real command."""
import pathlib
import re
import subprocess
import sys
import threading
import time

import pytest

from benchmarks import profile, sampling
from tests.inference.test_videos import write

ROOT = pathlib.Path(__file__).parents[2]
BURN = 'import time\ndef {name}(seconds):\n    end = time.perf_counter() + seconds\n    while time.perf_counter() < end:\n        pass\n'


@pytest.fixture(autouse=True)
def workers_of_tests_wait(monkeypatch):
    """The threads by which the processes of tests hear from each other do nothing."""
    monkeypatch.setattr(sampling, 'IDLE', re.compile(f'{sampling.IDLE.pattern}|execnet'))


def burner(file, name):
    """A function of that name that computes for so many seconds, as if it stood in that file."""
    scope = {}
    exec(compile(BURN.format(name=name), file, 'exec'), scope)
    return scope[name]


def sampled(*runs):
    """The seconds that a sampler counts while functions run in threads of their own, and the time that it took."""
    threads, sampler, start = [threading.Thread(target=run) for run in runs], sampling.Sampler(), time.perf_counter()
    sampler.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - start
    sampler.end()
    return sampler, took


def test_each_moment_is_divided_among_the_threads_that_do_something():
    decode, spectrum = burner('/x/stanet_jax/media/video.py', '_decode'), burner('/x/stanet_jax/media/sound.py', 'log_spectrogram')
    sampler, took = sampled(lambda: decode(0.9), lambda: (spectrum(0.45), threading.Event().wait(0.9)))
    seconds = sampler.seconds
    assert set(seconds) <= {'decode', 'spectrogram', 'waiting', 'other'} and abs(sum(seconds.values()) - took) < 0.3
    # Half of the first half of the decoding's time is the spectrogram's; while one waits, nothing is shared.
    assert 0.1 < seconds['spectrogram'] < 0.5 < seconds['decode'] + 0.1 and seconds['waiting'] > 0.2


def test_what_no_rule_knows_is_named():
    sampler, _ = sampled(lambda: burner('/x/elsewhere/thing.py', 'compute')(0.3))
    assert sampler.seconds['other'] > 0.2 and max(sampler.others, key=sampler.others.get).startswith('elsewhere/thing.py:compute:')


@pytest.mark.parametrize('file, function, category', [
    ('stanet_jax/inference/predictor.py', '_encoded', 'encoders'), ('stanet_jax/inference/predictor.py', '_blended', 'heads'),
    ('stanet_jax/inference/predictor.py', '__init__', 'other nets and stages'), ('stanet_jax/media/overlay.py', 'paint_frame', 'writing'),
    ('stanet_jax/media/sound.py', 'read_sound', 'decode'), ('stanet_jax/media/box.py', 'serve', 'waiting'),
    ('stanet_jax/training/loop.py', 'fit', 'training steps'), ('jax/_src/compiler.py', 'backend_compile', 'compilation')])
def test_rules(file, function, category):
    code = compile(f'def {function}(): pass', f'/x/{file}', 'exec').co_consts[0]
    assert sampling.Sampler()._category(code) == category


def test_the_functions_that_rules_name_exist():
    for file, names in (('inference/predictor.py', ('_encoded', '_blended', 'predict_blocks')), ('media/box.py', ('_receive', 'serve')),
                        ('media/sound.py', ('log_spectrogram', 'log_mel')), ('media/overlay.py', ('write_film',)),
                        ('inference/training_free.py', ('_raw_maps', '_smooth')), ('inference/videos.py', ('predict_blocks',))):
        text = (ROOT / 'stanet_jax' / file).read_text()
        assert all(re.search(rf'def {name}\b', text) for name in names), file


def test_the_table_adds_up():
    lines = profile.table(10.0, {'decode': 2.5, 'waiting': 7.5}, {'decode': 4.0, 'waiting': 9.0})
    assert lines[2:] == ['| decode | 25.0% | 2.50 | 4.00 |', '| waiting | 75.0% | 7.50 |  |', '| all | | 10.00 | |']


@pytest.mark.thorough
def test_a_command(tmp_path):
    """A prediction: its shares add up, its child decodes, its trace is there; and one that fails ends as it does without."""
    video = write(tmp_path / 'my.mp4', 30)
    def run(flags, video):
        return subprocess.run([sys.executable, '-m', 'benchmarks.profile', *flags, '--', 'stanet', 'predict', str(video), '--method=centre',
                               f'--out={tmp_path}/out'], cwd=ROOT, capture_output=True, text=True, timeout=300)

    done = run([f'--trace={tmp_path}/trace'], video)
    assert done.returncode == 0, done.stderr
    rows = {cells[0]: cells[1:] for cells in re.findall(r'^\| ([\w ]+) \| ([\d.]*)%? ?\| ([\d.]+) \| ([\d.]*) ?\|$', done.stdout, re.M)}
    assert abs(sum(float(share) for share, *_ in rows.values() if share) - 100) < 5 and float(rows['imports'][1]) > 0
    assert 'compilation as JAX measures it' in done.stdout and (tmp_path / 'out' / 'my' / 'overlay.mp4').exists()
    assert list((tmp_path / 'trace').rglob('perfetto_trace.json.gz'))
    failed = run([], tmp_path / 'nothing.mp4')
    assert failed.returncode == 1 and 'nothing.mp4' in failed.stderr and '| all |' in failed.stdout and 'Traceback' not in failed.stderr
