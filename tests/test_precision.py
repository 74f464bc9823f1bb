"""Products of equations ask for all of float32: by default a GPU or a TPU gives them the digits of TF32 or bfloat16, which no CPU shows."""
import functools

import jax
import numpy as np
import pytest
from jax.lax import Precision

from stanet_jax import contrast, losses, scam
from stanet_jax.baselines import cam, classical
from stanet_jax.data import augmentation
from stanet_jax.inference import heard, released
from stanet_jax.models import cgcn

MAPS, IMAGE = np.zeros((2, 12, 12), np.float32), np.zeros((128, 136, 3), np.float32)


def products(jaxpr):
    """The products and convolutions of a program, those of its parts included."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in ('dot_general', 'conv_general_dilated'):
            yield equation
        for parameter in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, 'eqns') or hasattr(x, 'jaxpr')):
            inner = getattr(parameter, 'jaxpr', parameter)
            if hasattr(inner, 'eqns'):
                yield from products(inner)



def reasoned(nodes, block):
    net = cgcn.CGCN(2, block=block)
    return net.apply(net.init(jax.random.key(0), nodes), nodes)


PROGRAMS = {
    'class_activation': (scam.class_activation, np.zeros((2, 4, 4, 3), np.float32), np.zeros((2, 3), np.float32)),
    'scam': (scam.scam, np.zeros((2, 3, 4, 4), np.float32), np.zeros((2, 3), np.float32)),
    'smooth': (functools.partial(scam.smooth, reach=2), MAPS, np.ones(2, bool)),
    'paste': (functools.partial(scam.paste, shape=(9, 9)), MAPS[0], np.float32([1, 1, 7, 8])),
    'eps_saliency': (losses.eps_saliency, np.zeros((2, 4, 4, 3), np.float32), np.zeros((2, 4, 4), np.float32), np.ones((2, 2), np.float32)),
    'contrast': (functools.partial(contrast.contrast, side=9), [np.zeros((2, 4, 4, 3), np.float32)]),
    'C-GCN in blocks': (functools.partial(reasoned, block=8), np.zeros((1, 3, 4, 4, 5), np.float32)),
    'C-GCN at once': (functools.partial(reasoned, block=0), np.zeros((1, 3, 4, 4, 5), np.float32)),
    'cam': (cam.cam, np.zeros((2, 4, 4, 3), np.float32), np.zeros((3, 5), np.float32), np.array([1, 2])),
    'eigen_cam': (cam.eigen_cam, np.zeros((2, 4, 4, 3), np.float32)),
    'spectral_residual': (classical.spectral_residual, IMAGE), 'itti': (classical.itti, IMAGE), 'gbvs': (classical.gbvs, IMAGE),
    'heard_cam': (heard.heard_cam, np.zeros((2, 4, 4, 3), np.float32), np.zeros((3, 5), np.float32), np.zeros((2, 5), np.float32)),
    'mean_over_time': (heard.mean_over_time, MAPS, np.ones((3, 2), np.float32)),
    'saved_map': (functools.partial(released.saved_map, kind='cvpr_sta'), MAPS),
    'jitter': (functools.partial(augmentation.jitter, strengths=(0.1,) * 4), np.zeros((2, 1, 4, 4, 3), np.uint8), jax.random.key(0)),
}


@pytest.mark.parametrize('name', PROGRAMS)
def test_equations_keep_their_digits(name):
    function, *given = PROGRAMS[name]
    found = list(products(jax.make_jaxpr(function)(*given).jaxpr))
    assert found or name in ('paste', 'contrast')
    careless = [of for of in found if of.params['precision'] not in (Precision.HIGHEST, (Precision.HIGHEST,) * 2)]
    assert not careless, careless


def test_products_are_found_where_they_are():
    """In programs inside programs, too; and one that does not ask is told from one that does."""
    def inner(x):
        return jax.lax.scan(lambda total, y: (total + jax.jit(jax.numpy.dot)(y, y.T), None), x, x[None])[0]

    (found,) = products(jax.make_jaxpr(inner)(np.zeros((3, 3), np.float32)).jaxpr)
    assert found.params['precision'] is None
