"""Every variant of configs/ablations makes its nets; what the runner takes from the base run and writes."""
import json
import pathlib
import sys

import jax
import pytest
from ml_collections import ConfigDict

from benchmarks import ablations
from configs import scam_coarse, stanet
from stanet_jax.evaluation import metrics
from stanet_jax.evaluation.results import SetResults, SetScores, VideoScores
from stanet_jax.evaluation.tables import write_scores
from stanet_jax.models.branch import parse_net
from stanet_jax.pipeline.table import STAGES, STUDENT_ROWS, Stage, plan, stage_configs
from stanet_jax.stages import classifiers, students
from stanet_jax.stages.nets import example_batch, make_classifier, net_inputs
from stanet_jax.tables import ablations as trained_here
from stanet_jax.workdir import open_workdir

ROOT = pathlib.Path(__file__).parents[2]
VARIANTS = [(table, variant) for table, module in ablations.TABLES.items() for variant in module.VARIANTS]
KNOWN = {(3, 'gate'), (4, '0.8_0.6'), (5, 'm3'), (5, 'n2'), *((6, variant) for variant in ablations.fusions.VARIANTS)}


@pytest.mark.parametrize('table, variant', VARIANTS)
def test_a_variant_makes_its_nets(table, variant):
    config, classes = ablations.TABLES[table].get_config(variant), 5
    student = config.task == 'student'
    students.check(config) if student else classifiers.check(config)
    config.data.side, config.width = 32, 8
    for net in config.nets:
        model = students.make_student(config, net) if student else make_classifier(config, net, classes)
        given = net_inputs(example_batch(config, net, classes, 2), config.encoder.name)
        (answer, _), variables = jax.eval_shape(lambda key, of=model, given=given: of.init_with_output(key, **given), jax.random.key(0))
        nodes = (config.fragments + 1,) if parse_net(net).granularity else ()
        assert answer.shape == ((2, *nodes, 32, 32) if student else (2, classes))
        begun = config.start_from[net]
        assert isinstance(begun, str) or set(begun) <= set(variables['params'])  # parts that the net has


def test_what_differs():
    for table, variant, field, value in ((4, 'none', 'refine', False), (4, '0.9_0.6', 'threshold', 0.9), (4, '0.8_0.4', 'rate', 0.4),
                                         (5, 'm5', 'steps', 5), (5, 'gru', 'name', 'gru'), (5, 'none', 'name', 'concatenate')):
        assert ablations.TABLES[table].get_config(variant).blender[field] == value
    assert ablations.reasoning.get_config('transformer').blender.to_dict() == {'name': 'transformer', 'blocks': 3, 'heads': 1}
    assert ablations.reasoning.get_config('n4').fragments == 4
    added = ablations.sa_fuse.get_config('add')
    assert added.sa_fuse == 'add' and added.start_from.SA.to_dict() == {
        'encoder': 'runs/coarse/S', 'classifier': 'runs/coarse/S', 'audio_encoder': 'runs/coarse/A'}
    assert ablations.TABLES[2].get_config().epochs.STA == scam_coarse.get_config().epochs.ST


@pytest.mark.parametrize('module', ablations.TABLES.values())
def test_an_unknown_variant_is_refused_with_the_choices(module):
    with pytest.raises(ValueError, match=f'none_such: no such recipe; choose one of {next(iter(module.VARIANTS))}'):
        module.get_config('none_such')


def test_every_row_of_the_paper_has_its_variant():
    for table, module in ablations.TABLES.items():
        assert set(module.VARIANTS) == set(ablations.PAPER[table]) - {'SCAM'}
        assert (ROOT / 'configs' / 'ablations' / f'{module.__name__.split(".")[-1]}.py').exists()


# ------------------------------------------------------------------------------------------------------------- the runner


def row(cc, undefined=0):
    scores = {'frames': 10, 'scores': dict.fromkeys(metrics.METRICS, cc), 'undefined': dict.fromkeys(metrics.METRICS, undefined)}
    return SetScores(**scores, failed=[], videos=[VideoScores(video, **scores) for video in ('a', 'b')])


@pytest.fixture
def base(tmp_path):
    """What the runner reads of a finished pipeline."""
    folder, config = tmp_path / 'base', stanet.get_config()
    open_workdir(config, folder)
    folders = {stage: folder / stage for stage in STAGES}
    for stage, planned in plan(stage_configs(config), folders).items():
        open_workdir(planned, folders[stage])
    (folder / 'scores').mkdir()
    rows = {STUDENT_ROWS[name]: row(0.1 * (k + 1)) for k, name in enumerate(('STA', 'STA_short', 'STA_long', 'product', 'final'))}
    write_scores(folder / 'scores' / 'scores.json', SetResults('stavis', 'none', '', '', [], {
        **rows, 'SCAM, coarse': row(0.6, undefined=5)}))
    (folder / 'coarse' / 'accuracy.json').write_text(json.dumps({'nets': {'SA': {'all': {'frames': 0.9}}}}))
    return folder


@pytest.fixture
def trained(monkeypatch):
    """Trainings and scorings in the place of the true ones: the folders they were asked for."""
    done = []

    def train(config, folder):
        open_workdir(config, folder)
        done.append(folder)
        if config.task == 'classifiers':
            (folder / 'accuracy.json').write_text(json.dumps({'nets': {net: {'all': {'frames': 0.5}} for net in config.nets}}))

    def score(config, nets, folder, base):
        folder.mkdir(parents=True, exist_ok=True)
        done.append(nets)
        rows = {net: row(0.4) for net in config.nets}
        write_scores(folder / 'scores.json', SetResults('stavis', 'none', '', '', [], rows))

    monkeypatch.setattr(trained_here, 'STAGES', {stage: Stage(train) for stage in STAGES})
    monkeypatch.setattr(trained_here, 'score', score)
    monkeypatch.setattr(ablations, 'operation_table', lambda: ['| operations |'])
    return done


def run(monkeypatch, base, *flags):
    files = f'--base={base}', f'--workdir={base.parent / "runs"}', f'--out={base.parent / "docs" / "page.md"}'
    monkeypatch.setattr(sys, 'argv', ['ablations', *files, *flags])
    ablations.main()
    return (base.parent / 'docs' / 'page.md').read_text()


def test_the_base_run_has_what_differs_in_nothing(base):
    known = {(table, variant) for table, variant in VARIANTS if ablations.settings(table, variant, base)[1]}
    assert known == KNOWN
    config, _ = ablations.settings(5, 'm2', base)
    assert config.maps == str(base / 'pseudo_gt' / 'plus') and config.start_from.STA_short.encoder == str(base / 'sta' / 'STA')
    assert ablations.settings(3, 'add', base)[0].start_from.to_dict() == {
        'SA': {'encoder': str(base / 'coarse' / 'S'), 'classifier': str(base / 'coarse' / 'S'),
                   'audio_encoder': str(base / 'coarse' / 'A')}}
    other = ConfigDict(json.loads((base / 'sta_plus' / 'config.json').read_text()))
    other.blender.steps = 2
    (base / 'sta_plus' / 'config.json').write_text(json.dumps(other.to_dict()))
    assert [ablations.settings(5, variant, base)[1] for variant in ('m2', 'm3')] == [True, False]


def test_each_is_trained_once_and_written_down(base, trained, monkeypatch, capsys):
    runs = base.parent / 'runs'
    page = run(monkeypatch, base, '--tables=4', '--variants=none')
    assert trained == [runs / 'refine' / 'none'] * 2  # trained, scored
    assert page.count('- not run yet: ') == 4  # in tables 2, 3, 4 and 5
    assert '- shows: `0.8_0.6` over `none`' not in page and '- **does not show**: `0.8_0.6` over `none` by -0.200 / -0.100' in page

    page = run(monkeypatch, base)
    assert len(trained) == len(set(trained)) * 2 - 1 == 2 * len(set(VARIANTS) - KNOWN) + 1  # and the maps of the base run's SA are scored
    assert trained.count(base / 'coarse') == 1 and '- not run yet: ' not in page
    assert '| `SCAM` | 0.600 | 0.600 | 0.600 | 0.600 | 0.600 | 5 | - | base run | 0.345 | 1.364 |' in page
    assert '- **does not show**: `SCAM` over `STA` by -0.100' in page  # half of its maps are empty
    assert '| `m3` | 0.200 / 0.300 |' in page and '| `STA` | 0.100 | 0.100 | 0.100 | 0.100 | 0.100 | 0 | base run | 0.438 | 2.018 |' in page
    assert '- shows: `final` over `STA_long` by +0.200 (paper, AVAD: +0.021)' in page
    assert '- **does not show**: `product` over `final` by -0.100' in page and '`m3` over `n2`' not in page
    assert '| `gate` | 0.400 | 0.400 | 0.400 | 0.400 | 0.400 | 0 | 0.900 | base run |' in page and '| operations |' in page

    done = len(trained)
    assert run(monkeypatch, base) == page and len(trained) == done and 'refine/none: done already' in capsys.readouterr().out


def test_mistakes_end_in_a_line(base, trained, monkeypatch, tmp_path):
    for flags, text in ((['--tables=7'], '--tables=7: must name some of 2, 3, 4, 5, 6'),
                        (['--tables=4', '--variants=m2'], '--variants: m2: not in the tables; they have none, 0.8_0.4')):
        with pytest.raises(SystemExit, match=text):
            run(monkeypatch, base, *flags)
    with pytest.raises(SystemExit, match=r'missing\); `make experiment` makes one'):
        run(monkeypatch, tmp_path / 'none')
    run(monkeypatch, base, '--tables=6')
    (base / 'config.json').write_text(json.dumps({**json.loads((base / 'config.json').read_text()), 'seed': 1}))
    with pytest.raises(SystemExit, match='seed was 0 and is 1'):
        run(monkeypatch, base, '--tables=6')
    assert not trained
