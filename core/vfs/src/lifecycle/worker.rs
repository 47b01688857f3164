//! The worker that follows the rules of all buckets.
use std::sync::{Arc, Weak};
use std::time::Duration;

use store::workers::Worker;

use super::calendar::Calendar;
use super::pass;
use super::progress::{Progress, digest};
use super::{Lifecycle, SETTING};
use crate::ack::Terms;
use crate::vfs::{Core, Workers};
use crate::{Error, Result, Vfs, clock};

/// Name of the worker.
const NAME: &str = "lifecycle";

impl Vfs {
    /// Follows the lifecycle rules of all buckets from now on, with days of this length: 24 hours, or less
    /// for tests. To be called once. Of several gateways one does it.
    pub fn run_lifecycle(&self, day: Duration) {
        let held = Held {
            core: self.core.clone(),
            terms: self.terms,
            workers: self.weak_workers(),
        };
        let core = self.core.clone();
        self.add_worker(tokio::spawn(async move {
            tokio::select! {
                () = core.stopped() => return,
                () = core.store.keeper() => {}
            }
            run(&held, Calendar::new(day)).await;
        }));
    }
}

/// What a handle is made of, without keeping the namespace open.
struct Held {
    core: Arc<Core>,
    terms: Terms,
    workers: Weak<Workers>,
}

impl Held {
    /// A handle, while anybody else has one.
    fn handle(&self) -> Option<Vfs> {
        let workers = self.workers.upgrade()?;
        Some(Vfs::from_parts(self.core.clone(), self.terms, workers))
    }
}

async fn run(held: &Held, calendar: Calendar) {
    let core = &held.core;
    let worker = core.store.workers().register(NAME);
    loop {
        if !core.turn(&worker).await {
            return;
        }
        let Some(vfs) = held.handle() else { return };
        if !core.only_reads()
            && let Err(error) = all(&vfs, &worker, calendar).await
        {
            if core.is_stopping() {
                return;
            }
            tracing::warn!(%error, "a lifecycle pass broke off; it goes on later");
            worker.failed(&error);
        }
        drop(vfs);
        worker.waits(calendar.tick());
        tokio::select! {
            () = core.stopped() => return,
            () = tokio::time::sleep(calendar.tick()) => {}
        }
    }
}

/// One look at all buckets. What fails in one does not keep the others from their turn.
async fn all(vfs: &Vfs, worker: &Worker, calendar: Calendar) -> Result<()> {
    let mut failed = None;
    for bucket in vfs.buckets().await? {
        match one(vfs, worker, &bucket.name, calendar).await {
            // Somebody deletes it at this moment.
            Ok(()) | Err(Error::NoSuchBucket) => {}
            Err(Error::ShuttingDown) => return Err(Error::ShuttingDown),
            Err(error) => {
                failed.get_or_insert(error);
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Does what is due in a bucket, if its rules have not been followed since the last midnight.
async fn one(vfs: &Vfs, worker: &Worker, bucket: &str, calendar: Calendar) -> Result<()> {
    let Some(document) = vfs.bucket_setting(bucket, SETTING).await? else {
        return Ok(());
    };
    let (number, rules) = (calendar.pass(clock::now()), digest(&document));
    let noted = Progress::load(vfs, bucket).await?;
    let from = match noted.filter(|noted| noted.rules == rules) {
        Some(Progress { next: None, pass, .. }) if pass == number => return Ok(()),
        // A pass that was cut short goes on; what became due since is found by the next.
        Some(Progress {
            next: Some(next),
            pass,
            ..
        }) => Some((next, pass)),
        _ => None,
    };
    let (from, number) = from.map_or((None, number), |(next, pass)| (Some(next), pass));
    let _work = worker.working(format!("bucket {bucket}"));
    let pass = pass::Pass {
        vfs,
        worker,
        bucket,
        calendar,
        rules: Lifecycle::parse(&document)?,
        progress: Progress {
            pass: number,
            rules,
            next: from,
        },
    };
    pass.run().await
}
