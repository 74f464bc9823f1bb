"""What docs/method.md names exists, what it gives as constants is what the code has, and no constant differs between recipes in silence."""
import ast
import functools
import importlib
import inspect
import itertools
import math
import pathlib
import re

import pytest

from stanet_jax.configs import choose
from stanet_jax.pipeline import table, variants

ROOT = pathlib.Path(__file__).parents[1]
PAGE = (ROOT / 'docs' / 'method.md').read_text()
REFERENCES = dict(re.findall(r'^\[([\w-]+)\]: (\S+)$', PAGE, re.M))
LINKS = sorted(set(re.findall(r'\[`([^`]+)`\]\[([\w-]+)\]', PAGE)))
FIELDS = sorted(set(re.findall(r'`config\.([^`]+)`', PAGE)))
RECIPES = ('synthave', 'real', 'paper', 'cvpr', 'release')  # of STANet, as the columns of the table of constants
RECIPES_OF = {**dict.fromkeys(('scam_coarse', 'scam_fine', 'scam_plus', 'audio_switch', 'sta', 'sta_plus', 'pseudo_gt'), RECIPES),
              'eps': ('synthvoc', 'voc12', 'coco'), 'deeplab': ('synthvoc', 'v1_vgg16', 'v2_vgg16', 'v1_resnet101', 'v2_resnet101', 'coco')}
# Which stages, folders, sets and files, how often something is written: no constants of the method.
NO_CONSTANTS = re.compile(r'(.*\.)?(recipe|stages|coarse_nets|fine_nets|plus_nets|nets|switch|boxes|maps|start_from|name|root|workers|'
                          r'weights|evaluate_every|save_every|log_every|held_out|masks.batch|masks.canvas|masks.splits|pseudo_masks)(\..*)?')


def section(title):
    """The page's section of this title, without its subsections."""
    return re.search(rf'^#+ {re.escape(title)}.*?$\n(.*?)(?=^#)', PAGE, re.M | re.S)[1]


def rows(title):
    """The rows of the table in a section, as lists of cells, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith('|')]
    return [[cell.strip() for cell in line.strip().strip('|').split('|')] for line in lines[2:]]


@functools.cache
def names_in(path):
    """The names that a module defines at its top, and those in its classes, as Class.name."""
    def of(nodes, prefix=''):
        for node in nodes:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                yield prefix + node.name
                if isinstance(node, ast.ClassDef):
                    yield from of(node.body, f'{node.name}.')
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                yield from (prefix + name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))
            elif isinstance(node, ast.ImportFrom):
                yield from (prefix + (name.asname or name.name) for name in node.names)
    return set(of(ast.parse(path.read_text()).body))


def module_of(reference):
    return (ROOT / 'docs' / REFERENCES[reference]).resolve()


@functools.cache
def config_of(name, recipe):
    """A config by the name of its file, or None where it has no such recipe."""
    module = importlib.import_module(f'stanet_jax.configs.{name}')
    try:
        return module.get_config(recipe) if recipe else module.get_config()
    except ValueError:
        return None


ABSENT = object()


def value_of(name, path, recipe):
    """A field of a config, ABSENT where the recipe or the field is none."""
    found = config_of(name, recipe)
    for part in path.split('.'):
        if found is None or not hasattr(found, 'keys') or part not in found:
            return ABSENT
        found = found[part]
    return found


def expand(field):
    """The fields {config: [path]} of `sta.learning_rate.{STA,...}` or `scam_plus.epochs.*`, where * is all nets of the config."""
    name, _, path = field.partition('.')
    last = path.rpartition('.')[2]
    if last == '*':
        choices = config_of(name, '').nets
    else:
        choices = last.strip('{}').split(',')
    return name, [path.removesuffix(last) + choice for choice in choices]


def literal(cell):
    """What a cell of a table of constants says: a number, a fraction, a tuple, a word, True or False; a dash for what there is not."""
    if cell == '-':
        return ABSENT
    if re.fullmatch(r'(\d+\*)?\d+/\d+', cell):
        above, below = cell.split('/')
        return math.prod(map(int, above.split('*'))) / int(below)
    try:
        return ast.literal_eval(cell)
    except (ValueError, SyntaxError):
        return cell


@pytest.mark.parametrize('name, reference', LINKS)
def test_a_name_is_in_the_file_that_it_links_to(name, reference):
    path = module_of(reference)
    module, _, rest = name.partition('.')
    assert module == (path.parent.name if path.stem == '__init__' else path.stem), f'{name} is linked to {path}'
    assert rest in names_in(path), f'{path} has no {rest}'


def test_every_link_leads_somewhere():
    assert {reference for _, reference in LINKS} == set(REFERENCES)
    for target in [*REFERENCES.values(), *re.findall(r'\]\(([^)#]+)\)', PAGE)]:
        assert (ROOT / 'docs' / target).exists(), target


def test_a_name_of_code_is_a_link_and_a_file_exists():
    for token in set(re.findall(r'(?<!\[)`([^`]+)`', PAGE)):
        if token.endswith('.py'):
            assert (ROOT / token).exists(), token
        code = re.fullmatch(r'[a-z_0-9]+(\.[A-Za-z_]\w*)+', token) and not token.endswith(('.txt', '.csv'))
        assert not code or token.startswith('config.'), f'{token} is no link'


@pytest.mark.parametrize('field', FIELDS)
def test_a_field_exists(field):
    name, paths = expand(field)
    for path in paths:
        assert any(value_of(name, path, recipe) is not ABSENT for recipe in RECIPES_OF[name]), f'config.{name} has no {path} in any recipe'


def test_recipes_and_commands_exist():
    assert {'synthave', *re.findall(r'`:([a-z]\w*)`', section('Recipes'))} == set(RECIPES)
    for name in ('eps', 'deeplab'):
        named = re.findall(r'`:(\w+)`', re.search(rf'([^;.]*) of `configs/{name}.py`', section('EPS'))[1])
        assert ('synthvoc', *sorted(named)) == ('synthvoc', *sorted(RECIPES_OF[name][1:]))
    for name, recipes in RECIPES_OF.items():
        assert all(config_of(name, recipe) for recipe in recipes if (name, recipe) not in (('scam_plus', 'cvpr'), ('sta_plus', 'cvpr')))


def test_stages_are_those_of_the_pipeline():
    assert [row[0].strip('`') for row in rows('The stages in order')] == list(table.STAGES)


def test_lines_are_those_of_table_1():
    named = {int(line): variant for line, variant in re.findall(r'(\d+) `(\w+)`', section("The papers' tables"))}
    assert named == {variant.line: name for name, variant in variants.TABLE1.items()} and len(named) == 25


CONSTANTS = [row for title in ('Constants by recipe', 'Constants of EPS', 'Constants of DeepLab') for row in rows(title)]


@pytest.mark.parametrize('row', CONSTANTS, ids=lambda row: row[1])
def test_constants_by_recipe(row):
    for name, paths in map(expand, re.findall(r'`config\.([^`]+)`', row[1])):
        recipes = RECIPES_OF[name]
        assert len(row) == len(recipes) + (2 if name == 'deeplab' else 3)  # the papers do not say DeepLab's
        for path, (recipe, cell) in itertools.product(paths, zip(recipes, row[-len(recipes):], strict=True)):
            found, said = value_of(name, path, recipe), literal(cell)
            assert found == said or str(found) == said, f'config.{name}.{path} of {recipe} is {found!r}, the page has {cell}'


def flat(config, path=''):
    for key, value in config.items():
        if hasattr(value, 'items'):
            yield from flat(value, f'{path}{key}.')
        else:
            yield path + key


def own(name, path):
    """A field's path in its stage: those of pseudo_gt are in a config for each kind of maps."""
    return path.partition('.')[2] if name == 'pseudo_gt' and not path.startswith('data.') else path


def test_no_constant_differs_in_silence():
    named = {(name, path) for field in FIELDS for name, paths in [expand(field)] for path in paths}
    every = {(name, path) for name, recipes in RECIPES_OF.items() for recipe in recipes for path in flat(config_of(name, recipe) or {})}
    values = {at: [value_of(*at, recipe) for recipe in RECIPES_OF[at[0]]] for at in every}
    silent = []
    for at, found in sorted(values.items()):
        differs = len({str(x) for x in found if x is not ABSENT}) > 1
        alike = [of for of in named & values.keys() if own(*of) == own(*at) and RECIPES_OF[of[0]] == RECIPES_OF[at[0]]]
        same = [of for of in alike if all(  # as in another stage, whose field the page names
            ABSENT in (x, y) or x == y for x, y in zip(found, values[of], strict=True))]
        if differs and not NO_CONSTANTS.fullmatch(at[1]) and at not in named and not same:
            silent.append(f'config.{".".join(at)}: {found}')
    assert not silent, '\n'.join(silent)


@pytest.mark.parametrize('row', rows('Constants that no recipe changes'), ids=lambda row: row[1])
def test_constants_of_the_code(row):
    name, reference = re.fullmatch(r'\[`([^`]+)`\]\[([\w-]+)\]', row[1]).groups()
    path = module_of(reference).relative_to(ROOT).with_suffix('')
    found = getattr(importlib.import_module('.'.join(path.parts)), name.partition('.')[2])
    if row[2]:
        parameter = row[2].strip('`')
        found = getattr(found, parameter) if inspect.isclass(found) else inspect.signature(found).parameters[parameter].default
    assert found == literal(row[3])


def test_the_checks_can_fail():
    with pytest.raises(ValueError, match='no such recipe'):
        choose({'paper': None}, 'papers')
    assert value_of('sta', 'learning_rate.S', 'paper') is ABSENT and value_of('sta', 'learning_rate.STA', 'paper') == literal('5e-5')
    assert 'soft_filters' not in names_in(ROOT / 'stanet_jax' / 'scam.py') and 'soft_filter' in names_in(ROOT / 'stanet_jax' / 'scam.py')
