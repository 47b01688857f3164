//! Which blocks may have changed since the last look, so that the next one reads no others.
//!
//! The metadata engine tells the keys of every commit ([`meta::changes`]). Each is turned at once into the
//! number of the block that it falls into, so that what is kept grows with the blocks and not with the
//! changes. A look reads those blocks anew from where they begin, and goes on cutting until it meets the
//! beginning of one that did not change: from there on all cuts are where they were, because where a block
//! ends depends on its rows alone.
//!
//! What a view shows must have been heard, or a block that it changed would be taken from before: the
//! engine is asked for a view whose commits were all told ([`meta::Meta::told_snapshot`]), and what is heard between
//! the beginning of a look and its view counts for both this look and the next. Where that cannot be
//! had (a database that others write to), after a start, after a failure, and when the engine says that
//! changes were lost, everything is read.
use std::collections::BTreeSet;
use std::sync::Arc;

use meta::changes::{Change, Changes};
use meta::{Meta, Read};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::checkpoint::image::{LIVE, NAMESPACE_END};
use crate::checkpoint::manifest::Block;
use crate::locations::IDS_PER_ROW;
use crate::{ChunkId, Result, tables};

/// Most bytes of keys that are kept while a look is under way.
const HEARD_BYTES: usize = 4 << 20;
/// What a key counts beside its bytes.
const KEY_BYTES: usize = 32;

/// A block of the last look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tracked {
    /// Key of its first row.
    pub first: Vec<u8>,
    /// Rows in it.
    pub rows: u64,
    /// Where it is.
    pub block: Block,
}

/// The blocks of the last look, in key order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    /// Number of the checkpoint that has these blocks.
    pub number: u32,
    pub blocks: Vec<Tracked>,
}

impl Table {
    /// The block into which a row with this key falls.
    fn block_of(&self, key: &[u8]) -> usize {
        let after = self.blocks.partition_point(|block| block.first.as_slice() <= key);
        after.saturating_sub(1)
    }

    /// The block that begins with this key.
    pub(super) fn beginning_with(&self, key: &[u8]) -> Option<usize> {
        self.blocks
            .binary_search_by(|block| block.first.as_slice().cmp(key))
            .ok()
    }
}

/// What a look has to read.
pub(super) struct Plan {
    /// The view to read.
    pub view: Box<dyn Read + Send>,
    /// The blocks of the last look and which of them may have changed; `None`: read everything.
    pub known: Option<(Table, BTreeSet<usize>)>,
}

#[derive(Default)]
struct State {
    table: Option<Table>,
    dirty: BTreeSet<usize>,
    /// Keys heard since the look that is under way began; `None`: there is none.
    heard: Option<Vec<Vec<u8>>>,
    heard_bytes: usize,
    /// Something was not heard since then.
    lost: bool,
}

/// The key of a checkpoint's row that a committed key changes, if it changes one.
fn image_key(key: &[u8]) -> Option<Vec<u8>> {
    let live = |chunk: ChunkId| {
        let mut row = vec![LIVE];
        row.extend_from_slice(&(chunk.0 / IDS_PER_ROW).to_be_bytes());
        Some(row)
    };
    match (*key.first()?, key) {
        (0x01..NAMESPACE_END, _) => Some(key.to_vec()),
        (tables::UNPACKED, _) => live(tables::member_and_chunk(key).ok()?.1),
        (tables::DAMAGED, _) => live(tables::chunk_of(key).ok()?),
        // One of a pack that is dead; the key begins with the pack.
        (tables::DEAD, _) => live(ChunkId(tables::u64_from(key.get(9..)?).ok()?)),
        (LIVE | tables::REFS | tables::DOMAIN | tables::EPOCH, _) => Some(key.to_vec()),
        (tables::PACKING, [_, part, ..]) if *part == crate::domains::ROWS[0][1] => Some(key.to_vec()),
        _ => None,
    }
}

impl State {
    fn note(&mut self, change: &Change) {
        match change {
            Change::Lost => self.lose(),
            Change::Commit { keys, .. } => {
                for key in keys.iter().filter_map(|key| image_key(key)) {
                    self.note_key(key);
                }
            }
        }
    }

    fn note_key(&mut self, key: Vec<u8>) {
        if let Some(heard) = &mut self.heard {
            self.heard_bytes += key.len() + KEY_BYTES;
            if self.heard_bytes > HEARD_BYTES {
                self.lose();
            } else {
                heard.push(key);
            }
        } else if let Some(table) = &self.table {
            self.dirty.insert(table.block_of(&key));
        }
    }

    fn lose(&mut self) {
        self.table = None;
        self.dirty.clear();
        self.lost = true;
        if let Some(heard) = &mut self.heard {
            heard.clear();
        }
    }
}

/// Hears of changes for as long as it lives.
pub(super) struct Changed {
    state: Arc<Mutex<State>>,
    ask: mpsc::Sender<oneshot::Sender<()>>,
}

impl Changed {
    /// Begins to hear; the answer's second part has to run beside.
    pub(super) fn new(meta: &Meta) -> Result<(Self, impl Future<Output = ()> + Send + use<>)> {
        let state = Arc::new(Mutex::new(State::default()));
        let (ask, asked) = mpsc::channel(1);
        let hearing = hear(meta.subscribe()?, asked, state.clone());
        Ok((Self { state, ask }, hearing))
    }

    /// Everything that was told before this call is noted after it.
    async fn catch_up(&self) {
        let (done, noted) = oneshot::channel();
        if self.ask.send(done).await.is_err() || noted.await.is_err() {
            self.state.lock().lose();
        }
    }

    /// Begins a look. It counts for the next one if [`Look::end`] is called.
    pub(super) async fn look(&self, meta: &Meta) -> Result<(Look<'_>, Plan)> {
        self.catch_up().await;
        let (table, mut dirty) = {
            let mut state = self.state.lock();
            state.heard = Some(Vec::new());
            state.heard_bytes = 0;
            state.lost = false;
            (state.table.take(), std::mem::take(&mut state.dirty))
        };
        let look = Look { changed: self };
        let Some(view) = meta.told_snapshot()? else {
            self.state.lock().lost = true;
            return Ok((
                look,
                Plan {
                    view: meta.snapshot()?,
                    known: None,
                },
            ));
        };
        self.catch_up().await;
        let state = self.state.lock();
        let known = table.filter(|_| !state.lost).map(|table| {
            dirty.extend(state.heard.iter().flatten().map(|key| table.block_of(key)));
            (table, dirty)
        });
        Ok((look, Plan { view, known }))
    }
}

/// A look that is under way. Dropping it makes the next one read everything.
pub(super) struct Look<'a> {
    changed: &'a Changed,
}

impl Look<'_> {
    /// The look came to its end, and these are the blocks.
    pub(super) fn end(self, table: Table) {
        let mut state = self.changed.state.lock();
        let heard = state.heard.take().unwrap_or_default();
        if !state.lost && !table.blocks.is_empty() {
            state.dirty = heard.iter().map(|key| table.block_of(key)).collect();
            state.table = Some(table);
        }
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        self.changed.state.lock().heard = None;
    }
}

async fn hear(
    mut changes: Changes,
    mut asked: mpsc::Receiver<oneshot::Sender<()>>,
    state: Arc<Mutex<State>>,
) {
    loop {
        tokio::select! {
            change = changes.next() => match change {
                Some(change) => state.lock().note(&change),
                None => return,
            },
            done = asked.recv() => {
                let Some(done) = done else { return };
                while let Some(change) = changes.try_next() {
                    state.lock().note(&change);
                }
                // Who asked may have gone.
                let _ = done.send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_keys_are_those_of_a_checkpoints_rows_or_none() {
        let chunk = 0x0305u64.to_be_bytes();
        let live = [&[LIVE][..], &3u64.to_be_bytes()].concat();
        for (key, expected) in [
            (vec![0x05, 1, 2], Some(vec![0x05, 1, 2])),
            ([&[tables::UNPACKED][..], &chunk].concat(), Some(live.clone())),
            (
                tables::member_key(tables::UNPACKED, 3, ChunkId(0x0305)).to_vec(),
                Some(live.clone()),
            ),
            ([&[tables::DAMAGED][..], &chunk].concat(), Some(live.clone())),
            (
                [&[tables::DEAD][..], &7u64.to_be_bytes(), &chunk].concat(),
                Some(live.clone()),
            ),
            (live.clone(), Some(live)),
            (vec![tables::PACKING, 3, 9], Some(vec![tables::PACKING, 3, 9])),
            (vec![tables::PACKING, 1, 9], None),
            (vec![NAMESPACE_END, 1], None),
            (vec![tables::STAGED, 1], None),
            (vec![tables::CHECKPOINT, 1], None),
            (vec![], None),
        ] {
            assert_eq!(image_key(&key), expected, "{key:?}");
        }
    }

    #[test]
    fn what_is_heard_during_a_look_counts_for_the_next() {
        let block = |first: u8| Tracked {
            first: vec![first],
            rows: 1,
            block: Block {
                digest: [0; 16],
                chunks: Vec::new(),
            },
        };
        let table = Table {
            number: 1,
            blocks: vec![block(10), block(20), block(30)],
        };
        for (key, expected) in [(5u8, 0), (10, 0), (19, 0), (20, 1), (35, 2)] {
            assert_eq!(table.block_of(&[key]), expected);
        }
        let (ask, _asked) = mpsc::channel(1);
        let changed = Changed {
            state: Arc::default(),
            ask,
        };
        let begin = || {
            changed.state.lock().heard = Some(Vec::new());
            changed.state.lock().lost = false;
            Look { changed: &changed }
        };
        let look = begin();
        changed.state.lock().note_key(vec![25]);
        look.end(table.clone());
        changed.state.lock().note_key(vec![31]);
        assert_eq!(changed.state.lock().dirty, BTreeSet::from([1, 2]));
        changed.state.lock().note(&Change::Lost);
        assert_eq!(changed.state.lock().table, None);
        // What is lost during a look leaves nothing to go on from; and so does a look that fails.
        let look = begin();
        changed.state.lock().note(&Change::Lost);
        look.end(table.clone());
        assert_eq!(changed.state.lock().table, None);
        drop(begin());
        assert!(changed.state.lock().heard.is_none());
        begin().end(table);
        assert!(changed.state.lock().table.is_some());
        let look = begin();
        changed.state.lock().table = None;
        for number in 0..200_000u32 {
            changed.state.lock().note_key(number.to_be_bytes().to_vec());
        }
        assert!(changed.state.lock().lost, "too much to keep");
        drop(look);
    }
}
