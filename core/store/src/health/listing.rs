//! What the chain says about a pack that is on the network.
use std::collections::HashSet;

use cess::codec::FRAGMENTS;
use cess::{AccountId, Hash};
use meta::Durability;

use crate::health::Shared;
use crate::pack::record::{self, Names};
use crate::place::StepError;

/// States of a miner that leaves the network, or was thrown out. (One that is `frozen` still serves.)
const LEAVING: [&str; 3] = ["lock", "exit", "offline"];

/// The chain's view of one pack.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Whether the file is there and ours; `None`: the chain could not be asked.
    pub listed: Option<bool>,
    /// Fragments (segment, index) that the chain lists as lost.
    withdrawn: HashSet<(u32, usize)>,
    /// Holders that leave the network, or left it.
    left: HashSet<[u8; 32]>,
}

impl Listing {
    /// Whether the chain lists a fragment as lost.
    pub(crate) fn withdrawn(&self, segment: u32, index: usize) -> bool {
        self.withdrawn.contains(&(segment, index))
    }

    /// Whether the holder of a fragment leaves the network.
    pub(crate) fn left(&self, names: &Names, segment: u32, index: usize) -> bool {
        names
            .holder(segment as usize, index)
            .is_some_and(|holder| self.left.contains(&holder.account))
    }
}

/// Asks the chain about `pack`, and notes who holds it now. An outage is no error: what is known
/// stays.
pub(crate) async fn ask(
    shared: &Shared,
    pack: u64,
    fid: Hash,
    names: &mut Names,
) -> Result<Listing, StepError> {
    let mut listing = Listing::default();
    let Ok(file) = shared.network.file(fid).await else {
        return Ok(listing);
    };
    let Ok(miners) = shared.miners.list().await else {
        return Ok(listing);
    };
    let Some(file) = file.filter(|file| file.owners.contains(&shared.owner)) else {
        listing.listed = Some(false);
        return Ok(listing);
    };
    let before = names.clone();
    let ours = names.note_holders(&file, |account| shared.miners.endpoint(account));
    listing.listed = Some(ours);
    if !ours {
        return Ok(listing);
    }
    if *names != before {
        let fresh = names.clone();
        shared
            .inner
            .meta
            .write(Durability::Buffered, move |tx| -> crate::Result<()> {
                if record::get(tx, pack)?.is_some() {
                    record::put_names(tx, pack, &fresh)?;
                }
                Ok(())
            })
            .await?;
        if let Some(remote) = &shared.inner.remote {
            remote.forget_pack(pack);
        }
    }
    for (number, (_, fragments)) in (0u32..).zip(&file.segments) {
        for (index, fragment) in fragments.iter().enumerate().take(FRAGMENTS) {
            if !fragment.available {
                listing.withdrawn.insert((number, index));
            }
        }
    }
    // A list with nobody in it is the answer of a node that has nothing, not of a network.
    if !miners.is_empty() {
        for holder in &names.holders {
            let account = AccountId(holder.account);
            let stays = miners
                .iter()
                .find(|miner| miner.account == account)
                .is_some_and(|miner| !LEAVING.contains(&miner.state.as_str()));
            if !stays {
                listing.left.insert(holder.account);
            }
        }
    }
    Ok(listing)
}
