"""What `python -m build` makes, installed into an environment of its own and used from an empty folder."""
import os
import pathlib
import shutil
import site
import subprocess
import sys
import tarfile
import venv
import zipfile

import pytest

from tests.inference.test_predictor import make_run

ROOT = pathlib.Path(__file__).parents[1]
FILES = ('pyproject.toml', 'requirements.txt', 'README.md', 'LICENSE', 'CITATION.cff', 'CHANGELOG.md', 'MANIFEST.in')


@pytest.fixture(scope='module')
def built(tmp_path_factory):
    """The folder of the sdist and of the wheel that is made of it."""
    source = tmp_path_factory.mktemp('source')
    for name in FILES:
        shutil.copy(ROOT / name, source)
    for name in ('stanet_jax', 'configs'):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns('__pycache__'))
    done = subprocess.run([sys.executable, '-m', 'build', '--no-isolation', str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return source / 'dist'


def test_wheel_and_sdist_hold_the_package_and_its_configs(built):
    (wheel,), (sdist,) = built.glob('*.whl'), built.glob('*.tar.gz')
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read(next(name for name in names if name.endswith('METADATA'))).decode()
    for path in [*(ROOT / 'configs').rglob('*.py'), *(ROOT / 'stanet_jax').rglob('*.csv')]:
        assert f'stanet_jax/{path.relative_to(ROOT)}'.replace('stanet_jax/stanet_jax', 'stanet_jax') in names
    assert not any(name.startswith(('tests', 'benchmarks', 'configs')) for name in names)
    assert 'License-Expression: Apache-2.0' in metadata and 'Requires-Dist: jax<' in metadata
    with tarfile.open(sdist) as archive:
        inside = {name.partition('/')[2] for name in archive.getnames()}
    assert {'LICENSE', 'CITATION.cff', 'requirements.txt', 'stanet_jax/configs/sta.py'} <= inside
    assert not any(name.startswith('tests') for name in inside)


@pytest.fixture(scope='module')
def stanet(built, tmp_path_factory):
    """Runs the command of an environment that has the wheel; what the package requires comes from the environment of the tests."""
    folder = tmp_path_factory.mktemp('environment')
    venv.create(folder)
    python = folder / 'bin' / 'python'
    install = [sys.executable, '-m', 'pip', '--python', python, 'install', '--quiet', '--no-deps', '--no-index']
    subprocess.run([*install, next(built.glob('*.whl'))], check=True)
    (required,) = site.getsitepackages()[:1]
    own = subprocess.run([python, '-c', 'import site; print(site.getsitepackages()[0])'], capture_output=True, text=True, check=True)
    (pathlib.Path(own.stdout.strip()) / 'required.pth').write_text(f'{required}\n')

    def run(*arguments, folder):
        clean = {name: value for name, value in os.environ.items() if name not in ('PYTHONPATH', 'VIRTUAL_ENV')}
        return subprocess.run([python.parent / 'stanet', *map(str, arguments)], cwd=folder, env=clean, capture_output=True, text=True,
                              check=False)
    return run


def test_it_works_in_an_empty_folder(stanet, tmp_path):
    done = stanet('--help', folder=tmp_path)
    assert done.returncode == 0 and '  predict   fixation maps' in done.stdout, done.stderr
    done = stanet('data', 'synthave', '--out=w', '--train=24', '--validation=6', '--test=6', '--seconds=1.0', '--side=48', folder=tmp_path)
    assert done.returncode == 0 and done.stdout == 'wrote w\n', done.stderr
    small = ('--config.data.side=48', '--config.width=8', '--config.batch=8', '--config.data.frames_per_clip=1', '--config.log_every=1')
    done = stanet('train', '--config=scam_coarse', '--config.data.root=w', "--config.nets=('S',)", '--config.epochs.S=1.0', *small,
                  '--workdir=run', folder=tmp_path)
    assert done.returncode == 0 and len((tmp_path / 'run' / 'S' / 'log.jsonl').read_text().splitlines()) == 4, done.stderr  # 3 steps
    make_run(tmp_path / 'student', ('STA',))
    clips = sorted((tmp_path / 'w' / 'AVE_Dataset' / 'AVE').glob('*.mp4'))[:2]
    done = stanet('predict', *clips, '--checkpoint=student', '--out=maps', folder=tmp_path)
    assert done.returncode == 0 and '2 videos done' in done.stdout, done.stderr
    for clip in clips:
        assert len(list((tmp_path / 'maps' / clip.stem / 'maps').glob('eyeMap_*.png'))) == 8
        assert (tmp_path / 'maps' / clip.stem / 'overlay.mp4').stat().st_size > 0
