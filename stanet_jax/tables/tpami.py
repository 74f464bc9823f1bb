"""The tables of TPAMI, English and Chinese text."""
from collections.abc import Sequence

from stanet_jax.evaluation.tables import COLUMNS, PAPER_METRICS, papers_table
from stanet_jax.pipeline.variants import TABLE1
from stanet_jax.tables.operations import operation_table
from stanet_jax.tables.paper import Figures, Line, Method, Ours, Reference, Row, Student, Table, Unknown, read_figures

FIGURES = read_figures('tpami')
METRICS = {metric: COLUMNS[metric] for metric in PAPER_METRICS}
THREE = {metric: COLUMNS[metric] for metric in ('auc_judd', 'cc', 'nss')}  # of the tables on six sets
LEVELS = (0.0, 0.3, 0.5, 0.7)  # of Table 8

AWS_D = Unknown('its authors give protected MATLAB code on request; there is no public source')
SCLI = Unknown('a model of its own authors, whose text does not determine an implementation; not built here')
TRAINED = Unknown('a trained net of its own authors; not built here')
SUPERVISED = Unknown('a net of its own authors, trained on gaze; not built here')

# What of the others' methods in Table 7 (CVPR Table 4) is here; Eigen-Grad-CAM has no paper of its own.
OTHERS: dict[str, Ours] = {
    'ITTI': Method('itti'), 'GBVS': Method('gbvs'), 'SCLI': SCLI, 'SBF': TRAINED, 'AWS-D': AWS_D, 'CAM': Method('cam'),
    'GradCAM': Method('grad_cam'), 'GradCAMpp': Method('grad_cam_pp'), 'SGradCAMpp': Method('smooth_grad_cam_pp'),
    'xGradCAM': Method('xgrad_cam'), 'SSCAM': Method('ss_cam'), 'ScoCAM': Method('score_cam'), 'LCAM': Method('layer_cam'),
    'ISCAM': Method('is_cam'), 'ACAM': Method('ablation_cam'), 'EGradCAM': Method('eigen_grad_cam'), 'ECAM': Method('eigen_cam'),
    'SPG': TRAINED, 'VUNP': TRAINED, 'WSS': TRAINED, 'MWS': TRAINED, 'WSSA': TRAINED, 'STANet': Student('STA'),
    'STANet+': Student('final'), 'DeepNet': SUPERVISED, 'SalGAN': SUPERVISED, 'DeepVS': SUPERVISED, 'ACLNet': SUPERVISED}
VGGSOUND = Unknown('VGGSound, 200,000 clips, could not be had here; with it `stanet run --config=stanet:vggsound`')
# Without these a table of class activation maps says nothing.
CENTRE = Row('Gaussian at the centre', {}, Reference('centre_prior'))
BESIDE = (Row('spectral residual', {}, Method('spectral_residual')), Row('feature sum of S', {}, Method('feature_sum')), CENTRE,
          Row('mean map of the training set', {}, Reference('mean_map')), Row('half of the observers', {}, Reference('ceiling')))
LINE_24 = (
    'Each row is a whole chain, line 24 of Table 1 with what is named changed: its nets, its maps, and a student that is trained on these '
    'maps and knows no tag, which is what is scored. Where nothing is changed, the paper\'s figures are those of line 24, too.')
CAM_STA = 'CAM of STA is of one classifier of all three sources. Each row is a whole chain with a student of its own, which is scored.'
S_NOTE = ('Class activation maps are of C5 of the run\'s S, of the class that it predicts. Behind S\'s global average CAM, Grad-CAM and '
          'XGrad-CAM are the same up to negative values, and Smooth Grad-CAM++ is Grad-CAM++ whatever its noise.')


def _row(number: int, key: str, ours: Ours, name: str = '') -> Row:
    return Row(name or key, FIGURES[number, key], ours)


def _lines() -> Table:
    rows = tuple(_row(1, str(of.line), Line(variant), f'{of.line}, {of.name}') for variant, of in TABLE1.items())
    return Table('What each component adds', METRICS, rows, (
        'Each line is a whole chain: nets, boxes, maps, and a student that is trained on these maps and knows no tag, which is what is '
        'scored. The paper\'s line 25 is its fusion of three students; here each line has one, an STA.',))


def _varied(number: int, rows: Sequence[tuple[str, str, str]]) -> tuple[Row, ...]:
    """The rows of variants of line 24 of Table 1 and of that line itself, as (key of the paper's figures, name, variant)."""
    return tuple(_row(number, key, Line(variant), name) for key, name, variant in rows)


def _reasoning() -> Table:
    rows = [('none', 'without reasoning', 'no_reasoning'),
            *((f'm{m}', f'm = {m}', 'no_sources' if m == 3 else f'm{m}') for m in (2, 3, 4, 5)),
            *((f'n{n}', f'n = {n}', 'no_sources' if n == 2 else f'n{n}') for n in (1, 2, 3, 4)),
            ('rnn', 'RNN', 'rnn'), ('rnn', 'GRU', 'gru'),
            *((name, f'Transformer {name}', f'transformer_{name}') for name in 'ABCD'),
            *((f'{n} blocks', f'Transformer B, {n} blocks', f'transformer_B{n}' if n != 3 else 'transformer_B') for n in (2, 3, 4, 5))]
    return Table('Steps of reasoning, fragments, and other nets in C-GCN\'s place', METRICS, _varied(5, rows), (
        LINE_24, 'The paper has one row of what it calls RNNs, which stands beside both of ours. What the Transformers A to D of '
        'its Fig. 13 are the text does not tell: C is A with several heads, D is B with several; '
        '`models/blenders.py` says how they are read here.'), operation_table)


def _comparison() -> Table:
    published = papers_table()
    rows = [Row(name, {of: figures[name] for of, figures in published.items()}, ours) for name, ours in OTHERS.items()]
    rows.insert([row.name for row in rows].index('DeepNet'), _row(7, 'STANet+ on VGGSound', VGGSOUND))
    return Table('Comparison with other methods', METRICS, (*rows, *BESIDE), (S_NOTE, (
        'In the Chinese text ITTI has GBVS\'s figures on ETMD and both Coutrot sets; those of the English one are given. Grad-CAM++ on '
        'ETMD is printed in another order of columns.')))


def _thresholds() -> Table:
    ours = {'WSSA': None, 'MWS': None, 'WSS': None, 'ScoCAM': 'score_cam', 'LCAM': 'layer_cam', 'SGradCAMpp': 'smooth_grad_cam_pp'}
    rows = (_row(8, f'{name} at {level:g}', Method(method, level) if method else TRAINED) for name, method in ours.items()
            for level in LEVELS)
    sums = (Row(f'feature sum of S at {level:g}', {}, Method('feature_sum', level)) for level in LEVELS)
    return Table('What is below a threshold set to 0', THREE, (*rows, *sums, CENTRE), (S_NOTE,))


def _own_videos() -> Table:
    why = Unknown('the text gives none of the table\'s figures and none of the tags of its 168 clips; with tags of your own: '
                  '`stanet data tagged`, then `stanet run --config=stanet:own_videos`')
    names = 'STANet+', 'ACLNet', 'SalGAN', 'DeepNet'
    rows = tuple(Row(name, {}, why if name == 'STANet+' else SUPERVISED) for name in names)
    return Table('All trained on 168 clips of the six fixation sets', METRICS, rows)


def _six_sets() -> Table:
    names = {'STA': 'STA', 'STA_short': 'STA+ short', 'STA_long': 'STA+ long', 'product': 'PF_agg, product (Eq. 23)',
             'final': 'PF_final (Eq. 21)'}
    return Table('Fusions of the students', THREE, tuple(_row(6, key, Student(key), name) for key, name in names.items()))


def paper_figures(number: int, key: str) -> Figures:
    """What the paper has on AVAD in a row of a table, {metric: figure}; KeyError where there is no such row."""
    return FIGURES[number, key]['AVAD']


REFINEMENTS = (('none', 'without FRL', 'no_refine'), *(
    (f'{td}_{tr}', f'Td {td}, Tr {tr}', 'no_sources' if (td, tr) == (0.8, 0.6) else f'refine_{td}_{tr}')
    for td, tr in ((0.8, 0.4), (0.8, 0.8), (0.9, 0.6), (0.7, 0.6), (0.8, 0.6))))
TABLES = {
    1: _lines(),
    2: Table('CAM of STA and SCAM', METRICS, (
        _row(2, 'coarse CAM_sta', Line('coarse_STA')), _row(2, 'coarse SCAM', Line('coarse')),
        _row(2, 'fine CAM_sta', Line('fine_STA')), _row(2, 'fine SCAM', Line('fine'))), (CAM_STA,)),
    3: Table('How SA takes in sound', METRICS, _varied(3, (
        ('add', 'addition', 'sound_add'), ('multiply', 'multiplication', 'sound_multiply'),
        ('concatenate', 'concatenation', 'sound_concatenate'), ('bilinear', 'bilinear', 'sound_bilinear'),
        ('gate', 'SA fuse', 'no_sources'))), (LINE_24,)),
    4: Table('Thresholds of the fixation refine layer', METRICS, _varied(4, REFINEMENTS), (LINE_24,)),
    5: _reasoning(), 6: _six_sets(), 7: _comparison(), 8: _thresholds(), 9: _own_videos()}
