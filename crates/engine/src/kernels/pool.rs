//! A small persistent pool of threads for one kind of work: run `f(0)..f(tasks)` and wait.
//!
//! Place in the flow: under `Runtime`. Invariants: [`Pool::run`] returns only when every task has
//! ended; tasks never share an output, so that who runs them does not matter; a caller who finds
//! the pool busy runs its tasks itself. Not here: what to split and when (`runtime`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// How often a thread looks again before it sleeps: some thirty microseconds, more than the pause
/// between two products of a step; to be woken takes as long again. Longer would burn the time of
/// whoever else needs the processor.
const SPINS: usize = 2000;

/// The job of one `run`: a borrowed closure whose lifetime `run` guarantees by waiting.
#[derive(Clone)]
struct Job {
    call: *const (dyn Fn(usize) + Sync),
    tasks: usize,
    state: Arc<JobState>,
}

// SAFETY: the closure behind `call` is `Sync`, and `Pool::run` keeps it alive until no worker can
// call it any more.
unsafe impl Send for Job {}

/// Counters of one job.
struct JobState {
    next: AtomicUsize,
    /// Tasks not yet ended; the lock orders the last one with who sleeps on `done`.
    left: AtomicUsize,
    lock: Mutex<()>,
    done: Condvar,
    panicked: AtomicBool,
}

#[derive(Default)]
struct Desk {
    job: Option<Job>,
    generation: u64,
    closed: bool,
}

struct Shared {
    desk: Mutex<Desk>,
    /// That of the desk, for those who look without taking the lock.
    generation: AtomicU64,
    wake: Condvar,
}

/// Worker threads that live as long as this value.
pub(super) struct Pool {
    shared: Arc<Shared>,
    busy: Mutex<()>,
    workers: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts `threads - 1` workers (the caller of `run` is the last one); fewer when the system
    /// refuses.
    pub(super) fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared { desk: Mutex::default(), generation: AtomicU64::new(0), wake: Condvar::new() });
        let workers = (1..threads)
            .map_while(|i| {
                let shared = Arc::clone(&shared);
                let name = format!("engine-{i}");
                std::thread::Builder::new().name(name).spawn(move || work(&shared)).ok()
            })
            .collect();
        Self { shared, busy: Mutex::new(()), workers }
    }

    /// Threads that take part, the caller included.
    pub(super) fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `f(i)` once for every `i < tasks`, on any thread, and returns when all have ended.
    ///
    /// # Panics
    ///
    /// When a task panicked.
    pub(super) fn run(&self, tasks: usize, f: &(dyn Fn(usize) + Sync)) {
        let free = if tasks > 1 && !self.workers.is_empty() { self.busy.try_lock().ok() } else { None };
        if free.is_none() {
            (0..tasks).for_each(f);
            return;
        }
        let state = Arc::new(JobState {
            next: AtomicUsize::new(0),
            left: AtomicUsize::new(tasks),
            lock: Mutex::new(()),
            done: Condvar::new(),
            panicked: AtomicBool::new(false),
        });
        // SAFETY: only the lifetime is changed. The closure is called for indices below `tasks`
        // only, each counted in `left`, and this function returns only when `left` is 0; later
        // claims see an index beyond `tasks`.
        let call =
            unsafe { std::mem::transmute::<*const (dyn Fn(usize) + Sync), *const (dyn Fn(usize) + Sync + 'static)>(f) };
        let job = Job { call, tasks, state: Arc::clone(&state) };
        {
            let mut desk = lock(&self.shared.desk);
            desk.job = Some(job.clone());
            desk.generation += 1;
            self.shared.generation.store(desk.generation, Ordering::Release);
        }
        self.shared.wake.notify_all();
        help(&job);
        if !spin_until(|| state.left.load(Ordering::Acquire) == 0) {
            let mut guard = lock(&state.lock);
            while state.left.load(Ordering::Acquire) > 0 {
                guard = state.done.wait(guard).unwrap_or_else(PoisonError::into_inner);
            }
        }
        lock(&self.shared.desk).job = None;
        assert!(!state.panicked.load(Ordering::Acquire), "a kernel task panicked");
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        lock(&self.shared.desk).closed = true;
        self.shared.generation.store(u64::MAX, Ordering::Release);
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker ends only by returning: panics of tasks are caught and reported by `run`.
            let _ = worker.join();
        }
    }
}

/// Locks, also after a panic elsewhere: the data are counters that stay meaningful.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks for a while whether `ready`; whether it came true.
fn spin_until(ready: impl Fn() -> bool) -> bool {
    for _ in 0..SPINS {
        if ready() {
            return true;
        }
        std::hint::spin_loop();
    }
    ready()
}

fn work(shared: &Shared) {
    let mut seen = 0;
    loop {
        spin_until(|| shared.generation.load(Ordering::Acquire) != seen);
        let job = {
            let mut desk = lock(&shared.desk);
            loop {
                if desk.closed {
                    return;
                }
                if desk.generation != seen {
                    seen = desk.generation;
                    if let Some(job) = desk.job.clone() {
                        break job;
                    }
                }
                desk = shared.wake.wait(desk).unwrap_or_else(PoisonError::into_inner);
            }
        };
        help(&job);
    }
}

/// Takes tasks of `job` until none is left.
fn help(job: &Job) {
    loop {
        let index = job.state.next.fetch_add(1, Ordering::Relaxed);
        if index >= job.tasks {
            return;
        }
        // SAFETY: this index is below `tasks` and not yet counted down, so that `run` still waits
        // and the closure lives.
        let call = unsafe { &*job.call };
        if catch_unwind(AssertUnwindSafe(|| call(index))).is_err() {
            job.state.panicked.store(true, Ordering::Release);
        }
        if job.state.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Whoever found tasks left under the lock is asleep by the time it is free.
            drop(lock(&job.state.lock));
            job.state.done.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_exactly_once() {
        let pool = Pool::new(3);
        for tasks in [0, 1, 2, 7, 100] {
            let hits: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
            pool.run(tasks, &|i| {
                hits[i].fetch_add(1, Ordering::Relaxed);
            });
            assert!(hits.iter().all(|h| h.load(Ordering::Relaxed) == 1), "{tasks} tasks");
        }
    }

    #[test]
    fn nested_runs_do_not_deadlock() {
        let pool = Pool::new(2);
        let count = AtomicUsize::new(0);
        pool.run(4, &|_| {
            pool.run(4, &|_| {
                count.fetch_add(1, Ordering::Relaxed);
            })
        });
        assert_eq!(count.load(Ordering::Relaxed), 16);
    }
}
