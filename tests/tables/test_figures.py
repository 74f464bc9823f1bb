"""The papers' figures: each is printed in the paper, and every row of every table has its own."""
import csv
import importlib
import pathlib
import re

import pytest

from stanet_jax.evaluation.tables import papers_table
from stanet_jax.tables import PAPERS
from stanet_jax.tables.paper import Masks, Unknown, read_figures
from stanet_jax.tables.show import find_table
from stanet_jax.tables.tpami import paper_figures

PRINTED = pathlib.Path(__file__).parents[3] / 'shared' / 'papers'
TEXTS = {'cvpr': ['stanet_cvpr2021.txt'], 'tpami': ['stanet_plus_tpami_en.txt', 'stanet_plus_tpami_zh.txt'], 'eps': ['eps_cvpr2021_zh.txt']}
EVERY = [(paper, number) for paper, numbers in PAPERS.items() for number in numbers]
DATA = pathlib.Path(__file__).parents[2] / 'stanet_jax' / 'tables'


def lines_of(path):
    return list(csv.DictReader(line for line in path.read_text().splitlines() if not line.startswith('#')))


@pytest.mark.skipif(not PRINTED.exists(), reason='the papers are not here')
@pytest.mark.parametrize('paper', PAPERS)
def test_figures_are_printed_side_by_side(paper):
    """A row's figures follow each other in the text, in our order of columns; those of EPS are there."""
    text = ' '.join((PRINTED / name).read_text() for name in TEXTS[paper])
    numbers = ' ' + ' '.join(re.findall(r'(?<![\d.])\d*\.\d+', text)) + ' '
    numbers = re.sub(r' \.', ' 0.', numbers)
    for row in lines_of(DATA / f'{paper}.csv'):
        figures = [row['figure']] if paper == 'eps' else [row[column] for column in ('auc_judd', 'sim', 'shuffled_auc', 'cc', 'nss')]
        assert f' {" ".join(filter(None, figures))} ' in numbers, row


@pytest.mark.parametrize('paper, number', EVERY)
def test_every_row_of_the_paper_is_a_row(paper, number):
    table, figures = find_table(paper, number), read_figures(paper)
    names = [row.name for row in table.rows]
    assert len(set(names)) == len(names)  # rows are found by their names
    # Rows that split a figure of the paper, or stand beside one of it, have it as it is.
    printed = {key: of for (n, key), of in figures.items() if n == number}
    shown = [figures for row in table.rows for figures in row.paper.values()]
    for key, sets in printed.items():
        for expected in sets.values():
            found = {column: value for of in shown for column, value in of.items() if expected.get(column) == value}
            assert found == expected, (paper, number, key)
    for row in table.rows:
        assert set(row.paper) <= {'VOC'} if paper == 'eps' else not isinstance(row.ours, Masks)
        assert not isinstance(row.ours, Unknown) or row.ours.why
    assert (paper, number) == ('tpami', 9) or any(row.paper for row in table.rows)


def test_order_and_lengths():
    assert [row.name.split(',')[0] for row in find_table('tpami', 1).rows] == [str(line) for line in range(1, 26)]
    seven = [row.name for row in find_table('tpami', 7).rows if row.paper]
    assert [name for name in seven if name != 'STANet+ on VGGSound'] == list(papers_table()['AVAD']) and len(seven) == 29
    four = 'ITTI GBVS SCLI SBF AWS-D GradCAMpp VUNP WSS MWS WSSA STANet DeepNet SalGAN DeepVS ACLNet'
    assert [row.name for row in find_table('cvpr', 4).rows if row.paper] == four.split()
    assert paper_figures(6, 'final') == {'auc_judd': .887, 'cc': .490, 'nss': 2.318}
    assert find_table('tpami', 4).rows[-1].paper['Coutrot_db2'] == {'auc_judd': .858, 'cc': .371, 'nss': 2.105}


def test_cvpr_and_tpami_agree_but_for_one_figure():
    cvpr, tpami = read_figures('cvpr'), papers_table()
    other = [(key, name, column) for (number, key), of in cvpr.items() if number == 4 for name, figures in of.items()
             for column, value in figures.items() if tpami[name][key][column] != value]
    assert other == [('DeepNet', 'Coutrot_db1', 'cc')]


def test_modules_are_named_by_their_papers():
    for paper, numbers in PAPERS.items():
        assert tuple(importlib.import_module(f'stanet_jax.tables.{paper}').TABLES) == numbers
