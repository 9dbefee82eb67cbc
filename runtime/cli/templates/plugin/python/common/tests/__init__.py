"""The tests play the host, natively: `.venv/bin/python -m unittest` after the first `affluent plugin build`."""

import sys
from pathlib import Path

_folder = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(_folder / "src"), str(_folder / "bindings")]
