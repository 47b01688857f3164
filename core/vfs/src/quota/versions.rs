//! Counting the versions that a bucket has when it gets a quota.
//!
//! They count to the bucket's quota and to no other. What becomes a version later takes over what the
//! bucket counts to then; so going through the rows there are is enough.
use std::sync::Arc;

use meta::Durability;

use crate::schema;
use crate::version::row;
use crate::vfs::Core;
use crate::{InodeNo, Result, inode};

/// Stands in UNCOUNTED rows for the versions of the bucket: no directory has this number.
pub(super) const VERSIONS: InodeNo = InodeNo(0);
/// Versions counted in one transaction.
const BATCH: usize = 256;

/// Counts some versions behind those that the UNCOUNTED row `row` has `seen`. Answers how many.
pub(super) async fn count_step(
    core: &Arc<Core>,
    root: InodeNo,
    uncounted: Vec<u8>,
    seen: Vec<u8>,
) -> Result<u64> {
    let batch = row::behind(&*core.snapshot()?, root, schema::decode_raw(&seen)?)?
        .take(BATCH)
        .map(|row| row.map(|(key, _)| key))
        .collect::<meta::Result<Vec<_>>>()?;
    core.write_beyond_limits(Durability::Buffered, move |tx| {
        if tx.get(&uncounted)?.as_ref() != Some(&seen) {
            return Ok(0);
        }
        let mut counted = 0;
        for key in &batch {
            let Some(value) = tx.get(key)? else { continue };
            let version = row::parse((key.clone(), value))?;
            let Some(mut record) = inode::load_timeless(&*tx, version.record.ino)? else {
                continue;
            };
            if record.quota.0 == 0 {
                record.quota = root;
                inode::put(tx, version.record.ino, &record)?;
                counted += 1;
            }
        }
        match batch.last() {
            Some(last) if batch.len() == BATCH => tx.put(&uncounted, &schema::encode_raw(last))?,
            _ => tx.delete(&uncounted)?,
        }
        Ok(counted)
    })
    .await
}
