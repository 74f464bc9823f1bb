"""What attending in blocks of queries saves: C-GCN at the paper's size, forward and backward, in three forms.

    python -m benchmarks.cgcn --rounds=5

    blocks   `stanet_jax.models.cgcn`: queries attend in blocks, which the backward pass computes again
    direct   the attention of all pairs at once, as the equations read
    loop     the direct form, compiled, for one example after the other

Prints the median time of a step, taken in alternating rounds, and the peak temporary memory that XLA plans for the compiled program,
each over that of the blocks.
"""
import argparse
import os
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from stanet_jax.models import cgcn


def direct_messages(query, key, h):
    """Eq. 9 to 12 with the attention of all pairs in memory; [b, n, p, c] -> the same."""
    n = h.shape[1]
    attention = jax.nn.softmax(jnp.einsum('bipc,bjqc->bijpq', query, key), axis=-1)
    attention = attention * (1 - jnp.eye(n))[None, :, :, None, None]
    return jnp.einsum('bijpq,bjqc->bipc', attention, h)


def forms(shape, steps):
    """`{name: () -> a step's result}`, `{name: bytes of temporary memory}` and how far blocks and direct are apart."""
    net = cgcn.CGCN(steps)
    nodes = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    variables = net.init(jax.random.key(0), nodes[:1])

    def direct(variables, nodes):
        params, h = variables['params'], nodes
        for _ in range(steps):
            flat = h.reshape(*h.shape[:2], -1, h.shape[-1])
            query, key = (flat @ params[k]['kernel'][0, 0] + params[k]['bias'] for k in ('query', 'key'))
            h = cgcn.fixation_refine(h * jax.nn.sigmoid(direct_messages(query, key, flat).reshape(h.shape)))
        return h

    def step(form):
        return jax.jit(jax.value_and_grad(lambda v, x: jnp.sum(form(v, x)**2), argnums=(0, 1)))

    compiled = {'blocks': step(net.apply).lower(variables, nodes).compile(), 'direct': step(direct).lower(variables, nodes).compile()}
    one = step(direct).lower(variables, nodes[:1]).compile()
    memory = {name: of.memory_analysis().temp_size_in_bytes for name, of in (*compiled.items(), ('loop', one))}
    runs = {name: lambda of=of: of(variables, nodes) for name, of in compiled.items()}
    runs['loop'] = lambda: [one(variables, nodes[i:i + 1]) for i in range(len(nodes))]
    answers = {name: np.concatenate([np.ravel(x) for x in jax.tree.leaves(run())]) for name, run in runs.items() if name != 'loop'}
    error = np.abs(answers['blocks'] - answers['direct']).max() / np.abs(answers['direct']).max()
    return runs, memory, error


def main():
    parser = argparse.ArgumentParser(description='Measures three forms of C-GCN.')
    for name, default in (('batch', 16), ('nodes', 3), ('side', 32), ('channels', 28), ('steps', 3), ('rounds', 3)):
        parser.add_argument(f'--{name}', type=int, default=default)
    args = parser.parse_args()
    shape = (args.batch, args.nodes, args.side, args.side, args.channels)
    runs, memory, error = forms(shape, args.steps)
    took = {name: [] for name in runs}
    for _ in range(args.rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            jax.block_until_ready(run())
            took[name].append(time.perf_counter() - start)
    seconds = {name: statistics.median(times) for name, times in took.items()}
    print(f'{os.cpu_count()} cores, {jax.devices()[0].device_kind}; nodes {shape}, {args.steps} steps, forward and backward; '
          f'value and gradients of blocks and direct differ by {error:.1e} of the largest')
    print(f'{"form":8}{"seconds":>10}{"over blocks":>13}{"MB":>10}{"over blocks":>13}')
    for name in runs:
        print(f'{name:8}{seconds[name]:10.2f}{seconds[name] / seconds["blocks"]:13.2f}{memory[name] / 1e6:10.0f}'
              f'{memory[name] / memory["blocks"]:13.2f}')


if __name__ == '__main__':
    main()
