"""The stages after the coarse classifiers, as a user runs them, on a tiny SynthAVE: the pipeline, each script, kills, devices and hosts."""
import importlib
import json
import re
import shutil
import signal
import socket
import sys
import time

import numpy as np
import PIL.Image
import pytest

from benchmarks import choices, experiment
from configs import stanet
from stanet_jax import InputError
from stanet_jax.data import synthave
from stanet_jax.pipeline import run as pipeline
from stanet_jax.pipeline.table import STUDENT_ROWS
from stanet_jax.pipeline.variants import TABLE1
from stanet_jax.scratch import hold
from stanet_jax.stages import audio_switch, classifiers, maps, sound_labels, students
from stanet_jax.workdir import read_config, write_config
from tests.commands.test_scripts import losses, parameters, run, start

SPLITS = {'train': 12, 'validation': 6, 'test': 6}
PLUS = ('ST_short', 'SA_cross')  # of the eight


def pipeline_of(root, workdir):
    epochs = {'coarse': ('A', 'S', 'SA', 'ST'), 'switch': ('A', 'switch'), 'pseudo_gt.fine_nets': ('S', 'SA', 'ST'),
              'pseudo_gt.plus_nets': PLUS, 'sta': ('STA',), 'judge': ('STA',), 'sta_plus': ('STA_short', 'STA_long')}
    small = [f'--config.{stage}.{field}' for stage in epochs
             for field in ('width=8', 'batch=6', 'held_out_frames=1', 'log_every=1', 'data.side=48', 'schedule=constant')]
    small += [f'--config.{stage}.blender.steps=1' for stage in ('pseudo_gt.plus_nets', 'sta_plus')]
    small.append(f'--config.pseudo_gt.plus_nets.nets={PLUS}')
    small += [f'--config.{stage}.epochs.{net}=0.1' for stage, nets in epochs.items() for net in nets]
    small += [f'--config.coarse.{field}.{net}={of}' for net in ('SA', 'ST')  # as in the fine stage, so that each step is compiled once
              for field, of in (('learning_rate', 0.001), ('new_multiplier', 1.0))]
    counts = [f'--config.world.{split}={count}' for split, count in SPLITS.items()]
    return [sys.executable, '-m', 'stanet_jax.pipeline', '--config=configs/stanet.py:demo', f'--config.data.root={root}',
            '--config.data.frames_per_clip=4', f'--workdir={workdir}', *small, *counts]


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    """A SynthAVE of three categories, so few that an untaught tagger is right at times, and the switch has both labels."""
    root = tmp_path_factory.mktemp('world') / 'synthave'
    synthave.generate(root, synthave.Settings(categories=3, seconds=2.0, side=48, **SPLITS), workers=1)
    return root


@pytest.fixture(scope='module')
def whole(world, tmp_path_factory):
    """The folder of a pipeline and what it said."""
    workdir = tmp_path_factory.mktemp('whole')
    done = run(pipeline_of(world, workdir))
    assert done.returncode == 0, done.stderr
    return workdir, done.stdout


def overrides(workdir, name):
    """The flags that make `configs/<name>.py`, or what a colon picks of it, the config of the run in a folder."""
    def flat(tree, prefix=''):
        return {k: v for key, value in tree.items()
                for k, v in (flat(value, f'{prefix}{key}.') if isinstance(value, dict) else {prefix + key: value}).items()}
    saved = flat(json.loads((workdir / 'config.json').read_text()))
    name, _, part = name.partition(':')
    default = flat(json.loads(importlib.import_module(f'configs.{name}').get_config(*[part] if part else []).to_json()))
    return [f'--config.{k}={v}' for k, v in saved.items() if default[k] != v]


def script(name, config, workdir, *more):
    config, colon, part = config.partition(':')
    return [sys.executable, name, f'--config=configs/{config}.py{colon}{part}', f'--workdir={workdir}', *more]


def pictures(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.glob('*/*/maps/*.png')}


def levels(folder):
    return {str(p.relative_to(folder)): np.int16(PIL.Image.open(p)) for p in folder.glob('*/*/maps/*.png')}


def manifest(folder, split):
    return [json.loads(line) for line in (folder / split / 'manifest.jsonl').read_text().splitlines()]


def test_coarse_nets_are_trained_measured_and_shown(whole):
    coarse = whole[0] / 'coarse'
    for net in ('A', 'S', 'SA', 'ST'):
        assert len(losses(coarse, net)) == 1 and (coarse / net / 'variables').is_dir() and list((coarse / net).glob('events*'))
    results = json.loads((coarse / 'accuracy.json').read_text())
    assert results['split'] == 'test' and results['nets']['ST']['all']['count'] == 6
    assert {'plain', 'sound_decides', 'motion_decides'} <= set(results['nets']['S']) <= {'all', *synthave.KINDS}
    for picture in ('S/cams.png', 'cams.png'):
        with PIL.Image.open(coarse / picture) as image:
            assert image.size[0] > 256
    again = run(script('train.py', 'scam_coarse', coarse, *overrides(coarse, 'scam_coarse')))
    assert again.returncode == 0 and again.stdout.count('done already') == 4 and 'accuracy on' not in again.stdout, again.stderr
    measured = run([sys.executable, 'evaluate.py', f'--workdir={coarse}', '--split=validation'])
    assert measured.returncode == 0 and 'accuracy on validation' in measured.stdout, measured.stderr
    restored = run(script('train.py', 'scam_coarse', coarse, *overrides(coarse, 'scam_coarse')))
    assert restored.stdout.count('accuracy on test') == 1 and json.loads((coarse / 'accuracy.json').read_text()) == results


def test_every_frame_has_its_map_and_its_line(whole):
    workdir, said = whole
    assert 'audio switch on test' in said and 'labels are right' in said and 'maps made' in said
    labels = [json.loads(line) for line in (workdir / 'switch' / 'labels.jsonl').read_text().splitlines()]
    assert len(labels) == sum(SPLITS.values()) and all(len(line['labels']) == 16 for line in labels)
    for stage in ('coarse', 'fine', 'plus'):
        for split, count in SPLITS.items():
            lines = manifest(workdir / 'pseudo_gt' / stage, split)
            assert len({(line['clip'], line['frame']) for line in lines}) == len(lines) == count * 16
            for line in lines:
                path = workdir / 'pseudo_gt' / stage / split / line['clip'] / 'maps' / f'eyeMap_{line["frame"]:05d}.png'
                with PIL.Image.open(path) as image:
                    assert image.mode == 'L' and image.size == (48, 48)
                    assert (image.getextrema() == (0, 0)) == line['empty']
                y0, x0, y1, x1 = line['box']
                assert 0 <= y0 < y1 <= 1 and 0 <= x0 < x1 <= 1 and min(y1 - y0, x1 - x0) >= 1 / 8 - 1e-9
                assert line['empty'] or any(source['weight'] > 0 for source in line['sources'].values())
                assert list(line['sources']) == ['S', 'SA', 'ST', *(PLUS if stage == 'plus' else ())]
    assert any(line['sources'][net]['weight'] > 0 for line in lines for net in PLUS)
    np.testing.assert_array_equal(*(parameters(workdir / stage, 'STA') for stage in ('sta', 'sta_plus')))  # taken as it is
    for picture in ('pseudo_gt/plus_nets/cams.png', 'sta/maps.png', 'sta_plus/maps.png'):
        assert (workdir / picture).exists()


def test_scores_and_report(whole, world):
    workdir, said = whole
    rows = json.loads((workdir / 'scores' / 'scores.json').read_text())['rows']
    assert list(rows) == ['SCAM, coarse', 'SCAM, fine', 'SCAM+', 'CAM of S, coarse',
                          *STUDENT_ROWS.values(), 'STA, muted sound', 'final fusion, muted sound',
                          'STA, other sound', 'final fusion, other sound', 'ceiling', 'centre_prior', 'mean_map']
    assert all(len(row['videos']) == 6 and row['frames'] == 48 for row in rows.values())
    page = (workdir / 'report.html').read_text()
    assert all(f'>{name}</td>' in page for name in rows) and f'{rows["ceiling"]["scores"]["cc"]:.3f}' in page
    assert page.count('data:video/mp4;base64,') >= 3 and 'data:image/jpeg;base64,' in page and '<polyline' in page
    assert 'src="http' not in page and 'href=' not in page  # it needs nothing else

    again = run(pipeline_of(world, workdir))
    assert again.returncode == 0, again.stderr
    assert again.stdout.count('done already') == 14 and 'maps made' not in again.stdout
    other = run([*pipeline_of(world, workdir), '--config.seed=1'])
    assert other.returncode == 1 and 'seed was 0 and is 1' in other.stderr and 'Traceback' not in other.stderr
    for change, text in (({'variants': ('T',)}, 'config.variants'), ({'world.test': 7}, 'not the SynthAVE of config.world')):
        config = stanet.get_config('demo')
        config.update_from_flattened_dict({'data.root': str(world), **change})
        with pytest.raises(InputError, match=text):
            pipeline.run(config, workdir / 'none')


@pytest.mark.parametrize('plus', [('STA_short', 'STA_long'), ()])
def test_the_papers_students_are_scored_and_reported(whole, tmp_path, plus):
    """STA beside the two of STANet+, as in `:paper` and `:release`, and STANet alone, as in `:cvpr`."""
    workdir = tmp_path / 'run'
    shutil.copytree(whole[0], workdir, ignore=shutil.ignore_patterns('checkpoints', *([] if plus else ['sta_plus', 'plus', 'plus_nets'])))
    config = read_config(workdir)
    config.variants = ()
    if plus:
        config.sta_plus.nets = plus
        of_run = read_config(workdir / 'sta_plus')
        of_run.nets = plus
        write_config(workdir / 'sta_plus', of_run)
    else:
        config.pseudo_gt.stages = ('coarse', 'fine')
        del config.sta_plus, config.pseudo_gt.plus_nets, config.pseudo_gt.plus
    write_config(workdir, config)
    pipeline.score(config, workdir)
    rows = json.loads((workdir / 'scores' / 'scores.json').read_text())['rows']
    before = json.loads((whole[0] / 'scores' / 'scores.json').read_text())['rows']
    assert rows['STA']['scores'] == pytest.approx(before['STA']['scores'], abs=1e-4) and ('final fusion' in rows) == bool(plus)
    done = run([sys.executable, '-m', 'stanet_jax', 'report', f'--workdir={workdir}'])
    assert done.returncode == 0, done.stderr
    page = (workdir / 'report.html').read_text()
    assert all(f'>{name}</td>' in page for name in rows) and ('nets of SCAM+' in page) == bool(plus)
    (workdir / 'stages.json').write_text('{}')
    done = run([sys.executable, '-m', 'stanet_jax', 'report', f'--workdir={workdir}'])
    assert done.returncode == 1 and 'whose stages are done; run it to its end first' in done.stderr


@pytest.mark.parametrize('name, config, stage, says', [
    ('train.py', 'audio_switch', 'switch', 'labels: done already'), ('train.py', 'scam_fine', 'pseudo_gt/fine_nets', 'SA: done already'),
    ('train.py', 'scam_plus', 'pseudo_gt/plus_nets', 'SA_cross: done already'), ('distill.py', 'sta', 'sta', 'STA: done already'),
    ('distill.py', 'sta_plus', 'sta_plus', 'STA_long: done already')])
def test_the_scripts_do_what_the_stages_do(whole, name, config, stage, says):
    workdir, _ = whole
    done = run(script(name, config, workdir / stage, *overrides(workdir / stage, config)))
    assert done.returncode == 0 and says in done.stdout, done.stderr


def test_results_of_several_seeds_become_a_page(whole, world, tmp_path):
    workdir, _ = whole
    config = stanet.get_config()
    config.data.root = str(world)
    rows = json.loads((workdir / 'scores' / 'scores.json').read_text())['rows']
    scores = json.loads((workdir / 'variants' / 'coarse_S' / 'scores' / 'scores.json').read_text())
    assert list(scores['rows']) == ['STA']
    seed = tmp_path / 'seed'
    for name in ('stages.json', 'coarse', 'switch', 'pseudo_gt'):
        (tmp_path / 'seed').mkdir(exist_ok=True)
        (seed / name).symlink_to(workdir / name)
    for variant, of in TABLE1.items():  # the demo has one of these alone
        rows.setdefault(of.name, rows['SCAM+'])
        (seed / 'variants' / variant / 'scores').mkdir(parents=True)
        (seed / 'variants' / variant / 'scores' / 'scores.json').write_text(json.dumps(scores))
    (seed / 'variants' / 'no_switch' / 'coarse').symlink_to(workdir / 'coarse')
    page = experiment.document([{'rows': rows}] * 2, [seed] * 2, [config] * 2)
    assert f'| ceiling | {rows["ceiling"]["scores"]["cc"]:.3f} ± 0.000 |' in page and '| switch: net is right |' in page
    assert '| fine over coarse | 11 over 5 | +0.093 | **does not show**, 0.000 ± 0.000 (0 of 2 seeds)' in page  # one student for all here
    assert all(f'| {of.line} | {of.name} | ' in page for of in TABLE1.values())


@pytest.mark.thorough
def test_cut_and_blur_are_measured(whole, world, tmp_path):
    shutil.copytree(whole[0] / 'variants' / 'coarse_S', tmp_path / 'coarse_S')
    blurred = choices.blurred(tmp_path / 'coarse_S', str(world), 'coarse_S')
    assert json.loads((blurred / 'student' / 'config.json').read_text())['blur'] == choices.BLUR
    kinds = {'no': tmp_path / 'coarse_S', 'yes': blurred}
    scores = {(choices.FINE, 'no', blur): json.loads((folder / 'scores' / 'scores.json').read_text())['rows']['STA']
              for blur, folder in kinds.items()}
    scores[choices.FINE, 'yes', 'no'] = scores[choices.FINE, 'no', 'no']
    page = choices.document({7: scores, 8: scores})
    rows = [line.split(' | ') for line in page.splitlines() if line.startswith(f'| {choices.FINE} | no')]
    assert len(rows) == 2 and rows[0][3:] != rows[1][3:] and '--seeds 7 8' in page and 'SCAM, fine +0.000, +0.000. With' in page


def test_seeds_side_by_side_end_in_one_line_where_they_fail(world, tmp_path):
    for seed in range(2):
        (tmp_path / f'world{seed}').symlink_to(world)  # not the experiment's
    done = run([sys.executable, '-m', 'benchmarks.experiment', '--seeds=2', '--parallel=2', f'--workdir={tmp_path}',
                f'--out={tmp_path}/results.md'])
    assert done.returncode == 1 and done.stderr.count('a seed has failed') == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith('error: ') and 'not the SynthAVE of config.world' in done.stderr
    assert 'Traceback' not in done.stderr and (tmp_path / 'seed1.log').exists() and not (tmp_path / 'results.md').exists()


def test_a_seed_is_run_once_and_stops_with_the_command(tmp_path):
    command = [sys.executable, '-m', 'benchmarks.experiment', '--seeds=1', f'--workdir={tmp_path}', f'--out={tmp_path}/results.md']
    first, deadline = start(command), time.time() + 120
    while not (tmp_path / 'seed0' / 'config.json').exists():
        assert time.time() < deadline and first.poll() is None
        time.sleep(0.1)
    second = run(command)
    assert second.returncode == 1 and 'another' in second.stderr.splitlines()[-1], second.stderr
    first.send_signal(signal.SIGKILL)
    while True:
        try:
            with hold(tmp_path / 'seed0'):
                break
        except InputError:
            assert time.time() < deadline
            time.sleep(0.1)
    first.finish()


@pytest.mark.thorough
def test_benchmark_of_making_maps(whole):
    done = run([sys.executable, '-m', 'benchmarks.pseudo_gt', f'--coarse={whole[0] / "coarse"}', '--clips=3'])
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    shares = [int(lines[part].split()[-4].rstrip('%')) for part in ('reading', 'nets', 'writing')]
    assert 98 <= sum(shares) <= 102 and '48 frames of 48 pixels' in done.stdout and float(lines['whole:'].split()[1]) > 0


@pytest.mark.thorough
def test_benchmark_of_prediction(whole):
    done = run([sys.executable, '-m', 'benchmarks.prediction', f'--checkpoint={whole[0] / "sta_plus"}', '--minutes', '0.02', '0.04'])
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if ' min' in line]
    assert [(row[0], row[2], int(row[3]), int(row[4])) for row in rows] == [
        (minutes, students, frames, frames) for minutes, frames in (('0.02', 30), ('0.04', 60)) for students in ('STA', 'three')]
    assert all(abs(float(b[6]) - float(b[5]) / float(a[5])) < 0.02 for a, b in ((rows[0], rows[1]), (rows[2], rows[3])))
    assert all(float(row[7]) > 0 for row in rows)  # without writing


def test_student_is_scored_and_predicts(whole, world, tmp_path):
    workdir, _ = whole
    for what in (f'--maps={workdir / "pseudo_gt" / "fine" / "test"}', f'--checkpoint={workdir / "sta_plus"}'):
        done = run([sys.executable, 'evaluate.py', what, f'--data={world}', '--protocol=stavis', '--workers=1',
                    f'--out={tmp_path / "scores.json"}'])
        assert done.returncode == 0 and 'CC' in done.stdout, done.stderr
    video = next((world / 'AVE_Dataset' / 'AVE').glob('*.mp4'))
    for name, nets in (('one', ['sta']), ('three', ['sta/STA', 'sta_plus/STA_short', 'sta_plus/STA_long'])):
        done = run([sys.executable, 'predict.py', f'--video={video}', f'--out={tmp_path / name}',
                    *(f'--checkpoint={workdir / student}' for student in nets)])
        assert done.returncode == 0, done.stderr
        assert len(list((tmp_path / name).glob('*/maps/eyeMap_*.png'))) == 16


def test_what_is_missing_is_made_again(whole):
    workdir, _ = whole
    folder = workdir / 'pseudo_gt' / 'fine'
    before = pictures(folder)
    gone = sorted((folder / 'train').glob('*/maps'))[3].parent
    shutil.rmtree(gone)  # as if a kill had come before it was written
    done = run(script('distill.py', 'pseudo_gt:fine', folder, *overrides(folder, 'pseudo_gt:fine')))
    assert done.returncode == 0 and '16 maps made' in done.stdout, done.stderr
    assert pictures(folder) == before


def test_maps_that_are_made_together_are_those_made_alone(whole, tmp_path):
    folder = whole[0] / 'variants' / 'coarse_S' / 'pseudo_gt' / 'coarse'
    assert {tuple(line['sources']) for line in manifest(folder, 'test')} == {('S',)}
    done = run(script('distill.py', 'pseudo_gt:coarse', tmp_path / 'alone', *overrides(folder, 'pseudo_gt:coarse')))
    assert done.returncode == 0, done.stderr
    alone, together, others = (levels(of) for of in (tmp_path / 'alone', folder, whole[0] / 'pseudo_gt' / 'coarse'))
    assert alone.keys() == together.keys() == others.keys()
    assert max(np.abs(alone[k] - together[k]).max() for k in alone) <= 1 < max(np.abs(others[k] - together[k]).max() for k in alone)


@pytest.mark.thorough
def test_a_table_trains_what_it_lacks(whole, world, tmp_path):
    command = [sys.executable, '-m', 'stanet_jax', 'tables', '--paper=tpami', '--table=2', f'--data={world}', f'--run={whole[0]}',
               f'--workdir={tmp_path / "kept"}']
    without = run(command)
    assert without.returncode == 0 and 'coarse CAM_sta; coarse SCAM; fine CAM_sta; fine SCAM: not run yet: `stanet tables' in without.stdout
    for said in ('fine_STA/pseudo_gt/fine: 192 maps made', 'variants/fine/student: done already'):
        done = run([*command, '--train'])
        assert done.returncode == 0 and said in done.stdout, done.stderr
    cells = {line.split(' | ')[0].strip('| '): line.split(' | ')[1] for line in done.stdout.splitlines() if line.startswith('| ')}
    assert all(float(cells[f'{kind} {maps}']) > 0 for kind in ('coarse', 'fine') for maps in ('CAM_sta', 'SCAM'))


def test_killed_while_it_makes_maps(whole, tmp_path):
    workdir, _ = whole
    coarse = workdir / 'pseudo_gt' / 'coarse'
    arguments = script('distill.py', 'pseudo_gt:coarse', tmp_path / 'coarse', *overrides(coarse, 'pseudo_gt:coarse'))
    process = start(arguments)
    deadline = time.time() + 120
    while len(list((tmp_path / 'coarse').glob('train/*/maps'))) < 2:
        assert time.time() < deadline and process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.finish()
    done = run(arguments)
    assert done.returncode == 0, done.stderr
    assert pictures(tmp_path / 'coarse') == pictures(workdir / 'pseudo_gt' / 'coarse')
    for split in SPLITS:
        found, expected = (manifest(folder, split) for folder in (tmp_path / 'coarse', workdir / 'pseudo_gt' / 'coarse'))
        assert [{**line, 'config': ''} for line in found] == [{**line, 'config': ''} for line in expected]
    assert not list((tmp_path / 'coarse').glob('*/.writing*'))


def test_devices_and_hosts_make_the_same_maps(whole, tmp_path):
    """Two processes of two devices, against one of one."""
    (workdir, _), hosts, devices = whole, 2, 2
    coarse = workdir / 'pseudo_gt' / 'coarse'
    arguments = script('distill.py', 'pseudo_gt:coarse', tmp_path / 'coarse', *overrides(coarse, 'pseudo_gt:coarse'))
    with socket.socket() as s:
        s.bind(('localhost', 0))
        port = s.getsockname()[1]
    together = [[f'--coordinator=localhost:{port}', f'--processes={hosts}', f'--process={i}'] for i in range(hosts)]
    started = [start([*arguments, *flags], devices) for flags in together]
    ended = [process.finish() for process in started]
    assert [process.returncode for process in ended] == [0] * hosts, ended
    for split in SPLITS:
        found, expected = (manifest(folder, split) for folder in (tmp_path / 'coarse', workdir / 'pseudo_gt' / 'coarse'))
        assert [(line['clip'], line['frame']) for line in found] == [(line['clip'], line['frame']) for line in expected]
    for path in sorted((tmp_path / 'coarse').glob('*/*/maps/*.png'))[::7]:
        with PIL.Image.open(path) as a, PIL.Image.open(workdir / 'pseudo_gt' / path.relative_to(tmp_path)) as b:
            assert abs(np.int16(a) - np.int16(b)).max() <= 1, path


@pytest.mark.parametrize('config, change, text', [
    ('pseudo_gt', {'fusion': 'mean'}, "config.fusion='mean': must be one of selective, average"),
    ('pseudo_gt', {'reach': -1}, 'config.reach=-1'), ('pseudo_gt', {'stretch': 0}, 'config.stretch=0'),
    ('scam_coarse', {'data.name': 'folder'}, "config.data.name='folder': must be one of ave, synthave, folders, vggsound"),
    ('scam_coarse', {'data.shares': (0.8, 0.1)}, 'config.data.shares=(0.8, 0.1)'),
    ('pseudo_gt', {'data.clip_seconds': 0.0}, 'config.data.clip_seconds=0.0'),
    ('sta', {'data.beam_options': ('--a=b',)}, "config.data.beam_options=('--a=b',)"),
    ('pseudo_gt', {'splits': ('testing',)}, 'config.splits'), ('pseudo_gt', {'sources': ('A',)}, 'config.sources'),
    ('audio_switch', {'nets': ('S',)}, 'config.nets'),
    ('audio_switch', {'epochs.switch': 0.0}, 'config.epochs.switch=0.0'), ('sta', {'data.side': 0}, 'config.data.side=0'),
    ('sta_plus', {'epochs.STA_long': 0.0}, 'config.epochs.STA_long=0.0'),
    ('sta_plus', {'blender.name': 'mean'}, "config.blender.name='mean'"),
    ('scam_coarse', {'batch': 0}, 'config.batch=0'), ('scam_coarse', {'encoder.name': 'resnet'}, "config.encoder.name='resnet'"),
    ('sta', {'optimizer.STA': 'rmsprop'}, 'config.optimizer.STA')])
def test_a_config_that_cannot_be_meant_is_refused(tmp_path, config, change, text):
    runs = {'scam_coarse': classifiers.run, 'pseudo_gt': maps.run, 'audio_switch': audio_switch.run, 'sta': students.run,
            'sta_plus': students.run}
    made = importlib.import_module(f'configs.{config}').get_config(*['coarse'] if config == 'pseudo_gt' else [])
    made.update_from_flattened_dict(change)
    with pytest.raises(InputError, match=re.escape(text)):
        runs[config](made, tmp_path / 'run')
    assert not (tmp_path / 'run').exists()


def test_folds_share_out_every_tag_and_keep_a_video_whole():
    clips = [{'source': f'{i % 90}', 'tags': [i % 90 % 8]} for i in range(100)]  # as AVE has ids in two lines
    folds = sound_labels.assign_folds(clips, seed=3)
    assert folds == sound_labels.assign_folds(clips, seed=3) != sound_labels.assign_folds(clips, seed=4)
    assert folds[:10] == folds[90:]
    for tag in range(8):
        of = [fold for fold, clip in zip(folds[:90], clips, strict=False) if clip['tags'] == [tag]]
        assert abs(of.count(0) - of.count(1)) <= 1
