//! Packs of gateways that are away.
//!
//! Whoever packed a pack drives it, because its bytes lie in that gateway's staging. While that one is away, the
//! keeper does for its packs what takes nothing but the chain and the miners:
//! - an order that the miners complete becomes `placed`: they may have had everything when the gateway went;
//! - a placed pack is read back. There is no local copy to compare with, so every fragment is fetched whole, 96 MiB
//!   per segment: its name is its hash;
//! - a verified pack's chunks leave staging. The rows go at once, the bytes once their gateway is back.
//!
//! What takes the bytes waits for the gateway: hashing, pushing, storing again what miners lost before it was
//! verified. So does ordering space, because an order that nothing can be pushed for only locks territory.
//!
//! When the gateway comes back, both may work on one pack for a moment. That is harmless: each transition is one
//! transaction that looks at the state first, and giving back staging that is given back does nothing.
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use cess::AccountId;
use meta::Read;

use crate::members;
use crate::pack::record::{self, Record};
use crate::place::drive;
use crate::place::{Shared, StepError, finality, upload, verify};
use crate::{PackState, Result};

/// Fragments (segment, index) that were read back whole, and from whom.
pub(crate) type ReadBack = HashSet<(u32, usize, AccountId)>;

/// Looks after such packs from when this gateway is the keeper until everything stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    if shared.settings.role.members.is_none() {
        return;
    }
    shared.settings.role.keeper.opened().await;
    let mut read_back = BTreeMap::new();
    loop {
        match pass(&shared, &mut read_back).await {
            // The next step of a pack that came further.
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "packs of gateways that are away cannot be looked after"),
        }
        tokio::time::sleep(shared.settings.pace.upkeep).await;
    }
}

/// Does one step for each; answers whether one came further.
async fn pass(shared: &Arc<Shared>, read_back: &mut BTreeMap<u64, ReadBack>) -> Result<bool> {
    let packs = packs(shared)?;
    read_back.retain(|pack, _| packs.iter().any(|(other, _)| other == pack));
    let mut moved = false;
    for (pack, _) in packs {
        let verifier = &shared.workers.verifier;
        verifier.turn().await;
        // The packs before it may have taken an hour: its gateway may be back, and its chunks on their way elsewhere.
        let Some(record) = waits(shared, pack)? else {
            continue;
        };
        let working = verifier.working(format!("pack {pack} of a gateway that is away"));
        let done = step(shared, pack, &record, read_back.entry(pack).or_default()).await;
        drop(working);
        match done {
            Ok(came_further) => moved |= came_further,
            Err(error) => {
                tracing::warn!(pack, %error, "a pack of a gateway that is away does not come further");
                verifier.failed(&format_args!("pack {pack}: {error}"));
                drive::note_error(shared, pack, &error).await;
            }
        }
    }
    Ok(moved)
}

/// Unfinished packs that have an order, of other gateways that do not run.
fn packs(shared: &Shared) -> Result<Vec<(u64, Record)>> {
    let snapshot = shared.meta.snapshot()?;
    if !members::any_away(&*snapshot)? {
        return Ok(Vec::new());
    }
    let mut packs = Vec::new();
    for (pack, record) in record::all(&*snapshot)? {
        if is_one(shared, &*snapshot, pack, &record)? {
            packs.push((pack, record));
        }
    }
    Ok(packs)
}

fn is_one<R: Read + ?Sized>(shared: &Shared, read: &R, pack: u64, record: &Record) -> Result<bool> {
    if record.state < PackState::Declared || !drive::unfinished(record) {
        return Ok(false);
    }
    let member = record::member(read, pack)?;
    Ok(member != shared.settings.role.member && members::is_away(read, member)?)
}

/// The record of `pack` as it is now, if it is one of them still.
fn waits(shared: &Shared, pack: u64) -> Result<Option<Record>> {
    let snapshot = shared.meta.snapshot()?;
    let Some(record) = record::get(&*snapshot, pack)? else {
        return Ok(None);
    };
    Ok(is_one(shared, &*snapshot, pack, &record)?.then_some(record))
}

/// What can be done without the pack's bytes; answers whether it came further.
async fn step(
    shared: &Arc<Shared>,
    pack: u64,
    record: &Record,
    read_back: &mut ReadBack,
) -> Result<bool, StepError> {
    match record.state {
        PackState::Closed | PackState::Hashed => Ok(false),
        PackState::Declared => upload::watch(shared, pack, record).await,
        PackState::Placed => {
            if finality::awaited(shared, pack, record).await?.is_some() {
                return Ok(false);
            }
            verify::verify_whole(shared, pack, record, read_back).await?;
            Ok(true)
        }
        PackState::Verified => {
            drive::reclaim(shared, pack, record).await?;
            let snapshot = shared.meta.snapshot()?;
            let member = record::member(&*snapshot, pack)?;
            if members::rows::is_forgotten(&*snapshot, member)? {
                // Its disk gives nothing back.
                drop(snapshot);
                members::forget::drop_freed(&shared.meta, member).await?;
            }
            Ok(true)
        }
    }
}
