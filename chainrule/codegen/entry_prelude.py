"""The part of an entry's text that is the same for every signature: declarations, checks as small functions.

All of them are inlined; which names exist is said in `capi.prepare`.
"""

from chainrule.codegen.capi import ARRAY, DESCR, FUNCTION, HEADER, TYPE
from chainrule.codegen.interrupts import TAKE_TEXT
from chainrule.codegen.result_memory import LEAST, MOST

__all__ = ["KEEPING", "PRELUDE"]

_COLLECTED = "this function was called while the garbage collector takes it apart"

PRELUDE = f"""\
@np_ndarray = external global i8
@np_true = external global i8
@np_false = external global i8
@np_float64 = external global i8
@np_int64 = external global i8
@np_bool = external global i8
@np_float32 = external global i8
@np_complex128 = external global i8
@np_descr_float64 = external global i8
@np_descr_int64 = external global i8
@np_descr_bool = external global i8
@np_descr_float32 = external global i8
@np_descr_complex128 = external global i8
@PyFloat_Type = external global i8
@PyLong_Type = external global i8
@PyBool_Type = external global i8
@PyComplex_Type = external global i8
@_Py_NoneStruct = external global i8
@_Py_TrueStruct = external global i8
@PyExc_ReferenceError = external global ptr
@collected = private constant [{len(_COLLECTED) + 1} x i8] c"{_COLLECTED}\\00"

declare ptr @np_new_from_descr(ptr, ptr, i32, ptr, ptr, ptr, i32, ptr)
declare ptr @np_alloc_float64(ptr, i64)
declare ptr @np_alloc_int64(ptr, i64)
declare ptr @np_alloc_float32(ptr, i64)
declare ptr @np_alloc_complex128(ptr, i64)
declare double @PyLong_AsDouble(ptr)
declare i64 @PyLong_AsLongLongAndOverflow(ptr, ptr)
declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)
declare ptr @PyTuple_New(i64)
declare ptr @PyList_New(i64)
declare i32 @PyTuple_SetItem(ptr, i64, ptr)
declare i32 @PyList_SetItem(ptr, i64, ptr)
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare ptr @PyMem_RawMalloc(i64)
declare void @PyMem_RawFree(ptr)
declare ptr @PyErr_Occurred()
declare ptr @PyErr_NoMemory()
declare void @PyErr_Clear()
declare void @PyErr_SetString(ptr, ptr)
declare void @Py_IncRef(ptr)
declare void @Py_DecRef(ptr)

{TAKE_TEXT}
define internal ptr @type_of(ptr %object) alwaysinline {{
  %place = getelementptr i8, ptr %object, i64 {TYPE}
  %type = load ptr, ptr %place
  ret ptr %type
}}

define internal ptr @field(ptr %object, i64 %offset) alwaysinline {{
  %place = getelementptr i8, ptr %object, i64 %offset
  %value = load ptr, ptr %place
  ret ptr %value
}}

; An array as a kernel reads it: exactly ndarray, of this type and rank, native, contiguous, aligned.
define internal i1 @is_array(ptr %object, i32 %number, i32 %rank) alwaysinline {{
  %type = call ptr @type_of(ptr %object)
  %exact = icmp eq ptr %type, @np_ndarray
  br i1 %exact, label %array, label %no
array:
  %descr = call ptr @field(ptr %object, i64 {ARRAY.DESCR})
  %number.place = getelementptr i8, ptr %descr, i64 {DESCR.NUMBER}
  %number.found = load i32, ptr %number.place
  %order.place = getelementptr i8, ptr %descr, i64 {DESCR.BYTEORDER}
  %order = load i8, ptr %order.place
  %flags.place = getelementptr i8, ptr %object, i64 {ARRAY.FLAGS}
  %flags = load i32, ptr %flags.place
  %flags.needed = and i32 %flags, {ARRAY.CONTIGUOUS_ALIGNED}
  %rank.place = getelementptr i8, ptr %object, i64 {ARRAY.RANK}
  %rank.found = load i32, ptr %rank.place
  %same.number = icmp eq i32 %number.found, %number
  %native = icmp ne i8 %order, {DESCR.SWAPPED}
  %readable = icmp eq i32 %flags.needed, {ARRAY.CONTIGUOUS_ALIGNED}
  %same.rank = icmp eq i32 %rank.found, %rank
  %a = and i1 %same.number, %native
  %b = and i1 %readable, %same.rank
  %c = and i1 %a, %b
  ret i1 %c
no:
  ret i1 false
}}

; Readers of scalars: whether the object is of one of the types that convert without loss, and its value.
define internal i1 @read_float64(ptr %object, ptr %value) alwaysinline {{
  %type = call ptr @type_of(ptr %object)
  %python = icmp eq ptr %type, @PyFloat_Type
  %numpy = icmp eq ptr %type, @np_float64
  %direct = or i1 %python, %numpy
  br i1 %direct, label %load, label %other
load:
  %place = getelementptr i8, ptr %object, i64 {HEADER}
  %double = load double, ptr %place
  store double %double, ptr %value
  ret i1 true
other:
  %integer = icmp eq ptr %type, @PyLong_Type
  br i1 %integer, label %convert, label %no
convert:
  %converted = call double @PyLong_AsDouble(ptr %object)
  store double %converted, ptr %value
  %suspect = fcmp oeq double %converted, -1.0
  br i1 %suspect, label %check, label %yes
check:
  %error = call ptr @PyErr_Occurred()
  %fine = icmp eq ptr %error, null
  br i1 %fine, label %yes, label %overflow
overflow:
  call void @PyErr_Clear()
  ret i1 false
yes:
  ret i1 true
no:
  ret i1 false
}}

define internal i1 @read_int64(ptr %object, ptr %value) alwaysinline {{
  %overflow = alloca i32
  %type = call ptr @type_of(ptr %object)
  %numpy = icmp eq ptr %type, @np_int64
  br i1 %numpy, label %load, label %other
load:
  %place = getelementptr i8, ptr %object, i64 {HEADER}
  %integer = load i64, ptr %place
  store i64 %integer, ptr %value
  ret i1 true
other:
  %python = icmp eq ptr %type, @PyLong_Type
  br i1 %python, label %convert, label %no
convert:
  %converted = call i64 @PyLong_AsLongLongAndOverflow(ptr %object, ptr %overflow)
  store i64 %converted, ptr %value
  %overflowed = load i32, ptr %overflow
  %fine = icmp eq i32 %overflowed, 0
  ret i1 %fine
no:
  ret i1 false
}}

define internal i1 @read_bool(ptr %object, ptr %value) alwaysinline {{
  %type = call ptr @type_of(ptr %object)
  %python = icmp eq ptr %type, @PyBool_Type
  %numpy = icmp eq ptr %type, @np_bool
  %known = or i1 %python, %numpy
  %python.true = icmp eq ptr %object, @_Py_TrueStruct
  %numpy.true = icmp eq ptr %object, @np_true
  %true = or i1 %python.true, %numpy.true
  %byte = zext i1 %true to i8
  store i8 %byte, ptr %value
  ret i1 %known
}}

define internal i1 @read_float32(ptr %object, ptr %value) alwaysinline {{
  %type = call ptr @type_of(ptr %object)
  %numpy = icmp eq ptr %type, @np_float32
  br i1 %numpy, label %load, label %no
load:
  %place = getelementptr i8, ptr %object, i64 {HEADER}
  %float = load float, ptr %place
  store float %float, ptr %value
  ret i1 true
no:
  ret i1 false
}}

define internal i1 @read_complex128(ptr %object, ptr %value) alwaysinline {{
  %type = call ptr @type_of(ptr %object)
  %python = icmp eq ptr %type, @PyComplex_Type
  %numpy = icmp eq ptr %type, @np_complex128
  %known = or i1 %python, %numpy
  br i1 %known, label %load, label %no
load:
  %place = getelementptr i8, ptr %object, i64 {HEADER}
  %complex = load {{ double, double }}, ptr %place
  store {{ double, double }} %complex, ptr %value
  ret i1 true
no:
  ret i1 false
}}

; Division as Python does it, rounding down. Divisors are known not to be zero.
define internal i64 @floor_divide(i64 %a, i64 %b) alwaysinline {{
  %quotient = sdiv i64 %a, %b
  %rest = srem i64 %a, %b
  %inexact = icmp ne i64 %rest, 0
  %signs = xor i64 %rest, %b
  %differ = icmp slt i64 %signs, 0
  %down = and i1 %inexact, %differ
  %one = zext i1 %down to i64
  %result = sub i64 %quotient, %one
  ret i64 %result
}}

define internal i64 @floor_remainder(i64 %a, i64 %b) alwaysinline {{
  %quotient = call i64 @floor_divide(i64 %a, i64 %b)
  %product = mul i64 %quotient, %b
  %result = sub i64 %a, %product
  ret i64 %result
}}

declare ptr @llvm.ptrmask.p0.i64(ptr, i64)
declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)

define internal ptr @call_slow_path(ptr %self, ptr %args, i64 %nargsf, ptr %kwnames) noinline {{
  %slow = call ptr @field(ptr %self, i64 {FUNCTION.SLOW})
  %gone = icmp eq ptr %slow, null
  br i1 %gone, label %collected, label %run
run:
  call void @Py_IncRef(ptr %slow)
  %result = call ptr @PyObject_Vectorcall(ptr %slow, ptr %args, i64 %nargsf, ptr %kwnames)
  call void @Py_DecRef(ptr %slow)
  ret ptr %result
collected:
  %error = load ptr, ptr @PyExc_ReferenceError
  call void @PyErr_SetString(ptr %error, ptr @collected)
  ret ptr null
}}
"""

KEEPING = f"""\
@result_handler = external global i8
declare ptr @result_block(ptr, i64)

; A new array, its data in memory from `result_memory` if its size is one of those kept there.
define internal ptr @new_kept_array(ptr %descr, i32 %rank, ptr %dims, i64 %bytes) alwaysinline {{
  %beyond = sub i64 %bytes, {LEAST + 1}
  %suits = icmp ult i64 %beyond, {MOST - LEAST}
  br i1 %suits, label %kept, label %plain
plain:
  %new = call ptr @np_new_from_descr(
    ptr @np_ndarray, ptr %descr, i32 %rank, ptr %dims, ptr null, ptr null, i32 0, ptr null)
  ret ptr %new
kept:
  %data = call ptr @result_block(ptr null, i64 %bytes)
  %none = icmp eq ptr %data, null
  br i1 %none, label %memory, label %wrap
wrap:
  %array = call ptr @np_new_from_descr(
    ptr @np_ndarray, ptr %descr, i32 %rank, ptr %dims, ptr null, ptr %data,
    i32 {ARRAY.CONTIGUOUS_ALIGNED | ARRAY.WRITEABLE}, ptr null)
  %failed = icmp eq ptr %array, null
  br i1 %failed, label %give.back, label %own
own:
  call void @Py_IncRef(ptr @result_handler)
  %handler.place = getelementptr i8, ptr %array, i64 {ARRAY.HANDLER}
  store ptr @result_handler, ptr %handler.place
  %flags.place = getelementptr i8, ptr %array, i64 {ARRAY.FLAGS}
  %flags = load i32, ptr %flags.place
  %owning = or i32 %flags, {ARRAY.OWNS_DATA}
  store i32 %owning, ptr %flags.place
  ret ptr %array
give.back:
  call void @PyMem_RawFree(ptr %data)
  ret ptr null
memory:
  call void @Py_DecRef(ptr %descr)
  %error = call ptr @PyErr_NoMemory()
  ret ptr null
}}
"""
"""What entries need beside the prelude if results come from memory that is kept."""
