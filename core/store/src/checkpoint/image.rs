//! The rows that a checkpoint holds, cut into blocks.
//!
//! In this order:
//! - every row of the namespace (tables `01` to `7b`), as it is;
//! - LIVE, key `82 ‹chunk / 256, u64 BE›`: which chunks live ([`super::live`]); such rows exist in
//!   checkpoints alone, in the place of the locations that a restore finds in the packs' indexes;
//! - REFS, DOMAIN and EPOCH (sub-keys only), and what domains ask for (`8c 03`), as they are, but for
//!   the domain of the checkpoints.
//!
//! What is left out is found again (locations, packs, names), begins anew (epoch, ids, ages, health,
//! scores of miners, orders) or is of this machine alone (staging).
//!
//! A block ends after a row whose key's checksum says so, about one in [`ROWS`], or when it has
//! [`BYTES`]. So a change moves no other block's ends, and blocks without a change are the same bytes
//! as before. Its bytes are rows, back to back: postcard of (key, value).
use std::ops::Bound;

use meta::Read;

use crate::checkpoint::{DOMAIN, live};
use crate::{Result, domains, tables};

/// Rows in a block on average.
const ROWS: u32 = 1024;
/// Bytes after which a block ends in any case.
const BYTES: usize = 256 << 10;

/// LIVE rows: the table of the locations, which checkpoints do not hold.
pub(crate) const LIVE: u8 = 0x82;
/// Length of the key of a sub-key; the row of the running epoch is shorter.
const SUB_KEY: usize = 13;

/// First table of the namespace that is left out: from here on they are of the gateways that run now.
const NAMESPACE_END: u8 = 0x7c;

/// Cuts a consistent view into blocks and calls `block` with the rows of each; answers the rows in
/// all.
pub(crate) fn blocks(read: &dyn Read, mut block: impl FnMut(Vec<u8>) -> Result<()>) -> Result<u64> {
    let mut cut = Cut {
        rows: 0,
        open: Vec::new(),
    };
    let foreign = |key: &[u8]| !key[1..].starts_with(&DOMAIN.0.to_be_bytes());
    let sub_keys = |key: &[u8]| key.len() == SUB_KEY && !key[1..].starts_with(&DOMAIN.0.to_be_bytes());
    cut.copy(read, [&[0x01], &[NAMESPACE_END]], |_| true, &mut block)?;
    live::each(read, |row, bits| {
        let mut key = [LIVE; 9];
        key[1..].copy_from_slice(&row.to_be_bytes());
        cut.push(&key, bits, &mut block)
    })?;
    for (table, wanted) in [
        (tables::REFS, (|_| true) as fn(&[u8]) -> bool),
        (tables::DOMAIN, foreign),
        (tables::EPOCH, sub_keys),
    ] {
        cut.copy(read, [&[table], &[table + 1]], wanted, &mut block)?;
    }
    let [from, to] = &domains::ROWS;
    cut.copy(read, [from, to], |_| true, &mut block)?;
    if !cut.open.is_empty() {
        block(cut.open)?;
    }
    Ok(cut.rows)
}

/// A block that is being filled.
struct Cut {
    rows: u64,
    open: Vec<u8>,
}

impl Cut {
    /// Takes the rows between two keys whose keys are `wanted`.
    fn copy(
        &mut self,
        read: &dyn Read,
        [from, to]: [&[u8]; 2],
        wanted: fn(&[u8]) -> bool,
        block: &mut dyn FnMut(Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        for row in read.range(Bound::Included(from), Bound::Excluded(to), false)? {
            let (key, value) = row?;
            if wanted(&key) {
                self.push(&key, &value, block)?;
            }
        }
        Ok(())
    }

    fn push(&mut self, key: &[u8], value: &[u8], block: &mut dyn FnMut(Vec<u8>) -> Result<()>) -> Result<()> {
        let open = std::mem::take(&mut self.open);
        self.open = postcard::to_extend(&(key, value), open)
            .map_err(|error| tables::damaged(&format!("a row cannot be encoded: {error}")))?;
        self.rows += 1;
        if crc32fast::hash(key).is_multiple_of(ROWS) || self.open.len() >= BYTES {
            block(std::mem::take(&mut self.open))?;
        }
        Ok(())
    }
}

/// The rows of a block; `None` when it is none.
pub(crate) fn rows(mut block: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut rows = Vec::new();
    while !block.is_empty() {
        let (row, rest) = postcard::take_from_bytes::<(&[u8], &[u8])>(block).ok()?;
        rows.push(row);
        block = rest;
    }
    Some(rows)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use meta::Transaction as _;

    use super::*;
    use crate::memory_rows::Rows;

    fn cut(rows: &Rows) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        blocks(rows, |block| {
            all.push(block);
            Ok(())
        })
        .unwrap();
        all
    }

    fn key(number: u32) -> Vec<u8> {
        [&[0x04], &number.to_be_bytes()[..]].concat()
    }

    #[test]
    fn what_comes_back_is_what_was_there_and_nothing_that_belongs_elsewhere() {
        let mut store = Rows::default();
        for number in 0..20_000u32 {
            store.put(&key(number), &number.to_le_bytes()).unwrap();
        }
        for (place, wanted) in [
            (vec![0x00, b'g'], false),
            (vec![0x7b, 0xff], true),
            (vec![0x7c, 0x00], false),
            (vec![0x7f, 0xff], false),
            (tables::chunk_key(tables::REFS, crate::ChunkId(4)).to_vec(), true),
            (tables::domain_key(crate::DomainId(3)).to_vec(), true),
            (tables::domain_key(DOMAIN).to_vec(), false),
            (vec![tables::EPOCH], false),
            (tables::epoch_key(crate::DomainId(3), 2).to_vec(), true),
            (tables::epoch_key(DOMAIN, 2).to_vec(), false),
            (vec![tables::ROOT], false),
            (vec![tables::PACKING, 3, 0, 0, 0, 0, 0, 0, 0, 3], true),
            (vec![tables::PACKING, 4], false),
        ] {
            store.put(&place, b"value").unwrap();
            let all = cut(&store);
            let found = all
                .iter()
                .flat_map(|block| rows(block).unwrap())
                .any(|(key, _)| key == place);
            assert_eq!(found, wanted, "{place:?}");
        }
        let all = cut(&store);
        assert!(all.len() > 8 && all.len() < 60, "{} blocks", all.len());
        let back: Vec<_> = all.iter().flat_map(|block| rows(block).unwrap()).collect();
        assert!(back.is_sorted_by_key(|(key, _)| key.to_vec()));
        assert_eq!(back.iter().filter(|(key, _)| key[0] == 0x04).count(), 20_000);
    }

    #[test]
    fn a_change_changes_one_block_and_an_insertion_few() {
        let mut store = Rows::default();
        for number in (0..40_000u32).step_by(2) {
            store.put(&key(number), &[7; 40]).unwrap();
        }
        let before: HashSet<_> = cut(&store).into_iter().collect();
        store.put(&key(20_000), b"changed").unwrap();
        let changed = cut(&store);
        assert_eq!(changed.iter().filter(|block| !before.contains(*block)).count(), 1);
        store.put(&key(10_001), b"new").unwrap();
        let more = cut(&store);
        let new = more.iter().filter(|block| !changed.contains(block)).count();
        assert!((1..=2).contains(&new), "{new}");
    }

    #[test]
    fn damaged_blocks_are_refused() {
        let mut store = Rows::default();
        store.put(&key(1), &[1; 100]).unwrap();
        let block = cut(&store).remove(0);
        assert!(rows(&block).is_some());
        assert!(rows(&block[..block.len() - 1]).is_none());
        assert!(rows(&[0xff; 30]).is_none());
    }
}
