//! What only the staging of a member has.
use std::collections::BTreeMap;

use meta::Read;

use crate::pack::record;
use crate::place::local::unpacked;
use crate::{ChunkId, PackState, Result};

/// Bytes of frames that wait for a pack or are in one that is not placed yet, by member.
pub(super) fn by_member<R: Read + ?Sized>(read: &R) -> Result<BTreeMap<u16, u64>> {
    let mut staged = BTreeMap::new();
    for member in unpacked::members(read)? {
        let mut bytes = 0;
        for waiting in unpacked::from(read, member, ChunkId(0))? {
            bytes += u64::from(waiting?.len);
        }
        staged.insert(member, bytes);
    }
    for (pack, record) in record::all(read)? {
        if record.state < PackState::Placed && !record.retired {
            *staged.entry(record::member(read, pack)?).or_default() += record.bytes;
        }
    }
    Ok(staged)
}
