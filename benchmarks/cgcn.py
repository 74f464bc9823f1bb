"""What attention in blocks of queries saves: C-GCN at the paper's size, forward and backward, in four implementations.

    python -m benchmarks.cgcn --rounds=5

    blocks         `stanet_jax.models.cgcn`: queries attend in blocks, which the backward pass computes again
    direct         the attention of all pairs at once, as in the equations
    loop           as in the authors' release: one example after the other, and in each one ordered pair of nodes after the other,
                   operation by operation without compilation; then one backward pass through all of it
    compiled-loop  the direct form, compiled, for one example after the other, each with its own backward pass

Prints the median time of a step, measured in alternating rounds, and the peak temporary memory that XLA plans for the compiled program
(of the compiled loop: for one example), and the ratios of both to those of the blocks. Without compilation memory is not known: `-`.
"""
import argparse
import os
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from stanet_jax.models import cgcn


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


def loop(params, nodes, steps):
    """C-GCN on nodes [b, n, h, w, c] in a loop over examples, steps and ordered pairs of nodes."""
    done = []
    for example in nodes:
        h = list(example)
        for _ in range(steps):
            flat = [x.reshape(-1, x.shape[-1]) for x in h]
            queries, keys = ([project(params, name, x) for x in flat] for name in ('query', 'key'))
            heard = [sum(jax.nn.softmax(query @ key.T) @ x for j, (key, x) in enumerate(zip(keys, flat, strict=True)) if j != i)
                     for i, query in enumerate(queries)]
            h = [cgcn.fixation_refine(x * jax.nn.sigmoid(y.reshape(x.shape))) for x, y in zip(h, heard, strict=True)]
        done.append(jnp.stack(h))
    return jnp.stack(done)


def forms(shape, steps):
    """The implementations {name: () -> a step's value and gradients}, and the bytes of temporary memory of those that are compiled."""
    net = cgcn.CGCN(steps)
    nodes = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
    params = net.init(jax.random.key(0), nodes[:1])['params']

    def step(form):
        return jax.value_and_grad(lambda params, nodes: jnp.sum(form(params, nodes)**2), argnums=(0, 1))

    def one_by_one():
        values, gradients = zip(*(compiled['compiled-loop'](params, nodes[i:i + 1]) for i in range(len(nodes))), strict=True)
        of_params, of_nodes = zip(*gradients, strict=True)
        return sum(values), (jax.tree.map(lambda *x: sum(x), *of_params), jnp.concatenate(of_nodes))

    wanted = {'blocks': (lambda params, nodes: net.apply({'params': params}, nodes), nodes),
              'direct': (lambda params, nodes: direct(params, nodes, steps), nodes)}
    wanted['compiled-loop'] = wanted['direct'][0], nodes[:1]
    compiled = {name: jax.jit(step(form)).lower(params, given).compile() for name, (form, given) in wanted.items()}
    runs = {name: lambda name=name: compiled[name](params, nodes) for name in ('blocks', 'direct')}
    runs['loop'] = lambda: step(lambda params, nodes: loop(params, nodes, steps))(params, nodes)
    runs['compiled-loop'] = one_by_one
    return runs, {name: of.memory_analysis().temp_size_in_bytes for name, of in compiled.items()}


def furthest(runs):
    """The largest difference of an implementation from the first, in value or gradients, relative to the largest entry of each."""
    def three(answer):
        value, (of_params, of_nodes) = jax.tree.map(np.ravel, answer)
        return value, np.concatenate(jax.tree.leaves(of_params)), of_nodes

    first, *others = [three(run()) for run in runs.values()]
    return max(np.abs(x - y).max() / np.abs(x).max() for other in others for x, y in zip(first, other, strict=True))


def main():
    """Measures the implementations and prints a table."""
    parser = argparse.ArgumentParser(description='Measures four forms of C-GCN.')
    for name, default in (('batch', 16), ('nodes', 3), ('side', 32), ('channels', 28), ('steps', 3), ('rounds', 3)):
        parser.add_argument(f'--{name}', type=int, default=default)
    args = parser.parse_args()
    shape = (args.batch, args.nodes, args.side, args.side, args.channels)
    runs, memory = forms(shape, args.steps)
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
    print(f'{"form":14}{"seconds":>10}{"over blocks":>13}{"MB":>10}{"over blocks":>13}')
    for name in runs:
        columns = (f'{memory[name] / 1e6:.0f}', f'{memory[name] / memory["blocks"]:.2f}') if name in memory else ('-', '-')
        print(f'{name:14}{seconds[name]:10.2f}{seconds[name] / seconds["blocks"]:13.2f}{columns[0]:>10}{columns[1]:>13}')


if __name__ == '__main__':
    main()
