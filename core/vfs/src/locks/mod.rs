//! Locks of files that hold across gateways: flock(2), and the record locks of fcntl(2).
//!
//! A gateway that has its namespace alone leaves them to the kernel, which knows everybody who could
//! want one. Where there may be other gateways, the mount brings them here.
//!
//! All locks of an inode are one row of the table [`LOCKS`], which only those take part in who lock that
//! inode; a lock is taken, changed or given back in one transaction. Each names its holder: an owner as
//! the kernel of a gateway knows it, in one life of that gateway ([`store::MemberRef`]). When that life
//! is over, whoever looks next takes its locks for given back ([`ranges`] has the rules of bytes).
//!
//! **Waiting.** Who cannot have a lock waits for a change of the row, which the change feed tells at this
//! gateway at once and at others within [`meta::POSTGRES_POLL`]; and looks again every [`LOOK`], for a
//! holder may have died. Nobody queues: the first to look takes it. A wait that would close a circle of
//! waits, at whichever gateways, is refused ([`waits`]).
//!
//! **What a lock orders.** Giving one back stores first what was written through this gateway; taking one
//! makes the next look at the inode see what others stored. So programs that write only under a lock
//! see each other's writes, whichever gateways they use.
//!
//! The kernel does not say here which of the two kinds a lock is: on one file, an flock and a record
//! lock are in each other's way, as on NFS.
pub(crate) mod ranges;
mod waits;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use meta::{Durability, Read, Transaction};
use parking_lot::Mutex;
use store::{MemberRef, Store};
use tokio::sync::watch;

use self::ranges::{Held, Holder, Locks};
use crate::schema::{self, LOCKS};
use crate::vfs::Core;
use crate::{Error, InodeNo, Result, Vfs};

/// Pause between two looks of somebody who waits and hears nothing.
const LOOK: Duration = Duration::from_secs(1);

/// A lock that somebody asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockRequest {
    /// Who asks, as the kernel tells owners apart.
    pub owner: u64,
    /// First byte.
    pub first: u64,
    /// Last byte.
    pub last: u64,
    /// Shared with nobody.
    pub exclusive: bool,
    /// Process that asks.
    pub pid: u32,
}

/// A lock in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockHeld {
    /// First byte.
    pub first: u64,
    /// Last byte.
    pub last: u64,
    /// Shared with nobody.
    pub exclusive: bool,
    /// Process that has it, if that is one of this gateway's machine.
    pub pid: Option<u32>,
}

/// What came of a request for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locked {
    /// It is held.
    Done,
    /// Somebody else has it, and nobody wanted to wait, or the wait was interrupted.
    Held,
    /// Waiting would never end.
    Deadlock,
}

/// What this gateway keeps of locks.
pub(crate) struct LockTable {
    /// Who has taken locks here and may still have some.
    takers: Mutex<HashSet<(InodeNo, u64)>>,
    /// Told whenever a lock of any inode changed.
    pub changed: watch::Sender<()>,
}

impl Default for LockTable {
    fn default() -> Self {
        Self {
            takers: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }
}

impl LockRequest {
    fn held(&self, at: MemberRef) -> Held {
        Held {
            holder: Holder {
                at,
                owner: self.owner,
            },
            first: self.first,
            last: self.last,
            exclusive: self.exclusive,
            pid: self.pid,
        }
    }
}

impl Vfs {
    /// A lock that would be in the way of this one.
    pub async fn find_lock(&self, ino: InodeNo, wanted: LockRequest) -> Result<Option<LockHeld>> {
        let at = self.core.store.me();
        let wanted = wanted.held(at);
        let view = self.core.snapshot()?;
        let locks = load(&*view, &self.core.store, ino)?;
        let found = locks.against(&wanted).next();
        Ok(found.map(|held| LockHeld {
            first: held.first,
            last: held.last,
            exclusive: held.exclusive,
            pid: (held.holder.at == at).then_some(held.pid),
        }))
    }

    /// Takes a lock if nobody else has one in its way. What the owner had on those bytes is replaced.
    pub async fn lock(&self, ino: InodeNo, wanted: LockRequest) -> Result<Locked> {
        self.core.take_lock(ino, wanted, Patience::None).await
    }

    /// As [`Self::lock`], and waits for those who have one in its way, until `interrupted` is ready.
    pub async fn lock_patiently(
        &self,
        ino: InodeNo,
        wanted: LockRequest,
        interrupted: impl Future<Output = ()> + Send,
    ) -> Result<Locked> {
        let mut changed = self.core.locks.changed.subscribe();
        let mut waiting = Waiting {
            core: self.core.clone(),
            holder: wanted.held(self.core.store.me()).holder,
            noted: false,
        };
        tokio::pin!(interrupted);
        loop {
            changed.mark_unchanged();
            let noted = std::mem::replace(&mut waiting.noted, true);
            match self
                .core
                .take_lock(ino, wanted, Patience::Waits { noted })
                .await?
            {
                Locked::Held => {}
                over => {
                    waiting.noted = false;
                    return Ok(over);
                }
            }
            tokio::select! {
                () = &mut interrupted => {
                    // Before it is told: whoever waits next must not be told of a circle that is none.
                    waiting.noted = self.core.wait_no_more(waiting.holder).await.is_err();
                    return Ok(Locked::Held);
                }
                () = self.core.stopped() => return Err(Error::ShuttingDown),
                _ = changed.changed() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Gives back what the owner has on these bytes.
    pub async fn unlock(&self, ino: InodeNo, owner: u64, first: u64, last: u64) -> Result<()> {
        self.core.give_back(ino, owner, first, last).await
    }

    /// Gives back all that the owner has on the inode, which costs nothing when that is nothing.
    pub async fn unlock_all(&self, ino: InodeNo, owner: u64) -> Result<()> {
        if !self.core.locks.takers.lock().contains(&(ino, owner)) {
            return Ok(());
        }
        self.core.give_back(ino, owner, 0, u64::MAX).await
    }
}

/// What who asks for a lock does when it cannot be had.
#[derive(Clone, Copy)]
enum Patience {
    /// Goes away.
    None,
    /// Waits.
    Waits {
        /// There may be a row that says so.
        noted: bool,
    },
}

/// Somebody who waits.
struct Waiting {
    core: Arc<Core>,
    holder: Holder,
    /// There may be a row that says so.
    noted: bool,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.noted {
            return;
        }
        // Nobody waits any more for who waited. Outside a runtime this gateway ends, and its rows with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (core, holder) = (self.core.clone(), self.holder);
            runtime.spawn(async move {
                if let Err(error) = core.wait_no_more(holder).await {
                    tracing::debug!(%error, "a wait for a lock ended and cannot say so");
                }
            });
        }
    }
}

impl Core {
    /// Takes a lock if nobody has one in its way. Otherwise notes who is waited for, if somebody waits.
    async fn take_lock(&self, ino: InodeNo, wanted: LockRequest, patience: Patience) -> Result<Locked> {
        let lock = wanted.held(self.store.me());
        // Before it is held, should nobody wait for that any more, and after: who gives something back
        // at the same time may find nothing left.
        self.locks.takers.lock().insert((ino, wanted.owner));
        let store = self.store.clone();
        let taken = self
            .meta
            .write::<_, Error, _>(Durability::Buffered, move |tx| {
                let mut locks = load(&*tx, &store, ino)?;
                let others: Vec<Holder> = locks.against(&lock).map(|held| held.holder).collect();
                let taken = if others.is_empty() {
                    locks.set(lock);
                    save(tx, ino, &locks)?;
                    Locked::Done
                } else {
                    let lives = |read: &dyn Read, at| Ok::<_, Error>(store.lives(read, at)?);
                    let may_wait = match patience {
                        Patience::None => true,
                        Patience::Waits { .. } => waits::begin(tx, &lives, ino, lock, &others)?,
                    };
                    if may_wait { Locked::Held } else { Locked::Deadlock }
                };
                if matches!(patience, Patience::Waits { noted: true }) && taken != Locked::Held {
                    waits::end(tx, lock.holder)?;
                }
                Ok(taken)
            })
            .await?;
        self.locks.takers.lock().insert((ino, wanted.owner));
        // What the last holder stored is to be seen.
        self.look_again(ino);
        Ok(taken)
    }

    /// Who waited for a lock does so no more.
    async fn wait_no_more(&self, holder: Holder) -> Result<()> {
        self.meta
            .write::<_, Error, _>(Durability::Buffered, move |tx| waits::end(tx, holder))
            .await
    }

    async fn give_back(self: &Arc<Self>, ino: InodeNo, owner: u64, first: u64, last: u64) -> Result<()> {
        // Whoever has it next sees what was written under it.
        let stored = self.flush_inode(ino).await;
        let (store, at) = (self.store.clone(), self.store.me());
        let holder = Holder { at, owner };
        let left = self
            .meta
            .write::<_, Error, _>(Durability::Buffered, move |tx| {
                let mut locks = load(&*tx, &store, ino)?;
                locks.clear(holder, first, last);
                save(tx, ino, &locks)?;
                Ok(locks.holds(holder))
            })
            .await?;
        if !left {
            self.locks.takers.lock().remove(&(ino, owner));
        }
        stored
    }
}

/// The locks of those who live.
fn load(read: &dyn Read, store: &Store, ino: InodeNo) -> Result<Locks> {
    let Some(row) = read.get(&schema::inode_key(LOCKS, ino))? else {
        return Ok(Locks::default());
    };
    let mut locks: Locks = schema::decode(&row)?;
    locks.retain(|holder| Ok::<_, Error>(store.lives(read, holder.at)?))?;
    Ok(locks)
}

fn save(tx: &mut dyn Transaction, ino: InodeNo, locks: &Locks) -> Result<()> {
    let key = schema::inode_key(LOCKS, ino);
    if locks.is_empty() {
        tx.delete(&key)?;
    } else {
        tx.put(&key, &schema::encode(locks)?)?;
    }
    Ok(())
}
