"""The recipes by name: what each says where the papers and the authors' code differ; and the chains of TPAMI Table 1's lines."""
import importlib
import pathlib

import jax
import pytest

from benchmarks import paper_steps
from configs import pseudo_gt, scam_coarse, scam_fine, scam_plus, sta, sta_plus, stanet
from stanet_jax import InputError
from stanet_jax.models.branch import parse_net
from stanet_jax.pipeline import run
from stanet_jax.pipeline.table import STAGES, stage_configs, stage_folders
from stanet_jax.pipeline.variants import TABLE1, VARIANTS, maps_stage, plan_variant, variant_folders
from stanet_jax.stages import classifiers
from stanet_jax.stages.nets import example_batch, make_classifier, net_inputs


def test_the_papers_recipes():
    """Whole films, all clips, the switch's labels, no crops; CVPR's losses; what the release does otherwise."""
    for recipe in ('paper', 'cvpr', 'release'):
        coarse, fine, student, of_maps = (module.get_config(name) for module, name in (
            (scam_coarse, recipe), (scam_fine, recipe), (sta, recipe), (pseudo_gt, f'fine:{recipe}')))
        data = coarse.data
        assert (data.rate, data.frames_per_clip, data.train_on, data.least_crop, data.mirror) == (0, 0, 'all', 1, False)
        assert coarse.switch == 'switch' and fine.switch == student.switch == f'runs/{recipe}_coarse/switch'
        assert fine.boxes == f'runs/{recipe}_pseudo_gt/coarse'
        assert not fine.start_from and (fine.data.side, fine.batch, student.data.side) == (356, 3, 356)
        assert coarse.loss == fine.loss == ('softmax' if recipe == 'cvpr' else 'soft_margin')
        assert student.loss == ('bce' if recipe == 'cvpr' else 'bce_kl') and student.hears_by == 'net'
        released = recipe == 'release'
        assert (coarse.open_only, coarse.batch_norm == 'batch', of_maps.cut == 3, student.blur > 0) == (released,) * 4
        assert coarse.learning_rate.S == (1e-4 if released else 1e-3) and student.learning_rate.STA == (5e-5 if recipe == 'paper' else 1e-3)
        assert coarse.decay_epochs.to_dict() == fine.decay_epochs.to_dict() == ({'S': (5, 10)} if released else {})
        assert not student.decay_epochs
        assert student.fusion == ('max' if released else 'final') and data.centre_crop == (224 / 256 if released else 1)
        assert stanet.get_config(recipe).pseudo_gt.stages == (('coarse', 'fine') if recipe == 'cvpr' else ('coarse', 'fine', 'plus'))
    for recipe, others, rate in (('paper', (0, 0), 1e-3), ('release', (1, 0.4), 1e-5)):
        plus, students = scam_plus.get_config(recipe), sta_plus.get_config(recipe)
        assert (plus.node_loss, plus.before_loss) == others and plus.learning_rate.ST_long == rate
        assert set(plus.decay_epochs) == ({'SA_long', 'SA_cross'} if recipe == 'release' else set())
        assert plus.encoder.name == students.encoder.name == 'vgg16' and plus.data.side == students.data.side == 256
    for module in (scam_plus, sta_plus):
        with pytest.raises(ValueError, match='cvpr: no such recipe'):
            module.get_config('cvpr')


@pytest.mark.parametrize('recipe', paper_steps.RECIPES)
def test_every_net_of_a_recipe_has_its_settings(recipe):
    for stage in paper_steps.stages_of(recipe):
        config = importlib.import_module(f'configs.{paper_steps.STAGES[stage].__name__.rpartition(".")[2]}').get_config(recipe)
        for net in config.nets:
            assert config.epochs[net] == 15 and config.optimizer[net] == 'sgd' and config.new_multiplier[net] == 10


def test_a_pipeline_leaves_each_stage_its_own_crops():
    made = stage_configs(stanet.get_config('release'))
    crops = {stage: config.data.centre_crop for stage, config in made.items() if 'centre_crop' in config.data}
    assert crops == {'unimodal': 224 / 256, 'switch': 224 / 256, 'coarse': 224 / 256, 'pseudo_gt/fine_nets': 224 / 256,
                     'pseudo_gt/plus_nets': 256 / 300, 'sta': 1, 'sta_plus': 1}


@pytest.fixture
def configs():
    return stage_configs(stanet.get_config())


def test_the_switch_comes_before_sa(configs):
    order = list(STAGES)
    assert order.index('unimodal') < order.index('switch') < order.index('coarse')
    parts = configs['switch'].start_from.switch
    assert {part: pathlib.Path(folder).name for part, folder in parts.items()} == {'encoder': 'S', 'audio_encoder': 'A'}


def test_a_line_of_the_table_is_a_whole_chain(configs, tmp_path):
    """Without the switch, SA's ear is open in training and in use, in every net that hears; boxes and fine nets are a line's own."""
    folders, root = stage_folders(tmp_path / 'run'), tmp_path / 'run' / 'variants'
    for stage in STAGES:
        folders[stage].mkdir(parents=True, exist_ok=True)

    def chain(variant):
        own = variant_folders(variant, folders, root)
        for folder in own.values():
            folder.mkdir(parents=True, exist_ok=True)
        assert len(set(own.values())) >= len(STAGES) - 1  # `unimodal` may be in `coarse`, no other two are in one
        return plan_variant(configs, variant, own)

    assert sorted(of.line for of in TABLE1.values()) == list(range(1, 26))
    for variant in ('no_switch', 'plus_no_switch'):
        assert all(config.switch == '' for config in chain(variant).values())
    no_switch, after = chain('no_switch'), chain('plus_no_switch')
    assert list(no_switch) == ['coarse', 'pseudo_gt/coarse', 'pseudo_gt/fine_nets', 'pseudo_gt/fine']
    assert no_switch['pseudo_gt/fine_nets'].start_from.SA == str(root / 'no_switch' / 'coarse' / 'SA')
    assert after['pseudo_gt/plus_nets'].start_from.SA_long.encoder == str(root / 'no_switch' / 'coarse' / 'SA')
    single = chain('fine_S')
    nets, maps = single['pseudo_gt/fine_nets'], single['pseudo_gt/fine']
    assert nets.boxes == maps.boxes == str(root / 'coarse_S' / 'pseudo_gt' / 'coarse')
    assert nets.nets == ('S',) and maps.nets == str(root / 'fine_S' / 'pseudo_gt' / 'fine_nets')
    assert chain('no_refine')['pseudo_gt/plus_nets'].blender.refine is False
    refined = chain('refined_S')
    assert refined['coarse'].refine and refined['pseudo_gt/coarse'].nets == str(root / 'refined_S' / 'coarse')
    sta, crops = chain('coarse_STA'), chain('fine_STA')['pseudo_gt/fine_nets']
    assert sta['coarse'].nets == ('A', 'S', 'STA') and sta['coarse'].start_from.STA.to_dict() == {'encoder': 'S', 'audio_encoder': 'A'}
    assert sta['coarse'].epochs.STA == configs['coarse'].epochs.ST and sta['pseudo_gt/coarse'].sources == ('STA',)
    assert all(set(of.nets) <= set(of.epochs) for of in (sta['coarse'], crops))
    assert crops.nets == ('STA',) and crops.start_from.STA == str(root / 'coarse_STA' / 'coarse' / 'STA')
    for of, (stage, cut) in {'coarse_cut': ('coarse', 3), 'fine_uncut': ('fine', 0), 'S_short_uncut': ('plus', 0), 'plus_uncut': ('plus', 0)
                             }.items():
        assert chain(of)[f'pseudo_gt/{stage}'].cut == cut == 3 - configs[f'pseudo_gt/{stage}'].cut
    assert chain('ST_cross')['pseudo_gt/plus'].plus_sources == ('ST_cross',)
    assert chain('m5')['pseudo_gt/plus_nets'].blender.steps == 5 and chain('n4')['pseudo_gt/plus_nets'].fragments == 4
    assert chain('refine_0.9_0.6')['pseudo_gt/plus_nets'].blender.threshold == 0.9 and chain('gru')['pseudo_gt/plus'].sources == ()
    added = chain('sound_add')
    assert added['coarse'].sa_fuse == added['pseudo_gt/plus_nets'].sa_fuse == 'add'
    assert added['pseudo_gt/plus_nets'].start_from.SA_long.encoder == str(root / 'sound_add' / 'coarse' / 'SA')
    for of in VARIANTS.values():  # what a variant takes from the pipeline has learned from nothing that it changes: no ear, no boxes
        for stage, nets in of.shared.items():
            assert 'boxes' not in STAGES[stage].reads and not {parse_net(net).source for net in nets} & {'SA', 'STA'}
    for variant, stage, every in (('coarse_S', 'pseudo_gt/coarse', 1), ('fine_S', 'pseudo_gt/fine', 4), ('fine_STA', 'pseudo_gt/fine', 4),
                                  ('no_refine', 'pseudo_gt/plus', 4), ('no_switch', 'pseudo_gt/coarse', 1)):
        assert plan_variant(configs, variant, variant_folders(variant, folders, root), every=4)[stage].every == every
    assert [maps_stage(variant) for variant in ('fine', 'fine_S', 'no_sources')] == ['pseudo_gt/fine', 'pseudo_gt/fine', 'pseudo_gt/plus']


@pytest.mark.parametrize('variant', sorted(VARIANTS.keys() - TABLE1.keys()))
def test_a_variant_makes_its_nets(configs, variant, tmp_path):
    folders = {stage: tmp_path / stage for stage in STAGES}
    for folder in folders.values():
        folder.mkdir(parents=True)
    for config in plan_variant(configs, variant, folders).values():
        for net in {'STA', 'SA', 'SA_long'} & set(config.nets if config.task == 'classifiers' else ()):
            classifiers.check(config)
            config.data.side, config.width = 32, 8
            model, given = make_classifier(config, net, 8), net_inputs(example_batch(config, net, 8, 2), config.encoder.name)
            (logits, _), variables = jax.eval_shape(lambda key, of=model, given=given: of.init_with_output(key, **given), jax.random.key(0))
            assert logits.shape == (2, 8)
            begun = config.start_from[net]
            assert isinstance(begun, str) or set(begun) <= set(variables['params'])  # parts that the net has


@pytest.mark.parametrize('stages', [('plus',), ('coarse', 'plus')])
def test_what_a_stage_reads_is_missed_before_anything_is_made(stages, tmp_path):
    config = pseudo_gt.get_config()
    config.stages, config.coarse_nets, config.switch = stages, str(tmp_path / 'nets'), str(tmp_path / 'switch')
    for folder in (config.coarse_nets, config.switch):
        pathlib.Path(folder).mkdir()
    with pytest.raises(InputError, match='fine_nets: no such folder; pseudo_gt/plus reads it, so make pseudo_gt/fine_nets first'):
        run.run_pseudo_gt(config, tmp_path / 'run')
    assert [path.name for path in (tmp_path / 'run').iterdir()] == ['config.json']
