"""What SECURITY.md promises: files that are made to exhaust memory, to run code or to reach other files end in one line."""
import html
import http.server
import pathlib
import pickle
import resource
import struct
import threading
import warnings
import zipfile
import zlib
from fractions import Fraction

import av
import h5py
import numpy as np
import PIL.Image
import pytest
import scipy.io

from stanet_jax import InputError, one_line
from stanet_jax.data import voc
from stanet_jax.evaluation import fixations
from stanet_jax.evaluation.fixations import Video, count_points, read_image
from stanet_jax.media import box
from stanet_jax.media.container import LARGEST_FRAME
from stanet_jax.media.header import count_frames
from stanet_jax.media.moments import read_moments
from stanet_jax.media.picture import read_picture
from stanet_jax.pipeline.report import curve_svg, score_table
from stanet_jax.weights import keras_file, torch_file
from tests.media.odd_films import write

ROOT = pathlib.Path(__file__).parents[1]
GIGABYTE = 1 << 30


@pytest.fixture(autouse=True)
def memory_stays():
    """No test takes a gigabyte in this process."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < GIGABYTE


def chunk(name, data):
    return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))


def png(width, height, rows=b''):
    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(rows or bytes(1000))) + chunk(b'IEND', b'')


# ------------------------------------------------------------------------------------------------------------------ pictures


@pytest.mark.parametrize('size', [(60000, 60000), (2 ** 31 - 1, 2 ** 31 - 1), (15000, 15000)])
def test_pictures_of_absurd_size(tmp_path, size):
    path = tmp_path / 'huge.png'
    path.write_bytes(png(*size))
    for read in (read_picture, lambda path: read_image(path, 'L'), lambda path: read_image(path, 'RGB'), voc.read_labels):
        with pytest.raises(InputError, match=r'huge\.png: cannot be read as an image \(.*\); make or fetch it again$') as caught:
            read(path)
        assert '\n' not in str(caught.value)


def test_large_pictures_are_read_without_a_warning(tmp_path):
    path = tmp_path / 'large.png'
    PIL.Image.new('L', (12000, 8000), 7).save(path)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert read_image(path, 'L').shape == (8000, 12000)


def test_films_of_absurd_size(tmp_path):
    """Each frame of the film is a PNG of 60,000 x 60,000 pixels."""
    content, path = png(60000, 60000), tmp_path / 'huge.avi'
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('png', rate=25, width=64, height=48, pix_fmt='rgb24')
        stream.codec_context.open()
        for k in range(3):
            packet = av.Packet(content)
            packet.pts = packet.dts = k
            packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, 25), True
            container.mux(packet)
    assert 60000 ** 2 > LARGEST_FRAME
    with pytest.raises(InputError, match=r'huge\.avi: no frame of it decodes'):
        next(box.iterate(read_moments, path, 32))


# -------------------------------------------------------------------------------------------------------------- annotations


def video(folder):
    return Video('v', 1, 25.0, folder, folder, folder / 'v.wav')


def mat_element(kind, data, size=None):
    return struct.pack('<II', kind, len(data) if size is None else size) + data


def mat_file(element):
    return b'MATLAB 5.0 MAT-file'.ljust(124, b' ') + struct.pack('<HH', 0x0100, 0x4d49) + element


def matrix(shape, data, claimed=None):
    """A matrix eyeMap of doubles; it says that its numbers take `claimed` bytes."""
    inner = mat_element(6, struct.pack('<II', 6, 0)) + mat_element(5, struct.pack('<ii', *shape)) + mat_element(1, b'eyeMap\0\0', 6)
    inner += mat_element(9, data, claimed)
    return mat_element(14, inner, None if claimed is None else len(inner) - len(data) + min(claimed, 2 ** 31))


def test_mat_files_that_claim_ten_gigabytes(tmp_path):
    path = tmp_path / 'fixMap_00001.mat'
    path.write_bytes(mat_file(matrix((2, 3), np.arange(6.0).tobytes())))
    np.testing.assert_array_equal(fixations.read_mat(path)['eyeMap'], [[0, 2, 4], [1, 3, 5]])
    bomb = zlib.compressobj()
    zeros = [bomb.compress(bytes(1 << 24)) for _ in range(8)]
    packed = b''.join([bomb.compress(matrix((40000, 33000), b'', 2 ** 32 - 8)[:72]), *zeros, bomb.flush()])
    for content in (matrix((40000, 33000), bytes(64), 2 ** 32 - 8), matrix((40000, 33000), bytes(64)), mat_element(15, packed)):
        path.write_bytes(mat_file(content))
        with pytest.raises(InputError, match=r'fixMap_00001\.mat: ') as caught:
            video(tmp_path).fixations(0)
        assert '\n' not in str(caught.value)
    with h5py.File(path, 'w', userblock_size=512) as file:
        file.create_dataset('eyeMap', (100_000, 100_000), 'f8', chunks=(100, 100))
    path.write_bytes(b'MATLAB 7.3 MAT-file'.ljust(124, b' ') + struct.pack('<HH', 0x0200, 0x4d49) + path.read_bytes()[128:])
    with pytest.raises(InputError, match=r'fixMap_00001\.mat: cannot be read .*268,435,456 pixels'):
        video(tmp_path).fixations(0)


def test_gaze_off_the_frame_is_left_out(tmp_path):
    points = np.array([[10., 20.], [np.nan, np.nan], [-300, 5], [1000, 5], [5, np.inf], [-0.4, 63.8], [10.2, 19.7], [48, 5]])
    counts = count_points(points, (48, 64))
    assert counts.sum() == 3 and counts[10, 20] == 2 and counts[0, 63] == 1
    for observers in (points, np.zeros((0, 0)), points[:0]):
        scipy.io.savemat(tmp_path / 'fixMap_00001.mat', {'eyeMap': np.uint8(counts > 0), 'observers': observers})
        assert video(tmp_path).counts(0).sum() == (3 if len(observers) else 0)
    scipy.io.savemat(tmp_path / 'fixMap_00001.mat', {'eyeMap': np.uint8(counts > 0), 'observers': points.T})
    with pytest.raises(InputError, match='its observers are no points'):
        video(tmp_path).counts(0)


# -------------------------------------------------------------------------------------------------------------- checkpoints


def archive(path, pickled, compression=zipfile.ZIP_STORED, **files):
    with zipfile.ZipFile(path, 'w', compression) as file:
        file.writestr('a/data.pkl', pickled)
        for key, content in files.items():
            file.writestr(f'a/data/{key}', content)
    return path


def nested(depth, opening, closing):
    return b'\x80\x04' + opening * depth + closing * depth + b'.'


def laughs(levels):
    """Lists that hold the list below twice: few bytes, 2^levels names."""
    return b'\x80\x04]\x94' + b''.join(b']h' + bytes([k]) + b'ah' + bytes([k]) + b'a\x94' for k in range(levels)) + b'.'


def tensor(shape, storage=4):
    """A pickle of a tensor of this shape, of one storage, whose strides are 0."""
    numbers = b'(' + b''.join(b'\x8a\x08' + struct.pack('<q', n) for n in shape) + b't'
    strides = b'(' + b'K\0' * len(shape) + b't'
    return (b'\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n'
            b'X\x01\0\0\0' b'0X\x03\0\0\0cpuK' + bytes([storage]) + b'tQK\0' + numbers + strides + b'\x89}tRs.')


@pytest.mark.parametrize('pickled', [
    nested(10 ** 5, b'(', b't'), nested(10 ** 5, b']', b'a')[:-2] + b'.', nested(10 ** 5, b'}K\x01', b's'), laughs(100),
    b'\x80\x02Nr\xff\xff\xff\x7f.',
    b'\x80\x05\x96' + struct.pack('<Q', 10 ** 10) + b'x.', b'\x80\x04\x8d' + struct.pack('<Q', 2 ** 62) + b'x.',
    tensor((10 ** 6, 10 ** 6)), tensor((2 ** 31,))], ids=['tuples', 'lists', 'dicts', 'laughs', 'memo', 'bytes', 'text', 'plane', 'line'])
@pytest.mark.parametrize('form', ['zip', 'old'])
def test_pickles_that_exhaust_memory(tmp_path, pickled, form):
    path = tmp_path / 'bomb.pth'
    if form == 'zip':
        archive(path, pickled, **{'0': bytes(16)})
    else:
        path.write_bytes(b''.join(pickle.dumps(x, 2) for x in (torch_file.MAGIC, 1001, {'little_endian': True})) + pickled
                         + pickle.dumps(['0'], 2) + struct.pack('<q', 10 ** 12))
    with pytest.raises(InputError, match=r'bomb\.pth: (not read|holds no tensors).*; give a .*$|bomb\.pth: holds no tensors') as caught:
        torch_file.read(path)
    assert '\n' not in str(caught.value)


def test_zip_bombs(tmp_path):
    path = archive(tmp_path / 'bomb.pth', tensor((2,)), zipfile.ZIP_DEFLATED, **{'0': bytes(1 << 28)})
    assert path.stat().st_size < 1 << 20
    with pytest.raises(InputError, match=r'bomb\.pth: not read \(it unpacks to more than 100 times its size\)'):
        torch_file.read(path)
    path = archive(tmp_path / 'long.pth', b'\x80\x02' + b']' * 2 ** 24 + b'.')
    with pytest.raises(InputError, match=r'long\.pth: not read \(its pickle is longer than 16,777,216 bytes\)'):
        torch_file.read(path)


def test_a_whole_net_that_is_pickled_gives_its_weights(tmp_path):
    """What is no tensor is inert, also where tensors lie in it."""
    assert torch_file.read(archive(tmp_path / 'plain.pth', tensor((2, 2)), **{'0': np.arange(4, dtype='<f4').tobytes()})).keys() == {'w'}
    inner = tensor((2,))[3:-2]  # the dict's key and value
    whole = b'\x80\x02cmy.nets\nNet\n)\x81}X\x0b\0\0\0_parameters}' + inner + b'ssb.'
    found = torch_file.read(archive(tmp_path / 'whole.pth', whole, **{'0': np.arange(4, dtype='<f4').tobytes()}))
    np.testing.assert_array_equal(found['w'], [0, 0])


def test_keras_files_that_claim_ten_gigabytes(tmp_path):
    path = tmp_path / 'net.h5'
    with h5py.File(path, 'w') as file:
        group = file.create_group('conv')
        group.create_dataset('kernel:0', (100_000, 100_000), 'f4', chunks=(100, 100))
        group.attrs['weight_names'], file.attrs['layer_names'] = [b'kernel:0'], [b'conv']
    with pytest.raises(InputError, match=r'net\.h5: cannot be read as weights .*larger than any net'):
        keras_file.read_layers(path)


# --------------------------------------------------------------------------------------------------- other files, pages, names


def test_playlists_reach_no_network(tmp_path):
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *args):
            pass

    with http.server.HTTPServer(('127.0.0.1', 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f'http://127.0.0.1:{server.server_port}/secret.ts'
        for name, text in (('a.mp4', f'#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n'),
                           ('b.mp4', f'ffconcat version 1.0\nfile {address}\n')):
            (tmp_path / name).write_text(text)
            with pytest.raises(InputError, match='cannot be|no video|no frame'):
                box.call(count_frames, tmp_path / name)
        server.shutdown()
    assert not asked


def test_pages_escape_names():
    odd = '<script>alert("1")</script>&\''
    page = (score_table({odd: {'cc': 0.5}}, {'cc': odd}, lambda row, key: row[key]) + curve_svg(odd, {odd: [(0, 0.0), (1, 1.0)]}))
    assert '<script' not in page and page.count(html.escape(odd)) == 4


def test_names_on_the_terminal():
    assert one_line('a\nb\x1b[31m\udcff c') == 'a b\ufffd[31m\ufffd c' and one_line('日本 é') == '日本 é'


def test_security_page_names_the_limits():
    text = (ROOT / 'SECURITY.md').read_text('utf-8')
    for limit in (f'{LARGEST_FRAME:,}', '178,956,970', f'{torch_file.LONGEST_PICKLE:,}', f'{fixations.LARGEST_MAP:,}', '8 GiB', '60 s'):
        assert limit in text, limit


def test_films_without_any_fault_are_read(tmp_path):
    assert box.call(count_frames, write(tmp_path / 'a.mp4', 5)).frames == 5
