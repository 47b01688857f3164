//! Leases: names of which each has one holder at most, in all gateways together.
//!
//! A lease belongs to a life of a member and costs no upkeep: it is free once that life is over, which is
//! declared for all that the member held at once. Whoever writes under a lease is fenced with the member: a holder that
//! was declared dead commits nothing, so the next one never meets its writes.
use std::sync::Arc;
use std::time::Duration;

use meta::changes::Change;
use meta::{Durability, Read};
use serde::{Deserialize, Serialize};

use super::{MemberRef, Members, lives, rows};
use crate::{Error, Result, Store, random, tables};

/// Longest pause between two attempts of who waits: the change feed wakes it earlier.
const LOOK: Duration = Duration::from_secs(5);

/// The row of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    by: MemberRef,
    /// Tells leases apart that the same member held one after the other.
    token: u64,
}

/// What became of the wish for a lease.
#[derive(Debug)]
pub enum Wish {
    /// It is there.
    Granted(Lease),
    /// Another one has it: this gateway or another, as the number says.
    Taken {
        /// Who.
        by: MemberRef,
    },
}

/// A lease that is held. Dropping it frees it soon; [`Self::release`] waits for that.
pub struct Lease {
    members: Arc<Members>,
    name: Vec<u8>,
    token: u64,
    released: bool,
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Lease {
    /// Holds it until this life of this gateway is over.
    pub fn keep(mut self) {
        self.released = true;
    }

    /// Frees it. After an error it is free for this gateway, and for others when this gateway ends.
    pub async fn release(mut self) -> Result<()> {
        self.released = true;
        let freed = free(self.members.clone(), self.name.clone(), self.token).await;
        self.members.held.lock().remove(&self.name);
        freed
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.released {
            return;
        }
        let (members, name, token) = (self.members.clone(), std::mem::take(&mut self.name), self.token);
        // Outside a runtime it is free for this gateway alone.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            members.held.lock().remove(&name);
            return;
        };
        runtime.spawn(async move {
            if let Err(error) = free(members.clone(), name.clone(), token).await {
                tracing::debug!(%error, "a lease is not freed before this gateway ends");
            }
            members.held.lock().remove(&name);
        });
    }
}

async fn free(members: Arc<Members>, name: Vec<u8>, token: u64) -> Result<()> {
    members
        .meta
        .write(Durability::Buffered, move |tx| -> Result<()> {
            let key = rows::lease_key(&name);
            if let Some(value) = tx.get(&key)?
                && decode(&value)?.token == token
            {
                tx.delete(&key)?;
            }
            Ok(())
        })
        .await
}

fn decode(value: &[u8]) -> Result<Held> {
    postcard::from_bytes(value).map_err(|error| tables::damaged(&format!("lease: {error}")))
}

/// The life of a member that holds the lease of `name`, if one does.
pub(super) fn holder<R: Read + ?Sized>(read: &R, name: &[u8]) -> Result<Option<MemberRef>> {
    let Some(value) = read.get(&rows::lease_key(name))? else {
        return Ok(None);
    };
    let by = decode(&value)?.by;
    Ok(lives(read, by)?.then_some(by))
}

/// A name that is being asked for, until it is known whether it is held.
struct Asking<'a> {
    members: &'a Members,
    name: &'a [u8],
    granted: bool,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if !self.granted {
            self.members.held.lock().remove(self.name);
        }
    }
}

impl Members {
    /// Asks for a lease once.
    pub(crate) async fn lease(self: &Arc<Self>, name: &[u8]) -> Result<Wish> {
        let me = self.me;
        if !self.held.lock().insert(name.to_vec()) {
            return Ok(Wish::Taken { by: me });
        }
        let mut asking = Asking {
            members: self,
            name,
            granted: false,
        };
        let (key, token) = (rows::lease_key(name), random::u64());
        let by = self
            .meta
            .write(Durability::Synced, move |tx| -> Result<Option<MemberRef>> {
                if let Some(value) = tx.get(&key)? {
                    let held = decode(&value)?;
                    // One of this life is left over: whoever held it is gone.
                    if held.by != me && lives(tx, held.by)? {
                        return Ok(Some(held.by));
                    }
                }
                let held = Held { by: me, token };
                let value =
                    postcard::to_stdvec(&held).map_err(|error| tables::damaged(&error.to_string()))?;
                tx.put(&key, &value)?;
                Ok(None)
            })
            .await?;
        if let Some(by) = by {
            return Ok(Wish::Taken { by });
        }
        asking.granted = true;
        Ok(Wish::Granted(Lease {
            members: self.clone(),
            name: name.to_vec(),
            token,
            released: false,
        }))
    }

    /// Waits for a lease for as long as the caller does.
    pub(crate) async fn await_lease(self: &Arc<Self>, name: &[u8]) -> Result<Lease> {
        let mut changes = self.meta.subscribe()?;
        let key = rows::lease_key(name);
        loop {
            if let Wish::Granted(lease) = self.lease(name).await? {
                return Ok(lease);
            }
            let freed = async {
                loop {
                    match changes.next().await {
                        None => return Err(Error::ShuttingDown),
                        Some(Change::Lost) => return Ok(()),
                        Some(Change::Commit { keys, .. }) => {
                            let matters = |of: &Vec<u8>| *of == key || of.starts_with(&rows::MEMBER_ROWS);
                            if keys.iter().any(matters) {
                                return Ok(());
                            }
                        }
                    }
                }
            };
            if let Ok(woken) = tokio::time::timeout(LOOK, freed).await {
                woken?;
            }
        }
    }
}

impl Store {
    /// Asks for the lease of `name` (at most 2,000 bytes), which one holder in all gateways has at a time.
    /// Buffered reads aside, whoever holds it may rely on it: its holder's writes end with its life.
    pub async fn lease(&self, name: &[u8]) -> Result<Wish> {
        self.inner.members.lease(name).await
    }
    /// As [`Self::lease`], and waits until it is free: for `timeout` at most, then it answers who has it.
    pub async fn await_lease(&self, name: &[u8], timeout: Duration) -> Result<Wish> {
        match tokio::time::timeout(timeout, self.inner.members.await_lease(name)).await {
            Ok(lease) => Ok(Wish::Granted(lease?)),
            Err(_) => self.inner.members.lease(name).await,
        }
    }
}
