"""Memory of results of some kilobytes: kept for the next result, owned by arrays as NumPy's own."""

from __future__ import annotations

import copy
import gc
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

import chainrule as cr
from chainrule.codegen import capi, result_memory
from chainrule.codegen.result_memory import LEAST, MOST, keeps


@cr.jit
def double(x):
    return x * 2.0


def handler(array):
    return np._core.multiarray.get_handler_name(array)


def made(count, dtype=np.float64):
    """A result with so many elements, from the native entry."""
    x = np.arange(count).astype(dtype)
    fun = cr.jit(lambda x: x * dtype(2))
    for _ in range(2):
        found = fun(x)
    np.testing.assert_array_equal(found, 2 * x)
    return found


def test_only_the_middle_sizes_are_kept():
    assert not keeps(LEAST)
    assert keeps(LEAST + 1)
    assert keeps(MOST)
    assert not keeps(MOST + 1)


def test_it_is_there_where_native_entries_are():
    assert result_memory.available() == capi.available()


@pytest.mark.parametrize("count", [1, 128, 129, 150, 2047, 2048, 2049, 5000])
def test_results_are_arrays_like_any_other(count):
    found = made(count)
    assert handler(found) == ("chainrule" if keeps(8 * count) else handler(np.empty(count)))
    assert found.flags.owndata
    assert found.flags.writeable
    assert found.flags.aligned
    assert found.flags.c_contiguous
    assert found.base is None
    assert found.ctypes.data % 16 == 0
    found[:] = 7.0
    np.testing.assert_array_equal(copy.deepcopy(found), pickle.loads(pickle.dumps(found)))
    view = found[::-1]
    del found
    gc.collect()
    np.testing.assert_array_equal(view, 7.0)


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.complex128])
def test_every_type(dtype):
    found = made(700, dtype)
    assert found.dtype == dtype
    assert handler(found) == "chainrule"


def test_freed_memory_is_used_again_and_live_memory_is_not():
    x = np.linspace(0, 1, 300)
    double(x)
    first = double(x)
    place = first.ctypes.data
    del first
    second, third = double(x), double(x + 1)
    assert place in (second.ctypes.data, third.ctypes.data)
    assert second.ctypes.data != third.ctypes.data
    many = [double(x + k) for k in range(50)]
    assert len({a.ctypes.data for a in many}) == 50
    for k, a in enumerate(many):
        np.testing.assert_array_equal(a, 2 * (x + k))


def test_resizing_keeps_blocks_as_large_as_their_class():
    """A block's class follows from its array's size when it is freed, also if that changed."""
    rng = np.random.default_rng(5)
    fun = cr.jit(lambda x: x + 1.0)
    others = cr.jit(lambda x: x * 1.0)
    for count in (200, 300):
        others(np.zeros(count))  # from now on of any size
    alive = []
    for count in rng.integers(100, 2300, 200):
        a = fun(np.zeros(600))
        a.resize(int(count), refcheck=False)
        np.testing.assert_array_equal(a, np.arange(count) < 600)
        a[:] = count
        alive.append(a)
        if len(alive) > 4:
            old = alive.pop(int(rng.integers(5)))
            np.testing.assert_array_equal(old, len(old))
            del old
        b = others(np.zeros(rng.integers(129, 2048)))
        assert handler(b) == "chainrule"
        b[:] = -1.0
    for a in alive:
        np.testing.assert_array_equal(a, len(a))


def test_several_results_and_pytrees():
    fun = cr.jit(lambda x: {"a": (x * 2.0, x[:200] + 1.0), "b": np.sum(x)})
    x = np.linspace(0, 1, 400)
    for _ in range(3):
        found = fun(x)
        np.testing.assert_array_equal(found["a"][0], 2 * x)
        np.testing.assert_array_equal(found["a"][1], x[:200] + 1)
        assert handler(found["a"][0]) == handler(found["a"][1]) == "chainrule"


def test_sizes_that_are_known_in_the_call():
    fun = cr.jit(lambda x: x * 2.0)
    for count in (10, 20, 128, 129, 1000, 2048, 2049, 10_000, 0):
        x = np.arange(float(count))
        for _ in range(3):
            found = fun(x)
            np.testing.assert_array_equal(found, 2 * x)
        assert (handler(found) == "chainrule") == keeps(8 * count)


def test_threads_share_it():
    x = np.linspace(0, 1, 256)
    double(x)
    wrong = []

    def work(k):
        for _ in range(500):
            found = double(x + k)
            if not np.array_equal(found, 2 * (x + k)):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_references_are_counted():
    """Neither the dtype nor anything else gains references by the call."""
    x = np.linspace(0, 1, 256)
    double(x)
    double(x)
    before = sys.getrefcount(x.dtype), sys.getrefcount(double)
    for _ in range(100):
        double(x)
    assert (sys.getrefcount(x.dtype), sys.getrefcount(double)) == before


def test_the_process_ends_well_with_results_alive():
    program = (
        "import numpy as np, chainrule as cr, sys\n"
        "f = cr.jit(lambda x: x * 2.0)\n"
        "x = np.ones(300)\n"
        "kept = [f(x) for _ in range(5)]\n"
        "sys.kept = kept\n"
        "del kept[0]\n"
        "import tracemalloc; tracemalloc.start()\n"
        "kept.append(f(x)); kept.pop(0)\n"
        "print(sum(a.sum() for a in kept))\n"
    )
    environment = {"PYTHONPATH": ":".join(sys.path), "PYTHONMALLOC": "debug", "CHAINRULE_CACHE_DIR": ""}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "2400.0", "")
