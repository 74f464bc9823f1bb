"""The tables of EPS (CVPR 2021)."""
from collections.abc import Mapping

from stanet_jax.data import synthave
from stanet_jax.tables.paper import Masks, Ours, Row, Table, Unknown, read_figures

FIGURES = {key: {'VOC': figures['']} for key, figures in read_figures('eps').items()}
OTHER = Unknown('a method of its own authors; not built here')
BASELINE = Unknown('the text does not say what the baseline without a selection of maps learns from; `none` of ours, tags alone, is CAM')
MEAN = {'mIoU': ('mean_iou',)}
EDGES = {'recall': ('boundary', 'recall'), 'precision': ('boundary', 'precision'), 'F1': ('boundary', 'f1')}
# Of the classes that come with a background of their own: SynthVOC's first, and of VOC's the boat.
CONFUSED = {f'{prefix}{name}': (key, of) for prefix, of in (('', synthave.category_name(0)), ('boat and water: ', 'boat'))
            for name, key in (('m', 'confusion'), ('IoU', 'iou'))}
ONE_SET = ('On SynthVOC boundaries are those of the true masks, on VOC those of SBD, where `SBD/cls` has them: of VOC\'s train, where '
           'the paper\'s are of SBD\'s trainval.')
SMALL = 'The DeepLab of SynthVOC has a tiny encoder; it stands in the last row.'


def _masks(selection: str, values: Mapping[str, tuple[str, ...]]) -> Masks:
    return Masks(selection, 'train', values, 'eps:voc12')


def _others(number: int, ours: dict[str, Ours]) -> tuple[Row, ...]:
    """All rows of a table, those that `ours` names with what it gives, the others as other authors'."""
    return tuple(Row(key, FIGURES[of, key], ours.get(key, OTHER)) for of, key in FIGURES if of == number)


def _deeplab(number: int, title: str, encoder: str, splits: tuple[str, ...] = ('val', 'test'), recipe: str = '') -> Table:
    rows: list[Row] = []
    for row in _others(number, {}):
        version = row.name.removeprefix('EPS ')
        if row.name == f'EPS {version}':
            config = recipe or f'deeplab:{version.lower()}_{encoder}'
            rows += [Row(f'{row.name}, {split}', {'VOC': {split: row.paper['VOC'][split]}},
                         Masks(config.replace(':', '_'), split, {split: ('mean_iou',)}, config)) for split in splits]
        else:
            rows.append(row)
    rows.append(Row('DeepLab of SynthVOC, on the masks of EPS', {}, Masks('adaptive/deeplab', 'val', {'val': ('mean_iou',)}, 'deeplab')))
    return Table(title, {split: f'mIoU, {split}' for split in splits}, tuple(rows), (SMALL,))


TABLES = {
    1: Table('Boundaries of the pseudo-masks', {column: column for column in EDGES},
             _others(1, {'CAM': _masks('none', EDGES), 'EPS': _masks('adaptive', EDGES)}), (ONE_SET,)),
    2: Table('What comes with a class, taken for it', {
        **{column: column for column in CONFUSED}, **{column: column for column in FIGURES[2, 'CAM']['VOC']}},
        _others(2, {'CAM': _masks('none', CONFUSED), 'EPS': _masks('adaptive', CONFUSED)}), (
            'm is a ratio, lower is better. Columns m and IoU are of SynthVOC\'s one pair, its first class and the background that goes '
            'with it (`Context`); the paper\'s pairs are of PASCAL-Context, of which a train\'s two are not told apart here.',)),
    3: Table('Selection of the maps', {'mIoU': 'mIoU'}, _others(3, {
        'baseline': BASELINE, **{key: _masks(key, MEAN) for key in ('naive', 'predefined', 'adaptive')}})),
    4: Table('Pseudo-masks of the training images', {'mIoU': 'mIoU', 'with CRF': 'with CRF', 'with AffinityNet': 'with AffinityNet'},
             _others(4, {'CAM': _masks('none', MEAN), 'EPS': _masks('adaptive', MEAN)}), (
                 'Ours are as they are; a dense CRF refines those of a run with `--config.masks.crf=scores`. AffinityNet is not here.',)),
    5: _deeplab(5, 'Segmentation of PASCAL VOC 2012, on VGG-16', 'vgg16'),
    6: _deeplab(6, 'Segmentation of PASCAL VOC 2012, on ResNet-101', 'resnet101'),
    7: _deeplab(7, 'Segmentation of COCO 2014, on VGG-16', 'vgg16', ('val',), 'deeplab:coco')}
