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
    return start(*arguments, folder=folder, before=before, environment=environment).finish()


def start(*arguments, folder=ROOT, before='', environment=()):
    """The process of `python`, as soon as it is started."""
    return Forked(arguments, folder, before, environment)


class Forked:
    """A process that goes on beside this one.

    Attributes:
        pid: its number.
        code: its exit code, once that is known.
    """

    def __init__(self, arguments, folder, before, environment):
        self.arguments, self.outputs = [*map(str, arguments)], tempfile.TemporaryDirectory()
        self.pid = ask({'arguments': self.arguments, 'folder': str(folder), 'outputs': self.outputs.name, 'before': before,
                        'environment': {name: str(value) for name, value in dict(environment).items()}})
        self.code = None

    def poll(self):
        """The exit code; None while it runs."""
        return self._wait(os.WNOHANG)

    def send_signal(self, number):
        """Sends it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def finish(self):
        """Waits for its end and gives the finished process."""
        code = self._wait(0)
        out, err = (pathlib.Path(self.outputs.name, name).read_text() for name in ('out', 'err'))
        self.outputs.cleanup()
        return subprocess.CompletedProcess(self.arguments, code, out, err)

    def _wait(self, options):
        if self.code is None:
            self.code = ask({'wait': self.pid, 'options': options})
        return self.code


def ask(order):
    """The server's answer to an order."""
    process = server()
    process.stdin.write(json.dumps(order) + '\n')
    process.stdin.flush()
    return json.loads(process.stdout.readline())


@functools.cache
def server():
    """The process that forks, one for each process of tests."""
    process = subprocess.Popen([sys.executable, '-m', 'tests.forked'], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    atexit.register(process.communicate)
    return process


def serve():
    """Forks for a line of standard input that has arguments, and answers with the child's number; waits where it is asked to."""
    import stanet_jax.data.preparation
    import stanet_jax.inference.opening
    import stanet_jax.pipeline.run  # noqa: F401 - each is imported for the children's sake
    warnings.filterwarnings('ignore', 'os.fork')  # JAX has no threads yet
    for line in sys.stdin:
        order = json.loads(line)
        if 'wait' in order:
            ended, status = os.waitpid(order['wait'], order['options'])
            answer = os.waitstatus_to_exitcode(status) if ended else None
        elif not (answer := os.fork()):
            os._exit(obey(order))
        print(json.dumps(answer), flush=True)


def obey(order):
    """Runs the script or module in this process, its outputs going to files; -> the exit code."""
    signal.alarm(LONGEST)  # which ends the process
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # the orders are the server's
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
            sys.argv = ['-c', *words[1:]]
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
