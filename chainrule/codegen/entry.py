"""The LLVM text of an entry: the native function that Python calls, and that calls a kernel.

An entry knows a signature, not a kernel. What belongs to one `Function` (the kernel's address, hidden inputs,
the slow path) it reads from the instance, so one entry serves all kernels of a signature, and its text holds
no address.

Every call does this, in this order: check the arguments (whatever does not fit goes to the slow path), hold
on to the kernel, make the results, run the kernel (without the interpreter lock if the work is large),
arrange the results, or drop them if the kernel was interrupted.
"""

from __future__ import annotations

from collections.abc import Iterator

from chainrule.codegen.capi import ARRAY, FUNCTION, HEADER
from chainrule.codegen.entry_prelude import KEEPING, PRELUDE
from chainrule.codegen.result_memory import keeps
from chainrule.codegen.signature import Argument, Dtype, Signature, SizeExpr, Tree, tree_leaves

__all__ = ["ENTRY", "LARGE", "STACK_WORKSPACE", "entry_text", "may_keep"]

ENTRY = "entry"
"""Name of the entry in its module."""
LARGE = 20_000
"""Elements of inputs and results together above which a call lets other Python threads run."""
STACK_WORKSPACE = 4096
"""Bytes of workspace from which on it comes from the heap."""

_ELEMENT: dict[Dtype, str] = {
    "float64": "double",
    "int64": "i64",
    "bool": "i8",
    "float32": "float",
    "complex128": "{ double, double }",
}
_BYTES: dict[Dtype, int] = {"float64": 8, "int64": 8, "bool": 1, "float32": 4, "complex128": 16}
_ALIGNMENT = 64
_RELATION = {"==": "eq", ">=": "sge", "!=": "ne"}

_OPERATION = {
    "+": "add i64 {}, {}",
    "*": "mul i64 {}, {}",
    "//": "call i64 @floor_divide(i64 {}, i64 {})",
    "%": "call i64 @floor_remainder(i64 {}, i64 {})",
    "min": "call i64 @llvm.smin.i64(i64 {}, i64 {})",
    "max": "call i64 @llvm.smax.i64(i64 {}, i64 {})",
}


def may_keep(result: Argument) -> bool:
    """Whether a result's memory may come from `result_memory`: its size suits, or will be known in the call."""
    count = _BYTES[result.dtype]
    for size in result.shape:
        if not isinstance(size, int):
            return True
        count *= size
    return keeps(count)


def entry_text(signature: Signature, type_numbers: dict[Dtype, int], *, keep: bool = False) -> str:
    """An LLVM module that defines `ptr @entry(ptr self, ptr args, i64 nargsf, ptr kwnames)` for a signature.

    Two signatures that differ only in the names of their sizes have the same text. ``keep``: results that suit get
    memory from `result_memory`.
    """
    return PRELUDE + (KEEPING if keep else "") + _Entry(signature, type_numbers, keep).text()


class _Entry:
    """Writes one entry from top to bottom. Fresh names are numbered; failed checks branch to `slow`."""

    def __init__(self, signature: Signature, type_numbers: dict[Dtype, int], keep: bool) -> None:
        self.signature = signature
        self.keep = keep
        self.type_numbers = type_numbers
        self.slots: list[str] = []
        self.body: list[str] = []
        self.endings: list[str] = []
        self.count = 0
        self.sizes: dict[str, str] = {}
        self.owned: list[str] = []
        """Objects to give back if something fails from here on, in the order in which they were made."""

    def text(self) -> str:
        signature = self.signature
        self._check_call()
        objects = [self._item("%args", number) for number in range(len(signature.inputs))]
        inputs = [
            value for pair in zip(signature.inputs, objects, strict=True) for value in self._input(*pair)
        ]
        table = self._value(f"call ptr @field(ptr %self, i64 {FUNCTION.TABLE})")
        kernel = self._item(table, 0)
        hidden = self._hidden(table)
        shapes = [[self._size(dim) for dim in result.shape] for result in signature.results]
        self._check_results(shapes)
        workspace = None if signature.workspace is None else self._size(signature.workspace)
        self._check_guards()

        owner = self._value(f"call ptr @field(ptr %self, i64 {FUNCTION.OWNER})")
        self._check(f"icmp ne ptr {owner}, null")
        self._do(f"call void @Py_IncRef(ptr {owner})")
        self.owned.append(owner)

        results = [self._result(*pair) for pair in zip(signature.results, shapes, strict=True)]
        arguments = inputs + hidden + [f"i64 {self.sizes[name]}" for name in signature.sizes]
        arguments += [f"ptr {data}" for _, data in results]
        self._run(kernel, arguments, workspace, self._elements(shapes))
        self._return([self._finished(*pair) for pair in results])

        return "\n".join(
            [
                f"define ptr @{ENTRY}(ptr %self, ptr %args, i64 %nargsf, ptr %kwnames) nounwind {{",
                *self.slots,
                *self.body,
                *self.endings,
                *self._drops(),
                "slow:",
                "  %slow.result = call ptr @call_slow_path(ptr %self, ptr %args, i64 %nargsf, ptr %kwnames)",
                "  ret ptr %slow.result",
                "}",
                '!0 = !{!"branch_weights", i32 2000, i32 1}',
                "",
            ]
        )

    # --- instructions

    def _do(self, instruction: str) -> None:
        self.body.append(f"  {instruction}")

    def _name(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def _value(self, instruction: str) -> str:
        name = f"%{self._name()}"
        self._do(f"{name} = {instruction}")
        return name

    def _stack(self, kind: str) -> str:
        name = f"%{self._name()}"
        self.slots.append(f"  {name} = alloca {kind}")
        return name

    def _label(self, name: str) -> None:
        self.body.append(f"{name}:")

    def _branch(self, condition: str, otherwise: str) -> None:
        """Go on if the condition, an instruction, holds."""
        flag, label = self._value(condition), self._name()
        self._do(f"br i1 {flag}, label %{label}, label %{otherwise}, !prof !0")
        self._label(label)

    def _check(self, condition: str) -> None:
        self._branch(condition, "slow")

    def _own(self, instruction: str) -> str:
        """A new object, or null: then what was made before is given back, and the entry returns null."""
        made = self._value(instruction)
        self._branch(f"icmp ne ptr {made}, null", f"drop{len(self.owned)}")
        self.owned.append(made)
        return made

    def _item(self, table: str, number: int, kind: str = "ptr") -> str:
        place = self._value(f"getelementptr i64, ptr {table}, i64 {number}")
        return self._value(f"load {kind}, ptr {place}")

    # --- arguments

    def _check_call(self) -> None:
        self._check("icmp eq ptr %kwnames, null")
        count = self._value(f"and i64 %nargsf, {2**63 - 1}")
        self._check(f"icmp eq i64 {count}, {len(self.signature.inputs)}")

    def _input(self, argument: Argument, object: str) -> list[str]:
        """The kernel's arguments, with their types, for one argument of the call."""
        if argument.shape:
            number = self.type_numbers[argument.dtype]
            self._check(f"call i1 @is_array(ptr {object}, i32 {number}, i32 {len(argument.shape)})")
            shape = self._value(f"call ptr @field(ptr {object}, i64 {ARRAY.SHAPE})")
            for axis, dim in enumerate(argument.shape):
                self._dimension(dim, self._item(shape, axis, "i64"))
            data = self._value(f"call ptr @field(ptr {object}, i64 {ARRAY.DATA})")
            return [f"ptr {data}"]
        place = self._stack(_ELEMENT[argument.dtype])
        self._check(f"call i1 @read_{argument.dtype}(ptr {object}, ptr {place})")
        return self._scalar(argument.dtype, place)

    def _scalar(self, dtype: Dtype, place: str) -> list[str]:
        if dtype == "complex128":
            return [f"double {self._item(place, part, 'double')}" for part in range(2)]
        value = self._value(f"load {_ELEMENT[dtype]}, ptr {place}")
        return [f"i8 zeroext {value}" if dtype == "bool" else f"{_ELEMENT[dtype]} {value}"]

    def _dimension(self, dim: SizeExpr, found: str) -> None:
        """A dimension has to be the number asked for; a name stands for the first number that it meets."""
        if isinstance(dim, str) and dim not in self.sizes:
            self.sizes[dim] = found
        else:
            self._check(f"icmp eq i64 {found}, {self._size(dim)}")

    def _hidden(self, table: str) -> list[str]:
        """Hidden inputs, from the table that `Function.install` writes.

        It holds the kernel, then a pointer and the dimensions for each array, a word or two for each scalar.
        """
        values, word = [], 1
        for argument in self.signature.hidden:
            if argument.shape:
                values.append(f"ptr {self._item(table, word)}")
                for axis, dim in enumerate(argument.shape):
                    self._dimension(dim, self._item(table, word + 1 + axis, "i64"))
                word += 1 + len(argument.shape)
            else:
                place = self._value(f"getelementptr i64, ptr {table}, i64 {word}")
                values += self._scalar(argument.dtype, place)
                word += 2 if argument.dtype == "complex128" else 1
        return values

    def _size(self, expression: SizeExpr) -> str:
        match expression:
            case int(number):
                return str(number)
            case str(name):
                return self.sizes[name]
            case (operator, left, right):
                operands = self._size(left), self._size(right)
                if operator in ("//", "%"):
                    self._check(f"icmp ne i64 {operands[1]}, 0")
                return self._value(_OPERATION[operator].format(*operands))

    def _check_results(self, shapes: list[list[str]]) -> None:
        for result, shape in zip(self.signature.results, shapes, strict=True):
            for dim, size in zip(result.shape, shape, strict=True):
                if isinstance(dim, tuple):
                    self._check(f"icmp sge i64 {size}, 0")

    def _check_guards(self) -> None:
        for relation, left, right in self.signature.guards:
            self._check(f"icmp {_RELATION[relation]} i64 {self._size(left)}, {self._size(right)}")

    # --- the call

    def _elements(self, shapes: list[list[str]]) -> str:
        """How many elements inputs and results have together."""
        total = "0"
        for shape in (
            *([self._size(dim) for dim in argument.shape] for argument in self.signature.inputs),
            *shapes,
        ):
            product = "1"
            for size in shape:
                product = self._value(f"mul i64 {product}, {size}")
            total = self._value(f"add i64 {total}, {product}")
        return total

    def _run(self, kernel: str, arguments: list[str], workspace: str | None, elements: str) -> None:
        block = None
        if workspace is not None:
            block, scratch = self._workspace(workspace)
            arguments = [*arguments, f"ptr {scratch}"]
        state = self._stack("ptr")
        large = self._value(f"icmp sgt i64 {elements}, {LARGE}")
        self._do(f"br i1 {large}, label %unlock, label %run")
        self._label("unlock")
        self._do(f"store ptr {self._value('call ptr @PyEval_SaveThread()')}, ptr {state}")
        self._do("br label %run")
        self._label("run")
        self._do(f"call void {kernel}({', '.join(arguments)})")
        self._do(f"br i1 {large}, label %lock, label %ran")
        self._label("lock")
        self._do(f"call void @PyEval_RestoreThread(ptr {self._value(f'load ptr, ptr {state}')})")
        self._do("br label %ran")
        self._label("ran")
        if block is not None:
            self._do(f"call void @PyMem_RawFree(ptr {self._value(f'load ptr, ptr {block}')})")
        flag = self._value("load atomic i64, ptr @cr_interrupted monotonic, align 8")
        self._branch(f"icmp eq i64 {flag}, 0", "interrupted")
        self._do("br label %complete")
        self._label("complete")
        self.endings += [
            "interrupted:",
            "  %is.mine = call i1 @cr_take_interrupt()",
            f"  br i1 %is.mine, label %drop{len(self.owned)}, label %complete",
        ]

    def _workspace(self, size: str) -> tuple[str, str]:
        """Where the block to free afterwards is noted (null if on the stack), and the aligned memory."""
        stack = self._stack(f"[{STACK_WORKSPACE} x i8], align {_ALIGNMENT}")
        block, scratch = self._stack("ptr"), self._stack("ptr")
        self._do(f"store ptr null, ptr {block}")
        self._do(f"store ptr {stack}, ptr {scratch}")
        small = self._value(f"icmp slt i64 {size}, {STACK_WORKSPACE}")
        self._do(f"br i1 {small}, label %provided, label %heap")
        self._label("heap")
        padded = self._value(f"add i64 {size}, {_ALIGNMENT - 1}")
        memory = self._value(f"call ptr @PyMem_RawMalloc(i64 {padded})")
        self._branch(f"icmp ne ptr {memory}, null", "no.memory")
        self._do(f"store ptr {memory}, ptr {block}")
        last = self._value(f"getelementptr i8, ptr {memory}, i64 {_ALIGNMENT - 1}")
        aligned = self._value(f"call ptr @llvm.ptrmask.p0.i64(ptr {last}, i64 {-_ALIGNMENT})")
        self._do(f"store ptr {aligned}, ptr {scratch}")
        self._do("br label %provided")
        self.endings += ["no.memory:", "  call ptr @PyErr_NoMemory()", f"  br label %drop{len(self.owned)}"]
        self._label("provided")
        return block, self._value(f"load ptr, ptr {scratch}")

    # --- results

    def _result(self, argument: Argument, shape: list[str]) -> tuple[str | None, str]:
        """A new object and where its data belong. A boolean of rank 0 is not made but chosen, afterwards."""
        if argument.shape:
            made = self._own(self._new_array(argument, shape))
            return made, self._value(f"call ptr @field(ptr {made}, i64 {ARRAY.DATA})")
        if argument.dtype == "bool":
            return None, self._stack("i8")
        made = self._own(f"call ptr @np_alloc_{argument.dtype}(ptr @np_{argument.dtype}, i64 0)")
        return made, self._value(f"getelementptr i8, ptr {made}, i64 {HEADER}")

    def _new_array(self, argument: Argument, shape: list[str]) -> str:
        dims = self._stack(f"[{len(shape)} x i64]")
        for axis, size in enumerate(shape):
            place = self._value(f"getelementptr i64, ptr {dims}, i64 {axis}")
            self._do(f"store i64 {size}, ptr {place}")
        descr = f"ptr @np_descr_{argument.dtype}"
        self._do(f"call void @Py_IncRef({descr})")  # the call below takes this reference, also when it fails
        if self.keep and may_keep(argument):
            count = str(_BYTES[argument.dtype])
            for size in shape:
                count = self._value(f"mul i64 {count}, {size}")
            return f"call ptr @new_kept_array({descr}, i32 {len(shape)}, ptr {dims}, i64 {count})"
        return (
            f"call ptr @np_new_from_descr(ptr @np_ndarray, {descr}, i32 {len(shape)}, ptr {dims},"
            " ptr null, ptr null, i32 0, ptr null)"
        )

    def _finished(self, made: str | None, data: str) -> str:
        if made is not None:
            return made
        byte = self._value(f"load i8, ptr {data}")
        true = self._value(f"icmp ne i8 {byte}, 0")
        chosen = self._value(f"select i1 {true}, ptr @np_true, ptr @np_false")
        self._do(f"call void @Py_IncRef(ptr {chosen})")
        self.owned.append(chosen)
        return chosen

    def _return(self, results: list[str]) -> None:
        """Arrange the results in their tree: first all that can fail, then what hands objects over."""
        tree = self.signature.tree
        containers: list[str] = []
        self._make_containers(tree, containers)
        leaves = list(tree_leaves(tree))
        for number, result in enumerate(results):
            for _ in range(leaves.count(number) - 1):
                self._do(f"call void @Py_IncRef(ptr {result})")
        root = self._fill(tree, results, iter(containers))
        for number, result in enumerate(results):
            if number not in leaves:
                self._do(f"call void @Py_DecRef(ptr {result})")
        self._do(f"call void @Py_DecRef(ptr {self.owned[0]})")
        self._do(f"ret ptr {root}")

    def _make_containers(self, tree: Tree, made: list[str]) -> None:
        if isinstance(tree, (tuple, list)):
            made.append(self._own(f"call ptr @{_container(tree)}_New(i64 {len(tree)})"))
            for child in tree:
                self._make_containers(child, made)

    def _fill(self, tree: Tree, results: list[str], containers: Iterator[str]) -> str:
        """The object for a tree; containers come in the order in which `_make_containers` made them."""
        match tree:
            case None:
                self._do("call void @Py_IncRef(ptr @_Py_NoneStruct)")
                return "@_Py_NoneStruct"
            case int(number):
                return results[number]
        container = next(containers)
        for position, child in enumerate(tree):
            item = self._fill(child, results, containers)
            self._do(f"call i32 @{_container(tree)}_SetItem(ptr {container}, i64 {position}, ptr {item})")
        return container

    def _drops(self) -> list[str]:
        """What happens when something fails after `k` objects were made: `dropk`."""
        lines = []
        for number in range(len(self.owned), 0, -1):
            lines += [f"drop{number}:", f"  call void @Py_DecRef(ptr {self.owned[number - 1]})"]
            lines += [f"  br label %drop{number - 1}"]
        return [*lines, "drop0:", "  ret ptr null"]


def _container(tree: tuple[Tree, ...] | list[Tree]) -> str:
    return "PyTuple" if isinstance(tree, tuple) else "PyList"
