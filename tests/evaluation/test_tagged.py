"""Films of fixation sets' own videos with tags, made and read as a set to train on."""
import numpy as np
import PIL.Image
import pytest
import scipy.io.wavfile

from configs import stanet
from stanet_jax import InputError
from stanet_jax.data import sets
from stanet_jax.evaluation import tagged
from stanet_jax.media.header import read_header
from stanet_jax.pipeline.table import stage_configs

SHAPE, FRAMES = (36, 49), 13  # an odd width


@pytest.fixture
def root(tmp_path):
    """Two sets with a video each, one with sound and in a list of its own to train on, the other silent and in none."""
    for k, (name, video) in enumerate((('AVAD', 'one & two'), ('DIEM', 'Zürich trip (2)'))):
        folder = tmp_path / 'sets' / 'video_frames' / name / video
        folder.mkdir(parents=True)
        for t in range(FRAMES):
            frame = np.full((*SHAPE, 3), 90, np.uint8)
            frame[:, 3 * t:3 * t + 9] = (220, 60 + 100 * k, 30)
            PIL.Image.fromarray(frame).save(folder / f'img_{t + 1:05d}.jpg', quality=95)
    sound = tmp_path / 'sets' / 'video_audio' / 'AVAD' / 'one & two'
    sound.mkdir(parents=True)
    wave = np.sin(np.arange(16000 * FRAMES // 10) / 5)
    scipy.io.wavfile.write(sound / 'one & two.wav', 16000, np.int16(20000 * wave))
    (tmp_path / 'sets' / 'fold_lists').mkdir()
    (tmp_path / 'sets' / 'fold_lists' / 'AVAD_list_train_1_fps.txt').write_text(f'one & two {FRAMES} 10\n')
    (tmp_path / 'tags.csv').write_text('set,video,tag,split\nAVAD,one & two,dog;bark,train\nDIEM,Zürich trip (2),tram,train\n'
                                       'DIEM,not there,tram,train\n', 'utf-8')
    return tmp_path


def test_films_are_read_as_a_set(root, capsys):
    skipped = tagged.convert(root / 'sets', root / 'tags.csv', root / 'out')
    assert skipped == ['DIEM, not there: no frames of it are there; fetch video_frames of its set']
    films = sorted(path.relative_to(root / 'out').as_posix() for path in (root / 'out').rglob('*.mp4'))
    assert films == ['AVAD/one & two.mp4', 'DIEM/Zürich trip (2).mp4']
    assert [float(read_header(root / 'out' / film).fps) for film in films] == [10, 25]
    splits = sets.open_splits('folders', root / 'out', 32, 0.0, train_on='all')
    (clips,) = splits.values()
    assert clips.categories == ['bark', 'dog', 'tram'] and [sorted(clip['tags']) for clip in clips.clips] == [[0, 1], [2]]
    assert [(clip['frames'], clip['samples'] > 0) for clip in clips.clips] == [(FRAMES, True), (FRAMES, False)]
    first, last = clips.frame(0, 0), clips.frame(0, FRAMES - 1)
    assert first[16, 2, 0] > 180 and last[16, 26, 0] > 180 and last[16, 2, 0] < 120  # in the films' order

    times = [(root / 'out' / film).stat().st_mtime_ns for film in films]
    tagged.convert(root / 'sets', root / 'tags.csv', root / 'out')
    assert times == [(root / 'out' / film).stat().st_mtime_ns for film in films]


@pytest.mark.parametrize('text, says', [
    ('set,video\nAVAD,a\n', 'needs the columns set, video, tag'), ('', 'needs the columns'),
    ('set,video,tag\nAVAD,a,\n', 'line 2: lacks its tag'),
    ('set,video,tag\nAVAD,a,b\nAVAD,a,c\n', 'a video stands there twice'),
    ('set,video,tag\nAVAD,a,b\n', 'has none of the videos in .*tags.csv; the first one: AVAD, a: no frames')])
def test_a_wrong_file_ends_in_a_line(root, text, says):
    (root / 'tags.csv').write_text(text)
    with pytest.raises(InputError, match=says):
        tagged.convert(root / 'sets', root / 'tags.csv', root / 'out')
    assert not (root / 'out' / 'clips.csv').exists()
    with pytest.raises(InputError, match='none.csv: No such file'):
        tagged.convert(root / 'sets', root / 'none.csv', root / 'out')


def test_what_breaks_off_leaves_nothing(root):
    (root / 'sets' / 'video_frames' / 'DIEM' / 'Zürich trip (2)' / 'img_00004.jpg').write_bytes(b'no image')
    skipped = tagged.convert(root / 'sets', root / 'tags.csv', root / 'out')
    assert len(skipped) == 2 and 'img_00004.jpg' in skipped[0]
    assert sorted(path.name for path in (root / 'out').rglob('*') if path.is_file()) == ['clips.csv', 'one & two.mp4']


@pytest.mark.parametrize('recipe, name, where', [('vggsound', 'vggsound', 'VGGSound'), ('own_videos', 'folders', 'data/own_videos')])
def test_recipes_are_the_papers_on_other_clips(recipe, name, where):
    config, paper = stanet.get_config(recipe), stanet.get_config('paper')
    stages, of_paper = stage_configs(config), stage_configs(paper)
    assert stages.keys() == of_paper.keys() and all((of.data.name, of.data.root) == (name, where) for of in stages.values())
    for stage, of in stages.items():
        of.data = of_paper[stage].data
        assert of.to_dict() == of_paper[stage].to_dict()
