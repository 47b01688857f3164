//! Scores as they are kept: a row per miner in table 0x8e.
//!
//! ```text
//! 0x8e 01 ‹account, 32 bytes›   postcard: at u64, speed f64, failures f64, distrust u64
//! ```
use std::ops::Bound;

use cess::AccountId;
use meta::{Read, Transaction};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::tables::{PLACING, damaged};

/// First byte after the table's.
const SCORE: u8 = 1;

/// One miner's score at a time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    /// When, in seconds since 1970-01-01 UTC.
    pub at: u64,
    /// Bytes per second.
    pub speed: f64,
    /// Failures that still counted.
    pub failures: f64,
    /// Seconds for which it was still distrusted.
    pub distrust: u64,
}

fn key(account: AccountId) -> [u8; 34] {
    let mut key = [0; 34];
    key[0] = PLACING;
    key[1] = SCORE;
    key[2..].copy_from_slice(&account.0);
    key
}

/// Every row.
pub(super) fn all<R: Read + ?Sized>(read: &R) -> Result<Vec<(AccountId, Row)>> {
    let (start, end) = ([PLACING, SCORE], [PLACING, SCORE + 1]);
    read.range(Bound::Included(&start), Bound::Excluded(&end), false)?
        .map(|row| {
            let (key, value) = row?;
            let account: [u8; 32] = key
                .get(2..)
                .and_then(|account| account.try_into().ok())
                .ok_or_else(|| damaged("a score under a key of a wrong length"))?;
            let row = postcard::from_bytes(&value).map_err(|error| damaged(&format!("a score: {error}")))?;
            Ok((AccountId(account), row))
        })
        .collect()
}

/// Keeps a miner's score.
pub(super) fn put(tx: &mut dyn Transaction, account: AccountId, row: &Row) -> Result<()> {
    let bytes = postcard::to_stdvec(row).map_err(|error| damaged(&format!("a score: {error}")))?;
    Ok(tx.put(&key(account), &bytes)?)
}

/// Forgets it.
pub(super) fn delete(tx: &mut dyn Transaction, account: AccountId) -> Result<()> {
    Ok(tx.delete(&key(account))?)
}
