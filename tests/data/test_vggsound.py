"""VGGSound's CSV file and the names that its clips are stored under."""
import pathlib
import shutil

import pytest

from stanet_jax import InputError
from stanet_jax.data import sets, vggsound
from stanet_jax.data.check import check_set
from stanet_jax.stages.sound_labels import vggsound_table
from tests.data.test_ave import write

LINES = '''---g-f_I2yQ,1,people marching,test
-0five-film,2,"alligators, crocodiles hissing",train
--0PQM4-hqg,30,waterfall burbling,train
--56QUhyDQM,185,playing tennis,train
-gone-gone-,0,people marching,test
half a line
--0PQM4-hqg,thirty,waterfall burbling,train
../../../..,30,waterfall burbling,train
--0PQM4-hqg,60,,train
--0PQM4-hqg,60,waterfall burbling,dev
'''


@pytest.fixture
def root(tmp_path):
    (tmp_path / 'vggsound.csv').write_text(LINES)
    for name in ('video/test/---g-f_I2yQ_000001.mp4', 'scratch/--0PQM4-hqg_30000_40000.webm', '--56QUhyDQM_185_195.mp4'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        suffix = {'.mp4': ('mp4', 'aac', 16000), '.webm': ('matroska', 'libopus', 48000)}[pathlib.Path(name).suffix]
        write(tmp_path / name, 1, suffix[1], suffix[2], format=suffix[0])
    write(tmp_path / 'films.mp4', 4, 'aac')
    shutil.move(tmp_path / 'films.mp4', tmp_path / 'video' / '-0five-film.mp4')  # a whole film
    return tmp_path


def test_read_table(root):
    rows, skipped = vggsound.read_table(root / 'vggsound.csv')
    assert rows[1] == vggsound.Row(2, '-0five-film', 2, 'alligators, crocodiles hissing', 'train') and len(rows) == 5
    assert [(of['line'], of['detail']) for of in skipped] == [
        (6, 'not 4 fields with commas between'), (7, 'start is no whole number of seconds'), (8, 'an id that is no file name'),
        (9, 'no label'), (10, 'its split is neither train nor test')]
    (root / 'vggsound.csv').write_text('YouTube ID,start seconds,label,split\n' + LINES.splitlines()[0])
    assert len(vggsound.read_table(root / 'vggsound.csv')[0]) == 1


def test_clips(root, capsys):
    splits = sets.open_splits('vggsound', root, 32, 8)
    train, test = splits['train'], splits['test']
    assert train.categories == ['alligators, crocodiles hissing', 'people marching', 'playing tennis', 'waterfall burbling']
    assert [(c['id'], c['source'], c['tags'], c['frames'], c['samples'] > 0) for c in train.clips] == [
        ('-0five-film_000002', '-0five-film', [0], 16, True), ('--0PQM4-hqg_000030', '--0PQM4-hqg', [3], 8, True),
        ('--56QUhyDQM_000185', '--56QUhyDQM', [2], 8, True)]
    assert [(c['id'], c['tags']) for c in test.clips] == [('---g-f_I2yQ_000001', [1])]
    out = capsys.readouterr().out
    assert 'prepared 4 clips, 40 frames; skipped 6: bad line (5)' in out and 'missing file (1): -gone-gone-_000000' in out
    assert (root / 'prepared' / 'vggsound' / '32px_8fps').is_dir()
    named = shutil.copy(root / 'vggsound.csv', root / 'part.csv')
    assert vggsound.source(named).read().splits == vggsound.source(root).read().splits


def test_check_and_wrong_input(root, tmp_path):
    lines, used = check_set(vggsound.source(root), 'VGGSound')
    assert used and '  test: 1 of 2 clips can be used, 1 categories, 0 without sound' in lines
    assert '    skipped, missing file (1): -gone-gone-_000000' in lines and 'bad lines (5): 6: not 4 fields' in '\n'.join(lines)
    with pytest.raises(InputError, match='none: holds no vggsound.csv; get vggsound.csv from') as caught:
        vggsound.source(tmp_path / 'none')
    assert '\n' not in str(caught.value)


def test_a_label_of_vggsound_is_heard_as_itself():
    table = vggsound_table(['people marching', 'Church bell'])
    assert table.sum(axis=1)[0] == 1 and table.sum(axis=1)[1] >= 1
