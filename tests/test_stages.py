"""The stages after the coarse classifiers, one after the other as a user runs them, on a tiny SynthAVE."""
import json
import shutil
import sys

import PIL.Image

from stanet_jax import switch
from tests.test_scripts import SMALL, command, losses, run, world  # noqa: F401, a fixture


def test_from_coarse_nets_to_a_prediction(world, tmp_path):  # noqa: F811
    """Every stage after the coarse nets: the switch, pseudo-fixations, the student, its scores, a film's maps."""
    coarse, ear, pseudo, student = (tmp_path / name for name in ('coarse', 'switch', 'pseudo', 'student'))

    def does(script, config, workdir, *more):
        done = run([sys.executable, script, f'--config=configs/{config}.py', f'--config.data.root={world}', '--config.data.side=48',
                    f'--workdir={workdir}', *more])
        assert done.returncode == 0, done.stderr
        return done.stdout
    assert run(command(world, coarse, ['A', 'S', 'SA', 'ST'], 1)).returncode == 0
    parts = {'encoder': 'SA', 'audio_encoder': 'SA', 'audio_map': 'SA'}
    said = does('train.py', 'audio_switch', ear, *SMALL, '--config.epochs.A=0.1', '--config.epochs.switch=0.1',
                *(f'--config.start_from.switch.{part}={coarse / net}' for part, net in parts.items()))
    assert 'audio switch on test' in said and 'labels are right' in said
    labels = [json.loads(line) for line in (ear / 'labels.jsonl').read_text().splitlines()]
    assert len(labels) == 24 and all(len(line['labels']) == 16 for line in labels)

    fine = [flag.replace('--config.', '--config.fine.') for flag in SMALL if 'data.' not in flag]
    arguments = ['distill.py', 'pseudo_gt', pseudo, f'--config.coarse={coarse}', f'--config.switch={ear}', *fine,
                 '--config.data.frames_per_clip=4', *(f'--config.fine.epochs.{net}=0.1' for net in ('S', 'SA', 'ST'))]
    assert 'maps made' in does(*arguments)
    for stage in ('coarse', 'fine'):
        for split, count in (('train', 12), ('validation', 6), ('test', 6)):
            lines = [json.loads(line) for line in (pseudo / stage / split / 'manifest.jsonl').read_text().splitlines()]
            assert len({(line['clip'], line['frame']) for line in lines}) == len(lines) == count * 16
            for line in lines:
                path = pseudo / stage / split / line['clip'] / 'maps' / f'eyeMap_{line["frame"]:05d}.png'
                with PIL.Image.open(path) as image:
                    assert image.mode == 'L' and image.size == (48, 48)
                    assert (image.getextrema() == (0, 0)) or not line['empty']
                y0, x0, y1, x1 = line['box']
                assert 0 <= y0 < y1 <= 1 and 0 <= x0 < x1 <= 1 and min(y1 - y0, x1 - x0) >= 1 / 8
                assert line['empty'] == all(source['weight'] == 0 for source in line['sources'].values())
    before = {p: p.read_bytes() for p in (pseudo / 'fine').glob('*/*/maps/*.png')}
    gone = sorted((pseudo / 'fine' / 'train').glob('*/maps'))[3].parent
    shutil.rmtree(gone)  # as if a kill had come before it was written
    does(*arguments)
    assert {p: p.read_bytes() for p in (pseudo / 'fine').glob('*/*/maps/*.png')} == before

    parts = {'encoder': 'ST', 'time_map': 'ST', 'audio_encoder': 'SA', 'audio_map': 'SA'}
    does('distill.py', 'sta', student, *SMALL, f'--config.maps={pseudo / "fine"}', f'--config.switch={ear}', '--config.epochs.STA=0.1',
         *(f'--config.start_from.STA.{part}={coarse / net}' for part, net in parts.items()))
    assert len(losses(student, 'STA')) == 1 and (student / 'maps.png').exists() and (student / 'switch' / 'variables').is_dir()
    for what in (f'--maps={pseudo / "fine" / "test"}', f'--checkpoint={student}'):
        done = run([sys.executable, 'evaluate.py', what, f'--data={world}', '--protocol=stavis', f'--out={tmp_path / "scores.json"}'])
        assert done.returncode == 0 and 'CC' in done.stdout, done.stderr
    video = next((world / 'AVE_Dataset' / 'AVE').glob('*.mp4'))
    done = run([sys.executable, 'predict.py', f'--video={video}', f'--checkpoint={student}', f'--out={tmp_path / "predictions"}'])
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / 'predictions').glob('*/maps/eyeMap_*.png'))) == 16


def test_folds_share_out_every_tag_and_keep_a_video_whole():
    class Clips:
        clips = [{'id': f'{i % 90}', 'tag': i % 90 % 8} for i in range(100)]  # as AVE has ids in two lines
    folds = switch.folds(Clips(), seed=3)
    assert folds == switch.folds(Clips(), seed=3) != switch.folds(Clips(), seed=4)
    assert folds[:10] == folds[90:]
    for tag in range(8):
        of = [fold for fold, clip in zip(folds[:90], Clips.clips, strict=False) if clip['tag'] == tag]
        assert abs(of.count(0) - of.count(1)) <= 1
