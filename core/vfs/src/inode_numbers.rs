//! Hands out inode numbers. None is ever used twice.
//!
//! Numbers are reserved in blocks by one transaction each, so that making a file does not contend
//! on a counter. A reservation commits before any row that uses its numbers, and a crash keeps a
//! prefix of all commits: a lost reservation means that its numbers were lost too.
use meta::{Durability, Meta};
use parking_lot::Mutex;

use crate::schema::{self, NEXT_INODE};
use crate::{Error, InodeNo, Result};

/// Numbers reserved at a time.
const BLOCK: u64 = 4096;
/// The first number after the root's.
const FIRST: u64 = 2;

/// The numbers reserved and not used yet.
#[derive(Default)]
pub(crate) struct InodeNumbers {
    reserved: Mutex<(u64, u64)>,
    refill: tokio::sync::Mutex<()>,
}

impl InodeNumbers {
    /// `count` numbers in a row; answers the first.
    pub(crate) async fn take(&self, meta: &Meta, count: u64) -> Result<InodeNo> {
        loop {
            if let Some(first) = self.take_reserved(count) {
                return Ok(first);
            }
            let _one = self.refill.lock().await;
            if let Some(first) = self.take_reserved(count) {
                return Ok(first);
            }
            let block = BLOCK.max(count);
            let first = meta
                .write::<_, Error, _>(Durability::Buffered, move |tx| {
                    let key = [NEXT_INODE];
                    let first = match tx.get(&key)? {
                        Some(value) => schema::decode::<u64>(&value)?,
                        None => FIRST,
                    };
                    tx.put(&key, &schema::encode(&(first + block))?)?;
                    Ok(first)
                })
                .await?;
            *self.reserved.lock() = (first, first + block);
        }
    }

    /// Gives up what is reserved: numbers taken from now on are not below the NEXT_INODE row of this
    /// moment.
    pub(crate) fn begin_anew(&self) {
        *self.reserved.lock() = (0, 0);
    }

    fn take_reserved(&self, count: u64) -> Option<InodeNo> {
        let mut reserved = self.reserved.lock();
        let first = reserved.0;
        (reserved.1 - first >= count).then(|| {
            reserved.0 += count;
            InodeNo(first)
        })
    }
}
