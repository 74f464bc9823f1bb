"""What sound does to the maps, of a predictor that looks where it is loud and of one that is deaf."""
import numpy as np
import pytest

from benchmarks import hearing
from stanet_jax import InputError
from stanet_jax.data.synthave import write_video
from stanet_jax.inference.films import Maps


class ByLoudness:
    """Looks at the left without sound, and further to the right the louder it is."""

    def maps(self, frames, sound, fps):
        column = 0 if sound is None else min(9, int(20 * np.abs(sound).mean()))
        maps = np.zeros((len(frames), 10, 10), np.float32)
        maps[:, 5, column] = 1
        return Maps(np.arange(len(frames)) / fps, maps)


class Deaf:
    def maps(self, frames, sound, fps):
        return ByLoudness().maps(frames, None, fps)


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp('clips')
    for tag, loudness in (('loud', 0.4), ('quiet', 0.01)):
        for k in range(2):
            (folder / tag).mkdir(exist_ok=True)
            frames = np.random.default_rng(k).integers(0, 255, (8, 32, 48, 3), np.uint8)
            write_video(folder / tag / f'{k}.mp4', frames, loudness * np.sin(np.arange(32000) / 5), 4)
    return hearing.chosen_clips(folder, 2)


def test_the_maximum_moves_where_sound_decides(clips):
    found, rows = hearing.compare(clips, {'by loudness': ByLoudness(), 'deaf': Deaf()})
    (muted, moved), (another, strange) = found['by loudness'].values()
    loud = np.repeat([True, True, False, False], 4)  # clips of two seconds, two frames a second each
    assert moved.tolist() == loud.tolist() and strange.all()
    np.testing.assert_allclose(muted, np.where(loud, -1 / 99, 1), atol=1e-6)  # of two single pixels of a hundred
    np.testing.assert_allclose(another, -1 / 99, atol=1e-6)
    assert all(likeness.min() > 1 - 1e-6 and not moves.any() for likeness, moves in found['deaf'].values())
    assert [title for title, _ in rows] == ['loud/0', 'loud/1', 'quiet/0', 'quiet/1'] and {len(cells) for _, cells in rows} == {6}


def test_the_page(clips):
    found, _ = hearing.compare(clips, {'by loudness': ByLoudness()})
    page = hearing.document(found, clips)
    assert '4 clips of 2 tags' in page
    assert '| by loudness | without sound | 0.495, of a tenth of the frames below -0.010 | 50.0% | 16 |' in page


def test_another_sound_is_another_tags_however_many_clips_a_tag_has(clips):
    loud, quiet = clips
    found, _ = hearing.compare([loud[:1], quiet], {'by loudness': ByLoudness()})
    assert found['by loudness']['another'][1].tolist() == [True] * 12
    with pytest.raises(InputError, match='no two folders of clips'):
        hearing.chosen_clips(loud[0].parent, 2)
