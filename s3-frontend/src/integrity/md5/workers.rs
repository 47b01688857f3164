//! Threads that hash what is under way, several bodies each.
//!
//! A job joins a worker that has a free lane, within 16 KiB of the others' bytes; another worker is
//! started only when all lanes are taken. So two bodies take one core, not two.
use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::{Input, LANES, Md5, advance};

/// How long a worker waits for more before it ends. Longer than a body takes from one batch to the next.
const PATIENCE: Duration = Duration::from_millis(20);

/// Bytes to hash.
struct Job {
    pieces: VecDeque<Bytes>,
    input: Input<Bytes>,
    done: oneshot::Sender<Md5>,
}

impl Job {
    /// Whether there is a whole block to do; afterwards all pieces have been taken.
    fn ready(&mut self) -> bool {
        while !self.input.ready() {
            let Some(piece) = self.pieces.pop_front() else {
                return false;
            };
            let md5 = std::mem::replace(&mut self.input.md5, Md5::new());
            self.input = Input::new(md5, piece);
        }
        true
    }
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    workers: usize,
    /// Lanes of all workers that have a job.
    busy: usize,
}

/// The workers of this process.
struct Workers {
    queue: Mutex<Queue>,
    came: Condvar,
    most: usize,
}

static WORKERS: LazyLock<Arc<Workers>> = LazyLock::new(|| {
    Arc::new(Workers {
        queue: Mutex::default(),
        came: Condvar::new(),
        most: std::thread::available_parallelism().map_or(1, usize::from),
    })
});

/// Begins to hash `pieces` into `md5`; what is received is the MD5 with them.
pub(crate) fn hash(md5: Md5, pieces: Vec<Bytes>) -> oneshot::Receiver<Md5> {
    let (done, receiver) = oneshot::channel();
    let job = Job {
        pieces: pieces.into(),
        input: Input::new(md5, Bytes::new()),
        done,
    };
    let mut queue = WORKERS.queue.lock();
    queue.jobs.push_back(job);
    let free = (queue.workers * LANES).saturating_sub(queue.busy);
    if queue.jobs.len() > free && queue.workers < WORKERS.most {
        queue.workers += 1;
        tokio::task::spawn_blocking(|| WORKERS.work());
    } else {
        WORKERS.came.notify_one();
    }
    receiver
}

impl Workers {
    fn work(&self) {
        let mut lanes: Vec<Job> = Vec::with_capacity(LANES);
        loop {
            {
                let mut queue = self.queue.lock();
                while lanes.len() < LANES {
                    let Some(job) = queue.jobs.pop_front() else { break };
                    lanes.push(job);
                    queue.busy += 1;
                }
                if lanes.is_empty() {
                    let waited = self.came.wait_for(&mut queue, PATIENCE);
                    if waited.timed_out() && queue.jobs.is_empty() {
                        queue.workers -= 1;
                        return;
                    }
                    continue;
                }
            }
            let mut at = 0;
            while let Some(job) = lanes.get_mut(at) {
                if job.ready() {
                    at += 1;
                    continue;
                }
                let Job { input, done, .. } = lanes.swap_remove(at);
                self.queue.lock().busy -= 1;
                // Nobody waits when the client went away.
                let _ = done.send(input.md5);
            }
            let mut inputs: Vec<&mut Input<Bytes>> = lanes.iter_mut().map(|job| &mut job.input).collect();
            advance(&mut inputs);
        }
    }
}

#[cfg(test)]
mod tests {
    use md5::Digest as _;

    use super::*;

    /// More bodies than lanes of all workers, each in batches of odd pieces.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn many_bodies_at_once() {
        let tasks: Vec<_> = (0..24_usize)
            .map(|number| {
                tokio::spawn(async move {
                    let body: Vec<u8> = (0..200_000 + number * 777)
                        .map(|i| (i * (number + 3) % 251) as u8)
                        .collect();
                    let mut md5 = Md5::new();
                    for batch in body.chunks(70_001) {
                        let pieces = batch.chunks(8_191 + number).map(Bytes::copy_from_slice).collect();
                        md5 = hash(md5, pieces).await.unwrap();
                    }
                    assert_eq!(md5.finish(), <[u8; 16]>::from(md5::Md5::digest(&body)));
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_does_not_wait_holds_up_nobody() {
        drop(hash(Md5::new(), vec![Bytes::from(vec![1; 100_000])]));
        let md5 = hash(Md5::new(), vec![Bytes::new(), Bytes::from_static(b"abc")])
            .await
            .unwrap();
        assert_eq!(hex::encode(md5.finish()), "900150983cd24fb0d6963f7d28e17f72");
    }
}
