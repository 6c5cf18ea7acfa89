//! The threads that the kernels share.
//!
//! A job is cut into more parts than there are threads, and each thread takes the next part when it has done one. The caller works
//! too: a thread that the system has not got round to yet is not waited for, the others do its share. So a core that is lost to
//! other work for a while slows the job down by that much and no more; nobody spins for a thread that is not running.
//!
//! Between jobs, which follow each other within microseconds while a token is computed, the threads look out for the next one
//! for [`LOOKOUT`] and then sleep. One job runs at a time; a second caller meanwhile does its own job alone.

#![allow(unsafe_code, reason = "a job on the caller's stack is lent to threads that outlive it")]

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// Threads at most, the caller among them: beyond this the memory is busy, and handing out parts costs more than it gains.
const MOST_THREADS: usize = 8;
/// Parts of a job for each thread at most.
const PARTS_PER_THREAD: usize = 8;
/// How long a thread looks out for more work before it sleeps: longer than the steps between two jobs of a token take, short enough
/// to be nothing to the rest of the machine.
const LOOKOUT: Duration = Duration::from_micros(60);
/// Looks between two glances at the clock.
const GLANCE: usize = 64;

/// A job is open to threads that come to help.
const OPEN: u64 = 1 << 32;
/// Threads that help, in the lower half of the state.
const HELPERS: u64 = OPEN - 1;
/// Jobs so far, in the upper half but for its lowest bit.
const NEXT_JOB: u64 = 1 << 33;

type Work<'a> = dyn Fn(usize) + Sync + 'a;

/// What a job consists of. Valid while the job is open or has helpers.
struct Lent {
    work: *const Work<'static>,
    parts: usize,
}

struct Shared {
    /// Number of the job, whether it is open, and how many threads help.
    state: AtomicU64,
    /// Written by the caller before it opens a job, read by helpers after they have entered it.
    lent: Mutex<Option<Lent>>,
    next_part: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Threads that sleep, waiting for a job.
    sleepers: AtomicUsize,
    /// The caller sleeps, waiting for its helpers.
    caller_sleeps: AtomicBool,
    door: Mutex<()>,
    job_came: Condvar,
    helpers_left: Condvar,
}

// SAFETY: the pointer in `lent` is only followed while the job is open or has helpers, during which its caller keeps it alive.
unsafe impl Send for Shared {}
// SAFETY: as above; the work itself is `Sync`.
unsafe impl Sync for Shared {}

struct Pool {
    shared: Arc<Shared>,
    threads: usize,
    /// Held by whoever has a job running.
    turn: Mutex<()>,
}

fn pool() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(|| {
        let wanted = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
        Pool::new(wanted)
    })
}

/// How many parts to cut a job into that is worth `worth` of them.
pub(super) fn parts(worth: usize) -> usize {
    match worth {
        0 | 1 => 1,
        _ => worth.min(pool().threads * PARTS_PER_THREAD),
    }
}

/// Calls `work` for each part from 0 to `parts`, on all threads, and returns when all are done. A panic in a part is passed on.
pub(super) fn run(parts: usize, work: &Work<'_>) {
    if parts <= 1 {
        (0..parts).for_each(work);
        return;
    }
    pool().run(parts, work);
}

/// Calls `work` with each piece of `length` of `all` and its number, on as many threads as `worth` parts are for.
pub(super) fn for_each_piece(all: &mut [f32], length: usize, worth: usize, work: &(dyn Fn(usize, &mut [f32]) + Sync)) {
    /// A slice that several threads write, each to pieces of its own.
    struct Shared(*mut f32);
    // SAFETY: each piece is given to one call of `work` only.
    unsafe impl Sync for Shared {}

    let (total, pieces) = (all.len(), all.len().div_ceil(length.max(1)));
    let shared = &Shared(all.as_mut_ptr());
    let parts = parts(worth).min(pieces).max(1);
    run(parts, &|part| {
        for index in part * pieces / parts..(part + 1) * pieces / parts {
            let start = index * length;
            // SAFETY: pieces do not overlap, each index comes once, and `all` is borrowed until `run` returns.
            let piece = unsafe { std::slice::from_raw_parts_mut(shared.0.add(start), length.min(total - start)) };
            work(index, piece);
        }
    });
}

impl Pool {
    /// `threads` counts the caller. If the system will not give so many, fewer do.
    fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            lent: Mutex::new(None),
            next_part: AtomicUsize::new(0),
            panic: Mutex::new(None),
            sleepers: AtomicUsize::new(0),
            caller_sleeps: AtomicBool::new(false),
            door: Mutex::new(()),
            job_came: Condvar::new(),
            helpers_left: Condvar::new(),
        });
        let mut started = 1;
        for index in 1..threads {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name(format!("kernels-{index}"));
            match thread.spawn(move || shared.help()) {
                Ok(_) => started += 1,
                Err(error) => tracing::warn!(%error, "a thread for the language model could not be started"),
            }
        }
        Self { shared, threads: started, turn: Mutex::new(()) }
    }

    fn run(&self, parts: usize, work: &Work<'_>) {
        let turn = match self.turn.try_lock() {
            Ok(turn) => Some(turn),
            Err(TryLockError::Poisoned(turn)) => Some(turn.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        let Some(_turn) = turn.filter(|_| self.threads > 1) else {
            (0..parts).for_each(work);
            return;
        };
        // SAFETY: only the lifetime changes. `close` below returns after the last helper has left, so nobody follows the
        // pointer once this function, which borrows `work`, has returned; nor can it be left before, since parts do not unwind.
        let work = unsafe { std::mem::transmute::<&Work<'_>, &'static Work<'static>>(work) };
        self.shared.open(Lent { work, parts });
        self.shared.take_parts(work, parts);
        self.shared.close();
        if let Some(panic) = lock(&self.shared.panic).take() {
            resume_unwind(panic);
        }
    }
}

impl Shared {
    fn open(&self, lent: Lent) {
        *lock(&self.lent) = Some(lent);
        self.next_part.store(0, Ordering::Relaxed);
        self.state.store(
            (self.state.load(Ordering::Relaxed) & !(OPEN | HELPERS)).wrapping_add(NEXT_JOB | OPEN),
            Ordering::SeqCst,
        );
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            drop(lock(&self.door));
            self.job_came.notify_all();
        }
    }

    /// Lets no more helpers in and waits for those that are.
    fn close(&self) {
        self.state.fetch_and(!OPEN, Ordering::SeqCst);
        let is_alone = || self.state.load(Ordering::SeqCst) & HELPERS == 0;
        if look_out(is_alone) {
            return;
        }
        // A helper has lost its core in the middle of a part. This one is free for it.
        self.caller_sleeps.store(true, Ordering::SeqCst);
        let mut door = lock(&self.door);
        while !is_alone() {
            door = self.helpers_left.wait(door).unwrap_or_else(PoisonError::into_inner);
        }
        drop(door);
        self.caller_sleeps.store(false, Ordering::SeqCst);
    }

    /// Does parts until none is left.
    fn take_parts(&self, work: &Work<'_>, parts: usize) {
        loop {
            let part = self.next_part.fetch_add(1, Ordering::Relaxed);
            if part >= parts {
                return;
            }
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(part))) {
                lock(&self.panic).get_or_insert(panic);
            }
        }
    }

    /// What a thread of the pool does, for ever.
    fn help(&self) {
        let mut seen = 0;
        loop {
            seen = self.wait_for_job(seen);
            if !self.enter(seen) {
                continue;
            }
            let job = lock(&self.lent).as_ref().map(|lent| (lent.work, lent.parts));
            if let Some((work, parts)) = job {
                // SAFETY: this thread has entered the job while it was open, so its caller waits until it has left.
                self.take_parts(unsafe { &*work }, parts);
            }
            self.leave();
        }
    }

    /// Waits for a job other than `seen`; gives its number.
    fn wait_for_job(&self, seen: u64) -> u64 {
        let job = || self.state.load(Ordering::SeqCst) & !(OPEN | HELPERS);
        if !look_out(|| job() != seen) {
            let mut door = lock(&self.door);
            self.sleepers.fetch_add(1, Ordering::SeqCst);
            while job() == seen {
                door = self.job_came.wait(door).unwrap_or_else(PoisonError::into_inner);
            }
            self.sleepers.fetch_sub(1, Ordering::SeqCst);
        }
        job()
    }

    /// Joins `job`; `false` if it is closed or past.
    fn enter(&self, job: u64) -> bool {
        let joined = |state: u64| (state & !HELPERS == job | OPEN).then_some(state + 1);
        self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, joined).is_ok()
    }

    fn leave(&self) {
        self.state.fetch_sub(1, Ordering::SeqCst);
        if self.caller_sleeps.load(Ordering::SeqCst) {
            drop(lock(&self.door));
            self.helpers_left.notify_all();
        }
    }
}

/// Looks until `is_there` or the time is over; says which.
fn look_out(is_there: impl Fn() -> bool) -> bool {
    let started = Instant::now();
    loop {
        for _ in 0..GLANCE {
            if is_there() {
                return true;
            }
            std::hint::spin_loop();
        }
        if started.elapsed() > LOOKOUT {
            return is_there();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(pool: &Pool, parts: usize) {
        let counts: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
        pool.run(parts, &|part| {
            counts[part].fetch_add(1, Ordering::Relaxed);
        });
        assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn every_part_is_done_once_and_done_on_return() {
        for threads in [1, 2, 5] {
            let pool = Pool::new(threads);
            for round in 0..500 {
                counted(&pool, round % 40 + 1);
            }
        }
    }

    #[test]
    fn threads_that_have_gone_to_sleep_wake_up_again() {
        let pool = Pool::new(3);
        for _ in 0..20 {
            while pool.shared.sleepers.load(Ordering::SeqCst) < 2 {
                std::thread::yield_now();
            }
            let helped = AtomicBool::new(false);
            let caller = std::thread::current().id();
            // A part that only ends when another thread has come.
            pool.run(2, &|_| {
                if std::thread::current().id() != caller {
                    helped.store(true, Ordering::SeqCst);
                }
                while !helped.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
            });
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(3);
        for round in 0..20 {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                pool.run(10, &|part| assert!(part != round % 10, "part {part}"));
            }));
            assert!(outcome.is_err());
            counted(&pool, 10);
        }
    }

    #[test]
    fn callers_at_the_same_time_and_within_a_job_do_not_wait_for_one_another() {
        let pool = Pool::new(2);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| (0..200).for_each(|_| counted(&pool, 7)));
            }
        });
        pool.run(4, &|_| counted(&pool, 3));
    }
}
