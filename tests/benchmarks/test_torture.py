"""What the torture stands on: damage by a seed, the comparison of folders, what counts as one line, how faults are kept, the page."""
import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
import scipy.io

from benchmarks.torture import endurance, files, inputs, media, mutations, page
from benchmarks.torture.campaign import Campaign, Summary, error_lines, is_one_line
from benchmarks.torture.folders import differences, left_over
from stanet_jax import InputError
from stanet_jax.training import checkpoint
from tests import forked

CONTENT = bytes(range(256)) * 8 + b'moov' + bytes(40)


@pytest.mark.parametrize('kind', mutations.KINDS, ids=lambda kind: kind.__name__)
def test_damage_of_each_kind(kind):
    """Lengths change as the name says, and most seeds change something."""
    changed = 0
    for seed in range(50):
        content = bytearray(CONTENT)
        kind(content, np.random.default_rng(seed))
        changed += content != CONTENT
        if kind in (mutations.cut, mutations.drop):
            assert len(content) < len(CONTENT)
        elif kind is mutations.double:
            assert len(content) > len(CONTENT)
        else:
            assert len(content) == len(CONTENT)
        if kind is mutations.change_field:
            assert sum(a != b for a, b in zip(content, CONTENT, strict=True)) <= 8
    assert changed > 40


def test_damage_is_of_the_seed_alone_and_takes_any_length():
    made = [mutations.mutate(CONTENT, np.random.default_rng([3, seed])) for seed in range(20)]
    assert made == [mutations.mutate(CONTENT, np.random.default_rng([3, seed])) for seed in range(20)] and len(set(made)) == 20
    for content in (b'', b'a', b'ab'):
        for seed in range(60):
            mutations.mutate(content, np.random.default_rng(seed))


def write(folder, **files):
    for name, content in files.items():
        path = folder / name.replace('__', '/').replace('_dot_', '.')
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def test_folders_are_compared_to_the_bit(tmp_path):
    one = write(tmp_path / 'one', a='1', b__c='2', stages_dot_json='{"x": 1.0}', report_dot_html='1 s', compiled__p='1')
    two = write(tmp_path / 'two', a='1', b__c='2', stages_dot_json='{"x": 2.0}', report_dot_html='2 s', compiled__q='2')
    scipy.io.savemat(one / 'a.mat', {'x': np.eye(2)})
    shutil.copy(one / 'a.mat', two / 'a.mat')
    later = bytearray((two / 'a.mat').read_bytes())
    later[60:70] = b'another day'[:10]
    (two / 'a.mat').write_bytes(later)
    assert differences(one, two) == differences(two, one) == []
    write(two, b__c='3', d__e='4', stages_dot_json='{"y": 2.0}')
    (one / 'empty').mkdir()
    assert differences(one, two) == ['d/e: is missing', 'empty: is too much', 'b/c: differs', 'stages.json: differs']


def test_arrays_of_orbax_are_compared_as_arrays(tmp_path):
    kernel = np.arange(6, dtype=np.float32).reshape(2, 3)
    for name, changed in (('one', 0), ('two', 0), ('three', 1e-7)):
        checkpoint.save_variables(tmp_path / name / 'variables', {'params': {'kernel': kernel + np.float32(changed)}})
    assert differences(tmp_path / 'one', tmp_path / 'two') == []
    assert differences(tmp_path / 'one', tmp_path / 'three') == ['variables: differs']


def test_what_is_left_over_is_found(tmp_path):
    write(tmp_path, a='', _dot_b='', c_dot_incomplete_dot_1__d='', e_dot_part='', f__g_dot_orbax_checkpoint_tmp='')
    os.rename(tmp_path / 'f' / 'g.orbax_checkpoint_tmp', tmp_path / 'f' / 'g.orbax-checkpoint-tmp')
    assert left_over(tmp_path) == ['.b', 'c.incomplete.1', 'e.part', 'f/g.orbax-checkpoint-tmp']


def test_one_line():
    bar = 'S:  75%|####   | 9/12 [00:02<00:00,  4.03step/s, loss=0.615]\rS: 100%|####| 12/12 [00:03<00:00,  4.03step/s]\n'
    assert error_lines(f'{bar}error: a.mp4: no video\n') == ['error: a.mp4: no video'] and is_one_line(f'{bar}error: a: b\n')
    for text in ('', bar, 'Traceback (most recent call last):\n  File "a.py", line 1\nerror: a\n', 'error: a\nSegmentation fault\n'):
        assert not is_one_line(text)


def test_how_the_use_of_a_file_ends(tmp_path):
    def raising(error):
        def use(path):
            raise error
        return use

    assert media.attempt(tmp_path, lambda path: None) == ('read', '')
    assert media.attempt(tmp_path, raising(InputError('a: no video'))) == ('refused', 'a: no video')
    assert media.attempt(tmp_path, raising(InputError('a: crashes the decoder (x)')))[0] == 'crashed the decoder'
    for error in (KeyError('a'), InputError('two\nlines'), InputError('')):
        assert media.attempt(tmp_path, raising(error))[0] == 'fault'


def campaign(tmp_path, name='files', quick=True):
    return Campaign(name, 5, quick, tmp_path / 'work', tmp_path, tmp_path / 'keep')


def test_a_fault_is_kept(tmp_path):
    bad, of = write(tmp_path / 'bad', a='x'), campaign(tmp_path)
    of.fault('a: ends with code 3', ['stanet', 'predict', 'a'], [bad, tmp_path / 'none'])
    kept = tmp_path / 'keep' / 'files' / '000'
    told = (kept / 'README').read_text()
    assert (kept / 'bad' / 'a').read_text() == 'x' and of.faults == ['a: ends with code 3']
    assert 'stanet predict a' in told and '--quick --only=files --seed=5' in told


def test_rows_of_other_campaigns_stay(tmp_path):
    path, names = tmp_path / 'page.md', ('media', 'files', 'kills')
    page.write_row(path, campaign(tmp_path, 'media', False), Summary('films', 1000, '990 read'), 61.4, names)
    page.write_row(path, campaign(tmp_path, 'files', False), Summary('files', 20, 'all well'), 5, names)
    page.write_row(path, campaign(tmp_path, 'files', False), Summary('files', 30, 'all well'), 5, names)
    rows = page.read_rows(path)
    assert list(rows) == ['media', 'files'] and rows['media'].startswith('films | 1,000 | 990 read | 61 | ')
    assert rows['files'].startswith('files | 30 |') and '--only=files --seed=5`' in rows['files'] and '**not run**' in path.read_text()


@pytest.mark.parametrize('name', files.KINDS)
def test_files_without_damage_are_read(tmp_path, name):
    kind = files.KINDS[name]
    kind.make(tmp_path / kind.name)
    assert files.attempt(name, tmp_path / kind.name) == ('read', '')


def test_films_without_damage_are_read(tmp_path):
    for path in inputs.write_films(tmp_path, 6):
        assert media.attempt(path, lambda path: media.read_clip(str(path), 8, 32, 0, None)) == ('read', ''), path


def test_the_command_says_what_it_does_not_know():
    done = forked.python('-m', 'benchmarks.torture', '--only=media,wind')
    assert done.returncode == 2 and '--only: no campaign wind; choose of media, files' in done.stderr


def test_children_are_found_while_threads_end():
    with subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE) as child:
        threads = [threading.Thread(target=lambda: [threading.Thread(target=int).start() for _ in range(300)]) for _ in range(3)]
        for thread in threads:
            thread.start()
        found = [endurance.children() for _ in range(100)]
        for thread in threads:
            thread.join()
        child.communicate(b'\n')
    assert all(child.pid in of for of in found)
