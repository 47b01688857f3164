//! Two gateways must not go on with one namespace.
//!
//! Each restore begins a new incarnation, and the packs of an incarnation are numbered from
//! `incarnation × 2³² + 1`. So the chain shows a gateway that was restored elsewhere: its account
//! holds a file that this gateway did not place, whose first segment's index opens with this
//! namespace's key and has a higher incarnation in its number. A gateway that sees one takes no more
//! writes, places nothing and deletes nothing, for good; it goes on reading.
use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use cess::{AccountId, Hash};
use meta::Durability;

use crate::checkpoint::{listed, rows};
use crate::pack::record;
use crate::place::network::Network;
use crate::{Error, Result, Store};

/// Packs of one incarnation, at most.
const PACKS: u32 = 32;

/// The first pack number of an incarnation; 1 is the very first.
pub(crate) const fn first_pack(incarnation: u32) -> u64 {
    ((incarnation as u64) << PACKS) + 1
}

/// The incarnation that numbered a pack.
pub(crate) const fn incarnation_of(pack: u64) -> u32 {
    (pack >> PACKS) as u32
}

/// Whether this gateway may go on.
#[derive(Debug, Default)]
pub(crate) struct Fence {
    superseded: OnceLock<String>,
}

impl Fence {
    /// As it was found before.
    pub(crate) fn new(superseded: Option<String>) -> Self {
        Self {
            superseded: superseded.map_or_else(OnceLock::new, OnceLock::from),
        }
    }

    /// [`Error::Superseded`] when it may not.
    pub(crate) fn check(&self) -> Result<()> {
        self.reason()
            .map_or(Ok(()), |reason| Err(Error::Superseded(reason)))
    }

    /// It may not, because of `reason`.
    pub(crate) fn close(&self, reason: String) {
        let _ = self.superseded.set(reason);
    }

    /// Why it may not.
    pub(crate) fn reason(&self) -> Option<String> {
        self.superseded.get().cloned()
    }
}

/// Looks for later incarnations.
pub(crate) struct Watch {
    network: Arc<dyn Network>,
    owner: AccountId,
    /// Files that are none.
    seen: HashSet<Hash>,
}

impl Watch {
    /// Among the files of `owner`.
    pub(crate) fn new(network: Arc<dyn Network>, owner: AccountId) -> Self {
        Self {
            network,
            owner,
            seen: HashSet::new(),
        }
    }

    /// Looks once at the files that were not looked at yet; answers how many of them could not be read.
    pub(crate) async fn look(&mut self, store: &Store) -> Result<usize> {
        let inner = &store.inner;
        let Some(remote) = &inner.remote else {
            return Ok(0);
        };
        let held: HashSet<Hash> = self.network.held(self.owner).await?.into_iter().collect();
        let (own, mine) = {
            let snapshot = inner.meta.snapshot()?;
            let mine: HashSet<Hash> = record::all(&*snapshot)?
                .into_iter()
                .filter_map(|(_, record)| record.fid.map(Hash))
                .collect();
            (rows::incarnation(&*snapshot)?, mine)
        };
        self.seen.retain(|fid| held.contains(fid));
        let mut unreadable = 0;
        for fid in held {
            if mine.contains(&fid) || self.seen.contains(&fid) {
                continue;
            }
            let Some(file) = listed(&*self.network, self.owner, fid, |_| None).await? else {
                self.seen.insert(fid);
                continue;
            };
            let open = |header: &[u8], sealed: &[u8]| inner.keys.open_index(header, sealed);
            let portrait = match remote.self_portrait(&file, 0, &open).await {
                Ok(portrait) => portrait,
                // Others may be readable, and tell.
                Err(error) => {
                    tracing::debug!(%fid, %error, "cannot look whether a file is of a later incarnation");
                    unreadable += 1;
                    continue;
                }
            };
            let later = portrait
                .map(|portrait| incarnation_of(portrait.header.pack))
                .filter(|incarnation| *incarnation > own);
            if let Some(later) = later {
                self.superseded(store, fid, own, later).await?;
                return Ok(unreadable);
            }
            self.seen.insert(fid);
        }
        Ok(unreadable)
    }

    async fn superseded(&self, store: &Store, fid: Hash, own: u32, later: u32) -> Result<()> {
        let reason = format!(
            "this namespace was restored elsewhere: file {fid} is of incarnation {later}, this gateway is \
             of {own}; it only reads from now on"
        );
        tracing::error!("{reason}");
        let row = reason.clone();
        store
            .inner
            .meta
            .write(Durability::Synced, move |tx| rows::put_superseded(tx, &row))
            .await?;
        store.inner.fence.close(reason);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_packs_tell_incarnations() {
        assert_eq!(first_pack(0), 1);
        for incarnation in [0, 1, 7, u32::MAX] {
            assert_eq!(incarnation_of(first_pack(incarnation)), incarnation);
        }
        assert!(first_pack(1) > u64::from(u32::MAX));
    }
}
