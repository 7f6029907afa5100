"""From LLVM text to machine code in this process.

`compile_module` is `load(emit(text))`: the object code in the middle is plain bytes, which may be kept on
disk and loaded into another process on the same kind of machine (`target` says which kind). Code must
therefore hold no addresses: what it refers to by name is found among the symbols of the process and those
given to `define_symbols`.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import sys
import threading
from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import llvmlite.binding as llvm

__all__ = [
    "LEVELS", "PASSES", "CompileError", "Module", "assembly", "compile_module", "define_symbols", "emit", "load",
    "target",
]  # fmt: skip

LEVELS: Final = (0, 1, 2, 3)
_CODE_GENERATOR: Final = (0, 2, 2, 2)
"""How hard the code generator works at each level."""

_NEAR: Final = sys.platform == "linux" and platform.machine() == "x86_64"
"""Whether code reaches its constants relative to itself, for which all of a module lies in one piece of memory.

By default they may lie anywhere, and each use takes ten bytes of code more to load an address: a sixth of large
straight-line kernels, which then no longer stay in the processor's cache of decoded instructions between calls.
"""
_ROOM: Final = """
@.room = internal global i64 0
@llvm.used = appending global [1 x ptr] [ptr @.room], section "llvm.metadata"
"""
"""A variable for the sake of its page: what is left of it takes the addresses of the functions that near code calls.

The loader reserves one piece of memory for a module, but forgets those addresses; a page has room for five hundred.
"""
_MOST_NEAR: Final = 400
"""Outside functions of a module with near code."""

PASSES: Final = "3"
"""Names what `emit` makes of a text at each level; to be changed with it, as kept object code depends on it."""

_lock = threading.RLock()
"""Held during every use of LLVM: target machines and the table of symbols are shared."""

if hasattr(os, "register_at_fork"):
    # A child must not inherit a lock that one of the parent's other threads holds.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


class CompileError(RuntimeError):
    """LLVM text that does not parse, does not verify, or refers to a symbol that nobody defines."""


class Module:
    """Machine code in memory. It stays there as long as this object lives.

    `object_code` is what `load` made it from. `address(name)` is the address of a function or global
    variable.
    """

    __slots__ = ("__weakref__", "_engine", "object_code")

    def __init__(self, engine: llvm.ExecutionEngine, object_code: bytes) -> None:
        self._engine = engine
        self.object_code = object_code

    def address(self, name: str) -> int:
        """The address of a global name of the module; KeyError if the module does not define it.

        >>> module = compile_module("define i64 @answer() { ret i64 42 }", level=1)
        >>> import ctypes
        >>> ctypes.CFUNCTYPE(ctypes.c_int64)(module.address("answer"))()
        42
        """
        with _lock:
            address: int = self._engine.get_function_address(name)
        if address == 0:
            raise KeyError(f"the compiled module does not define {name!r}")
        return address

    def keep_forever(self) -> None:
        """Never unload the code, not even at the end of the interpreter: native threads may still run it."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._engine))


def compile_module(ir_text: str, *, level: int) -> Module:
    """Compile LLVM text for this machine and load it.

    The levels, each with about the time it takes for a vector kernel of 30 kB of text:

    - 0: no passes, the fastest code generator (15 ms);
    - 1: inlining, registers for variables, local cleaning, the good code generator (50 ms): all that explicit
      lanes and straight-line code need;
    - 2: LLVM's O2 (80 ms), which pays where loops of few steps nest;
    - 3: LLVM's O1 and its vectoriser of straight-line code (200 ms), which makes large closed forms shorter.

    Every level gives the same bits. Raises `CompileError`.
    """
    return load(emit(ir_text, level))


def emit(ir_text: str, level: int, inline: bool = False) -> bytes:
    """The object code of LLVM text for this machine; `level` and errors as in `compile_module`.

    ``inline``: at level 0, functions marked so are inlined all the same: right for much small glue that runs in
    nanoseconds, wrong for vector code, which level 0 would spill.
    """
    with _lock, closing(_llvm().create_context()) as context, closing(_parsed(ir_text, context)) as module:
        object_code: bytes = _optimised(module, level, inline).emit_object(module)
        return object_code


def assembly(ir_text: str, level: int) -> str:
    """What `emit` makes of LLVM text, as assembler text to be read.

    >>> "ret" in assembly("define i64 @answer() { ret i64 42 }", level=1)
    True
    """
    with _lock, closing(_llvm().create_context()) as context, closing(_parsed(ir_text, context)) as module:
        text: str = _optimised(module, level).emit_assembly(module)
        return text


def _optimised(module: llvm.ModuleRef, level: int, inline: bool = False) -> llvm.TargetMachine:
    """Runs the passes of a level over a module; the machine that makes code of it."""
    if level not in LEVELS:
        raise ValueError(f"optimisation level {level!r}: choose one of 0, 1, 2, 3")
    outside = _outside(module)
    machine = _target_machine(level, near=_NEAR and len(outside) <= _MOST_NEAR)
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    _require_symbols(outside)
    if level in (1, 3) or inline:
        _tidy(module, machine, level)
    if level > 1:
        _optimise(module, machine, level)
    return machine


def load(object_code: bytes) -> Module:
    """Bring object code from `emit` into memory.

    LLVM does not survive damaged object code: bytes that come from a file need a checksum of their own. The
    names that the code refers to must be defined before.
    """
    with _lock:
        llvm = _llvm()
        # An engine owns its target machine, so it gets one of its own; it only reads the data layout.
        machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
        # The global context: the garbage collector might dispose of any other before the engine.
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine, use_lmm=_NEAR or None)
        engine.add_object_file(llvm.ObjectFileRef.from_data(object_code))
        engine.finalize_object()
        return Module(engine, object_code)


def define_symbols(addresses: Mapping[str, int]) -> None:
    """Make names known to code that is compiled or loaded later, before those of the process itself."""
    with _lock:
        llvm = _llvm()
        for name, address in addresses.items():
            llvm.add_symbol(name, address)


@functools.cache
def target() -> str:
    """What object code depends on beside its text and level: llvmlite, triple, processor and its features."""
    with _lock:
        llvm = _llvm()
        version = f"{'.'.join(map(str, llvm.llvm_version_info))} llvmlite {_llvmlite_version()}"
        features = llvm.get_host_cpu_features().flatten()
        return f"LLVM {version} {llvm.get_default_triple()} {llvm.get_host_cpu_name()} {features}"


def _llvmlite_version() -> str:
    import llvmlite

    return str(llvmlite.__version__)


@functools.cache
def _llvm() -> Any:
    """llvmlite's binding, imported only when something is compiled."""
    import llvmlite.binding

    llvmlite.binding.initialize_native_target()
    llvmlite.binding.initialize_native_asmprinter()
    return llvmlite.binding


@functools.cache
def _target_machine(level: int, near: bool) -> llvm.TargetMachine:
    llvm = _llvm()
    model = {"codemodel": "small", "reloc": "pic"} if near else {}
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=_CODE_GENERATOR[level],
        jit=True,
        **model,
    )


def _parsed(ir_text: str, context: llvm.ContextRef) -> llvm.ModuleRef:
    llvm = _llvm()
    try:
        module = llvm.parse_assembly(ir_text + _ROOM if _NEAR else ir_text, context)
        module.verify()
    except RuntimeError as error:
        raise CompileError(f"LLVM rejects a generated module: {error}") from error
    return module


def _tidy(module: llvm.ModuleRef, machine: llvm.TargetMachine, level: int) -> None:
    """The passes of level 1, and those that inlining at level 0 takes."""
    llvm = _llvm()
    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.add_global_dead_code_eliminate_pass()
    passes.add_sroa_pass()
    if level > 0:
        passes.add_instruction_combine_pass()
        passes.add_simplify_cfg_pass()
    else:
        passes.add_dead_code_elimination_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=1)))


def _optimise(module: llvm.ModuleRef, machine: llvm.TargetMachine, level: int) -> None:
    llvm = _llvm()
    straight = level == 3
    options = llvm.create_pipeline_tuning_options(speed_level=1 if straight else level)
    options.slp_vectorization = straight
    options.loop_vectorization = not straight
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(module, passes)


def _outside(module: llvm.ModuleRef) -> list[str]:
    """The names of the functions and variables that a module uses and does not define."""
    values = (value for group in (module.functions, module.global_variables) for value in group)
    return [v.name for v in values if v.is_declaration and not v.name.startswith("llvm.")]


def _require_symbols(names: list[str]) -> None:
    """MCJIT gives an unknown symbol the address 0 in silence; the crash would come at the call."""
    llvm = _llvm()
    for name in names:
        if not llvm.address_of_symbol(name):
            raise CompileError(f"a generated module refers to {name!r}, which nothing in this process defines")
