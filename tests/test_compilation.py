"""How commands have programs compiled: quickly, and kept in the user's cache, no more than a limit, for this kind of processor."""
import os
import pathlib
import platform
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stanet_jax import compilation

ROOT = pathlib.Path(__file__).parents[1]
COMPILE = '''
from stanet_jax import compilation
compilation.prepare()
import jax, jax.numpy as jnp
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event))
jax.jit(lambda x: jnp.sin(x) @ x.T)(jnp.ones((3, 4)))
print('/jax/compilation_cache/cache_hits' in events)
'''


@pytest.fixture
def without(monkeypatch, tmp_path):
    """No cache that is chosen already, and ours in an empty folder."""
    monkeypatch.delenv('JAX_COMPILATION_CACHE_DIR')
    monkeypatch.setenv('STANET_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


def test_another_process_compiles_nothing_again(without):
    found = [subprocess.run([sys.executable, '-c', COMPILE], cwd=ROOT, capture_output=True, text=True, check=True) for _ in range(2)]
    assert [done.stdout for done in found] == ['False\n', 'True\n'] and not any(done.stderr for done in found)
    assert list((without / 'compiled' / compilation.processor()).iterdir())


def test_the_oldest_make_room(tmp_path):
    for k in range(5):
        (tmp_path / f'{k}').write_bytes(bytes(100))
        os.utime(tmp_path / f'{k}', (1000 - k, 1000 - k))
    compilation.shrink(tmp_path, 250)
    assert sorted(os.listdir(tmp_path)) == ['0', '1']
    compilation.shrink(tmp_path, 250)
    assert len(os.listdir(tmp_path)) == 2


def test_a_chosen_cache_stays_and_none_is_no_error(without, monkeypatch):
    monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', 'mine')
    compilation.keep_compiled()
    assert os.environ['JAX_COMPILATION_CACHE_DIR'] == 'mine' and not without.exists()
    monkeypatch.delenv('JAX_COMPILATION_CACHE_DIR')
    without.parent.joinpath('file').write_text('')
    monkeypatch.setenv('STANET_CACHE', str(without.parent / 'file' / 'cache'))
    compilation.keep_compiled()
    assert 'JAX_COMPILATION_CACHE_DIR' not in os.environ


def test_a_flag_of_the_user_stays(monkeypatch):
    for given in ('', '--xla_dump_to=here', '--xla_cpu_use_fusion_emitters=true'):
        monkeypatch.setenv('XLA_FLAGS', given)
        compilation.compile_quickly()
        flags = os.environ['XLA_FLAGS'].split()
        ours = jax.__version__.startswith('0.10.') and 'emitters' not in given
        assert flags == [given] * bool(given) + ['--xla_cpu_use_fusion_emitters=false'] * ours


def test_programs_for_a_cpu_alone_are_optimised_less(monkeypatch):
    assert compilation.optimise(1) == {}  # as the tests' own flags say how much
    monkeypatch.setenv('XLA_FLAGS', '')
    assert compilation.optimise(1) == {'xla_backend_optimization_level': 1}
    found = jax.jit(jnp.sin, compiler_options=compilation.optimise(0))(jnp.arange(3.0))
    np.testing.assert_allclose(found, np.sin(np.arange(3)), rtol=1e-6)
    monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
    assert compilation.optimise(1) == {}


FAULTS = '''
import resource, sys
from stanet_jax import compilation
import numpy as np
if sys.argv[1:]:
    compilation.keep_memory()
for step in range(12):
    if step == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(100 << 20, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
'''


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='another C library')
def test_memory_that_is_freed_stays():
    faults = [int(subprocess.run([sys.executable, '-c', FAULTS, *more], cwd=ROOT, capture_output=True, text=True, check=True).stdout)
              for more in ([], ['keep'])]
    assert faults[1] < 0.1 * faults[0]
