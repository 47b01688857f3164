//! The gateways on one namespace.
//!
//! Each is a *member*: it has a small number, which stays with its data directory, and a *generation*,
//! which rises at each of its starts. The first gateway of a namespace is member 0; an engine that only one
//! process can use never has another one that lives.
//!
//! **Who lives.** A member writes a beat every fifth of its *patience*. The others look at it as often, and declare
//! it dead when the beat stood still for the patience. No clocks are compared: each counts the
//! pauses between its own looks by its own clock, only those in which it could write itself (while the
//! database is away nobody beats, and nobody is to blame), and of a pause that took longer no more than two beats.
//!
//! **What death means.** First the metadata engine ends the dead one's opening ([`meta::Engine::end`]): from then on
//! nothing it writes is taken, however alive it still believes itself to be; so what is fenced does not depend on
//! time at all. Then its row says that it is dead, and what it held ([`lease`]) is free. A member that was declared
//! dead learns it from its next commit or beat ([`Members::lost`]), and its program has to end; started again it is the same
//! member with another generation, with whatever lies in its staging.
//!
//! ```text
//! 0x92 00 ‹member u16 BE›   Row, postcard: who it is
//! 0x92 01 ‹member u16 BE›   beat u64 BE ‖ wall clock u64 BE, ms, for people
//! 0x92 02 ‹name›            a lease: Held, postcard
//! 0x92 03 ‹member u16 BE›   what it is asked to pack: highest chunk u64 BE ‖ number of the request u64 BE
//! 0x92 04                   checkpoints that were asked for, u64 BE
//! 0x92 05                   those of them that were taken, u64 BE ‖ number of the last one's checkpoint u32 BE
//! 0x92 06 ‹pack u64 BE› ‹segment u32 BE›   a segment that the keeper is to look at before its time; no value
//! 0x92 07 ‹member u16 BE›   it was given up, and never comes back; no value
//! ```
//! These rows are of the machines that run now: no checkpoint holds them.
mod asked;
mod beat;
mod follow;
pub(crate) mod forget;
mod identity;
mod keeper;
pub mod lease;
pub(crate) mod role;
pub(crate) mod rows;
mod staged;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use meta::{Durability, Meta, Read};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub(crate) use self::beat::run;
pub(crate) use self::follow::run as run_follower;
pub(crate) use self::keeper::{Keeper, run as run_keeper};
pub(crate) use self::role::Role;
use self::rows::Row;
use crate::peers::Peer;
use crate::{Error, Result, clock, tables};

/// Members that a namespace can ever have.
const MOST: u16 = u16::MAX;

/// One life of a member: what is held in its name is free once it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MemberRef {
    /// Number of the member.
    pub member: u16,
    /// Its start.
    pub generation: u64,
}

/// A member, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Its number.
    pub member: u16,
    /// What its operator calls it.
    pub name: String,
    /// Where other members reach it, if it has said so.
    pub address: String,
    /// Whether it is this gateway.
    pub own: bool,
    /// Whether it lives, as far as the namespace knows.
    pub alive: bool,
    /// Whether it does the work that one gateway does for all.
    pub keeper: bool,
    /// Its last beat by its own clock, in milliseconds since 1970-01-01 UTC; 0: unknown.
    pub seen: u64,
    /// Bytes of frames that nobody has but its staging: while it is away they cannot be read, unless they are
    /// small enough to ride in the metadata.
    pub staged_bytes: u64,
    /// Whether it was given up ([`crate::Store::forget`]).
    #[serde(default)]
    pub forgotten: bool,
}

/// This gateway among the members.
pub(crate) struct Members {
    meta: Meta,
    me: MemberRef,
    patience: Duration,
    /// Names of leases that this process holds or is about to.
    held: Mutex<HashSet<Vec<u8>>>,
    /// Why this gateway may not go on.
    lost: watch::Sender<Option<String>>,
}

impl Members {
    /// Joins the namespace, or comes back to it. `directory` keeps who this gateway is; `patience` is how
    /// long others are silent before they are declared dead; `key` is the fingerprint of this gateway's.
    pub(crate) async fn join(
        meta: Meta,
        directory: &Path,
        name: String,
        patience: Duration,
        key: [u8; 32],
    ) -> Result<Arc<Self>> {
        let identity = identity::of(directory)?;
        let start = meta.start();
        // What this data directory's earlier start still commits must not meet what this one does.
        if let Some(start) = start
            && let Some(before) = {
                let all = rows::all(&*meta.snapshot()?)?;
                let mine = all.iter().find(|(_, row)| row.identity == identity);
                mine.and_then(|(member, _)| rows::to_end(&all, *member, start))
            }
        {
            meta.end(before).await?;
        }
        let alone = start.is_none() || meta.others().await? == 0;
        let me = meta
            .write(Durability::Synced, move |tx| -> Result<MemberRef> {
                let mut all = rows::all(tx)?;
                let known = all.iter().find(|(_, row)| row.identity == identity);
                let known = known.or_else(|| match &all[..] {
                    // Only one process can use this engine: this is the one that was there.
                    [only] if start.is_none() => Some(only),
                    _ => None,
                });
                let (member, generation) = match known {
                    Some((member, row)) => (*member, row.generation + 1),
                    // Numbers are never given to another one: what lies in staging is named by them.
                    None => match all.last() {
                        None => (0, 1),
                        Some((last, _)) if *last < MOST => (last + 1, 1),
                        Some(_) => return Err(tables::damaged("numbers of members are used up")),
                    },
                };
                if rows::is_forgotten(tx, member)? {
                    return Err(Error::Elsewhere(
                        "this gateway was given up, and what it alone had staged counts as lost: remove its data \
                         directory to have it join as a new one"
                            .to_owned(),
                    ));
                }
                for (other, row) in &mut all {
                    if *other == member || !row.alive {
                        continue;
                    }
                    // One with a start is ended first, by whoever finds it silent.
                    if start.is_none() || (alone && row.start == 0) {
                        row.alive = false;
                        rows::put(tx, *other, row)?;
                    } else if row.start == 0 {
                        // Its metadata were moved here while it ran: there is no start of it to end.
                        return Err(Error::Elsewhere(format!(
                            "gateway {} has used the namespace since before it came to this database, and can \
                             share it only once it was started again",
                            row.name
                        )));
                    }
                }
                let row = Row {
                    identity,
                    name: name.clone(),
                    address: String::new(),
                    key,
                    generation,
                    start: start.unwrap_or(0),
                    alive: true,
                };
                rows::put(tx, member, &row)?;
                rows::put_beat(tx, member, 0)?;
                Ok(MemberRef { member, generation })
            })
            .await?;
        tracing::info!(
            member = me.member,
            generation = me.generation,
            "joined the namespace"
        );
        Ok(Arc::new(Self {
            meta,
            me,
            patience,
            held: Mutex::default(),
            lost: watch::Sender::new(None),
        }))
    }

    /// This life of this gateway.
    pub(crate) const fn me(&self) -> MemberRef {
        self.me
    }

    /// Whether others can be there.
    pub(crate) fn is_shared(&self) -> bool {
        self.meta.start().is_some()
    }

    /// Returns when this gateway may not go on, with the reason: it was declared dead.
    pub(crate) async fn lost(&self) -> String {
        let mut lost = self.lost.subscribe();
        match lost.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            // The sender is in `self`.
            Err(_) => std::future::pending().await,
        }
    }

    fn lose(&self, reason: &str) {
        self.lost.send_if_modified(|lost| {
            let first = lost.is_none();
            if first {
                tracing::error!(member = self.me.member, "{reason}");
                *lost = Some(reason.to_owned());
            }
            first
        });
    }

    /// All members, by number.
    pub(crate) fn list(&self) -> Result<Vec<MemberStatus>> {
        let snapshot = self.meta.snapshot()?;
        let keeper = lease::holder(&*snapshot, keeper::NAME)?;
        let mut staged = staged::by_member(&*snapshot)?;
        rows::all(&*snapshot)?
            .into_iter()
            .map(|(member, row)| {
                let life = MemberRef {
                    member,
                    generation: row.generation,
                };
                Ok(MemberStatus {
                    forgotten: rows::is_forgotten(&*snapshot, member)?,
                    keeper: keeper == Some(life),
                    staged_bytes: staged.remove(&member).unwrap_or(0),
                    member,
                    name: row.name,
                    address: row.address,
                    own: member == self.me.member,
                    alive: row.alive,
                    seen: rows::beat(&*snapshot, member)?.map_or(0, |(_, wall)| wall),
                })
            })
            .collect()
    }

    /// Others reach this gateway at `address` from now on.
    pub(crate) async fn announce(&self, address: String) -> Result<()> {
        let me = self.me;
        self.meta
            .write(Durability::Synced, move |tx| -> Result<()> {
                if let Some(mut row) = rows::get(tx, me.member)?
                    && row.generation == me.generation
                {
                    row.address.clone_from(&address);
                    rows::put(tx, me.member, &row)?;
                }
                Ok(())
            })
            .await
    }

    /// Where to ask for what lies in the staging of `member`, if it has said so and is not dead.
    pub(crate) fn peer(&self, member: u16) -> Result<Option<Peer>> {
        let row = rows::get(&*self.meta.snapshot()?, member)?;
        Ok(row
            .filter(|row| row.alive && !row.address.is_empty())
            .map(|row| Peer {
                address: row.address,
                key: row.key,
            }))
    }

    /// What people call `member`.
    pub(crate) fn name(&self, member: u16) -> Result<String> {
        let row = rows::get(&*self.meta.snapshot()?, member)?;
        Ok(row.map_or_else(|| member.to_string(), |row| row.name))
    }

    /// What waits for `member`, in words.
    pub(crate) fn waits_for(&self, member: u16) -> Result<String> {
        let snapshot = self.meta.snapshot()?;
        let name = self.name(member)?;
        let seen = rows::beat(&*snapshot, member)?.map_or(0, |(_, wall)| wall);
        let ago = (clock::wall().as_millis() as u64).saturating_sub(seen) / 1000;
        Ok(format!(
            "it is staged by gateway {name} alone and waits for it (seen last {ago} s ago)"
        ))
    }

    /// Says goodbye: what this gateway held is free at once.
    pub(crate) async fn leave(&self) -> Result<()> {
        let me = self.me;
        self.meta
            .write(Durability::Buffered, move |tx| -> Result<()> {
                if let Some(mut row) = rows::get(tx, me.member)?
                    && row.generation == me.generation
                {
                    row.alive = false;
                    rows::put(tx, me.member, &row)?;
                }
                Ok(())
            })
            .await
    }
}

/// Whether a life of a member goes on, as `read` sees it. Inside a transaction the answer holds until its commit.
pub(crate) fn lives<R: Read + ?Sized>(read: &R, of: MemberRef) -> Result<bool> {
    Ok(rows::get(read, of.member)?.is_some_and(|row| row.alive && row.generation == of.generation))
}

/// Whether `member` does not run, as `read` sees it: it said goodbye, was declared dead, or is unknown.
pub(crate) fn is_away<R: Read + ?Sized>(read: &R, member: u16) -> Result<bool> {
    Ok(rows::get(read, member)?.is_none_or(|row| !row.alive))
}

/// What people call `member`, if it does not run; its number, if nothing else is known of it.
pub(crate) fn name_if_away<R: Read + ?Sized>(read: &R, member: u16) -> Result<Option<String>> {
    Ok(match rows::get(read, member)? {
        None => Some(member.to_string()),
        Some(row) => (!row.alive).then_some(row.name),
    })
}

/// Whether some member does not run.
pub(crate) fn any_away<R: Read + ?Sized>(read: &R) -> Result<bool> {
    Ok(rows::all(read)?.iter().any(|(_, row)| !row.alive))
}

impl crate::Store {
    /// This life of this gateway: what is kept in its name is nobody's once [`Self::lives`] denies it.
    pub fn me(&self) -> MemberRef {
        self.inner.members.me()
    }
    /// Whether a life of a member goes on, as `read` sees it. Inside a transaction the answer holds until its
    /// commit: a member that is declared dead meanwhile makes that a conflict.
    pub fn lives(&self, read: &dyn Read, of: MemberRef) -> Result<bool> {
        lives(read, of)
    }
    /// Whether other gateways can be on this namespace, now or soon.
    pub fn is_shared(&self) -> bool {
        self.inner.members.is_shared()
    }
    /// All gateways that this namespace ever had, by number.
    pub fn members(&self) -> Result<Vec<MemberStatus>> {
        self.inner.members.list()
    }
    /// The rows that say which members there are lie behind this key: who keeps what belongs to a life of a
    /// member looks again when one of them changes.
    pub const fn members_prefix() -> [u8; 2] {
        rows::MEMBER_ROWS
    }
    /// Returns, with the reason, when this gateway was declared dead by another: nothing it writes is taken, what it
    /// keeps in memory may be stale, and its program has to end.
    pub async fn lost(&self) -> String {
        self.inner.members.lost().await
    }
    /// Whether this gateway does the work that one gateway does for all. Once it does, it does so as long as it runs.
    pub fn is_keeper(&self) -> bool {
        self.inner.keeper.is_open()
    }
    /// Returns when this gateway does the work that one gateway does for all.
    pub async fn keeper(&self) {
        self.inner.keeper.opened().await;
    }
}

/// The reason that a gateway is told which was declared dead.
const DEAD: &str = "this gateway was silent for so long that another one declared it dead: nothing it writes is \
                    taken any more; start it again";

/// Whether an error says that this gateway was ended.
fn is_end(error: &Error) -> bool {
    matches!(error, Error::Meta(error) if matches!(**error, meta::Error::Ended))
}
