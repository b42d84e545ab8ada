"""What is run inside to hold a program to its limits, to end it, and to look at what there is. Bash, as E2B has it."""

from __future__ import annotations

RUN = """
cd -- "$1" || exit 127
if [ -n "$2" ]; then exec < "$2"; rm -f -- "$2"; fi
{ ulimit -c 0; ulimit -St "$3"; ulimit -Ht "$(($3 + 1))"; ulimit -d "$4"; ulimit -u "$5"; ulimit -f "$6"; } 2> /dev/null
shift 6
if ! type -P -- "$1" > /dev/null && ! [ -e "$1" ]; then echo "$1: No such file or directory" >&2; exit 127; fi
exec -- "$@"
"""
"""Folder, file with the input or nothing, seconds of CPU, KiB of memory, processes, KiB of a file; then the command.

Processes are all of the user's; the rest is for each process, and can be lifted by whoever becomes root."""

END = """
for attempt in {1..50}; do
  found=$(grep -laFs -- "$1" /proc/[0-9]*/environ)
  [ -n "$found" ] || exit 0
  for file in $found; do file=${file#/proc/}; kill -KILL "${file%/environ}" 2> /dev/null; done
done
exit 1
"""
"""Ends every process with a mark in its variables, and those that they begin in the meantime."""

STATS = """
pids=0; memory=0
for file in $(grep -laFs -- "$1" /proc/[0-9]*/environ); do
  resident=$(grep -s VmRSS "${file%/environ}/status" | tr -dc 0-9)
  [ -n "$resident" ] && pids=$((pids + 1)) && memory=$((memory + resident * 1024))
done
set -- $(du -scbx . /tmp 2> /dev/null | tail -n 1)
echo "$pids $memory $1 $(find . /tmp -xdev -mindepth 1 2> /dev/null | wc -l)"
"""
"""Processes with a mark, the bytes they hold, the bytes of the private files and how many there are."""

PACK = """
tar -cPf - --one-file-system --exclude='/tmp/.agentenv-*' "$PWD" /tmp
[ $? -le 1 ]  # 1: something changed in the meantime
"""
"""An archive of the private files on standard output: those of the working folder and of `/tmp`."""

UNPACK = """
find "$PWD" /tmp -mindepth 1 -maxdepth 1 ! -name '.agentenv-*' -exec rm -rf --one-file-system -- {} + 2> /dev/null
tar -xPf "$1" --skip-old-files; code=$?
rm -f -- "$1"
exit $code
"""
"""Puts the files of such an archive in place of those there are."""

PYTHON = """
import json, linecache, os, random, sys, traceback
with open(sys.argv[1], encoding="utf-8", errors="surrogatepass") as file:
    given = json.load(file)
os.unlink(sys.argv[1])
sys.argv = ["main.py"]
sys.path.insert(0, os.getcwd())
code, seed = given["code"], given["seed"]
if seed is not None:
    random.seed(seed)
    if "numpy" in code:
        try:
            import numpy
            numpy.random.seed(seed % 2**32)
        except ImportError:
            pass
linecache.cache["main.py"] = (len(code), None, code.splitlines(keepends=True), "main.py")
variables = {"__name__": "__main__", "__builtins__": __builtins__}
try:
    exec(compile(code, "main.py", "exec"), variables)
except SystemExit:
    raise
except BaseException as error:
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == "<string>":
        trace = trace.tb_next
    sys.stderr.write("".join(traceback.format_exception(type(error), error, trace)))
    sys.exit(1)
"""
"""Runs the code in a file as a main module, and tells its mistakes as the interpreter does."""
