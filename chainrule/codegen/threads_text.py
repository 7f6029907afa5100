"""The LLVM text of the thread pool: a fixed set of POSIX threads that take iterations of one loop at a time.

``cr_parallel(task, context, count)`` runs ``task(context, k, k + 1)`` for every k below ``count``, in the calling
thread and in workers, and returns when all have run. If the pool is busy (another thread of the program, or a loop
inside a loop) or has no workers, the caller runs them all itself.

How it works. A *job* is open while it may be joined. A worker first counts itself in (`active`), then looks whether
the job is open; the caller closes the job, then waits until nobody is counted in. Both use sequentially
consistent operations, so either the worker sees the closed job or the caller sees the worker, and a job's fields never
change under a worker. While the main thread waits, it asks whether the program was interrupted, which workers then
see. `epoch` says that there is a new job: a worker without one watches it for some microseconds,
then sleeps until it changes.
"""

from typing import Final

from .interrupts import POLL, poll_text

__all__ = ["PARALLEL", "POSIX", "SERIAL_TEXT", "pool_text"]

PARALLEL: Final = "cr_parallel"
"""The symbol of the function that runs a loop."""

SERIAL_TEXT: Final = f"""\
define void @{PARALLEL}(ptr %task, ptr %context, i64 %count) nounwind {{
  call void %task(ptr %context, i64 0, i64 %count)
  ret void
}}

define void @cr_set_threads(i64 %number) nounwind {{
  ret void
}}

define void @cr_forget_threads() nounwind {{
  ret void
}}
"""
"""The same functions where there are no POSIX threads."""

POSIX: Final = (
    "pthread_create", "pthread_detach", "pthread_mutex_init", "pthread_mutex_lock", "pthread_mutex_unlock",
    "pthread_cond_init", "pthread_cond_wait", "pthread_cond_broadcast", "pthread_sigmask", "sigfillset", "sched_yield",
)  # fmt: skip
"""What the pool calls of the C library."""

_SPINS: Final = 400
"""Looks at `epoch` before a worker sleeps: about 20 µs."""


def pool_text(set_mask: int, is_x86: bool) -> str:
    """The module. ``set_mask`` is the C constant ``SIG_SETMASK``; mutexes and masks get more room than any has."""
    pause = "call void @llvm.x86.sse2.pause()" if is_x86 else "fence syncscope(\"singlethread\") seq_cst"
    declare_pause = "declare void @llvm.x86.sse2.pause()" if is_x86 else ""
    return f"""\
@limit = internal global i64 1, align 64
@started = internal global i64 0
@busy = internal global i64 0, align 64
@task = internal global ptr null, align 64
@context = internal global ptr null
@count = internal global i64 0
@helpers = internal global i64 0
@next = internal global i64 0, align 64
@open = internal global i64 0, align 64
@active = internal global i64 0, align 64
@epoch = internal global i64 0, align 64
@sleeping = internal global i64 0, align 64
@mutex = internal global [256 x i8] zeroinitializer, align 64
@wake = internal global [256 x i8] zeroinitializer, align 64
@ready = internal global i64 0

declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_detach(ptr)
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_broadcast(ptr)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @sigfillset(ptr)
declare i32 @sched_yield()
{declare_pause}
{poll_text()}

; Iterations of the open job, until none is left.
define internal void @work() nounwind noinline {{
entry:
  %task = load ptr, ptr @task
  %context = load ptr, ptr @context
  %count = load i64, ptr @count
  br label %take
take:
  %k = atomicrmw add ptr @next, i64 1 monotonic
  %left = icmp slt i64 %k, %count
  br i1 %left, label %run, label %done
run:
  %after = add i64 %k, 1
  call void %task(ptr %context, i64 %k, i64 %after)
  br label %take
done:
  ret void
}}

; Worker number `self`, for as long as the process lives.
define internal ptr @worker(ptr %self) nounwind {{
entry:
  %number = ptrtoint ptr %self to i64
  br label %idle
idle:
  %seen = phi i64 [ 0, %entry ], [ %now, %leave ]
  br label %spin
spin:
  %turn = phi i64 [ 0, %idle ], [ %next.turn, %again ]
  %epoch = load atomic i64, ptr @epoch seq_cst, align 8
  %new = icmp ne i64 %epoch, %seen
  br i1 %new, label %join, label %wait
wait:
  {pause}
  %next.turn = add i64 %turn, 1
  %tired = icmp sgt i64 %next.turn, {_SPINS}
  br i1 %tired, label %sleep, label %again
again:
  br label %spin
sleep:
  call i32 @pthread_mutex_lock(ptr @mutex)
  atomicrmw add ptr @sleeping, i64 1 seq_cst
  br label %check
check:
  %current = load atomic i64, ptr @epoch seq_cst, align 8
  %woken = icmp ne i64 %current, %seen
  br i1 %woken, label %awake, label %doze
doze:
  call i32 @pthread_cond_wait(ptr @wake, ptr @mutex)
  br label %check
awake:
  atomicrmw sub ptr @sleeping, i64 1 seq_cst
  call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %join
join:
  %now = phi i64 [ %epoch, %spin ], [ %current, %awake ]
  atomicrmw add ptr @active, i64 1 seq_cst
  %open = load atomic i64, ptr @open seq_cst, align 8
  %is.open = icmp ne i64 %open, 0
  br i1 %is.open, label %look, label %leave
look:
  %helpers = load i64, ptr @helpers
  %wanted = icmp slt i64 %number, %helpers
  br i1 %wanted, label %help, label %leave
help:
  call void @work()
  br label %leave
leave:
  atomicrmw sub ptr @active, i64 1 seq_cst
  br label %idle
}}

; Start workers until there are `number`, with all signals blocked: those belong to the program's own threads.
define internal void @start(i64 %number) nounwind noinline {{
entry:
  %all = alloca [256 x i8], align 16
  %before = alloca [256 x i8], align 16
  %thread = alloca ptr
  %ready = load i64, ptr @ready
  %is.ready = icmp ne i64 %ready, 0
  br i1 %is.ready, label %block, label %prepare
prepare:
  call i32 @pthread_mutex_init(ptr @mutex, ptr null)
  call i32 @pthread_cond_init(ptr @wake, ptr null)
  store i64 1, ptr @ready
  br label %block
block:
  call i32 @sigfillset(ptr %all)
  call i32 @pthread_sigmask(i32 {set_mask}, ptr %all, ptr %before)
  br label %more
more:
  %have = load i64, ptr @started
  %fewer = icmp slt i64 %have, %number
  br i1 %fewer, label %create, label %done
create:
  %self = inttoptr i64 %have to ptr
  %failed = call i32 @pthread_create(ptr %thread, ptr null, ptr @worker, ptr %self)
  %fine = icmp eq i32 %failed, 0
  br i1 %fine, label %created, label %done
created:
  %id = load ptr, ptr %thread
  call i32 @pthread_detach(ptr %id)
  %one.more = add i64 %have, 1
  store i64 %one.more, ptr @started
  br label %more
done:
  call i32 @pthread_sigmask(i32 {set_mask}, ptr %before, ptr null)
  ret void
}}

define void @{PARALLEL}(ptr %task, ptr %context, i64 %count) nounwind {{
entry:
  %limit = load atomic i64, ptr @limit monotonic, align 8
  %threads = call i64 @llvm.smin.i64(i64 %limit, i64 %count)
  %several = icmp sgt i64 %threads, 1
  br i1 %several, label %enter, label %alone
enter:
  %pair = cmpxchg ptr @busy, i64 0, i64 1 seq_cst seq_cst
  %mine = extractvalue {{ i64, i1 }} %pair, 1
  br i1 %mine, label %staff, label %alone
alone:
  call void %task(ptr %context, i64 0, i64 %count)
  ret void
staff:
  %helpers = sub i64 %threads, 1
  %have = load i64, ptr @started
  %enough = icmp sge i64 %have, %helpers
  br i1 %enough, label %announce, label %hire
hire:
  call void @start(i64 %helpers)
  br label %announce
announce:
  store ptr %task, ptr @task
  store ptr %context, ptr @context
  store i64 %count, ptr @count
  store i64 %helpers, ptr @helpers
  %self = call i64 @PyThread_get_thread_ident()
  %main = load i64, ptr @cr_main_thread
  %is.main = icmp eq i64 %self, %main
  %for.main = zext i1 %is.main to i64
  store atomic i64 %for.main, ptr @cr_for_main monotonic, align 8
  store atomic i64 0, ptr @next seq_cst, align 8
  store atomic i64 1, ptr @open seq_cst, align 8
  atomicrmw add ptr @epoch, i64 1 seq_cst
  %sleepers = load atomic i64, ptr @sleeping seq_cst, align 8
  %some = icmp ne i64 %sleepers, 0
  br i1 %some, label %rouse, label %share
rouse:
  call i32 @pthread_mutex_lock(ptr @mutex)
  call i32 @pthread_cond_broadcast(ptr @wake)
  call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %share
share:
  call void @work()
  store atomic i64 0, ptr @open seq_cst, align 8
  br label %finish
finish:
  %turn = phi i64 [ 0, %share ], [ %next.turn, %still ], [ 0, %yield ]
  %inside = load atomic i64, ptr @active seq_cst, align 8
  %all.out = icmp eq i64 %inside, 0
  br i1 %all.out, label %done, label %wait
wait:
  {pause}
  %next.turn = add i64 %turn, 1
  %long = icmp sgt i64 %next.turn, {_SPINS}
  br i1 %long, label %yield, label %still
still:
  br label %finish
yield:
  call i32 @sched_yield()
  call i1 @{POLL}()
  br label %finish
done:
  store atomic i64 0, ptr @busy seq_cst, align 8
  ret void
}}

declare i64 @llvm.smin.i64(i64, i64)

define void @cr_set_threads(i64 %number) nounwind {{
  store atomic i64 %number, ptr @limit monotonic, align 8
  ret void
}}

; In a new process, which has a copy of the memory but none of the workers.
define void @cr_forget_threads() nounwind {{
  store i64 0, ptr @started
  store i64 0, ptr @ready
  store i64 0, ptr @open
  store i64 0, ptr @active
  store i64 0, ptr @sleeping
  store atomic i64 0, ptr @busy seq_cst, align 8
  ret void
}}
"""
