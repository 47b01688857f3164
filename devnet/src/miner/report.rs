//! Reporting: which index the miner holds, and what becomes of fragments when a file completes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cess::Hash;
use tokio::sync::mpsc;

use super::Inner;
use super::link::LinkError;
use crate::runtime::file_bank::{DealInfo, FRAGMENT_COUNT};

/// Looks at what arrived at once, and at the whole report area every `period`.
pub(super) async fn run(miner: Arc<Inner>, mut arrivals: mpsc::UnboundedReceiver<Hash>, period: Duration) {
    let mut ticks = tokio::time::interval(period.max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let due: BTreeSet<Hash> = tokio::select! {
            fid = arrivals.recv() => {
                let Some(fid) = fid else { return };
                let mut due = BTreeSet::from([fid]);
                while let Ok(fid) = arrivals.try_recv() {
                    due.insert(fid);
                }
                due
            }
            _ = ticks.tick() => miner.areas.waiting().await.into_iter().collect(),
        };
        for fid in due {
            if miner.faults.lock().dead {
                break;
            }
            if let Err(error) = look_at(&miner, fid).await {
                tracing::debug!(%fid, %error, "report");
            }
        }
    }
}

/// Why nothing could be done about a deal just now.
#[derive(Debug, thiserror::Error)]
enum Stuck {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("disk: {0}")]
    Disk(#[from] std::io::Error),
}

async fn look_at(miner: &Inner, fid: Hash) -> Result<(), Stuck> {
    // Asked for first: a deal that completes between the two questions is a file then. The other way
    // round it would be neither, and its fragments would be thrown away.
    let deal = miner.link.deal(fid).await?;
    if let Some(file) = miner.link.file(fid).await? {
        let own: Vec<Hash> = file
            .segment_list
            .0
            .iter()
            .flat_map(|segment| &segment.fragment_list.0)
            .filter(|fragment| fragment.miner == miner.account)
            .filter_map(|fragment| Hash::from_ascii(&fragment.hash.0))
            .collect();
        let keep = !miner.faults.lock().forget;
        return Ok(miner.areas.settle(fid, &own, keep).await?);
    }
    let Some(deal) = deal else {
        return Ok(miner.areas.drop_waiting(fid).await?);
    };
    if deal
        .complete_list
        .0
        .iter()
        .any(|done| done.miner == miner.account)
    {
        return Ok(());
    }
    for index in 0..FRAGMENT_COUNT {
        let number = index as u8 + 1;
        let taken = deal.complete_list.0.iter().any(|done| done.index == number);
        if taken || !holds(miner, fid, &deal, index).await {
            continue;
        }
        if miner.link.report(&miner.key, number, fid).await? {
            if miner.faults.lock().forget {
                miner.areas.forget_waiting(fid).await?;
            }
            break;
        }
    }
    Ok(())
}

/// Whether fragment `index` of every segment is here.
async fn holds(miner: &Inner, fid: Hash, deal: &DealInfo, index: usize) -> bool {
    for segment in &deal.segment_list.0 {
        let fragment = segment
            .fragment_list
            .0
            .get(index)
            .and_then(|hash| Hash::from_ascii(&hash.0));
        match fragment {
            Some(fragment) if miner.areas.is_waiting(fid, fragment).await => {}
            _ => return false,
        }
    }
    true
}
