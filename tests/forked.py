"""Runs `stanet` commands and scripts as processes that are forked from one which has the libraries imported, as importing them takes
longer than most tests of commands."""
import atexit
import functools
import json
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings

ROOT = pathlib.Path(__file__).parents[1]
LONGEST = 600  # seconds that a command may take
ERRORS = 'import warnings; warnings.simplefilter("error")'  # to execute before a command


def stanet(*arguments, folder=ROOT, before=''):
    """The finished process `stanet ARGUMENTS`, run in a folder; `before` is Python that it executes first."""
    return python('-m', 'stanet_jax', *arguments, folder=folder, before=before)


def python(*arguments, folder=ROOT, before='', environment=()):
    """The finished process `python ARGUMENTS`: a script, or what follows `-m` or `-c`; `environment` is added to its own."""
    with tempfile.TemporaryDirectory() as outputs:
        order = {'arguments': [*map(str, arguments)], 'folder': str(folder), 'outputs': outputs, 'before': before,
                 'environment': {name: str(value) for name, value in dict(environment).items()}}
        process = server()
        process.stdin.write(json.dumps(order) + '\n')
        process.stdin.flush()
        code = int(process.stdout.readline())
        out, err = (pathlib.Path(outputs, name).read_text() for name in ('out', 'err'))
    return subprocess.CompletedProcess(order['arguments'], code, out, err)


@functools.cache
def server():
    """The process that forks, one for each process of tests."""
    process = subprocess.Popen([sys.executable, '-m', 'tests.forked'], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    atexit.register(process.communicate)
    return process


def serve():
    """Forks for every line of standard input, and answers with the exit code."""
    import stanet_jax.data.preparation
    import stanet_jax.inference.opening
    import stanet_jax.pipeline.run  # noqa: F401 - each is imported for the children's sake
    warnings.filterwarnings('ignore', 'os.fork')  # JAX has no threads yet
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if not child:
            os._exit(obey(order))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def obey(order):
    """Runs the script or module in this process, its outputs going to files; -> the exit code."""
    signal.alarm(LONGEST)  # which ends the process
    for name, stream in (('out', 1), ('err', 2)):
        os.dup2(os.open(os.path.join(order['outputs'], name), os.O_WRONLY | os.O_CREAT), stream)
    os.chdir(order['folder'])
    os.environ.update(order['environment'])
    module, *words = order['arguments']
    code = 0
    try:
        exec(order['before'], {})
        if module == '-m':
            warnings.filterwarnings('ignore', '.* found in sys.modules', RuntimeWarning)  # as the server has imported it
            sys.argv = words
            runpy.run_module(words[0], run_name='__main__', alter_sys=True)
        elif module == '-c':
            exec(words[0], {'__name__': '__main__'})
        else:
            sys.argv = [module, *words]
            runpy.run_path(module, run_name='__main__')
    except SystemExit as end:
        code = end.code or 0
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == '__main__':
    serve()
