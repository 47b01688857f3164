//! The shared chain: what is known of blocks, and the making of the next one.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parity_scale_codec::Encode;
use parking_lot::{Condvar, Mutex, RwLock};
use tokio::sync::broadcast;

use super::header::{Header, digest};
use super::log::{Log, LogReader, Record, from_stored, to_stored};
use super::pool::{Pool, Status, Waiting, Watcher};
use super::view::View;
use crate::clock::now_millis;
use crate::error::{Error, Result};
use crate::runtime::execute::{self, Executed, Operation};
use crate::runtime::genesis::{self, Genesis};
use crate::runtime::primitives::{Digest, H256};
use crate::runtime::state::{Changes, RawState, apply};

/// Blocks whose state can be read by default. A pruning node of the network keeps 256, which last
/// 25 minutes; instant blocks come far quicker.
pub const DEFAULT_STATE_BLOCKS: usize = 2048;
/// Most bytes of undo records that are kept for reading old states.
const MAX_UNDO_BYTES: usize = 256 << 20;
/// Announcements that a slow subscriber may lag behind before it misses some.
const HEAD_BUFFER: usize = 4096;

/// When blocks are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealing {
    /// Time between blocks; zero makes one as soon as there is something to put in.
    pub period: Duration,
    /// No blocks at all.
    pub stalled: bool,
    /// Blocks are made, none is finalised.
    pub finality_stalled: bool,
    /// How many blocks finality follows behind.
    pub finality_lag: u32,
    /// How many blocks back the state can be read.
    pub state_blocks: usize,
}

impl Default for Sealing {
    fn default() -> Self {
        Self {
            period: Duration::ZERO,
            stalled: false,
            finality_stalled: false,
            finality_lag: 0,
            state_blocks: DEFAULT_STATE_BLOCKS,
        }
    }
}

/// How a node starts.
pub struct NodeConfig {
    /// Directory of the block log.
    pub dir: PathBuf,
    /// When blocks are made.
    pub sealing: Sealing,
    /// Block 0, where there is no log yet.
    pub genesis: Genesis,
}

/// An announcement.
#[derive(Clone, Debug)]
pub enum Head {
    /// A new best block.
    Best(Header),
    /// A block is final.
    Finalized(Header),
}

/// A header and what is known of its block.
#[derive(Clone, Debug)]
pub(super) struct BlockAt {
    /// The header.
    pub(super) header: Header,
    /// Offset of the block's record in the log.
    pub(super) offset: u64,
}

/// Everything that readers see.
pub(super) struct State {
    pub(super) raw: RawState,
    /// Hashes of the canonical blocks, by number.
    pub(super) canonical: Vec<H256>,
    /// All blocks, retracted ones included.
    pub(super) blocks: HashMap<H256, BlockAt>,
    /// Undo records of the newest blocks, the oldest first.
    pub(super) undo: VecDeque<(Changes, usize)>,
    undo_bytes: usize,
    pub(super) finalized: u32,
    /// Newest block with a signed extrinsic: what finality must reach while nothing happens.
    pub(super) last_busy: u32,
}

/// What only the block author touches.
pub(super) struct Bench {
    pub(super) log: Log,
    pub(super) fork: u32,
    pub(super) operations: Vec<Operation>,
    last_time: u64,
}

/// Included and not final yet: block → the extrinsics whose watchers wait for finality.
pub(super) type Watched = HashMap<H256, Vec<Vec<Watcher>>>;

/// The chain. Shared; all methods take `&self`.
pub struct Node {
    pub(super) state: RwLock<State>,
    pub(super) pool: Mutex<Pool>,
    pub(super) bench: Mutex<Bench>,
    pub(super) watched: Mutex<Watched>,
    pub(super) sealing: Mutex<Sealing>,
    /// Wakes the author: work arrived, or the sealing changed.
    pub(super) wake: Condvar,
    pub(super) stopping: Mutex<bool>,
    reader: LogReader,
    heads: broadcast::Sender<Head>,
    genesis: H256,
}

impl Node {
    /// Opens the chain under `config.dir`, replaying its log, or makes block 0.
    pub fn open(config: NodeConfig) -> Result<Arc<Self>> {
        std::fs::create_dir_all(&config.dir)
            .map_err(Error::io(format!("creating {}", config.dir.display())))?;
        let mut state = State {
            raw: RawState::new(),
            canonical: Vec::new(),
            blocks: HashMap::new(),
            undo: VecDeque::new(),
            undo_bytes: 0,
            finalized: 0,
            last_busy: 0,
        };
        let keep = config.sealing.state_blocks;
        let mut fork = 0;
        let mut log = Log::open(&config.dir.join("blocks.log"), |offset, record| {
            match record {
                Record::Block(header, body, changes) => {
                    let changes = from_stored(changes);
                    state.push(header, offset, &changes, keep, body.len() > 1);
                }
                Record::Rollback(number) => {
                    fork += 1;
                    while state.best() > number {
                        state
                            .pop()
                            .ok_or_else(|| Error::Log("a rollback past the kept blocks".into()))?;
                    }
                }
            }
            Ok(())
        })?;
        if state.canonical.is_empty() {
            let changes = genesis::build(&config.genesis);
            let header = Header {
                parent: H256::default(),
                number: 0,
                state_root: root(H256::default(), &changes),
                extrinsics_root: execute::extrinsics_root(&[]),
                digest: Digest::default(),
            };
            let record = Record::Block(header.clone(), vec![], to_stored(&changes));
            let offset = log.append(&record, true)?;
            state.push(header, offset, &changes, keep, false);
        }
        state.finalized = state.best().saturating_sub(config.sealing.finality_lag);
        let genesis = state.canonical.first().copied().unwrap_or_default();
        Ok(Arc::new(Self {
            state: RwLock::new(state),
            pool: Mutex::new(Pool::default()),
            reader: log.reader()?,
            bench: Mutex::new(Bench {
                log,
                fork,
                operations: Vec::new(),
                last_time: 0,
            }),
            watched: Mutex::new(Watched::new()),
            sealing: Mutex::new(config.sealing),
            wake: Condvar::new(),
            stopping: Mutex::new(false),
            heads: broadcast::channel(HEAD_BUFFER).0,
            genesis,
        }))
    }

    /// Hash of block 0.
    pub fn genesis_hash(&self) -> H256 {
        self.genesis
    }

    /// Hash and number of the best block.
    pub fn best(&self) -> (H256, u32) {
        let state = self.state.read();
        let number = state.best();
        (state.hash_of(number).unwrap_or_default(), number)
    }

    /// Hash and number of the newest final block.
    pub fn finalized(&self) -> (H256, u32) {
        let state = self.state.read();
        (
            state.hash_of(state.finalized).unwrap_or_default(),
            state.finalized,
        )
    }

    /// Hash of the canonical block of a number.
    pub fn hash_of(&self, number: u32) -> Option<H256> {
        self.state.read().hash_of(number)
    }

    /// Header of any block that was ever made, retracted ones included.
    pub fn header(&self, hash: H256) -> Option<Header> {
        self.state
            .read()
            .blocks
            .get(&hash)
            .map(|block| block.header.clone())
    }

    /// Extrinsics of a block.
    pub fn body(&self, hash: H256) -> Result<Option<Vec<Vec<u8>>>> {
        let offset = self.state.read().blocks.get(&hash).map(|block| block.offset);
        offset.map(|offset| self.reader.body(offset)).transpose()
    }

    /// Runs `body` on the state at block `at` (the best one where `None`). Answers `None` where
    /// the block is unknown, retracted or so old that its state is pruned.
    pub fn view<T>(&self, at: Option<H256>, body: impl FnOnce(&View<'_>) -> T) -> Option<T> {
        let state = self.state.read();
        let best = state.best();
        let number = match at {
            None => best,
            Some(hash) => {
                let number = state.blocks.get(&hash)?.header.number;
                (state.hash_of(number) == Some(hash)).then_some(number)?
            }
        };
        let above = (best - number) as usize;
        let keep = self.sealing.lock().state_blocks;
        // One record per block above; the genesis state needs none below it.
        if above > state.undo.len() || above > keep {
            return None;
        }
        let undo = state
            .undo
            .iter()
            .skip(state.undo.len() - above)
            .map(|(changes, _)| changes)
            .collect();
        Some(body(&View::new(&state.raw, undo)))
    }

    /// Announcements from now on.
    pub fn heads(&self) -> broadcast::Receiver<Head> {
        self.heads.subscribe()
    }

    /// How blocks are made.
    pub fn sealing(&self) -> Sealing {
        *self.sealing.lock()
    }

    /// Changes how blocks are made, at once.
    pub fn set_sealing(&self, change: impl FnOnce(&mut Sealing)) {
        change(&mut self.sealing.lock());
        self.nudge();
    }

    /// Has `operation` done at the start of the next block.
    pub fn operate(&self, operation: Operation) {
        self.bench.lock().operations.push(operation);
        self.nudge();
    }

    /// Wakes the author.
    pub(super) fn nudge(&self) {
        let _held = self.stopping.lock();
        self.wake.notify_all();
    }

    /// Number of extrinsics that wait.
    pub fn pending(&self) -> usize {
        self.pool.lock().len()
    }

    /// Bytes of all extrinsics that wait.
    pub fn pending_bytes(&self) -> Vec<Vec<u8>> {
        self.pool
            .lock()
            .all()
            .map(|waiting| waiting.bytes.clone())
            .collect()
    }

    /// Makes one block of what is ready.
    pub fn seal(&self) -> Result<Header> {
        self.seal_with(true, true)
    }

    /// Makes `count` empty blocks, synced once: how tests let time pass.
    pub fn seal_empty(&self, count: u32) -> Result<()> {
        for made in 0..count {
            self.seal_with(false, made + 1 == count)?;
        }
        Ok(())
    }

    pub(super) fn seal_with(&self, take: bool, sync: bool) -> Result<Header> {
        let mut bench = self.bench.lock();
        self.seal_on(&mut bench, take, sync)
    }

    pub(super) fn seal_on(&self, bench: &mut Bench, take: bool, sync: bool) -> Result<Header> {
        let (parent, number) = self.best();
        let number = number + 1;
        let time = now_millis().max(bench.last_time + 1);
        bench.last_time = time;
        let digest = digest(time, bench.fork);
        let operations = std::mem::take(&mut bench.operations);

        let state = self.state.read();
        let (keys, offered) = if take {
            self.offer(&state, number)
        } else {
            (Vec::new(), Vec::new())
        };
        let facts = execute::Header {
            parent,
            number,
            time,
            digest: &digest,
        };
        let Executed {
            changes,
            inherent,
            rejected,
            left_over,
        } = execute::block(&state.raw, &facts, &offered, &operations);
        let parent_root = state
            .blocks
            .get(&parent)
            .map(|block| block.header.state_root)
            .unwrap_or_default();
        drop(state);

        let mut body = vec![inherent];
        let mut included = Vec::new();
        {
            let mut pool = self.pool.lock();
            for (at, key) in keys.iter().enumerate() {
                if left_over.contains(&at) {
                    continue;
                }
                let Some(mut waiting) = pool.take(&key.0, key.1) else {
                    continue;
                };
                if rejected.iter().any(|(rejected, _)| *rejected == at) {
                    waiting.tell(&Status::Invalid);
                } else {
                    body.push(std::mem::take(&mut waiting.bytes));
                    included.push(waiting);
                }
            }
        }
        let header = Header {
            parent,
            number,
            state_root: root(parent_root, &changes),
            extrinsics_root: execute::extrinsics_root(&body),
            digest,
        };
        let hash = header.hash();
        let record = Record::Block(header.clone(), body, to_stored(&changes));
        let offset = match bench.log.append(&record, sync) {
            Ok(offset) => offset,
            Err(error) => {
                bench.operations = operations;
                self.put_back(record, included);
                return Err(error);
            }
        };

        let sealing = self.sealing();
        {
            let mut state = self.state.write();
            state.push(
                header.clone(),
                offset,
                &changes,
                sealing.state_blocks,
                !included.is_empty(),
            );
        }
        for waiting in &mut included {
            waiting.tell(&Status::InBlock(hash));
        }
        self.watched.lock().insert(
            hash,
            included.into_iter().map(|waiting| waiting.watchers).collect(),
        );
        // Nobody listening is no failure.
        let _ = self.heads.send(Head::Best(header.clone()));
        self.finalize();
        Ok(header)
    }

    /// The block could not be written: its extrinsics wait again.
    fn put_back(&self, record: Record, included: Vec<Waiting>) {
        let Record::Block(_, body, _) = record else { return };
        let state = self.state.read();
        let mut pool = self.pool.lock();
        // The first extrinsic is the author's own.
        for (bytes, mut waiting) in body.into_iter().skip(1).zip(included) {
            waiting.bytes = bytes;
            let nonce = execute::next_nonce(&state.raw, &waiting.signed.signer);
            // One that has been replaced meanwhile stays out.
            let _ = pool.add(waiting, nonce);
        }
    }

    /// What the next block is offered: keys into the pool, and the extrinsics with their lengths.
    #[allow(clippy::type_complexity)]
    fn offer(
        &self,
        state: &State,
        number: u32,
    ) -> (
        Vec<(crate::runtime::primitives::AccountId32, u32)>,
        Vec<(Arc<crate::runtime::extrinsic::Signed>, usize)>,
    ) {
        let mut pool = self.pool.lock();
        let nonce_of = |account: &_| execute::next_nonce(&state.raw, account);
        pool.expire(number, nonce_of);
        let keys = pool.ready(nonce_of);
        let offered = keys
            .iter()
            .filter_map(|(signer, nonce)| pool.get(signer, *nonce))
            .map(|waiting| (waiting.signed.clone(), waiting.bytes.len()))
            .collect();
        (keys, offered)
    }

    /// Lets finality follow as far as it may: after a stall it need not wait for a block.
    pub fn catch_up(&self) {
        self.finalize();
    }

    fn finalize(&self) {
        let sealing = self.sealing();
        if sealing.finality_stalled {
            return;
        }
        let mut fresh = Vec::new();
        {
            let mut state = self.state.write();
            let target = state.best().saturating_sub(sealing.finality_lag);
            while state.finalized < target {
                state.finalized += 1;
                let hash = state.hash_of(state.finalized).unwrap_or_default();
                if let Some(block) = state.blocks.get(&hash) {
                    fresh.push((hash, block.header.clone()));
                }
            }
        }
        for (hash, header) in fresh {
            for watchers in self.watched.lock().remove(&hash).unwrap_or_default() {
                for watcher in watchers {
                    // A watcher that hung up is no failure.
                    let _ = watcher.send(Status::Finalized(hash));
                }
            }
            let _ = self.heads.send(Head::Finalized(header));
        }
    }

    /// Whether the author of instant blocks has something to do.
    pub(super) fn wants_block(&self, sealing: Sealing) -> bool {
        if !self.bench.lock().operations.is_empty() {
            return true;
        }
        let state = self.state.read();
        if !sealing.finality_stalled && state.last_busy > state.finalized {
            return true;
        }
        let pool = self.pool.lock();
        !pool.is_empty()
            && !pool
                .ready(|account| execute::next_nonce(&state.raw, account))
                .is_empty()
    }
}

impl State {
    pub(super) fn best(&self) -> u32 {
        (self.canonical.len() as u32).saturating_sub(1)
    }

    pub(super) fn hash_of(&self, number: u32) -> Option<H256> {
        self.canonical.get(number as usize).copied()
    }

    /// Adds a block on top.
    fn push(&mut self, header: Header, offset: u64, changes: &Changes, keep: usize, busy: bool) {
        let undo = apply(&mut self.raw, changes);
        if header.number > 0 {
            let bytes = undo
                .iter()
                .map(|(key, old)| key.len() + old.as_ref().map_or(0, |old| old.len()))
                .sum();
            self.undo.push_back((undo, bytes));
            self.undo_bytes += bytes;
        }
        while self.undo.len() > keep.max(1) || (self.undo_bytes > MAX_UNDO_BYTES && self.undo.len() > 1) {
            if let Some((_, bytes)) = self.undo.pop_front() {
                self.undo_bytes -= bytes;
            }
        }
        if busy {
            self.last_busy = header.number;
        }
        let hash = header.hash();
        self.canonical.push(hash);
        self.blocks.insert(hash, BlockAt { header, offset });
    }

    /// Takes the best block off; `None` where its undo record is gone.
    pub(super) fn pop(&mut self) -> Option<H256> {
        let (undo, bytes) = self.undo.pop_back()?;
        self.undo_bytes -= bytes;
        apply(&mut self.raw, &undo);
        let hash = self.canonical.pop();
        self.last_busy = self.last_busy.min(self.best());
        hash
    }
}

/// Commits to the state by committing to its history: BLAKE2b-256 of the parent's root and the
/// changes.
fn root(parent: H256, changes: &Changes) -> H256 {
    H256::of(&(parent, to_stored(changes)).encode())
}
