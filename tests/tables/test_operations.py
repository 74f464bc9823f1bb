"""Operations and products of layers, counted by hand; the numbers of the paper."""
import jax
import jax.numpy as jnp
import pytest

from stanet_jax.models import blenders
from stanet_jax.tables import operations

N, C = 3, 28


@pytest.mark.parametrize('side', [8, 12, 32])  # one block of queries, three of which the last is padded, sixteen
def test_operations_by_hand(side):
    n, c, m = 3, 28, 3
    values, pairs = n * side**2 * c, n * (n - 1) * side**4
    dense = 2 * values * c  # a 1x1 convolution of all nodes
    known = {'cgcn': m * (2 * dense + 2 * pairs * 2 * c + 4 * pairs),  # query, key; products with keys, with values; softmax
             'concatenate': 3 * dense, 'gru': n * 6 * dense,
             'transformer': 2 * (4 * dense + 2 * (n * side**2)**2 * 2 * c + 4 * (n * side**2)**2 + 2 * 4 * dense)}
    fields, others = {'cgcn': {'steps': m}, 'transformer': {'blocks': 2}}, {'cgcn': 40, 'concatenate': 2, 'gru': 60, 'transformer': 130}
    for name, least in known.items():
        parameters, count = operations.operations({'name': name, **fields.get(name, {})}, side=side)
        assert least < count < least + others[name] * values  # what else there is, for each value of the nodes
        if name == 'cgcn':
            assert parameters == 2 * c * (c + 1)


def shape(side, nodes=N):
    return jax.ShapeDtypeStruct((1, nodes, side, side, C), jnp.float32)


def products(side=8, **blender):
    return operations.multiply_adds(blenders.create(**blender), shape(side))


def test_products_of_layers_by_hand():
    places = N * 8**2
    assert products(name='concatenate') == places * C * (N * C + 1)
    assert products(name='cgcn', steps=2) == 2 * 2 * places * C * (C + 1)  # query and key, with bias
    assert products(name='transformer', blocks=2) == 2 * places * (4 * C * C + 2 * C * 4 * C)  # dense layers: without
    assert products(name='rnn') == 2 * places * 4 * C * (9 * 2 * C + 1)


def test_the_papers_numbers():
    side, places = operations.SIDE, N * operations.SIDE**2
    assert products(side, name='rnn') == operations.PAPER['RNN']
    # A query and a key of 14 channels once more for each node and round: the release makes them for each message.
    assert operations.released_graph() + 3 * places * 2 * 14 * (C + 1) == operations.PAPER['C-GCN']
    three_blocks = products(side, name='transformer', width=2048) - 3 * places * 4 * C * C  # without attention's layers
    assert three_blocks + 3 * places * C * (2 * C + 1) == operations.PAPER['Transformer B']


def test_the_table_has_a_line_for_each(monkeypatch):
    monkeypatch.setattr(operations, 'SIDE', 4)
    lines = operations.operation_table()
    assert sum(line.startswith('| ') for line in lines) == 1 + len(operations.BLENDERS) + 1
    assert '| 347,504,640 |' in next(line for line in lines if line.startswith('| RNN '))
