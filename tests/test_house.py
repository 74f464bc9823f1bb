"""The structure of the package: imports run one way, no function below the stages takes a config, no file grows past a page or seven."""
import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / 'stanet_jax'
# A wing imports itself and those before it.
ORDER = ('', 'arrays', 'cache', 'compilation', 'configs', 'scam', 'contrast', 'losses', 'scratch', 'workdir', 'workers', 'media', 'models',
         'weights', 'data', 'training', 'stages', 'baselines', 'eps', 'inference', 'evaluation', 'pipeline', 'tables', 'cli', 'commands')
BELOW_STAGES = ('arrays', 'scam', 'contrast', 'losses', 'media', 'models', 'weights', 'data')
GENERATORS = ('data/synthave.py', 'data/synthvoc.py')


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


FILES = {name_of(path): path for path in sorted(PACKAGE.rglob('*.py'))}


def wing_of(module):
    parts = module.split('.')
    return 'commands' if parts[-1] == '__main__' else parts[1] if len(parts) > 1 else ''


def is_program(node):
    """`if __name__ == '__main__'`: a file that is run is a door, whatever wing it is in."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Compare) and getattr(node.test.left, 'id', '') == '__name__'


def imported(path):
    """The package's modules that a file imports, at its top or in functions; of `from stanet_jax import InputError` the package."""
    tree, found = ast.parse(path.read_text()), set()
    tree.body = [node for node in tree.body if not is_program(node)]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or '').split('.')[0] == 'stanet_jax':
            found |= {f'{node.module}.{name.name}' if f'{node.module}.{name.name}' in FILES else node.module for name in node.names}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names if name.name.split('.')[0] == 'stanet_jax'}
    return found


@pytest.mark.parametrize('module', [module for module in FILES if module != 'stanet_jax'])
def test_imports_run_one_way(module):
    assert wing_of(module) in ORDER, f'{module}: a wing that the order does not name'
    here = ORDER.index(wing_of(module))
    later = [other for other in imported(FILES[module]) if ORDER.index(wing_of(other)) > here]
    assert not later, f'{module} imports {later} of a later wing'


def test_no_circle():
    graph = {module: imported(path) - {'stanet_jax', module} for module, path in FILES.items() if module != 'stanet_jax'}
    while graph:
        free = [module for module, others in graph.items() if not others & graph.keys()]
        assert free, f'a circle among {sorted(graph)}'
        for module in free:
            del graph[module]


@pytest.mark.parametrize('module', [module for module in FILES if wing_of(module) in BELOW_STAGES])
def test_no_config_below_the_stages(module):
    for node in ast.walk(ast.parse(FILES[module].read_text())):
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            names = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            assert 'config' not in names, f'{module}:{node.lineno}: takes a config'


@pytest.mark.parametrize('module', FILES)
def test_files_are_short(module):
    path = FILES[module]
    if str(path.relative_to(PACKAGE)) not in GENERATORS:
        assert len(path.read_text().splitlines()) <= 350


@pytest.mark.parametrize('module', [module for module in FILES if '.configs' not in module])
def test_what_is_public_says_its_types_and_what_it_does(module):
    tree = ast.parse(FILES[module].read_text())
    scopes = [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith('_'))]
    for node in (node for scope in scopes for node in scope.body if isinstance(node, ast.FunctionDef) and not node.name.startswith('_')):
        arguments = [arg for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs) if arg.arg not in ('self', 'cls')]
        bare = [arg.arg for arg in arguments if arg.annotation is None]
        assert not bare, f'{module}:{node.lineno}: {node.name} does not say what {", ".join(bare)} are'


def test_tests_mirror_the_package():
    wings = {path.name for path in PACKAGE.iterdir() if path.is_dir() and not path.is_symlink() and (path / '__init__.py').exists()}
    assert wings <= {path.name for path in (ROOT / 'tests').iterdir() if path.is_dir()}
