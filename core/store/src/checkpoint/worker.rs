//! When checkpoints are taken.
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::checkpoint::fence::Watch;
use crate::checkpoint::take::Taker;
use crate::checkpoint::{fence, rows};
use crate::pack::record;
use crate::{Result, tables};

/// At most so much of the time goes into looking for changes.
const SHARE: u32 = 20;
/// Pause before a checkpoint that another gateway waits for is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Shortest pause while somebody waits for a checkpoint, as a part of the interval.
const HURRY: u32 = 10;

/// Takes checkpoints until everything stops.
pub(super) async fn run(taker: Arc<Taker>, mut watch: Watch) {
    let worker = taker.worker.clone();
    taker.store.inner.keeper.opened().await;
    let mut progress = taker.placing.progress();
    let mut due = Instant::now();
    let mut first = true;
    loop {
        if due <= Instant::now() {
            worker.turn().await;
            let looked = watch.look(&taker.store).await;
            if taker.store.inner.fence.reason().is_some() {
                return;
            }
            match looked {
                Ok(unreadable) => taker.coverage.looked(unreadable),
                Err(error) => {
                    tracing::debug!(%error, "cannot look whether the namespace was restored elsewhere");
                }
            }
            let began = Instant::now();
            if let Err(error) = round(&taker, first).await {
                worker.failed(&error);
            }
            let pause = if first {
                taker.interval / HURRY
            } else {
                taker.interval.max(began.elapsed() * SHARE)
            };
            first = false;
            due = Instant::now() + pause;
            worker.waits(pause);
        }
        if let Err(error) = taker.settle().await {
            tracing::warn!(%error, "checkpoints cannot be looked after");
            worker.failed(&error);
        }
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => {}
            () = taker.coverage.wanted() => {
                due = due.min(Instant::now() + taker.interval / HURRY);
            }
            changed = progress.changed() => {
                if changed.is_err() {
                    return;
                }
                // Packs make progress step by step; once for several is enough.
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// Takes the checkpoints that other gateways wait for, once this one is the keeper.
pub(super) async fn take_what_others_ask(taker: Arc<Taker>) {
    let inner = &taker.store.inner;
    inner.keeper.opened().await;
    loop {
        let served = async {
            let request = inner.members.checkpoint_asked().await?;
            let (number, _) = taker.now().await?;
            inner.members.checkpoint_taken(request, number).await
        };
        if let Err(error) = served.await {
            tracing::debug!(%error, "a checkpoint that another gateway waits for cannot be taken now");
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Takes a checkpoint if it is time for one: not at the very start, when whoever writes next changes
/// everything anyway, and not while nothing was ever staged. After a restore at once, and a pack is
/// closed for it: others must see this incarnation soon.
async fn round(taker: &Taker, first: bool) -> Result<()> {
    let (own, unseen, empty) = {
        let snapshot = taker.store.inner.meta.snapshot()?;
        let own = rows::incarnation(&*snapshot)?;
        let unseen = !record::all(&*snapshot)?
            .into_iter()
            .any(|(pack, _)| fence::incarnation_of(pack) == own);
        (own, unseen, snapshot.get(&[tables::IDS])?.is_none())
    };
    let announce = own > 0 && unseen;
    if empty || (first && !announce) {
        return Ok(());
    }
    taker.now().await?;
    if announce {
        taker.placing.close_all()?;
    }
    Ok(())
}
