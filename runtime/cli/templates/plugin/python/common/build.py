"""Run by `affluent plugin build` with the path to write the component to."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

folder = Path(__file__).resolve().parent
world = json.loads((folder / "plugin.json").read_text())["world"]
tool = [Path(sys.executable).parent / "componentize-py", "--quiet", "-d", folder / "wit", "-w", world]


def run(*arguments):
    ended = subprocess.run([*tool, *arguments], cwd=folder)
    if ended.returncode != 0:
        sys.exit(ended.returncode)


# What editors and tests import; the component has its own.
shutil.rmtree(folder / "bindings", ignore_errors=True)
run("bindings", "bindings")

# Python's own library wants files, sockets, clocks and randomness of WASI. A plugin gets none of them: with `--stub-wasi`
# they are not even imported, and using one ends the call. Time and randomness come from `wit_world.imports.runtime`.
run("componentize", "--stub-wasi", "-p", "src", "-o", Path(sys.argv[1]).resolve(), "app")
