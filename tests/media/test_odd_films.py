"""Times, orientation and state of odd films, as they come from the world: each kind once, with the right values."""
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from stanet_jax import InputError
from stanet_jax.data.folders import read_durations
from stanet_jax.media import header
from stanet_jax.media.clip import read_clip
from stanet_jax.media.container import open_media, sound_stream, video_stream
from stanet_jax.media.encryption import is_scrambled
from stanet_jax.media.frame import store_frame, to_rgb
from stanet_jax.media.moments import read_moments
from stanet_jax.media.sound import read_sound
from stanet_jax.media.video import decode, read_frames
from tests.media.odd_films import MATRICES, encrypt, join, set_matrix, shift_ts, write


def times(path, choose=video_stream):
    with open_media(path) as container:
        return np.array([start for _, start, _ in decode(container, [choose(container)])])


# ------------------------------------------------------------------------------------------------------------------ times


@pytest.mark.parametrize(('codec', 'reordered'), [('libx264', 0), ('libx264', 2), ('mpeg4', 0), ('mpeg4', 2), ('mjpeg', 0)])
def test_avi_counts_pictures_from_zero(tmp_path, codec, reordered):
    if codec == 'mjpeg':
        film = tmp_path / 'a.avi'
        with av.open(str(film), 'w') as container:
            stream = container.add_stream('mjpeg', rate=4, width=64, height=48, pix_fmt='yuvj420p')
            for k in range(16):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * k, np.uint8), format='rgb24')))
            container.mux(stream.encode())
    else:
        film = write(tmp_path / 'a.avi', 16, 4, 'pcm_s16le', codec=codec, reordered=reordered, beep=2.0)
        heard = np.flatnonzero(abs(read_sound(film)) > 0.1)[0] / 16000
        white = [moment.time for moment in read_moments(film, 16) if moment.picture[8:].min() > 230]
        assert abs(heard - 2.0) < 0.01 and white == [2.0, 2.25]
    np.testing.assert_allclose(times(film), np.arange(16) / 4)


@pytest.mark.parametrize('name', ['a.flv', 'a.mp4', 'a.mkv', 'a.nut'])
def test_times_in_decoding_order_are_sorted(tmp_path, name):
    film = write(tmp_path / name, reordered=2, decoding_times=True)
    found = times(film)
    np.testing.assert_allclose(np.diff(found), 0.04, atol=1.5e-3)
    levels = [int(moment.picture[12:].mean()) for moment in read_moments(film, 16)]
    assert levels == sorted(levels) and len(levels) == 25
    np.testing.assert_allclose(times(write(tmp_path / f'right_{name}', reordered=2)), np.arange(25) / 25, atol=0.09)


@pytest.mark.parametrize('sound', ['aac', 'mp2'])
@pytest.mark.parametrize('seconds', [2.0, 0.6])
def test_joined_clocks_go_on(tmp_path, sound, seconds):
    part = write(tmp_path / 'part.ts', round(25 * seconds), sound=sound)
    film = join(tmp_path / 'joined.ts', part, part, part)
    found = times(film)
    assert len(found) == 3 * round(25 * seconds)
    assert np.diff(found).min() > 0.03 and np.diff(found).max() < 0.15  # no picture is squeezed, and the film goes on
    heard = read_sound(film)
    assert abs(len(heard) / 16000 - 3 * seconds) < 0.3 and abs(heard[-8000:-2000]).mean() > 0.1
    assert abs(header.duration(film) - 3 * seconds) < 0.3
    clip = read_clip(film, 8, 16)
    assert abs(len(clip.frames) - 24 * seconds) <= 2 and abs(len(clip.sound) / 16000 - 3 * seconds) < 0.3
    # A part behind the splice is that of the film as it is shown.
    late = list(read_frames(film, 8, 16, start=1.5 * seconds))
    assert abs(len(late) - 12 * seconds) <= 2
    # Film and sound are shifted alike.
    moments = list(read_moments(film, 16))
    assert len(moments) == len(found) and all(moment.phi for moment in moments)


@pytest.mark.parametrize('seconds', [3600.0, 86400.0, -0.5])
def test_clocks_that_jump_go_on(tmp_path, seconds):
    part = write(tmp_path / 'part.ts', 50)
    film = join(tmp_path / 'joined.ts', part, shift_ts(part, 2.0 + seconds))
    found = times(film)
    assert len(found) == 100 and np.diff(found).min() > 0.03 and np.diff(found).max() < 0.2
    assert abs(len(read_sound(film)) / 16000 - 4) < 0.3 and abs(read_durations([str(film)])[0] - 4) < 0.3


def test_slides_are_no_splice(tmp_path):
    film = write(tmp_path / 'slides.mkv', 3, rate=Fraction(1, 30), sound='')
    np.testing.assert_allclose(times(film), [0, 30, 60])


def test_film_and_sound_of_a_splice_are_in_step(tmp_path):
    part = write(tmp_path / 'part.ts', 50, beep=1.0)
    film = join(tmp_path / 'joined.ts', part, part)
    white = np.array([moment.time for moment in read_moments(film, 16) if moment.picture[8:].min() > 230])
    shown = white[np.diff(white, prepend=-1) > 0.5] - times(film)[0]
    loud = np.flatnonzero(abs(read_sound(film)) > 0.1) / 16000
    heard = loud[np.diff(loud, prepend=-1) > 0.3]
    assert len(shown) == len(heard) == 2
    np.testing.assert_allclose(shown, heard, atol=0.045)
    assert abs(np.diff(shown)[0] - 2) < 0.12


# ------------------------------------------------------------------------------------------------------------------ pictures

SHOWN = {'hflip': lambda x: x[:, ::-1], 'vflip': lambda x: x[::-1], 'turned': lambda x: np.rot90(x, -1),
         'transpose': lambda x: x.transpose(1, 0, 2), 'antitranspose': lambda x: x[::-1, ::-1].transpose(1, 0, 2)}


@pytest.mark.parametrize('name', MATRICES)
def test_display_matrices(tmp_path, name):
    film = write(tmp_path / 'a.mp4', 2, sound='')
    stored = next(read_frames(film)).copy()
    found = next(read_frames(set_matrix(film, name)))
    np.testing.assert_array_equal(found, SHOWN.get(name, lambda x: x)(stored))
    with open_media(film) as container:
        frame = next(container.decode(video=0))
        kept = store_frame(frame)
        np.testing.assert_array_equal(kept.rgb(), to_rgb(frame, None, VideoReformatter()))
    assert kept.size == found.shape[1::-1]
    assert next(read_moments(film, 16)).picture[:2, :2].min() > 200 or name not in ('zeros', 'flat', 'tilted', 'transpose')


@pytest.mark.parametrize('pixels', ['yuv420p', 'yuvj420p', 'yuv444p', 'gray', 'rgb24', 'yuv420p10le'])
@pytest.mark.parametrize('size', [(64, 48), (33, 21)])
def test_stored_frames_show_what_frames_show(pixels, size):
    image = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    frame = av.VideoFrame.from_ndarray(image, format='rgb24').reformat(format=pixels)
    frame.colorspace, frame.color_range = 1, 1
    np.testing.assert_array_equal(store_frame(frame).rgb(), to_rgb(frame, None, VideoReformatter()))


# --------------------------------------------------------------------------------------------------------- cut off, encrypted


@pytest.mark.parametrize(('name', 'options'), [('a.mp4', {'movflags': '+faststart'}), ('a.mkv', {}), ('a.avi', {}), ('a.flv', {})])
def test_films_that_break_off_are_told(tmp_path, name, options):
    film = write(tmp_path / name, 100, sound='mp2' if name == 'a.avi' else 'aac', options=options)
    assert header.find_break(film) == ''
    content = film.read_bytes()
    film.write_bytes(content[:len(content) * 2 // 3])
    found = header.find_break(film)
    assert found.startswith(f'{film}: breaks off after ') and found.endswith(' of 4.0 s') and '; its sound' not in found.split(' s')[0]
    assert 30 < len(times(film)) < 95


def test_broadcasts_do_not_tell_their_length(tmp_path):
    film = write(tmp_path / 'a.ts', 50)
    film.write_bytes(film.read_bytes()[:-20000])
    assert header.find_break(film) == ''


def test_a_stream_that_is_not_used_does_not_end_the_reading(tmp_path):
    """Sound lies behind the film in the file, and is cut off."""
    film = tmp_path / 'a.mp4'
    write(film, 50, options={'movflags': '+faststart', 'chunk_duration': '10000000'})
    with av.open(str(film)) as container:
        places = {stream.type: [entry.pos for entry in stream.index_entries] for stream in container.streams}
    first, second = sorted(places, key=lambda kind: places[kind][0])
    film.write_bytes(film.read_bytes()[:places[second][2]])
    if first == 'audio':
        assert len(times(film, sound_stream)) == len(places['audio'])
    else:
        assert len(times(film)) == 50


@pytest.mark.parametrize('movflags', ['', '+faststart', '+frag_keyframe+empty_moov'])
def test_encrypted_films_are_named(tmp_path, movflags):
    film = write(tmp_path / 'a.mp4', options=encrypt() | ({'movflags': movflags} if movflags else {}))
    for read in (lambda: list(read_frames(film)), lambda: read_sound(film), lambda: header.read_header(film)):
        with pytest.raises(InputError, match=r'a\.mp4: is encrypted, and needs its key'):
            read()


def test_encrypted_sound_or_film_alone_is_enough(tmp_path):
    film = write(tmp_path / 'a.mp4')
    content = film.read_bytes()
    for old, new in ((b'avc1', b'encv'), (b'mp4a', b'enca'), (b'avc1', b'drmi')):
        at = content.index(b'stsd')
        at = content.index(old, at)
        film.write_bytes(content[:at] + new + content[at + 4:])
        with pytest.raises(InputError, match='encrypted'):
            header.read_header(film)


def test_scrambled_broadcasts(tmp_path):
    film = write(tmp_path / 'a.ts')
    assert not is_scrambled(film)
    content = bytearray(film.read_bytes())
    for at in range(0, len(content), 188):
        if (struct.unpack_from('>H', content, at + 1)[0] & 0x1fff) > 31:
            content[at + 3] |= 0x80
    film.write_bytes(content)
    with pytest.raises(InputError, match='encrypted|cannot be read'):
        header.read_header(film)
    assert is_scrambled(film)


def test_pcm_of_64_bits(tmp_path):
    film, like = write(tmp_path / 'a.nut', sound='pcm_s64le', options={'strict': '-2'}), write(tmp_path / 'b.nut', sound='pcm_f64le')
    np.testing.assert_allclose(read_sound(film), read_sound(like), atol=1e-4)
