"""Native functions as Python objects: life, threads, methods, copies, what they capture."""

from __future__ import annotations

import copy
import ctypes
import gc
import itertools
import pickle
import subprocess
import sys
import threading
import time
import types
import weakref

import numpy as np
import pytest

from chainrule.codegen import native
from chainrule.codegen.function import Argument, Function, Signature, entry

REAL, INTEGER, VECTOR = Argument("float64"), Argument("int64"), Argument("float64", ("n",))
UNARY = Signature((REAL,), (), (), (REAL,), 0)
BINARY = Signature((REAL, REAL), (), (), (REAL,), 0)
HIDDEN = Signature((REAL,), (REAL,), (), (REAL,), 0)
SQUARE = """
define void @kernel(double %x, ptr %r) {
  %y = fmul double %x, %x
  store double %y, ptr %r
  ret void
}
"""
PRODUCT = """
define void @kernel(double %x, double %a, ptr %r) {
  %y = fmul double %x, %a
  store double %y, ptr %r
  ret void
}
"""

WAIT = """
declare i32 @usleep(i32)
define void @kernel(ptr %x, i64 %n, ptr %r) {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %pause ]
  %v = load volatile double, ptr %x
  store double %v, ptr %r
  %set = fcmp une double %v, 0.0
  br i1 %set, label %done, label %pause
pause:
  call i32 @usleep(i32 1000)
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, 1500
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""
"""Waits for x[0] to become something else than 0, for 1.5 s or a little more, and returns it."""
WAIT_SIGNATURE = Signature((VECTOR,), (), ("n",), (REAL,), 0)
native.define_symbols({"usleep": ctypes.cast(ctypes.CDLL(None).usleep, ctypes.c_void_p).value})


class Keep:
    """Something that a function keeps alive."""


def slow(*args, **kwargs):
    return "slow", args, kwargs


def install(function, signature, text, hidden=(), keep=None):
    module = native.compile_module(text, level=1)
    function.install(entry(signature), module.address("kernel"), hidden, (module, keep))
    return function


def square(slow=slow, kind=Function):
    return install(kind(slow), UNARY, SQUARE)


# --- states


def test_a_function_starts_on_its_slow_path_and_may_return_to_it():
    function = Function(slow)
    assert function(1.0, k=2) == ("slow", (1.0,), {"k": 2})
    install(function, UNARY, SQUARE)
    assert function(3.0) == 9.0
    install(function, BINARY, PRODUCT)
    assert function(3.0, 4.0) == 12.0
    assert function(3.0) == ("slow", (3.0,), {})
    function.uninstall()
    assert function(3.0, 4.0) == ("slow", (3.0, 4.0), {})
    function.uninstall()


def test_only_entries_can_be_installed():
    with pytest.raises(ValueError, match="`entry` gave"):
        Function(slow).install(0, 1, (), None)
    with pytest.raises(TypeError, match="slow path of a function is a callable"):
        Function(3)


def test_entries_are_made_once():
    assert entry(UNARY) == entry(Signature((REAL,), (), (), (Argument("float64"),), 0)) != entry(BINARY)
    tree = Signature((REAL,), (), (), (REAL,), [0, (0,)])
    assert entry(tree) == entry(copy.deepcopy(tree))


def test_what_the_slow_path_raises_reaches_the_caller():
    def refuse(*args, **kwargs):
        raise LookupError("no such thing")

    function = square(refuse)
    counted = sys.getrefcount(refuse)
    for arguments in [("text",), (), (1, 2)]:
        with pytest.raises(LookupError, match="no such thing"):
            function(*arguments)
    with pytest.raises(LookupError, match="no such thing"):
        Function(refuse)(1.0)
    assert sys.getrefcount(refuse) == counted


def test_the_slow_path_may_install_another_kernel_while_it_runs():
    def respecialise(*args):
        install(function, BINARY, PRODUCT)
        return "compiled"

    function = square(respecialise)
    assert function(2.0, 3.0) == "compiled"
    assert function(2.0, 3.0) == 6.0


def test_a_function_without_init_is_refused_when_called():
    bare = Function.__new__(Function)
    with pytest.raises((TypeError, AttributeError)):
        bare(1.0)
    del bare
    gc.collect()


# --- as an object


def test_attributes_and_weak_references():
    function = square()
    function.__name__, function.note = "square", [1]
    assert (function.__name__, function.note) == ("square", [1])
    reference = weakref.ref(function)
    del function
    assert reference() is None


def test_what_is_kept_dies_with_the_function():
    keep = Keep()
    reference = weakref.ref(keep)
    function = install(Function(slow), UNARY, SQUARE, keep=keep)
    del keep
    gc.collect()
    assert reference() is not None
    install(function, UNARY, SQUARE)
    assert reference() is None
    keep = Keep()
    reference = weakref.ref(keep)
    install(function, UNARY, SQUARE, keep=keep)
    del keep, function
    assert reference() is None


@pytest.mark.parametrize("through", ["attribute", "slow path", "kept object"])
def test_cycles_are_collected(through):
    keep = Keep()
    keep.function = function = Function(keep.__eq__ if through == "slow path" else slow)
    install(function, UNARY, SQUARE, keep=keep if through == "kept object" else None)
    if through == "attribute":
        function.itself = keep
    references = weakref.ref(function), weakref.ref(keep)
    assert function(2.0) == 4.0
    del function, keep
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def test_a_call_while_the_collector_takes_the_function_apart():
    answers = []

    class Last:
        def __init__(self):
            self.function = square(self.answer)
            self.function.itself = self

        def answer(self, *args):
            return "slow"

        def __del__(self):
            answers.append((self.function(3.0), self.function("x")))

    Last()
    gc.collect()
    assert answers == [(9.0, "slow")]


def test_functions_are_methods_of_classes():
    function = Function(lambda self, *args: (self, args))

    class Thing:
        method = function
        product = install(Function(slow), BINARY, PRODUCT)

    class Number(float):
        times = Thing.product

    thing = Thing()
    assert Thing.method is function
    assert thing.method(1, 2) == (thing, (1, 2))
    bound = thing.method
    assert isinstance(bound, types.MethodType) and bound.__func__ is function and bound(3) == (thing, (3,))
    assert thing.product(2.0) == ("slow", (thing, 2.0), {})
    assert Number(3.0).times(2.0) == ("slow", (3.0, 2.0), {})  # a subclass of float is not a float
    assert types.MethodType(Thing.product, 3.0)(2.0) == 6.0
    counted = sys.getrefcount(thing), sys.getrefcount(function)
    for _ in range(100):
        thing.method(1)
        bound(1)
    assert (sys.getrefcount(thing), sys.getrefcount(function)) == counted


def test_functions_are_their_own_copies():
    function = square()
    assert copy.copy(function) is function
    assert copy.deepcopy({"f": [function]})["f"][0] is function


class Named(Function):
    """A subclass with state, that knows how to pickle itself."""

    def __init__(self, name):
        super().__init__(slow)
        self.name = name

    def __reduce__(self):
        return Named, (self.name,)


def test_a_subclass_decides_how_it_is_pickled():
    function = install(Named("square"), UNARY, SQUARE)
    other = pickle.loads(pickle.dumps(function))
    assert (other.name, function(2.0), other(2.0)) == ("square", 4.0, ("slow", (2.0,), {}))
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(square())


def test_a_subclass_may_override_the_call():
    class Announced(Function):
        def __call__(self, *args):
            return "announced", super().__call__(*args)

    class Deeper(Announced):
        pass

    assert square(kind=Announced)(2.0)[0] == square(kind=Deeper)(2.0)[0] == "announced"

    class Bound(Function):
        def __get__(self, instance, owner=None):
            return "taken"

    class Thing:
        f = Bound(slow)

    assert Thing().f == "taken"


def test_calls_of_a_subclass_are_native_too():
    """A slow path that is never reached proves that no Python code ran in between."""

    class Plain(Named):
        pass

    function = install(Plain("x"), UNARY, SQUARE)
    traced = []
    sys.setprofile(lambda frame, event, argument: traced.append(event))
    try:
        function(2.0)
    finally:
        sys.setprofile(None)
    assert "call" not in traced


# --- hidden inputs

CAPTURE = """
define void @kernel(double %x, double %a, ptr %h, double %re, double %im, i8 %flag, i64 %k, ptr %r) {
  %flagged = icmp ne i8 %flag, 0
  %sign = select i1 %flagged, double 1.0, double -1.0
  %h1 = getelementptr double, ptr %h, i64 1
  %h1v = load double, ptr %h1
  %s1 = fadd double %x, %a
  %s2 = fadd double %s1, %h1v
  %s3 = fadd double %s2, %re
  %s4 = fadd double %s3, %im
  %n = sitofp i64 %k to double
  %s5 = fadd double %s4, %n
  %s6 = fmul double %s5, %sign
  store double %s6, ptr %r
  ret void
}
"""
CAPTURING = Signature(
    inputs=(REAL,),
    hidden=(REAL, Argument("float64", ("k",)), Argument("complex128"), Argument("bool")),
    sizes=("k",),
    results=(REAL,),
    tree=0,
)


def test_hidden_inputs_and_their_sizes():
    h = np.array([0.0, 10.0, 0.0])
    function = install(Function(slow), CAPTURING, CAPTURE, (0.5, h, 100 + 1000j, False))
    assert function(0.25) == -(0.25 + 0.5 + 10 + 1100 + 3)
    h[1] = 20.0  # hidden arrays are not copied: whoever captures them decides about that
    assert function(0.25) == -(0.25 + 0.5 + 20 + 1100 + 3)


def test_hidden_sizes_must_agree_with_those_of_the_arguments():
    shape = Signature((VECTOR,), (VECTOR,), ("n",), (Argument("int64"),), 0)
    text = "define void @kernel(ptr %x, ptr %h, i64 %n, ptr %r) { store i64 %n, ptr %r\n ret void }"
    function = install(Function(slow), shape, text, (np.zeros(4),))
    assert function(np.zeros(4)) == 4
    assert function(np.zeros(5))[0] == "slow"


def test_hidden_inputs_are_kept_alive_and_released():
    h = np.ones(3)
    counted = sys.getrefcount(h)
    function = install(Function(slow), CAPTURING, CAPTURE, (0.5, h, 0j, True))
    assert sys.getrefcount(h) > counted
    for _ in range(100):
        function(1.0)
    function.uninstall()
    assert sys.getrefcount(h) == counted


@pytest.mark.parametrize(
    ("hidden", "error"),
    [
        ((0.5,), ValueError),
        ((0.5, np.zeros(3), 1j, True, 0), ValueError),
        ((0.5, np.zeros(3, np.float32), 1j, True), TypeError),
        ((0.5, np.zeros((3, 1)), 1j, True), TypeError),
        ((np.zeros(2), np.zeros(3), 1j, True), TypeError),
        ((0.5, np.zeros(3), 1j, 2.0), TypeError),
    ],
)
def test_hidden_inputs_that_do_not_fit_are_refused(hidden, error):
    function = install(Function(slow), CAPTURING, CAPTURE, (0.5, np.ones(3), 0j, True))
    with pytest.raises(error):
        function.install(entry(CAPTURING), 1, hidden, None)
    assert function(0.0) == 0.5 + 1 + 3


# --- threads


def set_later(x, seconds, value=7.0):
    def work():
        time.sleep(seconds)
        x[0] = value

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_other_threads_run_during_large_work_only():
    function = install(Function(slow), WAIT_SIGNATURE, WAIT)
    large, small = np.zeros(30_000), np.zeros(10)
    thread = set_later(large, 0.1)
    assert function(large) == 7.0
    thread.join()
    thread = set_later(small, 0.1)
    assert function(small) == 0.0
    thread.join()


def test_a_running_kernel_outlives_its_removal():
    keep = Keep()
    reference = weakref.ref(keep)
    function = install(Function(slow), WAIT_SIGNATURE, WAIT, keep=keep)
    del keep
    x, results = np.zeros(30_000), []
    caller = threading.Thread(target=lambda: results.append(function(x)))
    caller.start()
    time.sleep(0.1)
    function.uninstall()
    gc.collect()
    alive = reference() is not None
    x[0] = 5.0
    caller.join()
    gc.collect()
    assert (alive, results, reference()) == (True, [5.0], None)


def test_callers_see_the_old_or_the_new_kernel():
    function = Function(lambda *args: -1.0)
    modules = [native.compile_module(text, level=1) for text in (SQUARE, PRODUCT)]
    stop = threading.Event()
    seen: set[float] = set()

    def work():
        found = set()
        while not stop.is_set():
            for _ in range(200):
                found.add(float(function(3.0)))
        seen.update(found)

    threads = [threading.Thread(target=work) for _ in range(3)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for step in range(600):
            match step % 3:
                case 0:
                    function.install(entry(UNARY), modules[0].address("kernel"), (), Keep())
                case 1:
                    function.install(entry(HIDDEN), modules[1].address("kernel"), (float(step),), Keep())
                case 2:
                    function.uninstall()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    assert seen <= {9.0, -1.0, *(3.0 * step for step in range(1, 600, 3))}


def test_without_the_layout_functions_stay_on_their_slow_path():
    program = """
import numpy as np
from chainrule.codegen import capi
capi.ARRAY.RANK += 4  # as if a future NumPy had moved it
from chainrule.codegen.function import Argument, Function, Signature, entry
assert not capi.available()
assert entry(Signature((Argument("float64"),), (), (), (Argument("float64"),), 0)) == 0
f = Function(lambda x: 2 * x)
f.uninstall()
assert f(4) == 8
"""
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_many_functions_come_and_go():
    module = native.compile_module(PRODUCT, level=1)
    address = entry(HIDDEN)
    for number in itertools.islice(itertools.count(), 2000):
        function = Function(slow)
        function.install(address, module.address("kernel"), (float(number),), module)
        assert function(2.0) == 2.0 * number
