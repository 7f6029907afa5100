"""The LLVM helper: text in, callable machine code out."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import threading
import weakref

import pytest

from chainrule.codegen import native

POLYNOMIAL = """
define double @polynomial(double %x) {
  %a = fmul double %x, %x
  %b = fadd double %a, 3.0
  ret double %b
}
"""

SUM = """
define double @sum(ptr %x, i64 %n) {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %s = phi double [ 0.0, %entry ], [ %t, %loop ]
  %p = getelementptr double, ptr %x, i64 %i
  %v = load double, ptr %p
  %t = fadd double %s, %v
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %n
  br i1 %more, label %loop, label %done
done:
  ret double %t
}
"""


def real_function(module: native.Module, name: str):
    return ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(module.address(name))


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_every_level_computes_the_same(level):
    module = native.compile_module(POLYNOMIAL + SUM, level=level)
    assert real_function(module, "polynomial")(1.5) == 5.25
    total = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_void_p, ctypes.c_int64)(module.address("sum"))
    assert total((ctypes.c_double * 100)(*range(100)), 100) == 4950.0


def test_object_code_is_bytes_that_can_be_loaded_again():
    code = native.emit(POLYNOMIAL, 2)
    first, second = native.load(code), native.load(code)
    assert first.address("polynomial") != second.address("polynomial")
    assert real_function(first, "polynomial")(2.0) == real_function(second, "polynomial")(2.0) == 7.0
    assert first.object_code == code == native.emit(POLYNOMIAL, 2)


def test_object_code_works_in_another_process(tmp_path):
    path = tmp_path / "polynomial.o"
    path.write_bytes(native.emit(POLYNOMIAL, 2))
    program = (
        "import ctypes, pathlib, sys; from chainrule.codegen import native\n"
        "module = native.load(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "print(ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(module.address('polynomial'))(3.0))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert done.stdout.strip() == "12.0"


def test_an_unknown_name_has_no_address():
    with pytest.raises(KeyError, match="does not define 'quartic'"):
        native.compile_module(POLYNOMIAL, level=0).address("quartic")


def test_names_of_the_process_and_given_names_are_found():
    given = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(lambda x: x + 100.0)
    native.define_symbols({"test_native_given": ctypes.cast(given, ctypes.c_void_p).value})
    module = native.compile_module(
        """
        declare double @cbrt(double)
        declare double @test_native_given(double)
        define double @both(double %x) {
          %a = call double @cbrt(double %x)
          %b = call double @test_native_given(double %a)
          ret double %b
        }
        """,
        level=1,
    )
    assert real_function(module, "both")(27.0) == pytest.approx(103.0, rel=1e-15)


@pytest.mark.parametrize("count", [1, 300, 400, 401, 1500])
def test_code_may_call_any_number_of_outside_functions(count):
    """The loader has to find room for their addresses within reach of the code."""

    @ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)
    def add_one(x):
        return x + 1

    address = ctypes.cast(add_one, ctypes.c_void_p).value
    native.define_symbols({f"outside_{k}": address for k in range(count)})
    declarations = "\n".join(f"declare double @outside_{k}(double)" for k in range(count))
    calls = "\n".join(f"  %x{k + 1} = call double @outside_{k}(double %x{k})" for k in range(count))
    text = f"{declarations}\ndefine double @many(double %x0) {{\n{calls}\n  ret double %x{count}\n}}"
    assert real_function(native.compile_module(text, level=1), "many")(0.0) == count


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("define double @broken(", "LLVM rejects"),
        ("define double @wrong() { ret i64 1 }", "LLVM rejects"),
        ("declare void @no_such_function()", "'no_such_function', which nothing in this process defines"),
        (
            "@no_such_variable = external global i64",
            "'no_such_variable', which nothing in this process defines",
        ),
    ],
)
def test_bad_text_is_reported(text, message):
    with pytest.raises(native.CompileError, match=message):
        native.compile_module(text, level=0)
    assert real_function(native.compile_module(POLYNOMIAL, level=0), "polynomial")(1.0) == 4.0


def test_a_level_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="level 4"):
        native.compile_module(POLYNOMIAL, level=4)


def test_modules_of_the_same_names_do_not_disturb_each_other():
    modules = [native.compile_module(f"define i64 @value() {{ ret i64 {k} }}", level=0) for k in range(20)]
    values = [ctypes.CFUNCTYPE(ctypes.c_int64)(module.address("value"))() for module in modules]
    assert values == list(range(20))


def test_a_module_is_given_back():
    module = native.compile_module(POLYNOMIAL, level=0)
    reference = weakref.ref(module)
    del module
    gc.collect()
    assert reference() is None


def test_threads_may_compile_at_the_same_time():
    values: dict[int, int] = {}

    def work(number: int) -> None:
        for step in range(5):
            value = 10 * number + step
            module = native.compile_module(f"define i64 @value() {{ ret i64 {value} }}", level=step % 4)
            values[value] = ctypes.CFUNCTYPE(ctypes.c_int64)(module.address("value"))()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values == {10 * number + step: 10 * number + step for number in range(4) for step in range(5)}


def test_llvm_is_imported_only_to_compile():
    program = "import sys; import chainrule.codegen.function; assert 'llvmlite' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_the_target_names_version_and_processor():
    assert native.target().startswith("LLVM ")
    assert native.target() == native.target()
