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
use std::ops::{Bound, ControlFlow};

use meta::Read;

use crate::checkpoint::{DOMAIN, live};
use crate::{Error, Result, domains, tables};

/// Rows in a block on average.
const ROWS: u32 = 1024;
/// Bytes after which a block ends in any case.
const BYTES: usize = 256 << 10;

/// LIVE rows: the table of the locations, which checkpoints do not hold.
pub(crate) const LIVE: u8 = 0x82;
/// Length of the key of a sub-key; the row of the running epoch is shorter.
const SUB_KEY: usize = 13;

/// First table of the namespace that is left out: from here on they are of the gateways that run now.
pub(super) const NAMESPACE_END: u8 = 0x7c;

/// Rows, back to back.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    /// Key of the first.
    pub first: Vec<u8>,
    /// How many.
    pub rows: u64,
    /// The rows.
    pub bytes: Vec<u8>,
}

/// Takes a block and the key of the row behind it; says whether to go on.
pub(crate) type See<'a> = dyn FnMut(Cut, Option<&[u8]>) -> Result<ControlFlow<()>> + 'a;

/// Why cutting ends before the last row.
enum End {
    /// The caller has enough.
    Enough,
    /// It failed.
    Failed(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Cuts a consistent view into blocks, from the row with the key `from` on (empty: from the first).
/// `block` is called with each, and with the key of the row behind it, and says whether to go on.
pub(crate) fn blocks(read: &dyn Read, from: &[u8], block: &mut See<'_>) -> Result<()> {
    let mut cutter = Cutter {
        from,
        open: Cut::default(),
        ended: None,
        block,
    };
    match cutter.all(read).and_then(|()| cutter.end()) {
        Ok(()) | Err(End::Enough) => Ok(()),
        Err(End::Failed(error)) => Err(error),
    }
}

/// A block that is being filled.
struct Cutter<'a> {
    from: &'a [u8],
    open: Cut,
    /// The one before, until it is known which row is behind it.
    ended: Option<Cut>,
    block: &'a mut See<'a>,
}

impl Cutter<'_> {
    fn all(&mut self, read: &dyn Read) -> Result<(), End> {
        let foreign = |key: &[u8]| !key[1..].starts_with(&DOMAIN.0.to_be_bytes());
        let sub_keys = |key: &[u8]| key.len() == SUB_KEY && !key[1..].starts_with(&DOMAIN.0.to_be_bytes());
        self.copy(read, [&[0x01], &[NAMESPACE_END]], |_| true)?;
        if self.from < &[LIVE + 1][..] {
            let row = self
                .from
                .strip_prefix(&[LIVE])
                .and_then(|row| tables::u64_from(row).ok());
            live::each(read, row.unwrap_or(0), |row, bits| {
                let mut key = [LIVE; 9];
                key[1..].copy_from_slice(&row.to_be_bytes());
                self.push(&key, bits)
            })?;
        }
        for (table, wanted) in [
            (tables::REFS, (|_| true) as fn(&[u8]) -> bool),
            (tables::DOMAIN, foreign),
            (tables::EPOCH, sub_keys),
        ] {
            self.copy(read, [&[table], &[table + 1]], wanted)?;
        }
        let [from, to] = &domains::ROWS;
        self.copy(read, [from, to], |_| true)
    }

    /// Takes the rows between two keys whose keys are `wanted`.
    fn copy(
        &mut self,
        read: &dyn Read,
        [from, to]: [&[u8]; 2],
        wanted: fn(&[u8]) -> bool,
    ) -> Result<(), End> {
        let from = from.max(self.from);
        if from >= to {
            return Ok(());
        }
        let rows = read.range(Bound::Included(from), Bound::Excluded(to), false);
        for row in rows.map_err(Error::from)? {
            let (key, value) = row.map_err(Error::from)?;
            if wanted(&key) {
                self.push(&key, &value)?;
            }
        }
        Ok(())
    }

    fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), End> {
        if let Some(ended) = self.ended.take()
            && (self.block)(ended, Some(key))?.is_break()
        {
            return Err(End::Enough);
        }
        if self.open.rows == 0 {
            self.open.first = key.to_vec();
        }
        let bytes = std::mem::take(&mut self.open.bytes);
        self.open.bytes = postcard::to_extend(&(key, value), bytes)
            .map_err(|error| tables::damaged(&format!("a row cannot be encoded: {error}")))?;
        self.open.rows += 1;
        if crc32fast::hash(key).is_multiple_of(ROWS) || self.open.bytes.len() >= BYTES {
            self.ended = Some(std::mem::take(&mut self.open));
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), End> {
        let open = std::mem::take(&mut self.open);
        for left in self
            .ended
            .take()
            .into_iter()
            .chain((open.rows > 0).then_some(open))
        {
            if (self.block)(left, None)?.is_break() {
                break;
            }
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
        blocks(rows, &[], &mut |cut, _| {
            all.push(cut.bytes);
            Ok(ControlFlow::Continue(()))
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
    fn cutting_goes_on_from_the_beginning_of_any_block_as_if_from_the_first() {
        let mut store = Rows::default();
        for number in 0..20_000u32 {
            store.put(&key(number), &[1; 20]).unwrap();
        }
        for chunk in (1..5000u64).map(|row| 256 * row) {
            let row = tables::chunk_key(tables::DAMAGED, crate::ChunkId(chunk));
            store.put(&row, &9u32.to_be_bytes()).unwrap();
            let row = tables::chunk_key(tables::REFS, crate::ChunkId(chunk));
            store.put(&row, &2u32.to_be_bytes()).unwrap();
        }
        let cuts = |from: &[u8], most: usize| {
            let mut all = Vec::new();
            blocks(&store, from, &mut |cut, next| {
                all.push((cut.first, cut.rows, cut.bytes, next.map(<[u8]>::to_vec)));
                Ok(if all.len() == most {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                })
            })
            .unwrap();
            all
        };
        let whole = cuts(&[], usize::MAX);
        assert!(
            whole.len() > 15 && whole.iter().any(|cut| cut.0[0] == LIVE),
            "{}",
            whole.len()
        );
        for (number, cut) in whole.iter().enumerate() {
            assert_eq!(cuts(&cut.0, usize::MAX), whole[number..], "from {:?}", cut.0);
            assert_eq!(cuts(&cut.0, 1), whole[number..=number]);
            assert_eq!(cut.3.as_ref(), whole.get(number + 1).map(|next| &next.0));
        }
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
