//! A chain and miners in memory that break on demand.
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cess::chain::{
    BeforeSending, Deal, Declaration, Fate, FileInfo, FragmentInfo, Heads, Included, Miner, Territory,
    TerritoryState, Validity,
};
use cess::codec::{FRAGMENT_SIZE, FRAGMENTS};
use cess::{AccountId, Error, Hash, Result};
use parking_lot::Mutex;

use super::Network;

/// What one segment costs of a territory.
const CHARGE: u128 = 12 * (8 << 20);

/// What is wrong with a miner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Nothing answers.
    Dead,
    /// Each answer takes this long.
    Slow(Duration),
    /// Bytes come back changed.
    Corrupt,
    /// Ranges come back with byte 15 changed: where a frame begins, that of another key domain.
    Relabel,
    /// Takes and reports, then does not have it.
    Forget,
    /// Reports without storing.
    Lie,
    /// Takes, and never reports.
    Silent,
}

struct FakeMiner {
    info: Miner,
    fault: Fault,
    fragments: HashMap<Hash, Bytes>,
}

#[derive(Default)]
struct Chain {
    down: bool,
    heads: Heads,
    /// No new blocks; no new final blocks.
    stalled: (bool, bool),
    /// Declarations take effect but the answer is lost.
    lose_answers: bool,
    deals: HashMap<Hash, Deal>,
    files: HashMap<Hash, FileInfo>,
    /// How often each FID was declared.
    declared: HashMap<Hash, u32>,
    /// How often a declaration of each FID was signed and sent.
    sent: HashMap<Hash, u32>,
    /// Declarations do not leave the pool.
    hold: bool,
    pool: HashMap<Hash, Declaration>,
    nonce: u64,
    deleted: HashSet<Hash>,
    batches: Vec<usize>,
}

struct State {
    chain: Chain,
    territory: Option<Territory>,
    miners: Vec<FakeMiner>,
    /// What liars threw away.
    lost: HashMap<Hash, Bytes>,
    /// Bytes that miners sent back.
    read: u64,
    /// Requests for a fragment or a range of one, whatever came of them.
    asked: u64,
    /// Bytes that are being pushed, and the most that ever were at a time.
    pushing: (u64, u64),
}

/// The network.
pub(crate) struct Fake {
    state: Mutex<State>,
}

pub(crate) const OWNER: AccountId = AccountId([0xaa; 32]);
pub(crate) const TERRITORY: &[u8] = b"test";
/// Somebody who sees our FIDs in the pool.
pub(crate) const STRANGER: AccountId = AccountId([0xbb; 32]);

const fn account(number: usize) -> AccountId {
    AccountId([number as u8 + 1; 32])
}

fn unreachable() -> Error {
    Error::Unreachable("fault".into())
}

fn refused(code: i64, message: &str) -> Error {
    Error::Miner {
        code,
        message: message.into(),
    }
}

fn zero_hash() -> Hash {
    static ZERO: std::sync::OnceLock<Hash> = std::sync::OnceLock::new();
    *ZERO.get_or_init(|| Hash::of(&vec![0; FRAGMENT_SIZE]))
}

impl Fake {
    /// With `miners` healthy miners and a territory of 100 GiB.
    pub(crate) fn new(miners: usize) -> Self {
        let miners = (0..miners)
            .map(|number| FakeMiner {
                info: Miner {
                    account: account(number),
                    endpoint: Some(number.to_string()),
                    state: "positive".into(),
                    idle_space: 1 << 40,
                    service_space: 0,
                },
                fault: Fault::None,
                fragments: HashMap::new(),
            })
            .collect();
        let total = 100 << 30;
        let territory = Territory {
            name: TERRITORY.to_vec(),
            token: [0; 32],
            total_space: total,
            used_space: 0,
            locked_space: 0,
            remaining_space: total,
            start: 0,
            deadline: 1_000_000,
            state: TerritoryState::Active,
        };
        let state = State {
            chain: Chain::default(),
            territory: Some(territory),
            miners,
            lost: HashMap::new(),
            read: 0,
            pushing: (0, 0),
            asked: 0,
        };
        Self {
            state: Mutex::new(state),
        }
    }

    pub(crate) fn accounts(&self) -> Vec<AccountId> {
        self.state
            .lock()
            .miners
            .iter()
            .map(|miner| miner.info.account)
            .collect()
    }

    pub(crate) fn change_miner(&self, number: usize, change: impl FnOnce(&mut Miner)) {
        change(&mut self.state.lock().miners[number].info);
    }

    pub(crate) fn fault(&self, numbers: impl IntoIterator<Item = usize>, fault: Fault) {
        let mut state = self.state.lock();
        for number in numbers {
            state.miners[number].fault = fault;
        }
    }

    pub(crate) fn change_territory(&self, change: impl FnOnce(&mut Territory)) {
        if let Some(territory) = &mut self.state.lock().territory {
            change(territory);
        }
    }

    pub(crate) fn chain_down(&self, down: bool) {
        self.state.lock().chain.down = down;
    }

    /// Whether there are new blocks, and new final blocks.
    pub(crate) fn stall(&self, blocks: bool, finality: bool) {
        self.state.lock().chain.stalled = (blocks, finality);
    }

    pub(crate) fn lose_answers(&self, lose: bool) {
        self.state.lock().chain.lose_answers = lose;
    }

    /// Declarations stay in the pool, and nobody hears of them.
    pub(crate) fn hold_pool(&self, hold: bool) {
        self.state.lock().chain.hold = hold;
    }

    /// What the pool holds gets into a block.
    pub(crate) fn include_pool(&self) {
        let mut state = self.state.lock();
        let held: Vec<_> = state.chain.pool.drain().collect();
        for (_, file) in held {
            let _ = state.declare(&file);
        }
    }

    /// What the pool holds expires.
    pub(crate) fn expire_pool(&self) {
        self.state.lock().chain.pool.clear();
    }

    /// FIDs in the pool.
    pub(crate) fn pooled(&self) -> Vec<Hash> {
        self.state.lock().chain.pool.keys().copied().collect()
    }

    /// The most often that a declaration of any FID was sent.
    pub(crate) fn most_sent(&self) -> u32 {
        self.state.lock().chain.sent.values().copied().max().unwrap_or(0)
    }

    /// FIDs of open deals.
    pub(crate) fn deals(&self) -> Vec<Hash> {
        self.state.lock().chain.deals.keys().copied().collect()
    }

    /// The stranger declares `fid` in a territory of their own, over whatever is open there.
    pub(crate) fn stranger_declares(&self, fid: Hash) {
        let mut state = self.state.lock();
        let chain = &mut state.chain;
        let segments = match (chain.pool.get(&fid), chain.deals.get(&fid)) {
            (Some(file), _) => file.segments.clone(),
            (None, Some(deal)) => deal.segments.clone(),
            (None, None) => Vec::new(),
        };
        let deal = Deal {
            file_size: 1,
            segments,
            owner: STRANGER,
            complete: BTreeMap::new(),
        };
        chain.deals.insert(fid, deal);
    }

    /// The stranger's file of one segment is complete under `fid`, with nothing of ours in it.
    pub(crate) fn stranger_completes(&self, fid: Hash) {
        let mut state = self.state.lock();
        let fragment = |index: u8| FragmentInfo {
            hash: Hash::of(&[index]),
            available: true,
            tag: None,
            miner: account(usize::from(index)),
        };
        let file = FileInfo {
            segments: vec![(Hash::of(b"theirs"), (0..FRAGMENTS as u8).map(fragment).collect())],
            owners: vec![STRANGER],
            file_size: 1,
            completion: 1,
        };
        state.chain.deals.remove(&fid);
        state.chain.files.insert(fid, file);
    }

    /// The block with the last report is retracted: the only file is a deal again that lacks one
    /// report; or, with `order`, the one with the order is too.
    pub(crate) fn retract(&self, order: bool) {
        let mut state = self.state.lock();
        let State { chain, territory, .. } = &mut *state;
        let Some((fid, file)) = chain.files.drain().next() else {
            return;
        };
        let charge = CHARGE * file.segments.len() as u128;
        let Some(territory) = territory else { return };
        territory.used_space -= charge;
        if order {
            territory.remaining_space += charge;
            return;
        }
        territory.locked_space += charge;
        let fragments = |fragments: &[FragmentInfo]| std::array::from_fn(|index| fragments[index].hash);
        let deal = Deal {
            file_size: file.file_size,
            segments: file
                .segments
                .iter()
                .map(|(segment, of)| cess::codec::SegmentHashes {
                    segment: *segment,
                    fragments: fragments(of),
                })
                .collect(),
            owner: file.owners[0],
            complete: (1..FRAGMENTS as u8)
                .map(|index| (index, file.segments[0].1[usize::from(index) - 1].miner))
                .collect(),
        };
        chain.deals.insert(fid, deal);
    }

    /// The first segment of the only file, from the miners that hold its data fragments.
    pub(crate) fn data_of_first_file(&self) -> Vec<u8> {
        let state = self.state.lock();
        let Some(file) = state.chain.files.values().next() else {
            return Vec::new();
        };
        let data = &file.segments[0].1[..cess::codec::DATA_FRAGMENTS];
        data.iter()
            .flat_map(|fragment| {
                let miner = state
                    .miners
                    .iter()
                    .find(|miner| miner.info.account == fragment.miner);
                miner.map_or_else(Vec::new, |miner| miner.fragments[&fragment.hash].to_vec())
            })
            .collect()
    }

    /// Completed files with the miners of fragment 0 to 11 of the first segment.
    pub(crate) fn files(&self) -> Vec<(Hash, Vec<AccountId>)> {
        let state = self.state.lock();
        state
            .chain
            .files
            .iter()
            .map(|(fid, file)| {
                (
                    *fid,
                    file.segments[0].1.iter().map(|fragment| fragment.miner).collect(),
                )
            })
            .collect()
    }

    /// Changes every completed file.
    pub(crate) fn change_files(&self, change: impl Fn(&mut FileInfo)) {
        self.state.lock().chain.files.values_mut().for_each(change);
    }

    /// The chain forgets every completed file, as a purge does.
    pub(crate) fn forget_files(&self) {
        self.state.lock().chain.files.clear();
    }

    pub(crate) fn open_deals(&self) -> usize {
        self.state.lock().chain.deals.len()
    }

    /// The most often that any FID was declared.
    pub(crate) fn most_declared(&self) -> u32 {
        self.state
            .lock()
            .chain
            .declared
            .values()
            .copied()
            .max()
            .unwrap_or(0)
    }

    pub(crate) fn batches(&self) -> Vec<usize> {
        self.state.lock().chain.batches.clone()
    }

    pub(crate) fn deleted(&self) -> usize {
        self.state.lock().chain.deleted.len()
    }

    pub(crate) fn used_space(&self) -> u128 {
        self.state
            .lock()
            .territory
            .as_ref()
            .map_or(0, |territory| territory.used_space)
    }

    pub(crate) fn locked_space(&self) -> u128 {
        self.state
            .lock()
            .territory
            .as_ref()
            .map_or(0, |territory| territory.locked_space)
    }

    /// The most bytes that were being pushed at a time.
    pub(crate) fn most_pushing(&self) -> u64 {
        self.state.lock().pushing.1
    }

    /// Bytes that miners sent back so far.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.state.lock().read
    }

    /// Requests for fragments and ranges so far.
    pub(crate) fn requests(&self) -> u64 {
        self.state.lock().asked
    }

    /// Miner `to` finds the bytes that it should have: those of the fragments it was given.
    pub(crate) fn restore(&self, to: usize) {
        let mut state = self.state.lock();
        let State { miners, lost, .. } = &mut *state;
        for (hash, kept) in &mut miners[to].fragments {
            if let (true, Some(bytes)) = (kept.is_empty(), lost.get(hash)) {
                *kept = bytes.clone();
            }
        }
    }

    /// Miners that hold something.
    pub(crate) fn holders(&self) -> usize {
        let state = self.state.lock();
        state
            .miners
            .iter()
            .filter(|miner| !miner.fragments.is_empty())
            .count()
    }

    /// Lets miners that were silent report what they hold.
    pub(crate) fn report_now(&self) {
        let mut state = self.state.lock();
        let fids: Vec<Hash> = state.chain.deals.keys().copied().collect();
        for fid in fids {
            for number in 0..state.miners.len() {
                state.report(number, fid);
            }
        }
    }

    async fn reach(&self, endpoint: &str) -> Result<usize> {
        let (number, fault) = {
            let state = self.state.lock();
            let listed = state
                .miners
                .iter()
                .position(|miner| miner.info.endpoint.as_deref() == Some(endpoint));
            // One whose endpoint changed still answers under its number.
            let number = listed.or_else(|| endpoint.parse().ok()).ok_or_else(unreachable)?;
            (number, state.miners.get(number).ok_or_else(unreachable)?.fault)
        };
        match fault {
            Fault::Dead => Err(unreachable()),
            Fault::Slow(time) => {
                tokio::time::sleep(time).await;
                Ok(number)
            }
            _ => Ok(number),
        }
    }

    fn chain<T>(&self, answer: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let mut state = self.state.lock();
        if state.chain.down {
            Err(unreachable())
        } else {
            answer(&mut state)
        }
    }
}

impl State {
    /// What a miner's report loop does for one deal.
    fn report(&mut self, number: usize, fid: Hash) {
        let Self {
            chain,
            territory,
            miners,
            ..
        } = self;
        let miner = &miners[number];
        let Some(deal) = chain.deals.get_mut(&fid) else {
            return;
        };
        if matches!(miner.fault, Fault::Silent | Fault::Dead)
            || deal
                .complete
                .values()
                .any(|account| *account == miner.info.account)
        {
            return;
        }
        let has_group = |group: usize| {
            deal.segments
                .iter()
                .all(|segment| miner.fragments.contains_key(&segment.fragments[group]))
        };
        let free = (0..FRAGMENTS)
            .find(|group| !deal.complete.contains_key(&(*group as u8 + 1)) && has_group(*group));
        let Some(group) = free else { return };
        deal.complete.insert(group as u8 + 1, miner.info.account);
        if deal.complete.len() < FRAGMENTS {
            return;
        }
        let Some(deal) = chain.deals.remove(&fid) else {
            return;
        };
        let charge = CHARGE * deal.segments.len() as u128;
        if let Some(territory) = territory {
            territory.locked_space -= charge;
            territory.used_space += charge;
        }
        let segments = deal
            .segments
            .iter()
            .map(|segment| {
                let fragments = segment
                    .fragments
                    .iter()
                    .enumerate()
                    .map(|(index, hash)| FragmentInfo {
                        hash: *hash,
                        available: true,
                        tag: None,
                        miner: deal.complete[&(index as u8 + 1)],
                    })
                    .collect();
                (segment.segment, fragments)
            })
            .collect();
        let file = FileInfo {
            segments,
            owners: vec![deal.owner],
            file_size: deal.file_size,
            completion: 1,
        };
        chain.files.insert(fid, file);
    }

    fn declare(&mut self, file: &Declaration) -> Result<()> {
        let refuse = |name: &str| Error::Dispatch {
            pallet: "FileBank".into(),
            name: name.into(),
        };
        let territory = self
            .territory
            .as_mut()
            .ok_or_else(|| refuse("NotHaveTerritory"))?;
        if territory.state != TerritoryState::Active {
            return Err(refuse("NotActive"));
        }
        let charge = CHARGE * file.segments.len() as u128;
        if territory.remaining_space <= charge {
            return Err(refuse("InsufficientAvailableSpace"));
        }
        territory.remaining_space -= charge;
        if let Some(complete) = self.chain.files.get_mut(&file.fid) {
            complete.owners.push(file.owner);
            territory.used_space += charge;
            return Ok(());
        }
        territory.locked_space += charge;
        *self.chain.declared.entry(file.fid).or_default() += 1;
        let deal = Deal {
            file_size: file.file_size,
            segments: file.segments.clone(),
            owner: file.owner,
            complete: BTreeMap::new(),
        };
        self.chain.deals.insert(file.fid, deal);
        Ok(())
    }

    /// What a miner has of `fragment`, after its fault.
    fn held(&mut self, number: usize, fragment: Hash) -> Result<Bytes> {
        let miner = &self.miners[number];
        let bytes = miner.fragments.get(&fragment).cloned();
        match (miner.fault, bytes) {
            (Fault::Forget | Fault::Lie, _) | (_, None) => Err(refused(404, "not found")),
            (Fault::Corrupt, Some(bytes)) => {
                Ok(bytes.iter().map(|byte| byte ^ 0x55).collect::<Vec<_>>().into())
            }
            (_, Some(bytes)) => Ok(bytes),
        }
    }
}

/// Counts bytes that are being pushed, for as long as it lives.
struct Pushing<'a> {
    fake: &'a Fake,
    bytes: u64,
}

impl<'a> Pushing<'a> {
    fn of(fake: &'a Fake, bytes: u64) -> Self {
        let mut state = fake.state.lock();
        let (now, most) = state.pushing;
        state.pushing = (now + bytes, most.max(now + bytes));
        drop(state);
        Self { fake, bytes }
    }
}

impl Drop for Pushing<'_> {
    fn drop(&mut self) {
        self.fake.state.lock().pushing.0 -= self.bytes;
    }
}

#[async_trait]
impl Network for Fake {
    async fn territory(&self, owner: AccountId, name: &[u8]) -> Result<Option<Territory>> {
        self.chain(|state| {
            Ok(state
                .territory
                .clone()
                .filter(|_| owner == OWNER && name == TERRITORY))
        })
    }
    async fn heads(&self) -> Result<Heads> {
        self.chain(|state| {
            let chain = &mut state.chain;
            chain.heads.best += u32::from(!chain.stalled.0);
            chain.heads.finalised += u32::from(!chain.stalled.0 && !chain.stalled.1);
            Ok(chain.heads)
        })
    }
    async fn unit_price(&self) -> Result<u128> {
        self.chain(|_| Ok(30_000_000_000_000_000_000))
    }
    async fn miners(&self) -> Result<Vec<Miner>> {
        self.chain(|state| Ok(state.miners.iter().map(|miner| miner.info.clone()).collect()))
    }
    async fn deal(&self, fid: Hash) -> Result<Option<Deal>> {
        self.chain(|state| Ok(state.chain.deals.get(&fid).cloned()))
    }
    async fn file(&self, fid: Hash) -> Result<Option<FileInfo>> {
        self.chain(|state| Ok(state.chain.files.get(&fid).cloned()))
    }
    async fn held(&self, owner: AccountId) -> Result<Vec<Hash>> {
        self.chain(|state| {
            let files = state.chain.files.iter();
            let mut held: Vec<_> = files
                .filter(|(_, file)| file.owners.contains(&owner))
                .map(|(fid, file)| (file.completion, *fid))
                .collect();
            held.sort_unstable();
            Ok(held.into_iter().map(|(_, fid)| fid).collect())
        })
    }
    async fn final_file(&self, fid: Hash) -> Result<Option<FileInfo>> {
        self.chain(|state| {
            let known = state.chain.files.get(&fid).filter(|_| !state.chain.stalled.1);
            Ok(known.cloned())
        })
    }
    async fn declare(&self, files: Vec<Declaration>, before: &BeforeSending<'_>) -> Vec<Result<Included>> {
        if self.state.lock().chain.down {
            return files.iter().map(|_| Err(unreachable())).collect();
        }
        let validity = {
            let mut state = self.state.lock();
            state.chain.nonce += 1;
            Validity {
                signer: OWNER,
                nonce: state.chain.nonce,
                dies: 64,
            }
        };
        if let Err(reason) = before(files.iter().map(|file| file.fid).collect(), validity).await {
            return files
                .iter()
                .map(|_| Err(Error::NotSent(reason.clone())))
                .collect();
        }
        let included = Included {
            block_hash: [0; 32],
            block_number: 1,
        };
        let done = self.chain(|state| {
            state.chain.batches.push(files.len());
            for file in &files {
                *state.chain.sent.entry(file.fid).or_default() += 1;
            }
            if state.chain.hold {
                let held = files.iter().map(|file| (file.fid, file.clone()));
                state.chain.pool.extend(held);
                return Ok(files.iter().map(|_| Err(unreachable())).collect());
            }
            let lost = state.chain.lose_answers;
            Ok(files
                .iter()
                .map(|file| {
                    state.declare(file)?;
                    if lost { Err(unreachable()) } else { Ok(included) }
                })
                .collect())
        });
        done.unwrap_or_else(|_| files.iter().map(|_| Err(unreachable())).collect())
    }
    async fn fate(&self, fid: Hash, _validity: &Validity) -> Result<Fate> {
        self.chain(|state| {
            Ok(if state.chain.pool.contains_key(&fid) {
                Fate::Pending { finalised: 1 }
            } else {
                Fate::Settled {
                    deal: state.chain.deals.get(&fid).cloned(),
                    file: state.chain.files.get(&fid).cloned(),
                }
            })
        })
    }
    async fn delete_file(&self, owner: AccountId, fid: Hash) -> Result<Included> {
        self.chain(|state| {
            let refuse = Error::Dispatch {
                pallet: "FileBank".into(),
                name: "NonExistent".into(),
            };
            let file = state.chain.files.get_mut(&fid).ok_or(refuse)?;
            if file.owners.contains(&owner) {
                let charge = CHARGE * file.segments.len() as u128;
                file.owners.retain(|other| *other != owner);
                if file.owners.is_empty() {
                    state.chain.files.remove(&fid);
                }
                state.chain.deleted.insert(fid);
                if let Some(territory) = &mut state.territory {
                    territory.used_space -= charge;
                    territory.remaining_space += charge;
                }
            }
            Ok(Included {
                block_hash: [0; 32],
                block_number: 2,
            })
        })
    }
    async fn put(&self, endpoint: &str, fid: Hash, fragment: Hash, data: Bytes) -> Result<()> {
        let _pushing = Pushing::of(self, data.len() as u64);
        let number = self.reach(endpoint).await?;
        assert_eq!(
            Hash::of(&data),
            fragment,
            "a fragment was pushed under a wrong name"
        );
        // A miner has bytes of its own: the room of what it was sent is wanted back.
        let data = Bytes::copy_from_slice(&data);
        let mut state = self.state.lock();
        let known = state.chain.deals.get(&fid).is_some_and(|deal| {
            deal.segments
                .iter()
                .any(|segment| segment.fragments.contains(&fragment))
        });
        if !known && fragment != zero_hash() && !state.miners[number].fragments.contains_key(&fragment) {
            return Err(refused(400, "fragment does not match fid"));
        }
        // A liar remembers only the name.
        let kept = if state.miners[number].fault == Fault::Lie {
            state.lost.insert(fragment, data);
            Bytes::new()
        } else {
            data
        };
        state.miners[number].fragments.insert(fragment, kept);
        state.report(number, fid);
        Ok(())
    }
    async fn get(&self, endpoint: &str, _fid: Hash, fragment: Hash) -> Result<Bytes> {
        self.state.lock().asked += 1;
        let number = self.reach(endpoint).await?;
        let bytes = {
            let mut state = self.state.lock();
            let bytes = state.held(number, fragment)?;
            state.read += bytes.len() as u64;
            bytes
        };
        if Hash::of(&bytes) == fragment {
            Ok(bytes)
        } else {
            Err(Error::Corrupt("hash".into()))
        }
    }
    async fn get_range(
        &self,
        endpoint: &str,
        _fid: Hash,
        fragment: Hash,
        range: Range<u32>,
    ) -> Result<Bytes> {
        self.state.lock().asked += 1;
        let number = self.reach(endpoint).await?;
        let mut state = self.state.lock();
        let bytes = state.held(number, fragment)?;
        if range.end as usize > bytes.len() {
            return Err(refused(404, "not found"));
        }
        state.read += u64::from(range.end - range.start);
        let mut bytes = bytes.slice(range.start as usize..range.end as usize).to_vec();
        if state.miners[number].fault == Fault::Relabel {
            bytes[15] ^= 1;
        }
        Ok(bytes.into())
    }
}
