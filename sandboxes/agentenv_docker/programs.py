"""What an interpreter in a container is given to run: the text of a program, or of a session. Standard library only."""

MAIN = """
import json, linecache, os, random, sys, traceback, types
given = json.loads(os.environ.pop("AGENTENV_PROGRAM_LENGTH"))
source = b""
while len(source) < given["bytes"]:
    source += os.read(0, given["bytes"] - len(source))
source = source.decode()
if given["seed"] is not None:
    random.seed(given["seed"])
main = types.ModuleType("__main__")
main.__dict__["__builtins__"] = __builtins__
sys.modules["__main__"] = main
sys.argv = ["main.py"]
sys.path.insert(0, os.getcwd())
linecache.cache["main.py"] = (len(source), None, source.splitlines(keepends=True), "main.py")
try:
    exec(compile(source, "main.py", "exec", dont_inherit=True), main.__dict__)
except SystemExit:
    raise
except BaseException as error:
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == "<string>":
        trace = trace.tb_next
    sys.stderr.write("".join(traceback.format_exception(type(error), error, trace)))
    sys.exit(1)
"""
"""The program is the first bytes of the input, what is left is its own."""

SESSION = """
import ast, linecache, os, signal, struct, sys, traceback, types
main = types.ModuleType("__main__")
main.__dict__["__builtins__"] = __builtins__
sys.modules["__main__"] = main
sys.argv = [""]
sys.path.insert(0, os.getcwd())
asked, replies = os.dup(0), os.dup(3)
nowhere = os.open(os.devnull, os.O_RDONLY)
os.dup2(nowhere, 0)
os.close(nowhere)
os.close(3)

def take(size):
    data = b""
    while len(data) < size:
        piece = os.read(asked, size - len(data))
        if not piece:
            os._exit(0)
        data += piece
    return data

def compiled(source, name):
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    return compile(source, name, "exec", dont_inherit=True)

def run(source, name):
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        compiled(source, name)
        tree = ast.parse(source, name)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, name, "exec", dont_inherit=True), main.__dict__)
        if last is not None:
            sys.displayhook(eval(compile(ast.Expression(last.value), name, "eval", dont_inherit=True), main.__dict__))
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return (error.code or 0) & 0xFF
        sys.stderr.write(f"{error.code}\\n")
        return 1
    except BaseException as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == "<string>":
            trace = trace.tb_next
        sys.stderr.write("".join(traceback.format_exception(type(error), error, trace)))
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return 0

signal.signal(signal.SIGINT, signal.SIG_IGN)
os.write(replies, bytes([0]))
pieces = 0
while True:
    size, _ = struct.unpack(">II", take(8))
    pieces += 1
    code = run(take(size).decode(), f"<{pieces}>")
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            code = code or 120
    os.write(replies, bytes([code]))
"""
