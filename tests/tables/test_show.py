"""Tables of a small world: what is scored, what a run has, what is kept, what is missing; and the command."""
import dataclasses
import json
import pathlib
import shutil

import numpy as np
import PIL.Image
import pytest

from configs import deeplab, eps, stanet
from stanet_jax import InputError
from stanet_jax.data import synthave, synthvoc
from stanet_jax.evaluation import evaluate, metrics
from stanet_jax.evaluation.fixations import Video
from stanet_jax.evaluation.results import SetResults, SetScores, VideoScores
from stanet_jax.evaluation.tables import write_scores
from stanet_jax.pipeline.variants import VARIANTS
from stanet_jax.tables import jobs, scores, segmentation, show, training
from stanet_jax.tables.page import absent_lines
from stanet_jax.tables.paper import Line, Method, Student, Table
from stanet_jax.tables.place import Place, VideoSet
from stanet_jax.workdir import open_workdir
from tests import forked
from tests.baselines.test_classifier import SIDE, make_world
from tests.inference.test_predictor import make_run

ROOT = pathlib.Path(__file__).parents[2]
FRAMES = 12  # of which four are scored


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """A world, and a run on it with an S and students that were never trained."""
    root = tmp_path_factory.mktemp('tables')
    make_world(root, root / 'run' / 'coarse')
    pipeline = stanet.get_config()
    pipeline.data.root = str(root / 'world')
    open_workdir(pipeline, root / 'run')
    make_run(root / 'run' / 'variants' / 'coarse_S' / 'student', side=SIDE)
    return root


@pytest.fixture
def place(made, tmp_path):
    return Place(made / 'world', made / 'run', tmp_path / 'kept')


def own_row(value, undefined=0):
    of = {'frames': 8, 'scores': dict.fromkeys(metrics.METRICS, value), 'undefined': dict.fromkeys(metrics.METRICS, undefined)}
    return SetScores(**of, failed=[], videos=[VideoScores('a', **of)])


def line_of(page, name):
    (line,) = (line for line in page.splitlines() if line.startswith(f'| {name} |'))
    return [cell.strip() for cell in line.strip('| ').split('|')]


def test_thresholds_are_scored_once_and_kept(place, tmp_path, capsys, monkeypatch):
    page = show.show('tpami', 8, place, False, 'stanet tables', tmp_path / 'docs' / 'page.md')
    assert (tmp_path / 'docs' / 'page.md').read_text() == page and '5 of 5, references' in capsys.readouterr().out
    kept = {path.stem: json.loads(path.read_text()) for path in (place.workdir / 'SynthAVE').iterdir()}
    assert kept.keys() == {'score_cam_thresholds', 'layer_cam_thresholds', 'smooth_grad_cam_pp_thresholds', 'feature_sum_thresholds',
                           'references'}
    for level in ('0', '0.3', '0.5', '0.7'):
        of = kept['layer_cam_thresholds']['rows'][f'layer_cam, threshold {level}']['scores']
        expected = ['-' if of[metric] is None else f'{of[metric]:.3f}' for metric in ('auc_judd', 'cc', 'nss')]
        assert line_of(page, f'LCAM at {level}')[1:4] == expected
    assert line_of(page, 'WSSA at 0.3')[1:4] == ['-'] * 3 and line_of(page, 'WSSA at 0.3')[-3:] == ['0.799', '0.285', '1.339']
    assert '- WSSA at 0; WSSA at 0.3' in page and ': cannot be had: a trained net of its own authors' in page
    assert '2 videos, 8 frames, every frame from number 9 on' in page and 'encoders tiny, tiny_audio, which are not the papers\'' in page

    monkeypatch.setattr(scores, 'score', lambda *args: pytest.fail('scored again'))
    assert show.show('tpami', 8, place, False, 'stanet tables') == page
    listed = show.list_tables(['tpami'], 8, place)
    assert 'there: 17 of 17 rows that can be had; they took' in listed and 'cannot be had: WSSA at 0;' in listed


def test_it_says_what_is_done_to_small_frames(place):
    table, (of,) = show.find_table('tpami', 7), scores.open_sets(place)
    height, width = of.videos[0].frame(0).shape[:2]
    scored = scores.Found({'cc': .5}, 0., 8, 2, 'some', 1.)
    notes = {name: show._method_notes(table, {row.name: scored if row.name in name else None for row in table.rows}, of, place)
             for name in (('GBVS',), ('ITTI', 'GBVS'), ('SSCAM',), ('CAM',))}
    told = f' frames of {width}x{height} pixels are enlarged to {width * 128 // height}x128, others alike.'
    assert notes == {('GBVS',): [f'For GBVS{told}'], ('ITTI', 'GBVS'): [f'For ITTI and GBVS{told}'],
                     ('SSCAM',): [f'SS-CAM has {place.samples} noisy masks of each channel; its paper has 35.'], ('CAM',): []}


def test_a_row_is_what_evaluation_says(place, tmp_path):
    job, (of,) = jobs.job_of(Method('grad_cam'), place), scores.open_sets(place)
    scores.score(job, of, place, 'grad_cam')
    found = scores.find(job, of, place)
    expected = evaluate.evaluate(place.data, '', 'stavis', tmp_path / 'e.json', checkpoint=place.run / 'coarse' / 'S', method='grad_cam')
    row = expected.rows['grad_cam']
    assert found.scores == pytest.approx(row.scores, nan_ok=True, rel=1e-5) and (found.frames, found.videos) == (8, 2)


def test_a_run_that_was_killed_goes_on(place, capsys):
    class Stops(Video):
        def frame(self, k):
            raise KeyboardInterrupt

    job, (of,) = jobs.job_of(Method('spectral_residual'), place), scores.open_sets(place)
    first, second = of.videos
    with pytest.raises(KeyboardInterrupt):
        scores.score(job, VideoSet(of.name, [first, Stops(**vars(second))]), place, 'killed')
    assert scores.find(job, of, place) is None
    capsys.readouterr()
    scores.score(job, of, place, 'again')
    assert 'goes on after 1 videos' in capsys.readouterr().out
    whole = dataclasses.replace(place, workdir=place.workdir / 'whole')
    scores.score(job, of, whole, 'whole')
    assert scores.find(job, of, place).scores == scores.find(job, of, whole).scores
    assert [path.suffix for path in (place.workdir / of.name).iterdir()] == ['.json']
    part = dataclasses.replace(place, every=2)  # another question
    assert scores.find(job, of, part) is None
    scores.score(jobs.job_of(Method('spectral_residual'), part), of, part, 'every other frame')
    assert scores.find(job, of, part).frames == 4 and scores.find(job, of, place) is None


def test_what_a_run_has_is_taken_from_it(place, made):
    folder = made / 'run' / 'scores'
    folder.mkdir(exist_ok=True)
    rows = {'STA': own_row(.25), 'STA+ short': own_row(.5), 'STA+ long': own_row(.5, 2), 'product fusion': own_row(.75),
            'final fusion': own_row(1)}
    write_scores(folder / 'scores.json', SetResults('stavis', 'SynthAVE', str(place.data), '', [], rows))
    (made / 'run' / 'stages.json').write_text(json.dumps({'sta': 30.0, 'sta_plus': 60.0}))
    try:
        page = show.show('tpami', 6, place, False, 'stanet tables')
        assert line_of(page, 'STA')[1:4] == ['0.250'] * 3 and line_of(page, 'STA')[-3:] == ['0.873', '0.438', '2.018']
        assert line_of(page, 'STA+ long')[1:5] == ['0.500'] * 3 + ['25.0%']
        job, (of,) = jobs.job_of(Student('final'), place), scores.open_sets(place)
        assert scores.find(job, of, place).seconds == 60 and not place.workdir.exists()
        elsewhere = dataclasses.replace(place, data=made / 'other')
        assert scores.find(job, of, elsewhere) is None  # another set than the run's
    finally:
        (folder / 'scores.json').unlink()


def test_lines_of_table_1(place):
    page = show.show('tpami', 1, place, False, 'stanet tables')
    assert line_of(page, '1, CAM of S, coarse')[1] != '-' and line_of(page, '25, SCAM+')[1:6] == ['-'] * 5
    command = f'stanet tables --paper=tpami --table=1 --data={place.data} --run={place.run} --train'
    assert f'24, SCAM\'; 25, SCAM+: not run yet: `{command}`' in page
    assert 'maps:' not in page
    folder = place.run / 'scores'
    folder.mkdir(exist_ok=True)
    rows = {'CAM of S, coarse': own_row(.5, 2), 'SCAM+': own_row(.75)}
    write_scores(folder / 'scores.json', SetResults('stavis', 'SynthAVE', str(place.data), '', [], rows))
    try:
        page = show.show('tpami', 1, place, False, 'stanet tables')
        assert '| maps: CC | maps: NSS | maps: share left out | paper, AVAD: AUC-J |' in page
        assert line_of(page, '1, CAM of S, coarse')[6:9] == ['0.500', '0.500', '0.250']
        assert line_of(page, '25, SCAM+')[1:10] == ['-'] * 5 + ['0.750', '0.750', '0.000', '0.887']
    finally:
        (folder / 'scores.json').unlink()
    listed = show.list_tables(['tpami'], 1, place)
    assert 'there: 1 of 25 rows' in listed and 'missing: 2, CAM of SA, coarse; 3, ' in listed


def test_without_a_run_the_rest_is_named(place, tmp_path):
    bare = dataclasses.replace(place, run=tmp_path / 'none')
    listed = show.list_tables(['tpami', 'cvpr'], None, bare)
    assert 'scored by the table\'s command: ITTI; GBVS; spectral residual; Gaussian at the centre' in listed
    assert 'missing: CAM; GradCAM' in listed and 'cannot be had: STANet+; ACLNet; SalGAN; DeepNet' in listed
    nowhere = dataclasses.replace(bare, data=tmp_path / 'nowhere')
    assert 'no data: ' in show.list_tables(['tpami'], 7, nowhere)
    with pytest.raises(InputError, match='nowhere: is not there; make SynthAVE by'):
        show.show('tpami', 7, nowhere, False, '')
    nine = show.show('tpami', 9, bare, False, '')
    assert 'the text gives none of the table\'s figures' in nine and line_of(nine, 'STANet+')[1:] == ['-'] * 5


def test_each_set_stands_beside_the_papers_figures_of_it(place, tmp_path, monkeypatch):
    sets = tmp_path / 'sets'
    for part in ('annotations', 'video_frames', 'video_audio'):
        (sets / part).mkdir(parents=True)
        for name in ('AVAD', 'DIEM'):
            (sets / part / name).symlink_to(place.data / part / 'SynthAVE')
    whole = show.find_table('tpami', 7)
    few = whole._replace(rows=tuple(row for row in whole.rows if row.name in ('SBF', 'spectral residual')))
    monkeypatch.setattr(show, 'find_table', lambda *asked: few)
    page = show.show('tpami', 7, dataclasses.replace(place, data=sets), False, '')
    avad, diem = page.split('\n## ')[1:]
    assert avad.startswith('AVAD\n') and line_of(avad, 'SBF')[6:] == ['0.833', '0.272', '0.576', '0.308', '1.489']
    assert line_of(diem, 'SBF')[6:] == ['0.759', '0.292', '0.608', '0.301', '1.081'] and 'another set' not in page
    assert line_of(avad, 'spectral residual')[1:6] == line_of(diem, 'spectral residual')[1:6] != ['-'] * 5
    assert '## AVAD' not in show.show('tpami', 7, dataclasses.replace(place, data=sets, sets=('DIEM',)), False, '')


def test_masks_of_eps(tmp_path):
    root, run = tmp_path / 'voc', tmp_path / 'run'
    synthvoc.generate(root, synthave.Settings(train=4, validation=2, test=0, side=SIDE, categories=3), workers=1)
    truth, names = root / 'SegmentationClassAug', (root / 'train.txt').read_text().split()
    for net, split in (('adaptive', 'train'), ('naive', 'train'), ('adaptive/deeplab', 'validation')):
        (run / net / 'masks' / split).mkdir(parents=True)
        for path in truth.iterdir():
            if path.name.startswith(split):
                shutil.copy(path, run / net / 'masks' / split / path.name)
    for path in (run / 'naive' / 'masks' / 'train').iterdir():  # nothing but background
        PIL.Image.fromarray(np.zeros((SIDE, SIDE), np.uint8), 'L').save(path)
    place = Place(root, run, tmp_path / 'kept')
    assert [segmentation.of_synthvoc(path) for path in (root, tmp_path / 'none', run)] == [True, True, False]
    page = show.show('eps', 3, place, False, '')
    assert "background_classes=\"('category_01', 'category_02')\"" in page
    assert line_of(page, 'adaptive')[1:] == ['100.0', '69.4'] and len(names) == len(list((run / 'adaptive' / 'masks' / 'train').iterdir()))
    background = np.mean([np.asarray(PIL.Image.open(path)) == 0 for path in truth.glob('train*')])
    labels = {label for path in truth.glob('train*') for label in np.unique(PIL.Image.open(path))} - {255}
    assert float(line_of(page, 'naive')[1]) == pytest.approx(100 * background / len(labels), abs=0.06)
    assert 'predefined: not run yet: `stanet train --config=eps --config.data.root=' in page
    assert 'baseline: cannot be had: the text does not say' in page
    assert line_of(show.show('eps', 1, place, False, ''), 'EPS')[1:] == ['100.0'] * 3 + ['60.0', '73.1', '65.9']
    of_pairs = line_of(show.show('eps', 2, place, False, ''), 'EPS')
    assert of_pairs[2] == '100.0' and of_pairs[-6:] == ['0.100', '55.0', '0.020', '78.1', '0.010', '73.0']
    five = show.show('eps', 5, place, False, '')
    assert line_of(five, 'DeepLab of SynthVOC, on the masks of EPS')[1] == '100.0' and line_of(five, 'EPS V1, val')[-2:] == ['66.6', '-']
    assert 'there: 2 of 3 rows that can be had' in show.list_tables(['eps'], 3, place)
    assert f'No run in {run}.' in five  # masks alone
    (run / 'adaptive' / 'config.json').write_text(eps.get_config().to_json())
    assert f'Nets: {run}, encoders tiny, which are not the papers' in show.show('eps', 3, place, False, '')


def test_what_fails_says_why_and_the_rest_goes_on(place, tmp_path):
    broken = dataclasses.replace(place, data=tmp_path / 'broken')
    shutil.copytree(place.data, broken.data)
    for path in (broken.data / 'video_frames').rglob('*.jpg'):
        path.write_bytes(b'no image')
    page = show.show('tpami', 8, broken, False, 'stanet tables')
    assert 'ScoCAM at 0.7: not scored: score_cam: no video could be scored; the first one: ' in page and 'img_00009.jpg' in page


def test_which_runs_hold_the_students(tmp_path):
    def runs_of(map_, **nets):
        run = tmp_path / '_'.join(map(str, nets))
        for name, of in nets.items():
            (run / name).mkdir(parents=True, exist_ok=True)
            (run / name / 'config.json').write_text(json.dumps({'nets': of}))
        job = jobs.job_of(Student(map_), Place(tmp_path, run, tmp_path))
        return [path.name for path in job.inputs], [path.name for path in job.missing()]

    assert runs_of('STA', sta=['STA']) == (['sta'], [])
    assert runs_of('final', sta=['STA']) == (['sta', 'sta_plus'], ['sta_plus'])  # STANet alone
    assert runs_of('final', sta_plus=['STA', 'STA_short', 'STA_long']) == (['sta_plus'], [])
    (tmp_path / 'other').mkdir()
    assert runs_of('STA', sta=['STA'], sta_plus=['STA_short', 'STA_long']) == (['sta', 'sta_plus'], [])  # the papers' recipes


@pytest.mark.thorough
def test_a_table_trains_eps(tmp_path):
    root, run = tmp_path / 'voc', tmp_path / 'run'
    synthvoc.generate(root, synthave.Settings(train=8, validation=2, test=0, side=SIDE, categories=3), workers=1)
    for name, module in (('adaptive', eps), ('adaptive/deeplab', deeplab)):  # begun as small ones
        config = module.get_config()
        config.data.update({'root': str(root), 'side': SIDE, 'long_side': (40, 56)})
        config.batch, config.held_out, config.masks.canvas, config.epochs[config.nets[0]] = 4, 2, SIDE, 1.0
        if name != 'adaptive':
            config.pseudo_masks = str(run / 'adaptive' / 'masks' / 'train')
        open_workdir(config, run / name)
    place = Place(root, run, tmp_path / 'kept')
    few = Table('few', {'mIoU': 'mIoU', 'val': 'val'}, (find(3, 'adaptive'), find(5, 'DeepLab of SynthVOC, on the masks of EPS')))
    training.train(few, place)
    for row in few.rows:
        segmentation.score(row.ours, place)
        assert all(0 < value < 100 for value in segmentation.find(row.ours, place).scores.values())
    made = [path.stat().st_mtime_ns for path in sorted(run.glob('**/variables'))]
    training.train(few, place)
    assert made == [path.stat().st_mtime_ns for path in sorted(run.glob('**/variables'))] and len(made) == 2


def test_every_variant_is_a_row_and_every_row_is_one():
    rows = [row.ours.variant for number in range(1, 6) for row in show.find_table('tpami', number).rows if isinstance(row.ours, Line)]
    assert set(rows) == {of for of in VARIANTS if 'cut' not in of} and all(of.paper for of in show.find_table('tpami', 5).rows)


def test_pictures_are_scored_as_the_benchmark_of_pictures_does(place):
    (of,) = scores.open_sets(place)
    pictures = VideoSet('pictures', [dataclasses.replace(video, frames=1) for video in of.videos])
    assert (of.protocol, pictures.protocol) == ('stavis', 'mit')
    job = jobs.job_of(Method('spectral_residual'), place)
    scores.score(job, pictures, place, 'pictures')
    assert scores.find(job, pictures, place).frames == len(of.videos) and scores.find(job, of, place) is None
    assert absent_lines([show.find_table('tpami', 7).rows[-1]], {'half of the observers': ''}, {}) == [
        '- half of the observers: cannot be had: the set does not tell']


def find(number, name):
    return next(row for row in show.find_table('eps', number).rows if row.name == name)


def test_damaged_scores_are_named(place):
    job, (of,) = jobs.job_of(Method('cam'), place), scores.open_sets(place)
    (place.workdir / of.name).mkdir(parents=True)
    (place.workdir / of.name / 'cam.json').write_text('{')
    with pytest.raises(InputError, match='cam.json: is damaged; remove it'):
        scores.find(job, of, place)


def test_the_command(made, tmp_path):
    def run(module, *flags):
        return forked.python('-m', *module, *flags, folder=tmp_path, before=f'import sys; sys.path.append({str(ROOT)!r})')

    stanet_tables = 'stanet_jax', 'tables'
    for flags, says in (([], '--paper, --table: needed'), (['--table=3'], '--paper, --table: needed'),
                        (['--paper=tpami', '--table=10'], '--table=10: tpami has 1 to 9'), (['--list', '--train'], '--list: not with'),
                        (['--paper=eps', '--table=3', '--every=0'], '--every=0')):
        done = run(stanet_tables, *flags)
        assert done.returncode == 1 and done.stderr.startswith('error: ') and says in done.stderr and done.stderr.count('\n') == 1
    done = run(stanet_tables, '--list', f'--run={made / "run"}')
    assert done.returncode == 0 and f'data {made / "world"}, run {made / "run"}' in done.stdout, done.stderr
    assert 'data data/synthvoc, run runs/experiment-eps/seed0' in done.stdout and not any(tmp_path.iterdir())
    done = run(('benchmarks.tables',), '--paper=tpami', '--table=9', f'--run={made / "run"}')
    assert done.returncode == 0 and done.stdout.startswith('# TPAMI Table 9: All trained on 168 clips'), done.stderr
