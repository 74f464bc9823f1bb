"""What attention in blocks of queries saves: C-GCN at the paper's size, forward and backward, beside other ways to write it.

    python -m benchmarks.cgcn --rounds=5

    blocks          `stanet_jax.models.cgcn.in_blocks`: queries attend in blocks, which the backward pass computes again; the package's form
                    but on a GPU
    direct          the attention of all pairs at once, as in the equations
    pairs           as a release is written: a loop over steps and ordered pairs of nodes, each with the whole affinity matrix of all
                    examples, operation by operation without compilation
    compiled-pairs  the same, compiled
    torch           the same in PyTorch, with the threads that it takes by default; where it is installed
    attention       `stanet_jax.models.cgcn.at_once`: `jax.nn.dot_product_attention` of all pairs; on a GPU the package's form, up to
                    a gigabyte of it
    kernel          the attention of all pairs by JAX's Pallas kernel, on a GPU; its products are of TF32, its softmax of float32

Prints the median time of a step, measured in alternating rounds, and the peak temporary memory that XLA plans for the compiled program, and
the ratios of both to those of the blocks. Without compilation memory is not known: `-`.
"""
import argparse
import functools
import importlib.util
import os
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from stanet_jax.models import cgcn

COMPILED = ('blocks', 'direct', 'compiled-pairs', 'attention')


def project(params, name, h):
    """The query or the key of features."""
    return h @ params[name]['kernel'][0, 0] + params[name]['bias']


def direct(params, nodes, steps):
    """C-GCN on nodes [b, n, h, w, c] with the attention of all pairs in memory."""
    h, others = nodes, 1 - jnp.eye(nodes.shape[1])[None, :, :, None, None]
    for _ in range(steps):
        flat = h.reshape(*h.shape[:2], -1, h.shape[-1])
        attention = jax.nn.softmax(jnp.einsum('bipc,bjqc->bijpq', project(params, 'query', flat), project(params, 'key', flat)), axis=-1)
        heard = jnp.einsum('bijpq,bjqc->bipc', attention * others, flat)
        h = cgcn.fixation_refine(h * jax.nn.sigmoid(heard.reshape(h.shape)))
    return h


def pairs(params, nodes, steps):
    """C-GCN on nodes [b, n, h, w, c] in a loop over steps and ordered pairs of nodes."""
    h = [nodes[:, i] for i in range(nodes.shape[1])]
    for _ in range(steps):
        flat = [x.reshape(len(x), -1, x.shape[-1]) for x in h]
        queries, keys = ([project(params, name, x) for x in flat] for name in ('query', 'key'))
        heard = [sum(jax.nn.softmax(query @ key.swapaxes(1, 2), axis=-1) @ x
                     for j, (key, x) in enumerate(zip(keys, flat, strict=True)) if j != i) for i, query in enumerate(queries)]
        h = [cgcn.fixation_refine(x * jax.nn.sigmoid(y.reshape(x.shape))) for x, y in zip(h, heard, strict=True)]
    return jnp.stack(h, axis=1)


def attended(params, nodes, steps):
    """C-GCN on nodes [b, n, h, w, c] by JAX's Pallas kernel; where there is no GPU it is interpreted, which is slow."""
    from jax.experimental.pallas.ops.gpu import attention  # here, as JAX does not promise that it stays
    (b, n, *_, c), h = nodes.shape, nodes
    first, second = np.array([(i, j) for i in range(n) for j in range(n) if j != i]).T
    for _ in range(steps):
        flat = h.reshape(b, n, -1, c)
        of_pairs = project(params, 'query', flat)[:, first], project(params, 'key', flat)[:, second], flat[:, second]
        pairs = (x.reshape(b * len(first), -1, 1, c) for x in of_pairs)
        heard = attention.mha(*pairs, None, 1.0, interpret=jax.default_backend() != 'gpu')
        h = cgcn.fixation_refine(h * jax.nn.sigmoid(heard.reshape(b, n, n - 1, -1, c).sum(axis=2).reshape(h.shape)))
    return h


def torch_step(params, nodes, steps):
    """A function that makes the step of `pairs` in PyTorch and gives its value and gradients as NumPy arrays."""
    import torch  # here, as it is not needed otherwise

    def tensor(x):
        return torch.tensor(np.asarray(x), requires_grad=True)

    def refine(h):
        a = h.mean(-1, keepdim=True)
        low = a < 0.8 * a.amax((1, 2), keepdim=True)
        return h / 2 * (torch.sigmoid(a) * torch.where(low, 0.6, 1.0)) + h / 2

    def step():
        given, of = tensor(nodes), jax.tree.map(tensor, params)
        h = list(given.unbind(1))
        for _ in range(steps):
            flat = [x.flatten(1, 2) for x in h]
            queries, keys = ([x @ of[name]['kernel'][0, 0] + of[name]['bias'] for x in flat] for name in ('query', 'key'))
            heard = [sum(torch.softmax(query @ key.mT, -1) @ x for j, (key, x) in enumerate(zip(keys, flat, strict=True)) if j != i)
                     for i, query in enumerate(queries)]
            h = [refine(x * torch.sigmoid(y.reshape(x.shape))) for x, y in zip(h, heard, strict=True)]
        value = (torch.stack(h, 1)**2).sum()
        value.backward()
        return value.item(), (jax.tree.map(lambda x: x.grad.numpy(), of), given.grad.numpy())
    return step


def forms(shape, steps, names):
    """The forms of these names {name: () -> a step's value and gradients}, and the bytes of temporary memory of those that are compiled."""
    by_blocks, by_attention = cgcn.CGCN(steps, block=cgcn.BLOCK), cgcn.CGCN(steps, block=0)
    nodes = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
    params = by_blocks.init(jax.random.key(0), nodes[:1])['params']
    wanted = {'blocks': lambda params, nodes: by_blocks.apply({'params': params}, nodes),
              'direct': lambda params, nodes: direct(params, nodes, steps),
              'pairs': lambda params, nodes: pairs(params, nodes, steps),
              'attention': lambda params, nodes: by_attention.apply({'params': params}, nodes),
              'kernel': lambda params, nodes: attended(params, nodes, steps)}

    def step(name):
        form = wanted[name.removeprefix('compiled-')]
        return jax.value_and_grad(lambda params, nodes: jnp.sum(form(params, nodes)**2), argnums=(0, 1))

    runs, plans = {}, {}
    for name in names:
        if name == 'torch':
            runs[name] = torch_step(params, nodes, steps)
        elif name == 'pairs':
            runs[name] = functools.partial(step(name), params, nodes)
        else:
            with jax.default_matmul_precision('highest'):
                compiled = jax.jit(step(name)).lower(params, nodes).compile()
            runs[name], plans[name] = functools.partial(compiled, params, nodes), compiled.memory_analysis().temp_size_in_bytes
    return runs, plans


def furthest(runs):
    """The largest difference of an implementation from the first, in value or gradients, relative to the largest entry of each."""
    def three(answer):
        value, (of_params, of_nodes) = jax.tree.map(np.ravel, answer)
        return value, np.concatenate(jax.tree.leaves(of_params)), of_nodes

    first, *others = [three(run()) for run in runs.values()]
    return max(np.abs(x - y).max() / np.abs(x).max() for other in others for x, y in zip(first, other, strict=True))


def main():
    """Measures the implementations and prints a table."""
    parser = argparse.ArgumentParser(description='Measures forms of C-GCN.')
    for name, default in (('batch', 16), ('nodes', 3), ('side', 32), ('channels', 28), ('steps', 3), ('rounds', 3)):
        parser.add_argument(f'--{name}', type=int, default=default)
    args = parser.parse_args()
    shape = (args.batch, args.nodes, args.side, args.side, args.channels)
    names = COMPILED[:2] + ('pairs', 'compiled-pairs') + (('torch',) if importlib.util.find_spec('torch') else ()) + ('attention',)
    names += ('kernel',) if jax.default_backend() == 'gpu' else ()
    runs, memory = forms(shape, args.steps, names)
    error = furthest(runs)
    took = {name: [] for name in runs}
    for _ in range(args.rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            jax.block_until_ready(run())
            took[name].append(time.perf_counter() - start)
    seconds = {name: statistics.median(times) for name, times in took.items()}
    print(f'{os.cpu_count()} cores, {jax.devices()[0].device_kind}; nodes {shape}, {args.steps} steps, forward and backward; '
          f'value and gradients of the forms differ by {error:.1e} of the largest')
    print(f'{"form":15}{"seconds":>10}{"over blocks":>13}{"MB":>10}{"over blocks":>13}')
    for name in runs:
        columns = (f'{memory[name] / 1e6:.0f}', f'{memory[name] / memory["blocks"]:.2f}') if name in memory else ('-', '-')
        print(f'{name:15}{seconds[name]:10.2f}{seconds[name] / seconds["blocks"]:13.2f}{columns[0]:>10}{columns[1]:>13}')


if __name__ == '__main__':
    main()
