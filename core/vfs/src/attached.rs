//! Which gateway has an inode attached as a block device.
//!
//! A client of a block device keeps what it read and what it is about to write, and takes itself for
//! the only one who writes. Connections to one gateway share its write buffer, and clients that open
//! several know what they do; but two gateways do not see what the other one buffers. So the first
//! attachment at a gateway writes a row that names it, the last one takes it away, and another gateway
//! is refused while the row's gateway lives. When that one is declared dead its row counts for nothing,
//! and nothing that it still writes is taken ([`store`]).
//!
//! A gateway that has its namespace alone only counts, in memory.
use std::sync::Arc;
use std::time::Duration;

use meta::{Durability, Read};
use store::MemberRef;

use crate::schema::{self, ATTACHED};
use crate::vfs::Core;
use crate::{Error, InodeNo, Result};

/// How long an attachment waits for another gateway to let go: a client that moves from one to
/// the other is there before its goodbye was read.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pause between two attempts meanwhile.
const PAUSE: Duration = Duration::from_millis(100);

/// Why another gateway is refused.
const TAKEN: Error = Error::Busy("attached as a block device through another gateway");

impl Core {
    /// Whether the inode is attached as a block device, at any gateway that lives. Inside a transaction
    /// the answer holds until its commit.
    pub(crate) fn is_attached(&self, read: &dyn Read, ino: InodeNo) -> Result<bool> {
        Ok(self.nodes.is_attached(ino) || self.attached_at(read, ino)?.is_some())
    }

    /// The other gateway that has it attached.
    fn attached_at(&self, read: &dyn Read, ino: InodeNo) -> Result<Option<MemberRef>> {
        if !self.store.is_shared() {
            return Ok(None);
        }
        let Some(row) = read.get(&schema::inode_key(ATTACHED, ino))? else {
            return Ok(None);
        };
        let at: MemberRef = schema::decode(&row)?;
        Ok((at != self.store.me() && self.store.lives(read, at)?).then_some(at))
    }

    /// Says that the inode is attached here. `Busy` when it is at another gateway, and stays so for a
    /// moment.
    pub(crate) async fn claim_attachment(self: &Arc<Self>, ino: InodeNo) -> Result<()> {
        if !self.store.is_shared() {
            return Ok(());
        }
        let give_up = tokio::time::Instant::now() + PATIENCE;
        loop {
            let core = self.clone();
            let claimed = self
                .meta
                .write::<_, Error, _>(Durability::Buffered, move |tx| {
                    if core.attached_at(&*tx, ino)?.is_some() {
                        return Err(TAKEN);
                    }
                    let row = schema::encode(&core.store.me())?;
                    Ok(tx.put(&schema::inode_key(ATTACHED, ino), &row)?)
                })
                .await;
            match claimed {
                Err(Error::Busy(_)) if tokio::time::Instant::now() < give_up => {
                    tokio::time::sleep(PAUSE).await;
                }
                done => return done,
            }
        }
    }

    /// Says that it is not, unless it is again by now.
    pub(crate) async fn end_attachment(self: &Arc<Self>, ino: InodeNo) -> Result<()> {
        if !self.store.is_shared() {
            return Ok(());
        }
        let core = self.clone();
        self.meta
            .write::<_, Error, _>(Durability::Buffered, move |tx| {
                let key = schema::inode_key(ATTACHED, ino);
                let own = schema::encode(&core.store.me())?;
                if !core.nodes.is_attached(ino) && tx.get(&key)?.is_some_and(|row| row == own) {
                    tx.delete(&key)?;
                }
                Ok(())
            })
            .await
    }
}
