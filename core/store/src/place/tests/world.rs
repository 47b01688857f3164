//! A gateway's network half over memory and a temporary metadata store.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use meta::{Durability, Meta};
use parking_lot::Mutex;
use tempfile::TempDir;

use super::wait::until;
use crate::pack::index::{About, Keys};
use crate::pack::layout::Slot;
use crate::place::local::{Local, unpacked};
use crate::place::memory::SEGMENT_MEMORY;
use crate::place::miners::Miners;
use crate::place::network::fake::{Fake, OWNER, TERRITORY};
use crate::place::pace::Pace;
use crate::place::waiting::Waiting;
use crate::place::{Placing, Settings, levels};
use crate::read::trace::Log;
use crate::reclaim::ReclaimConfig;
use crate::reclaim::restage::Restaged;
use crate::remote::Remote;
use crate::workers::Workers;
use crate::{
    ChainState, ChunkId, DomainId, Error, Level, Owner, PackState, PackStatus, Result, locations, references,
    testing,
};

/// Patience of the tests: long enough for two busy cores.
pub(crate) const LONG: Duration = Duration::from_mins(1);

/// Staging in memory.
#[derive(Default)]
pub(super) struct Staging {
    frames: Mutex<BTreeMap<ChunkId, Bytes>>,
    /// Bytes of what comes back that there is room for; `None`: there always is.
    room: Mutex<Option<u64>>,
}

impl Staging {
    /// Has room for so many bytes of what comes back from old packs; `None`: always.
    pub(super) fn set_room(&self, bytes: Option<u64>) {
        *self.room.lock() = bytes;
    }
}

#[async_trait]
impl Local for Staging {
    fn frame(&self, chunk: ChunkId) -> Result<Bytes> {
        let frames = self.frames.lock();
        frames.get(&chunk).cloned().ok_or(Error::UnknownChunk(chunk))
    }
    fn owner(&self, chunk: ChunkId) -> Result<Owner> {
        Ok(Owner {
            inode: chunk.0 % 7,
            offset: chunk.0 << 18,
        })
    }
    fn frame_into(&self, chunk: ChunkId, room: &mut [u8]) -> Result<Owner> {
        let frames = self.frames.lock();
        let frame = frames.get(&chunk).ok_or(Error::UnknownChunk(chunk))?;
        room.copy_from_slice(frame);
        self.owner(chunk)
    }
    fn about(&self, frame: &[u8]) -> Result<(About, u32)> {
        let about = About {
            domain: DomainId(u64::from(frame[0]) % 3),
            plain_len: frame.len() as u32,
        };
        Ok((about, 1))
    }
    fn wrapped_keys(&self, domain: DomainId, epoch: u32) -> Result<Keys> {
        Ok(Keys {
            domain,
            epoch,
            domain_key: vec![1; 60],
            epoch_key: vec![2; 60],
        })
    }
    fn root_row(&self) -> Result<Vec<u8>> {
        Ok(vec![9; 88])
    }
    fn seal_index(&self, header: &[u8], index: &[u8]) -> Vec<u8> {
        assert_eq!(header.len(), super::super::build::BOUND);
        // A fresh nonce at each sealing, as the real one has.
        let mut sealed = vec![0; 12];
        crate::random::fill(&mut sealed);
        sealed.extend(index.iter().map(|byte| byte ^ 0xa5));
        sealed.extend_from_slice(&[7; 16]);
        sealed
    }
    fn open_index(&self, _header: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let plain = sealed.get(12..sealed.len().checked_sub(16)?)?;
        Some(plain.iter().map(|byte| byte ^ 0xa5).collect())
    }
    async fn restage(&self, _pack: u64, _segment: u32, slots: &[Slot]) -> Result<Vec<Restaged>> {
        if let Some(room) = &mut *self.room.lock() {
            *room -= slots.iter().map(|slot| u64::from(slot.len)).sum::<u64>();
        }
        Ok(slots
            .iter()
            .map(|slot| {
                let bytes = frame(slot.chunk, slot.len as usize);
                self.frames.lock().insert(slot.chunk, bytes);
                Restaged::nameless(Waiting {
                    chunk: slot.chunk,
                    len: slot.len,
                    stream: 0,
                })
            })
            .collect())
    }
    fn spare(&self) -> u64 {
        self.room.lock().unwrap_or(u64::MAX)
    }
    async fn heal(&self, _chunk: ChunkId) -> Result<bool> {
        Ok(false)
    }
    async fn reclaim(&self, chunks: &[ChunkId]) -> Result<()> {
        let mut frames = self.frames.lock();
        for chunk in chunks {
            frames.remove(chunk);
        }
        Ok(())
    }
}

/// The bytes of a chunk's frame, from its id alone.
pub(crate) fn frame(chunk: ChunkId, len: usize) -> Bytes {
    let mut state = chunk.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect::<Vec<_>>()
        .into()
}

pub(crate) fn pace() -> Pace {
    Pace {
        tick: Duration::from_millis(20),
        poll: Duration::from_millis(10),
        poll_max: Duration::from_millis(50),
        report_timeout: Duration::from_millis(300),
        put_timeout: Duration::from_secs(10),
        retry: Duration::from_millis(20),
        retry_max: Duration::from_millis(100),
        declare_gather: Duration::from_millis(30),
        verify_tries: 2,
        verify_patience: Duration::from_millis(300),
        hedge: Duration::from_millis(150),
        get_timeout: Duration::from_secs(10),
        probe: Duration::from_secs(2),
        upkeep: Duration::from_millis(50),
        miners_fresh: Duration::from_millis(20),
        stalled: Duration::from_millis(200),
    }
}

pub(super) fn settings() -> Settings {
    Settings {
        pack_segments: 1,
        most_waiting: u64::MAX,
        pack_max_age: Duration::from_hours(1),
        upload_memory: 2 * SEGMENT_MEMORY,
        owner: OWNER,
        territory: TERRITORY.to_vec(),
        rules: Arc::default(),
        pace: pace(),
        reclaim: ReclaimConfig::default(),
        fence: Arc::default(),
        coverage: None,
        role: crate::members::Role::default(),
    }
}

pub(super) struct World {
    pub fake: Arc<Fake>,
    pub staging: Arc<Staging>,
    pub meta: Meta,
    pub remote: Remote,
    pub placing: Placing,
    pub workers: Workers,
    settings: Settings,
    /// Lengths of the frames recorded.
    lens: BTreeMap<ChunkId, usize>,
    dir: TempDir,
}

impl World {
    pub(super) fn new(miners: usize) -> Self {
        Self::with(miners, settings())
    }

    pub(super) fn with(miners: usize, settings: Settings) -> Self {
        let dir = TempDir::new().unwrap();
        let fake = Arc::new(Fake::new(miners));
        Self::over(dir, fake, Arc::default(), settings, BTreeMap::new())
    }

    /// On a network that is as it is.
    pub(super) fn on(fake: Arc<Fake>) -> Self {
        let dir = TempDir::new().unwrap();
        Self::over(dir, fake, Arc::default(), settings(), BTreeMap::new())
    }

    fn over(
        dir: TempDir,
        fake: Arc<Fake>,
        staging: Arc<Staging>,
        settings: Settings,
        lens: BTreeMap<ChunkId, usize>,
    ) -> Self {
        let meta = testing::meta(dir.path());
        let miners = Arc::new(Miners::new(fake.clone(), settings.pace.miners_fresh));
        let remote = Remote::new(meta.clone(), fake.clone(), miners.clone(), &settings.pace, 0);
        let workers = Workers::default();
        let placing = Placing::start(
            meta.clone(),
            fake.clone(),
            staging.clone(),
            miners,
            settings.clone(),
            &workers,
        )
        .unwrap();
        Self {
            fake,
            staging,
            meta,
            remote,
            placing,
            workers,
            settings,
            lens,
            dir,
        }
    }

    /// Cuts every worker off where it is, and goes on with a copy of the directory as it is then.
    /// (First the cut, then the copy: the dead must not go on ordering space.)
    pub(super) async fn crash(self) -> Self {
        let settings = self.settings.clone();
        self.crash_into(settings).await
    }

    /// [`Self::crash`], and other settings afterwards.
    pub(super) async fn crash_into(self, settings: Settings) -> Self {
        self.placing.stop().await;
        let copy = TempDir::new().unwrap();
        testing::copy(self.dir.path(), copy.path());
        let Self {
            fake,
            staging,
            lens,
            placing,
            ..
        } = self;
        drop(placing);
        Self::over(copy, fake, staging, settings, lens)
    }

    /// Records chunks with frames of the given lengths.
    pub(super) async fn record(&mut self, lens: &[usize]) -> Vec<ChunkId> {
        self.record_of(lens, |_| 0).await
    }

    /// Records chunks of the streams that `stream` answers for their numbers.
    pub(super) async fn record_of(
        &mut self,
        lens: &[usize],
        stream: impl Fn(u64) -> u64 + Send + Sync + 'static,
    ) -> Vec<ChunkId> {
        let first = self.lens.keys().next_back().map_or(0, |last| last.0 + 1);
        let chunks: Vec<ChunkId> = (first..).take(lens.len()).map(ChunkId).collect();
        for (chunk, len) in chunks.iter().zip(lens) {
            self.staging.frames.lock().insert(*chunk, frame(*chunk, *len));
            self.lens.insert(*chunk, *len);
        }
        let rows: Vec<_> = chunks.iter().copied().zip(lens.iter().copied()).collect();
        self.meta
            .write(Durability::Synced, move |tx| -> Result<()> {
                for (chunk, len) in &rows {
                    let waiting = Waiting {
                        chunk: *chunk,
                        len: *len as u32,
                        stream: stream(chunk.0),
                    };
                    unpacked::put(tx, waiting)?;
                }
                Ok(())
            })
            .await
            .unwrap();
        chunks
    }

    /// What the store does when the last reference to a chunk goes.
    pub(super) async fn release(&mut self, chunks: &[ChunkId]) {
        let gone = chunks.to_vec();
        self.meta
            .write(Durability::Synced, move |tx| -> Result<()> {
                for chunk in &gone {
                    if unpacked::contains(tx, *chunk)? {
                        unpacked::delete(tx, 0, *chunk)?;
                    } else if let Some(place) = locations::get(tx, *chunk)? {
                        references::die(tx, place.pack, *chunk, place.len)?;
                    }
                }
                Ok(())
            })
            .await
            .unwrap();
        for chunk in chunks {
            self.lens.remove(chunk);
        }
    }

    pub(super) async fn flush(&self, level: Level) -> Result<()> {
        self.flush_within(level, LONG).await
    }

    pub(super) async fn flush_within(&self, level: Level, timeout: Duration) -> Result<()> {
        levels::flush(&self.meta, Some(&self.placing), level, timeout).await
    }

    pub(super) fn packs(&self) -> Vec<PackStatus> {
        levels::packs(&*self.meta.snapshot().unwrap()).unwrap()
    }

    pub(super) fn level(&self, chunks: &[ChunkId]) -> Level {
        levels::level(&*self.meta.snapshot().unwrap(), chunks).unwrap()
    }

    /// Chunks that staging still has.
    pub(super) fn staged(&self) -> usize {
        self.staging.frames.lock().len()
    }

    /// Frame of `chunk` from the network, compared with what was recorded.
    pub(super) async fn read(&self, chunk: ChunkId) -> Result<()> {
        let expected = frame(chunk, self.lens[&chunk]);
        let log = Log::new(false);
        let bytes = self
            .remote
            .fetch_frame(chunk, &|bytes| bytes == expected, &log)
            .await?;
        assert_eq!(bytes, expected);
        Ok(())
    }

    /// Every chunk reads back from the network.
    pub(super) async fn all_read_back(&self) {
        for chunk in self.lens.keys() {
            self.read(*chunk).await.unwrap();
        }
    }

    /// Waits until `seen` is true of the packs.
    pub(super) async fn until(&self, what: &str, seen: impl Fn(&[PackStatus]) -> bool) {
        until(|| seen(&self.packs()), || (what, self.packs())).await;
    }

    /// Waits until a pack's last error contains `text`.
    pub(super) async fn until_error(&self, text: &str) {
        self.until(text, |packs| {
            packs
                .iter()
                .any(|pack| pack.last_error.as_ref().is_some_and(|error| error.contains(text)))
        })
        .await;
    }

    /// Waits until the watcher sees the chain in `state`.
    pub(super) async fn until_outlook(&self, state: ChainState) {
        self.until(&state.to_string(), |_| self.placing.outlook().state == state)
            .await;
    }

    /// Waits until the watcher's reason contains `text`.
    pub(super) async fn until_reason(&self, text: &str) {
        self.until(text, |_| {
            let outlook = self.placing.outlook();
            outlook.reason.is_some_and(|reason| reason.contains(text))
        })
        .await;
    }

    /// Waits until the only pack reached `state`.
    pub(super) async fn until_state(&self, state: PackState) {
        self.until("state", |packs| packs.iter().any(|pack| pack.state >= state))
            .await;
    }

    /// Numbers of the miners that hold the first file.
    pub(super) fn holders(&self) -> Vec<usize> {
        let accounts = self.fake.accounts();
        let (_, holders) = self.fake.files().into_iter().next().unwrap();
        holders
            .iter()
            .map(|holder| accounts.iter().position(|account| account == holder).unwrap())
            .collect()
    }
}

impl World {
    /// Waits until staging gave everything back.
    pub(super) async fn until_reclaimed(&self) {
        until(|| self.staged() == 0, || self.staged()).await;
    }
}
