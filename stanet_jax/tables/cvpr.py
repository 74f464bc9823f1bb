"""The tables of CVPR 2021."""
from stanet_jax.tables.paper import Line, Ours, Row, Table, read_figures
from stanet_jax.tables.tpami import BESIDE, CAM_STA, METRICS, OTHERS, S_NOTE

FIGURES = read_figures('cvpr')
SWAPPED = ('The paper gives ST the figures that TPAMI Table 1 gives SA, and SA those of ST; ours are of the net that is named.')


def _table(number: int, title: str, ours: dict[str, Ours], *notes: str, beside: tuple[Row, ...] = ()) -> Table:
    rows = tuple(Row(key, FIGURES[number, key], of) for key, of in ours.items())
    return Table(title, METRICS, (*rows, *beside), notes)


STAGES: dict[str, Ours] = {
    f'{stage} {name}': Line(f'{stage}_{net}') if net else Line(stage) for stage in ('coarse', 'fine')
    for name, net in (('CAM_S', 'S'), ('CAM_ST', 'ST'), ('CAM_SA', 'SA'), ('CAM_STA', 'STA'), ('SCAM', ''))}
TABLES = {
    1: _table(1, 'Selective fusion', {'coarse average': Line('coarse_average'), 'coarse selective': Line('coarse'),
                                      'fine average': Line('fine_average'), 'fine selective': Line('fine')}),
    2: _table(2, 'Sources and stages', STAGES, SWAPPED, CAM_STA),
    3: _table(3, 'The audio switch', {'without': Line('no_switch'), 'with': Line('fine')}),
    4: _table(4, 'Comparison with other methods', {key: OTHERS[key] for number, key in FIGURES if number == 4}, S_NOTE, (
        'TPAMI Table 7 has the same figures but one: the CC of DeepNet on Coutrot 1 is .340 here, .346 there.'), beside=BESIDE)}
