"""Runs `stanet` commands as processes that are forked from one which has the libraries imported, as importing them takes longer than most
tests of commands."""
import atexit
import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import traceback
import warnings

ROOT = pathlib.Path(__file__).parents[1]


def stanet(*arguments, folder=ROOT, before=''):
    """The finished process `stanet ARGUMENTS`, run in a folder; `before` is Python that it executes first."""
    with tempfile.TemporaryDirectory() as outputs:
        order = {'arguments': [*map(str, arguments)], 'folder': str(folder), 'outputs': outputs, 'before': before}
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
    """Runs the command in this process, its outputs going to files; -> the exit code."""
    from stanet_jax import cli
    for name, stream in (('out', 1), ('err', 2)):
        os.dup2(os.open(os.path.join(order['outputs'], name), os.O_WRONLY | os.O_CREAT), stream)
    os.chdir(order['folder'])
    code = 0
    try:
        exec(order['before'], {})
        cli.main(order['arguments'])
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
