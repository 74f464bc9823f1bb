"""YAMNet's weights out of a Keras file and out of a TensorFlow bundle, both written here, and what must be refused."""
import re

import h5py
import jax
import numpy as np
import pytest

from stanet_jax import InputError
from stanet_jax.models import backbones
from stanet_jax.training import checkpoint
from stanet_jax.weights import convert, keras_file, tensorflow_bundle
from tests import forked

TYPES = {'float32': 1, 'int64': 9}


@pytest.fixture(scope='module')
def layers():
    """Weights of YAMNet as Keras has them: a list of {name: array}, layer by layer."""
    rng, made = np.random.default_rng(0), []

    def norm(channels):
        made.append({'beta': (channels,), 'moving_mean': (channels,), 'moving_variance': (channels,)})

    made.append({'kernel': (3, 3, 1, 32)})
    norm(before := 32)
    for channels in (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024):
        made.append({'depthwise_kernel': (3, 3, before, 1)})
        norm(before)
        made.append({'kernel': (1, 1, before, channels)})
        norm(before := channels)
    made.append({'kernel': (1024, 521), 'bias': (521,)})
    return [{name: np.float32(rng.uniform(0.5, 1.5, shape)) for name, shape in layer.items()} for layer in made]


def write_h5(path, layers, inside=False):
    """As `save_weights` of Keras 2 writes it, or, `inside` a model, as `save` does."""
    with h5py.File(path, 'w') as file:
        model = file.create_group('model_weights') if inside else file
        names = ['input_1', *(f'layer{k}/part' for k in range(len(layers)))]
        model.attrs['layer_names'] = np.array([name.encode() for name in names])
        model.create_group('input_1').attrs['weight_names'] = np.array([], 'S1')
        for name, layer in zip(names[1:], layers, strict=True):
            group = model.create_group(name)
            group.attrs['weight_names'] = np.array([f'{name}/{weight}:0'.encode() for weight in layer])
            for weight, x in layer.items():
                group[f'{name}/{weight}:0'] = x


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def block(entries):
    """A block of a table, with shared beginnings, and its five bytes of compression and checksum."""
    content, last = b'', b''
    for key, value in entries:
        shared = next((i for i, (a, b) in enumerate(zip(key, last, strict=False)) if a != b), min(len(key), len(last)))
        content, last = content + varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value, key
    return content + bytes(4) + (1).to_bytes(4, 'little') + bytes(5)


def write_bundle(folder, variables):
    """A SavedModel's `variables` of {key: array}, in two blocks."""
    (folder / 'variables').mkdir(parents=True)
    data, entries = b'', [(b'', b'\x08\x01')]
    for key, x in sorted(variables.items()):
        shape = b''.join(b'\x12' + varint(len(axis)) + axis for axis in (b'\x08' + varint(n) for n in x.shape))
        entry = b'\x08' + varint(TYPES[x.dtype.name]) + b'\x12' + varint(len(shape)) + shape + b'\x20' + varint(len(data))
        entries.append((key.encode(), entry + b'\x28' + varint(x.nbytes) + b'\x35' + bytes(4)))
        data += x.tobytes()
    (folder / 'variables' / 'variables.data-00000-of-00001').write_bytes(data)
    parts, table, index = (entries[:7], entries[7:]), b'', []
    for part in parts:
        made = block(part)
        index.append((part[-1][0], varint(len(table)) + varint(len(made) - 5)))
        table += made
    made = block(index)
    footer = varint(0) + varint(0) + varint(len(table)) + varint(len(made) - 5)
    (folder / 'variables' / 'variables.index').write_bytes(
        table + made + footer.ljust(40, b'\0') + tensorflow_bundle.MAGIC.to_bytes(8, 'little'))


def as_variables(layers, prefix='model/layer_with_weights-'):
    return {f'{prefix}{k}/{name}{tensorflow_bundle.SUFFIX}': x for k, layer in enumerate(layers) for name, x in layer.items()}


def test_both_formats_give_the_same_net(tmp_path, layers):
    write_h5(tmp_path / 'yamnet.h5', layers)
    write_h5(tmp_path / 'model.h5', layers, inside=True)
    write_bundle(tmp_path / 'saved', {**as_variables(layers), 'step': np.int64(7)})
    found = [convert.load(tmp_path / name, 'yamnet') for name in ('yamnet.h5', 'model.h5', 'saved')]
    found.append(convert.load(tmp_path / 'saved' / 'variables' / 'variables.index', 'yamnet'))
    for other in found[1:]:
        jax.tree.map(np.testing.assert_array_equal, found[0], other)
    net = backbones.create('yamnet')
    shapes = jax.eval_shape(net.init, jax.random.key(0), np.zeros((1, 64, 96), np.float32))
    assert jax.tree.map(np.shape, found[0]) == jax.tree.map(np.shape, shapes)
    params, stats = found[0]['params'], found[0]['batch_stats']
    np.testing.assert_array_equal(params['conv1']['kernel'], layers[0]['kernel'])
    np.testing.assert_array_equal(params['depthwise2']['kernel'][:, :, 0, 5], layers[2]['depthwise_kernel'][:, :, 5, 0])
    np.testing.assert_array_equal(params['pointwise14']['kernel'], layers[52]['kernel'])
    np.testing.assert_array_equal(stats['pointwise14_bn']['var'], layers[53]['moving_variance'])
    np.testing.assert_array_equal(params['depthwise3_bn']['bias'], layers[7]['beta'])
    np.testing.assert_array_equal(params['logits']['bias'], layers[54]['bias'])


def test_a_bundle_is_read_as_it_is(tmp_path):
    x = {f'{"a" * 40}/{k}': np.arange(k + 1, dtype=np.float32) for k in range(12)} | {'scalar': np.float32(3)}
    write_bundle(tmp_path, {**x, 'step': np.int64([4])})
    found = tensorflow_bundle.read(tmp_path)
    assert found.keys() == {*x, 'step'} and found['step'] == [4] and found['scalar'].shape == ()
    for key, of in x.items():
        np.testing.assert_array_equal(found[key], of)


def damaged(tmp_path, layers):
    """{what it is: (path, what the message says)}."""
    write_h5(tmp_path / 'good.h5', layers)
    whole = (tmp_path / 'good.h5').read_bytes()
    (tmp_path / 'short.h5').write_bytes(whole[:len(whole) // 2])
    (tmp_path / 'other.h5').write_bytes(b'no such thing')
    with h5py.File(tmp_path / 'plain.h5', 'w') as file:
        file['x'] = np.zeros(3)
    write_h5(tmp_path / 'fewer.h5', layers[:-1])
    write_h5(tmp_path / 'wider.h5', [*layers[:-1], {'kernel': np.zeros((1024, 520), np.float32), 'bias': np.zeros(520, np.float32)}])
    for name in ('cut', 'cut_index', 'lost', 'not'):
        write_bundle(tmp_path / name, as_variables(layers))
    data, index = 'variables/variables.data-00000-of-00001', 'variables/variables.index'
    (tmp_path / 'cut' / data).write_bytes((tmp_path / 'cut' / data).read_bytes()[:-4])
    (tmp_path / 'cut_index' / index).write_bytes((tmp_path / 'cut_index' / index).read_bytes()[300:])
    (tmp_path / 'lost' / data).unlink()
    (tmp_path / 'not' / index).write_bytes(b'x' * 100)
    (tmp_path / 'empty').mkdir()
    unread = dict.fromkeys(('short.h5', 'other.h5', 'plain.h5', 'cut', 'cut_index'), 'cannot be read')
    return {**unread, 'none.h5': 'no such file', 'lost': 'no such file', 'empty': 'no such file', 'not': 'not an index',
            'fewer.h5': '54/bias is missing', 'wider.h5': r'54/bias is float32 \(520,\), expected float32 \(521,\)'}


def test_what_is_damaged_or_another_file_is_refused(tmp_path, layers):
    for name, says in damaged(tmp_path, layers).items():
        with pytest.raises(InputError, match=f'{re.escape(str(tmp_path / name))}.*{says}') as error:
            convert.load(tmp_path / name, 'yamnet')
        assert '\n' not in str(error.value)


def test_mutated_bundles_are_read_or_refused(tmp_path, layers):
    write_bundle(tmp_path, as_variables(layers[:4]))
    index, rng = tmp_path / 'variables' / 'variables.index', np.random.default_rng(0)
    whole, refused = index.read_bytes(), 0
    for _ in range(300):
        mutated = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            mutated[place] = rng.integers(256)
        index.write_bytes(mutated)
        try:
            tensorflow_bundle.read(tmp_path)
        except InputError:
            refused += 1
    assert refused > 200


def test_the_command_writes_the_folder(tmp_path, layers):
    write_h5(tmp_path / 'yamnet.h5', layers)
    done = forked.stanet('convert', '--name=yamnet', f'--src={tmp_path / "yamnet.h5"}', f'--out={tmp_path / "out"}')
    assert done.returncode == 0 and '3,751,369 numbers of yamnet; not used: nothing' in done.stdout, done.stderr
    jax.tree.map(np.testing.assert_array_equal, checkpoint.load_variables(tmp_path / 'out'),
                 convert.load(tmp_path / 'yamnet.h5', 'yamnet'))


def test_layers_come_by_their_numbers(tmp_path, layers):
    write_h5(tmp_path / 'yamnet.h5', layers)
    found = keras_file.read_layers(tmp_path / 'yamnet.h5')
    assert len(found) == sum(map(len, layers)) and found['54/bias'].shape == (521,)
