"""The tests keep their compiled code to themselves: a cache of their own, which goes with the run."""

import os
import tempfile
from pathlib import Path

# before `chainrule` is imported, and in every worker process
if "PYTEST_XDIST_WORKER" not in os.environ or "CHAINRULE_TEST_CACHE" not in os.environ:
    _folder = tempfile.TemporaryDirectory(prefix="chainrule-tests-")
    os.environ["CHAINRULE_CACHE_DIR"] = os.environ["CHAINRULE_TEST_CACHE"] = str(Path(_folder.name))
