//! Threads for work that may wait. Jobs start in order; a job that waits holds up no other as long as there are
//! threads left.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// The most threads. Each serves one caller that waits for the vault; beyond that callers queue, and their time runs.
const MAX_THREADS: usize = 64;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

/// See the module. Clones share the threads, which end with the process.
#[derive(Clone, Default)]
pub struct Pool {
    shared: Arc<(Mutex<Queue>, Condvar)>,
}

impl Pool {
    /// Runs `job` on a thread of the pool. A panic in it costs that job and nothing else.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        let mut queue = self.queue();
        queue.jobs.push_back(Box::new(job));
        if queue.jobs.len() > queue.idle && queue.threads < MAX_THREADS && self.spawn() {
            queue.threads += 1;
        }
        drop(queue);
        self.shared.1.notify_one();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self) -> bool {
        let pool = self.clone();
        thread::Builder::new().name("akvfs-worker".into()).spawn(move || pool.work()).is_ok()
    }

    fn work(&self) {
        loop {
            let job = self.next();
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!("a request failed inside (panic); its caller got EIO");
            }
        }
    }

    fn next(&self) -> Job {
        let mut queue = self.queue();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return job;
            }
            queue.idle += 1;
            queue = self.shared.1.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_job_that_waits_and_one_that_panics_hold_up_no_other() {
        let pool = Pool::default();
        let (release, waits) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        pool.run(move || assert!(waits.recv().is_err()));
        pool.run(|| panic!("on purpose"));
        for number in 0..100 {
            let tell = tell.clone();
            pool.run(move || tell.send(number).expect("heard"));
        }
        let mut all: Vec<i32> = told.iter().take(100).collect();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
        drop(release);
    }
}
