//! Scrub and repair over a network that breaks.
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cess::chain::TerritoryState;
use cess::codec::FRAGMENTS;
use meta::{Durability, Meta};
use tempfile::TempDir;

use crate::health::record::FragmentState as S;
use crate::health::report::ScrubReport;
use crate::health::settings::HealthSettings;
use crate::place::network::fake::{Fake, Fault, OWNER, TERRITORY};
use crate::place::pace::Pace;
use crate::staging::Staging;
use crate::{
    ChunkId, Compression, DomainId, Error, Level, Owner, PackState, PassphraseCost, Store, StoreConfig,
    testing,
};

const DOMAIN: DomainId = DomainId(1);
/// Patience of the tests: long enough for two busy cores.
const LONG: Duration = Duration::from_mins(2);
/// Chunks that fill more than three data fragments, so that no fragment is zeros.
const MANY: u64 = 110;
const LEN: usize = 250_000;

fn pace() -> Pace {
    Pace {
        tick: Duration::from_millis(20),
        poll: Duration::from_millis(10),
        poll_max: Duration::from_millis(50),
        report_timeout: Duration::from_millis(500),
        retry: Duration::from_millis(5),
        retry_max: Duration::from_millis(20),
        declare_gather: Duration::from_millis(10),
        verify_tries: 2,
        verify_patience: Duration::from_millis(300),
        hedge: Duration::from_millis(150),
        get_timeout: Duration::from_secs(10),
        upkeep: Duration::from_millis(50),
        miners_fresh: Duration::ZERO,
        ..Pace::default()
    }
}

/// Looks only when it is asked to.
fn asked_only() -> HealthSettings {
    HealthSettings {
        scrub_interval: Duration::from_hours(1),
        scrub_rate: 0,
        repair_below: 8,
        miner_patience: Duration::from_hours(8),
    }
}

struct World {
    fake: Arc<Fake>,
    store: Store,
    meta: Meta,
    chunks: Vec<ChunkId>,
    health: HealthSettings,
    dir: TempDir,
}

async fn open(dir: &Path, fake: &Arc<Fake>, health: &HealthSettings) -> (Store, Meta) {
    let meta = testing::meta(dir);
    let config = StoreConfig {
        pack_segments: 1,
        pack_max_age: Duration::from_hours(1),
        staging_limit: 1 << 30,
        disk_cache: 0,
        memory_cache: 4 << 20,
        compression: Compression::None,
        passphrase_cost: PassphraseCost::LIGHT,
        owner: Some(OWNER),
        territory: TERRITORY.to_vec(),
        pace: pace(),
        health: health.clone(),
        ..StoreConfig::new(dir.join("store"))
    };
    let network = Some((fake.clone() as _, OWNER));
    let store = Store::open_over(config, meta.clone(), testing::passphrase("p"), network)
        .await
        .unwrap();
    (store, meta)
}

impl World {
    /// A gateway with one verified pack, over `miners`.
    async fn new(miners: usize, chunks: u64, health: HealthSettings) -> Self {
        let dir = TempDir::new().unwrap();
        let fake = Arc::new(Fake::new(miners));
        let (store, meta) = open(dir.path(), &fake, &health).await;
        let making = store.clone();
        meta.write::<(), Error, _>(Durability::Synced, move |tx| making.create_domain(tx, DOMAIN))
            .await
            .unwrap();
        let mut world = Self {
            fake,
            store,
            meta,
            chunks: Vec::new(),
            health,
            dir,
        };
        world.write(chunks).await;
        world
    }

    async fn write(&mut self, count: u64) {
        let mut staged = Vec::new();
        for _ in 0..count {
            let number = (self.chunks.len() + staged.len()) as u64;
            let owner = Owner {
                inode: 100 + number,
                offset: number,
            };
            staged.push(self.store.stage(DOMAIN, owner, content(number)).await.unwrap());
        }
        self.store.sync_staged().await.unwrap();
        self.chunks.extend(staged.iter().map(|staged| staged.id));
        let store = self.store.clone();
        self.meta
            .write::<(), Error, _>(Durability::Synced, move |tx| {
                staged.iter().try_for_each(|chunk| store.record(tx, chunk))
            })
            .await
            .unwrap();
        self.store.flush(Level::Verified, LONG).await.unwrap();
    }

    /// Stops everything where it is, and goes on with a copy of the directory.
    async fn crash(self) -> Self {
        self.store.shutdown().await;
        let copy = TempDir::new().unwrap();
        testing::copy(self.dir.path(), copy.path());
        drop((self.store, self.meta));
        let (store, meta) = open(copy.path(), &self.fake, &self.health).await;
        Self {
            store,
            meta,
            dir: copy,
            ..self
        }
    }

    async fn scrub(&self) -> ScrubReport {
        self.store.scrub().await.unwrap()
    }

    /// Numbers of the miners that hold fragment 0 to 11 of the only file.
    fn holders(&self) -> Vec<usize> {
        let accounts = self.fake.accounts();
        let files = self.fake.files();
        assert_eq!(files.len(), 1);
        let number = |holder| accounts.iter().position(|account| account == holder).unwrap();
        files[0].1.iter().map(number).collect()
    }

    /// As [`Self::holders`], those of some fragments. (A short segment's fragments 1 to 3 are zeros,
    /// which nobody needs to hold.)
    fn holders_of(&self, indexes: &[usize]) -> Vec<usize> {
        let holders = self.holders();
        indexes.iter().map(|index| holders[*index]).collect()
    }

    fn states(&self) -> Vec<S> {
        let segments =
            crate::health::report::unwell(&*self.meta.snapshot().unwrap(), &self.health, 9).unwrap();
        segments.first().map_or_else(
            || vec![S::Good; FRAGMENTS],
            |segment| {
                segment
                    .fragments
                    .iter()
                    .filter_map(|fragment| fragment.state)
                    .collect()
            },
        )
    }

    /// A counter of the scrubber.
    fn counter(&self, name: &str) -> u64 {
        let workers = self.store.workers().list();
        let scrubber = workers.iter().find(|worker| worker.name == "scrubber").unwrap();
        scrubber.counters.get(name).copied().unwrap_or(0)
    }

    /// Only the network, and staging, can answer what is read next.
    fn forget(&self) {
        self.store.inner.memory.clear();
        if let Some(remote) = &self.store.inner.remote {
            remote.forget();
        }
    }

    async fn all_read(&self) {
        self.forget();
        for (number, chunk) in (0..).zip(&self.chunks) {
            let bytes = self.store.read(*chunk, 0..LEN as u32).await.unwrap();
            assert!(bytes == content(number), "chunk {number}");
        }
    }

    /// Waits until one verified pack is all there is, and the old file is deleted.
    async fn until_stored_again(&self) {
        let deadline = tokio::time::Instant::now() + LONG;
        loop {
            let status = self.store.status().unwrap();
            let done = self.fake.deleted() > 0
                && status.staging_bytes == 0
                && matches!(status.packs.as_slice(), [pack] if pack.id > 1 && pack.state == PackState::Verified);
            if done {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{status:#?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Everything is stored on others than `bad`, and the old file is gone.
    async fn ends_well(&self, bad: &[usize]) {
        self.until_stored_again().await;
        let holders = self.holders();
        assert!(holders.iter().all(|holder| !bad.contains(holder)), "{holders:?}");
        assert_eq!(self.fake.used_space(), 96 << 20);
        self.all_read().await;
        assert_eq!(self.scrub().await.whole, 1);
        assert_eq!(self.store.level(&self.chunks).unwrap(), Level::Verified);
    }
}

/// Content of the chunk that was written as number `number`.
fn content(number: u64) -> Bytes {
    Bytes::from(testing::noise(LEN, number + 1))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_whole_is_left_alone() {
    let world = World::new(13, 20, asked_only()).await;
    let before = world.fake.bytes_read();
    let report = world.scrub().await;
    assert_eq!((report.looked, report.whole, report.at_risk), (1, 1, 0));
    let read = world.fake.bytes_read() - before;
    // One whole fragment, four frames, four columns of 16 KiB from the others.
    let most = (8 << 20) + 4 * (262_192 + 11 * (16 << 10));
    assert!(read > 4 * (LEN as u64) && read <= most, "{read} bytes read");
    let health = world.store.health().unwrap();
    assert_eq!((health.segments, health.by_good[12], health.at_risk), (1, 1, 0));
    assert_eq!(world.fake.deleted(), 0);
    assert_eq!(world.store.status().unwrap().packs[0].good, Some(12));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lost_or_changed_a_fragment_is_named_data_and_parity_alike() {
    let world = World::new(16, MANY, asked_only()).await;
    let holders = world.holders();
    world.fake.fault([holders[1]], Fault::Corrupt);
    world.fake.fault([holders[7]], Fault::Corrupt);
    world.fake.fault([holders[10]], Fault::Forget);
    world.fake.fault([holders[11]], Fault::Dead);
    let report = world.scrub().await;
    assert_eq!((report.looked, report.whole, report.at_risk), (1, 0, 0));
    let mut expected = vec![S::Good; FRAGMENTS];
    expected[1] = S::Corrupt;
    expected[7] = S::Corrupt;
    expected[10] = S::Missing;
    expected[11] = S::OutOfReach;
    assert_eq!(world.states(), expected);
    let segment = &report.segments[0];
    assert_eq!((segment.good, segment.doubtful, segment.lost), (8, 1, 3));
    // What is known survives a restart, and the next look sees them come back.
    let world = world.crash().await;
    assert_eq!(world.states(), expected);
    world.fake.fault(holders, Fault::None);
    assert_eq!(world.scrub().await.whole, 1);
    assert_eq!(world.states(), vec![S::Good; FRAGMENTS]);
    assert_eq!(world.fake.deleted(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn four_losses_are_borne_and_the_fifth_is_repaired() {
    let world = World::new(20, MANY, asked_only()).await;
    let holders = world.holders();
    world.fake.fault(holders[..4].iter().copied(), Fault::Forget);
    assert_eq!(world.scrub().await.at_risk, 0);
    world.fake.fault([holders[4]], Fault::Forget);
    let report = world.scrub().await;
    assert_eq!((report.at_risk, report.moved_chunks), (1, MANY));
    world.ends_well(&holders[..5]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_lowers_no_level_while_four_fragments_can_be_had() {
    let world = World::new(24, MANY, asked_only()).await;
    let holders = world.holders();
    let (bad, rest): (Vec<usize>, Vec<usize>) = (0..24).partition(|miner| holders[..8].contains(miner));
    world.fake.fault(bad.iter().copied(), Fault::Forget);
    // The new pack cannot be placed yet.
    world.fake.fault(rest.iter().copied(), Fault::Silent);
    let report = world.scrub().await;
    assert_eq!((report.at_risk, report.moved_chunks), (1, MANY));
    let levels_stand = async || {
        assert_eq!(world.store.level(&world.chunks).unwrap(), Level::Verified);
        let explained = world.store.explain(&world.chunks, |_| false).await.unwrap();
        assert_eq!((explained.verified, explained.staged), (MANY, 0));
        let wait = world
            .store
            .wait_level(&world.chunks, Level::Verified, Duration::ZERO);
        wait.await.unwrap();
    };
    levels_stand().await;
    let deadline = tokio::time::Instant::now() + LONG;
    while world.fake.open_deals() == 0 {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{:#?}",
            world.store.status()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    levels_stand().await;
    assert_eq!(world.fake.deleted(), 0);
    world.fake.fault(rest, Fault::None);
    world.fake.report_now();
    world.ends_well(&bad).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_corrupt_miners_are_repaired_from_the_four_others() {
    let world = World::new(24, MANY, asked_only()).await;
    let holders = world.holders();
    world.fake.fault(holders[..8].iter().copied(), Fault::Corrupt);
    let report = world.scrub().await;
    assert_eq!(
        (report.at_risk, report.moved_chunks, report.lost_chunks),
        (1, MANY, 0)
    );
    world.ends_well(&holders[..8]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_miners_are_waited_for_and_then_replaced_without_anybody_asking() {
    let health = HealthSettings {
        miner_patience: Duration::from_millis(800),
        ..asked_only()
    };
    let world = World::new(20, 20, health).await;
    let bad = world.holders_of(&[0, 4, 5, 6, 7]);
    world.fake.fault(bad.iter().copied(), Fault::Dead);
    let report = world.scrub().await;
    assert_eq!((report.at_risk, report.segments[0].doubtful), (0, 5));
    world.ends_well(&bad).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_reaches_nobody_blames_nobody() {
    // A short segment has fragments of zeros, which are there even then.
    for chunks in [MANY, 20] {
        let health = HealthSettings {
            miner_patience: Duration::from_millis(80),
            ..asked_only()
        };
        let world = World::new(12, chunks, health).await;
        world.fake.fault(0..12, Fault::Dead);
        world.fake.chain_down(true);
        for _ in 0..12 {
            assert_eq!(world.scrub().await.at_risk, 0);
        }
        world.fake.fault(0..12, Fault::None);
        world.fake.chain_down(false);
        assert_eq!(world.scrub().await.whole, 1);
        assert_eq!(world.fake.deleted(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn miners_that_leave_count_as_lost_though_they_still_answer() {
    let world = World::new(20, 20, asked_only()).await;
    let holders = world.holders();
    for (holder, state) in holders.iter().zip(["lock", "exit", "offline", "lock", "exit"]) {
        world
            .fake
            .change_miner(*holder, |miner| miner.state = state.into());
    }
    let report = world.scrub().await;
    assert_eq!((report.at_risk, report.moved_chunks), (1, 20));
    world.ends_well(&holders[..5]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fragments_that_the_chain_lists_as_lost_are_lost() {
    let world = World::new(20, 20, asked_only()).await;
    world.fake.change_files(|file| {
        for fragment in &mut file.segments[0].1[3..8] {
            fragment.available = false;
        }
    });
    assert_eq!(world.scrub().await.at_risk, 1);
    world.ends_well(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn looks_that_follow_each_other_at_once_do_not_make_a_file_forgotten() {
    let world = World::new(12, 20, asked_only()).await;
    world.fake.forget_files();
    for _ in 0..5 {
        let report = world.scrub().await;
        assert_eq!((report.looked, report.at_risk, report.moved_chunks), (1, 0, 0));
    }
    // Nor does a restart make time pass.
    let world = world.crash().await;
    for _ in 0..3 {
        assert_eq!(world.scrub().await.at_risk, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_the_chain_forgot_is_stored_again_at_the_third_look() {
    let health = HealthSettings {
        miner_patience: Duration::from_millis(800),
        ..asked_only()
    };
    let world = World::new(12, 20, health).await;
    world.fake.forget_files();
    // The regular looks come soon once one has not found it.
    assert_eq!(world.scrub().await.at_risk, 0);
    world.fake.fault(0..12, Fault::Silent);
    let deadline = tokio::time::Instant::now() + LONG;
    while world.counter("chunks brought back") < 20 {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{:#?}",
            world.store.status()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(world.counter("segments looked at") >= 3);
    assert_eq!(
        world.store.level(&world.chunks).unwrap(),
        Level::Staged,
        "what the chain does not list is not verified any more"
    );
    world.fake.fault(0..12, Fault::None);
    world.fake.report_now();
    world.store.flush(Level::Verified, LONG).await.unwrap();
    world.all_read().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_rebuilt_is_named_and_kept_until_it_can() {
    let world = World::new(24, MANY, asked_only()).await;
    let holders = world.holders();
    // Three are left: fragment 0 with its chunks, and two of parity.
    let gone: Vec<usize> = holders[1..10].to_vec();
    world.fake.fault(gone.iter().copied(), Fault::Forget);
    let report = world.scrub().await;
    assert!(
        report.moved_chunks > 20,
        "what fragment 0 holds is rescued: {report:?}"
    );
    assert!(report.lost_chunks > 60, "{report:?}");
    assert_eq!(report.moved_chunks + report.lost_chunks, MANY);
    let lost = world.store.lost_chunks(1000).unwrap();
    assert_eq!(lost.len() as u64, report.lost_chunks);
    assert!(lost.iter().all(|chunk| world.chunks.contains(chunk)));
    assert_eq!(world.store.health().unwrap().lost_chunks, report.lost_chunks);
    assert!(matches!(
        world.store.read(lost[0], 0..1).await,
        Err(Error::Unavailable { .. })
    ));
    // The rescued ones get a pack of their own; the old file stays, whatever happens.
    world.store.flush(Level::Verified, LONG).await.unwrap();
    let world = world.crash().await;
    assert_eq!(world.scrub().await.lost_chunks, report.lost_chunks);
    assert_eq!(world.fake.deleted(), 0);
    assert_eq!(world.store.status().unwrap().packs.len(), 2);
    // One of nine comes back: four are there, and everything can be rebuilt.
    world.fake.fault([gone[4]], Fault::None);
    let report = world.scrub().await;
    assert_eq!((report.at_risk, report.lost_chunks), (1, 0));
    world.store.flush(Level::Verified, LONG).await.unwrap();
    world.all_read().await;
    let deadline = tokio::time::Instant::now() + LONG;
    while world.fake.deleted() == 0 {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(world.store.lost_chunks(1000).unwrap().is_empty());
    world.all_read().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_rebuilt_is_not_asked_for_chunk_by_chunk() {
    let world = World::new(24, MANY, asked_only()).await;
    let holders = world.holders();
    world.fake.fault(holders[1..10].iter().copied(), Fault::Forget);
    // What is brought back stays here, so that nobody else reads.
    world.store.workers().pause("placer").unwrap();
    // The look itself asks for ranges of all twelve.
    let look = 49 + 12;
    let before = world.fake.requests();
    let report = world.scrub().await;
    assert!(report.moved_chunks > 20 && report.lost_chunks > 60, "{report:?}");
    // One for each chunk that was there; for the others a few attempts with all that belongs to them.
    let asked = world.fake.requests() - before;
    let most = look + report.moved_chunks + 12 * 36;
    assert!(asked <= most, "{asked} of {most} requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_beyond_repair_is_tried_again_with_growing_pauses_and_at_once_when_a_miner_is_back() {
    let health = HealthSettings {
        miner_patience: Duration::from_millis(400),
        ..asked_only()
    };
    let world = World::new(24, 20, health).await;
    // Nothing is left but three fragments of zeros.
    let holders = world.holders_of(&[0, 4, 5, 6, 7, 8, 9, 10, 11]);
    world.fake.fault(holders.iter().copied(), Fault::Forget);
    assert!(world.scrub().await.lost_chunks > 0);
    let (looks, tries) = (
        world.counter("segments looked at"),
        world.counter("repairs tried"),
    );
    let deadline = tokio::time::Instant::now() + LONG;
    while world.counter("segments looked at") < looks + 24 {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{:#?}",
            world.store.status()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let tries = world.counter("repairs tried") - tries;
    assert!(tries <= 12, "{tries} attempts");
    assert_eq!(world.fake.deleted(), 0);
    world.fake.fault([holders[3]], Fault::None);
    world.until_stored_again().await;
    world.all_read().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_counts_against_the_limit_of_the_scrubber() {
    let world = World::new(18, 20, asked_only()).await;
    let bad = world.holders_of(&[0, 4, 5, 6, 7]);
    world.fake.fault(bad.iter().copied(), Fault::Forget);
    let shared = world.store.health.as_ref().unwrap().shared.clone();
    let pack = world.store.status().unwrap().packs[0].id;
    // Days of debt.
    world.store.workers().limit("scrubber", Some(1)).unwrap();
    shared.worker.take(1 << 20).await;
    let before = world.fake.requests();
    let mut repair = std::pin::pin!(crate::health::repair::repair(&shared, pack, "a test"));
    let early = tokio::time::timeout(Duration::from_millis(200), repair.as_mut()).await;
    assert!(early.is_err());
    assert_eq!(
        world.fake.requests(),
        before,
        "nothing is fetched before its time"
    );
    world.store.workers().limit("scrubber", None).unwrap();
    assert_eq!(repair.await.unwrap().moved, 20);
    assert_eq!(world.counter("bytes read"), 32 << 20);
    world.ends_well(&bad).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repaired_chunk_keeps_its_owner_and_can_be_released_at_any_time() {
    let world = World::new(18, 20, asked_only()).await;
    let bad = world.holders_of(&[0, 4, 5, 6, 7]);
    world.fake.fault(bad, Fault::Forget);
    let (releasing, first) = (world.store.clone(), world.chunks[0]);
    world
        .meta
        .write::<(), Error, _>(Durability::Synced, move |tx| releasing.release(tx, first))
        .await
        .unwrap();
    // What is brought back stays here for a while.
    world
        .fake
        .change_territory(|territory| territory.state = TerritoryState::Frozen);
    assert_eq!(world.scrub().await.moved_chunks, 19, "the released one is not");
    for (number, chunk) in (0u64..).zip(&world.chunks).skip(1) {
        let row = Staging::row(&*world.meta.snapshot().unwrap(), *chunk)
            .unwrap()
            .unwrap();
        assert_eq!((row.owner.inode, row.owner.offset), (100 + number, number));
    }
    assert_eq!(world.store.level(&world.chunks[1..]).unwrap(), Level::Verified);
    // Released while it waits: nothing of it is left anywhere, and nothing hangs.
    let (releasing, gone) = (world.store.clone(), world.chunks[1..].to_vec());
    world
        .meta
        .write::<(), Error, _>(Durability::Synced, move |tx| {
            gone.iter().try_for_each(|chunk| releasing.release(tx, *chunk))
        })
        .await
        .unwrap();
    world
        .fake
        .change_territory(|territory| territory.state = TerritoryState::Active);
    let deadline = tokio::time::Instant::now() + LONG;
    loop {
        let status = world.store.status().unwrap();
        if status.packs.is_empty() && status.staging_bytes == 0 {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{status:#?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.fake.used_space(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_moment_of_a_repair_loses_nothing() {
    let mut world = World::new(24, 30, asked_only()).await;
    let bad = world.holders_of(&[0, 4, 5, 6, 7, 8]);
    world.fake.fault(bad.iter().copied(), Fault::Forget);
    for round in 0..8u64 {
        {
            let scrub = world.store.scrub();
            let _ = tokio::time::timeout(Duration::from_millis(15 * round), scrub).await;
        }
        world = world.crash().await;
        world.all_read().await;
    }
    world.scrub().await;
    world.store.flush(Level::Verified, LONG).await.unwrap();
    world.ends_well(&bad).await;
    assert_eq!((world.fake.most_declared(), world.fake.open_deals()), (1, 0));
}
