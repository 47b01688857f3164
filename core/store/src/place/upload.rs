//! Declared → Placed: pushing fragments and awaiting the miners' reports.
//!
//! Group *j* is fragment *j* of every segment; it goes to one miner, and each of the twelve groups
//! to another. Segments are built one at a time and their fragments pushed in parallel. A miner
//! that fails is replaced at once; the one that replaces it gets the segments it missed in the
//! next pass, for which they are built again: that is cheaper than memory held while miners are
//! tried.
//!
//! Miners report what they find complete, which need not be the group they were given: groups of
//! all-zero fragments look alike. So what is missing is computed anew from the deal before every
//! pass, and a miner that reported anything is never given a group again. A group that nobody
//! reported in time goes to another miner; the first report wins.
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cess::account::SS58_PREFIX;
use cess::chain::{Deal, FileInfo, Miner};
use cess::codec::FRAGMENTS;
use cess::{AccountId, Hash};
use futures::future::join_all;
use meta::Durability;

use crate::health::life;
use crate::pack::record::{self, Names, Record};
use crate::place::drive::{self, Memory, Step};
use crate::place::strangers::{self, Under, under};
use crate::place::{Shared, StepError, build};
use crate::{Error, PackState, steps};

/// Looks that must find neither deal nor file before the deal counts as gone.
const GONE_AFTER: u32 = 3;

/// One group's way to its miner.
#[derive(Default)]
struct Group {
    miner: Option<Miner>,
    /// Segments pushed to it.
    pushed: HashSet<u32>,
    /// When the last of them was.
    complete_at: Option<Instant>,
}

impl Group {
    fn give_to(&mut self, miner: Option<Miner>) {
        *self = Self {
            miner,
            ..Self::default()
        };
    }
}

/// Which miner gets, and has, what.
pub(crate) struct Plan {
    groups: [Group; FRAGMENTS],
    /// Miners that failed since the last pause; they are left in peace until the next.
    failed: HashSet<AccountId>,
    /// Miners that took a group and never reported it; asked again only when nobody else is left.
    silent: HashSet<AccountId>,
}

impl Plan {
    /// Goes on with the miners that the record names, as far as they are still usable.
    fn resume(record: &Record, usable: &[Miner]) -> Self {
        let groups = record.assigned.map(|account| {
            let mut group = Group::default();
            let miner =
                account.and_then(|account| usable.iter().find(|miner| miner.account.0 == account).cloned());
            group.give_to(miner);
            group
        });
        Self {
            groups,
            failed: HashSet::new(),
            silent: HashSet::new(),
        }
    }

    fn assigned(&self) -> [Option<[u8; 32]>; FRAGMENTS] {
        std::array::from_fn(|group| self.groups[group].miner.as_ref().map(|miner| miner.account.0))
    }

    /// The best miner that has no group and reported none.
    fn spare(&self, deal: &Deal, usable: &[Miner]) -> Option<Miner> {
        usable
            .iter()
            .find(|miner| {
                !self.failed.contains(&miner.account)
                    && !self.silent.contains(&miner.account)
                    && !deal.complete.values().any(|account| *account == miner.account)
                    && !self.groups.iter().any(|group| {
                        group
                            .miner
                            .as_ref()
                            .is_some_and(|other| other.account == miner.account)
                    })
            })
            .cloned()
    }

    /// Miners that have a whole group for longer than `patience` without reporting it.
    fn late(&self, deal: &Deal, patience: Duration) -> Vec<String> {
        missing(deal)
            .filter(|group| {
                self.groups[*group]
                    .complete_at
                    .is_some_and(|at| at.elapsed() >= patience)
            })
            .filter_map(|group| self.groups[group].miner.as_ref())
            .map(|miner| miner.account.to_ss58(SS58_PREFIX))
            .collect()
    }

    /// Gives every missing group a miner, as far as there are any.
    fn assign(&mut self, deal: &Deal, usable: &[Miner], patience: Duration) {
        for index in 0..FRAGMENTS {
            let group = &mut self.groups[index];
            if deal.complete.contains_key(&(index as u8 + 1)) {
                group.give_to(None);
                continue;
            }
            let reported = |miner: &Miner| deal.complete.values().any(|other| *other == miner.account);
            let stands = group.miner.as_ref().is_some_and(|miner| {
                !reported(miner) && usable.iter().any(|other| other.account == miner.account)
            });
            if !stands {
                group.give_to(None);
            }
        }
        for index in missing(deal) {
            let late = self.groups[index]
                .complete_at
                .is_some_and(|at| at.elapsed() >= patience);
            if self.groups[index].miner.is_some() && !late {
                continue;
            }
            match self.spare(deal, usable) {
                Some(miner) => {
                    let before = self.groups[index].miner.take();
                    self.silent.extend(before.map(|miner| miner.account));
                    self.groups[index].give_to(Some(miner));
                }
                // Nobody else is there: it may have lost what it was given.
                None if late => {
                    let same = self.groups[index].miner.take();
                    self.groups[index].give_to(same);
                }
                None => {}
            }
        }
    }

    /// Groups that have a miner which lacks `segment`.
    fn lacking(&self, segment: u32) -> Vec<(usize, Miner)> {
        self.groups
            .iter()
            .enumerate()
            .filter(|(_, group)| !group.pushed.contains(&segment))
            .filter_map(|(index, group)| Some((index, group.miner.clone()?)))
            .collect()
    }
}

/// Groups that no miner reported.
fn missing(deal: &Deal) -> impl Iterator<Item = usize> + '_ {
    (0..FRAGMENTS).filter(|group| !deal.complete.contains_key(&(*group as u8 + 1)))
}

/// Declared → Placed, one pass or look at a time.
pub(crate) async fn place(
    shared: &Arc<Shared>,
    pack: u64,
    record: &Record,
    memory: &mut Memory,
) -> Result<Step, StepError> {
    let fid = drive::fid(record)?;
    let names = record::names(&*shared.meta.snapshot()?, pack)?
        .ok_or_else(|| Error::from(meta::Error::Damaged("pack table: no names".into())))?;
    let file = shared.network.file(fid).await?;
    let deal = match &file {
        None => shared.network.deal(fid).await?,
        Some(_) => None,
    };
    if let Under::Strangers(what) = under(shared.settings.owner, &names, deal.as_ref(), file.as_ref()) {
        return strangers::met(shared, pack, record, &names, memory, what).await;
    }
    if let Some(file) = file {
        return placed(shared, pack, names, &file).await;
    }
    let Some(deal) = deal else {
        return vanished(shared, pack, memory).await;
    };
    memory.vanished = 0;

    let (usable, _) = shared.usable(record).await?;
    let plan = memory.plan.get_or_insert_with(|| Plan::resume(record, &usable));
    let patience = shared.settings.pace.report_timeout;
    let late = plan.late(&deal, patience);
    plan.assign(&deal, &usable, patience);
    note_assigned(shared, pack, record, plan).await?;
    steps::reach_async(steps::UPLOAD_ASSIGNED).await?;
    let pass = push(shared, pack, record, &names, &deal, &usable, plan).await?;
    note_assigned(shared, pack, record, plan).await?;

    let orphans: Vec<usize> = missing(&deal)
        .filter(|group| plan.groups[*group].miner.is_none())
        .collect();
    if !orphans.is_empty() {
        let tried = plan.failed.len();
        plan.failed.clear();
        plan.silent.clear();
        return Err(StepError::Miners(format!(
            "no miner is left for {} of {FRAGMENTS} groups ({} usable, {tried} failed just now)",
            orphans.len(),
            usable.len()
        )));
    }
    if pass == Pass::Failed {
        // Others have those groups now, and are pushed to in the next pass.
        return Ok(Step::Next);
    }
    plan.failed.clear();
    if !late.is_empty() {
        return Err(StepError::Miners(format!(
            "no report in {patience:?} from {}; others were asked where there are any",
            late.join(", ")
        )));
    }
    Ok(match pass {
        Pass::Idle => Step::Poll,
        Pass::Pushed | Pass::Failed => Step::Next,
    })
}

/// Declared → Placed of a pack whose bytes this gateway does not have: nothing is pushed. Answers whether the miners
/// had all they need. A stranger's file is left to who has the bytes, and can give the pack another name.
pub(crate) async fn watch(shared: &Arc<Shared>, pack: u64, record: &Record) -> Result<bool, StepError> {
    let names = record::names(&*shared.meta.snapshot()?, pack)?
        .ok_or_else(|| Error::from(meta::Error::Damaged("pack table: no names".into())))?;
    let Some(file) = shared.network.file(drive::fid(record)?).await? else {
        return Ok(false);
    };
    if under(shared.settings.owner, &names, None, Some(&file)) != Under::Ours {
        return Ok(false);
    }
    placed(shared, pack, names, &file).await?;
    Ok(true)
}

/// Keeps the assignment, so that after a crash the same miners are asked first.
async fn note_assigned(shared: &Shared, pack: u64, record: &Record, plan: &Plan) -> Result<(), StepError> {
    let assigned = plan.assigned();
    if assigned != record.assigned {
        shared
            .update(pack, Durability::Buffered, move |record| {
                record.assigned = assigned;
            })
            .await?;
    }
    Ok(())
}

/// What a pass over the segments did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    /// Nothing was to be pushed.
    Idle,
    /// All that was to be pushed was.
    Pushed,
    /// Some miner failed, and its group was given to another.
    Failed,
}

/// One pass over the segments: each is built, pushed in parallel to those that lack it, and dropped,
/// whoever failed, so that nobody's memory is held while others are tried.
async fn push(
    shared: &Arc<Shared>,
    pack: u64,
    record: &Record,
    names: &Names,
    deal: &Deal,
    usable: &[Miner],
    plan: &mut Plan,
) -> Result<Pass, StepError> {
    let fid = drive::fid(record)?;
    let mut pass = Pass::Idle;
    for number in shared.kept.first(pack, record.segments) {
        let lacking = plan.lacking(number);
        let Some(hashes) = names.segments.get(number as usize) else {
            continue;
        };
        if lacking.is_empty() {
            continue;
        }
        let name = Hash(hashes.segment);
        let built = build::build(shared, pack, record, number, name).await?;
        let pushes = lacking.into_iter().map(|(group, miner)| {
            let (fragment, data) = (Hash(hashes.fragments[group]), built.fragment(group));
            async move {
                let result = push_one(shared, &miner, fid, fragment, data).await;
                (group, miner, result)
            }
        });
        for (group, miner, result) in join_all(pushes).await {
            match result {
                Ok(()) => {
                    if pass == Pass::Idle {
                        pass = Pass::Pushed;
                    }
                    let group = &mut plan.groups[group];
                    group.pushed.insert(number);
                    if group.pushed.len() == record.segments as usize {
                        group.complete_at = Some(Instant::now());
                    }
                }
                Err(error) => {
                    tracing::warn!(pack, group, miner = %hex::encode(miner.account.0), %error, "push failed");
                    pass = Pass::Failed;
                    plan.failed.insert(miner.account);
                    plan.groups[group].give_to(None);
                    let spare = plan.spare(deal, usable);
                    plan.groups[group].give_to(spare);
                }
            }
        }
        // It is read back once it is placed.
        shared.kept.put(pack, number, name, built);
    }
    Ok(pass)
}

async fn push_one(
    shared: &Shared,
    miner: &Miner,
    fid: Hash,
    fragment: Hash,
    data: Bytes,
) -> cess::Result<()> {
    let endpoint = miner.endpoint.as_deref().unwrap_or_default();
    let len = data.len();
    let worker = &shared.workers.placer;
    worker.take(len as u64).await;
    let began = Instant::now();
    let limit = shared.settings.pace.put_timeout;
    let put = async {
        let broken = |error: std::io::Error| cess::Error::Unreachable(error.to_string());
        steps::UPLOAD_PUSH.reach_async().await.map_err(broken)?;
        shared.network.put(endpoint, fid, fragment, data).await?;
        steps::UPLOAD_PUSHED.reach_async().await.map_err(broken)
    };
    let result = tokio::time::timeout(limit, put)
        .await
        .unwrap_or_else(|_| Err(cess::Error::Unreachable(format!("no answer in {limit:?}"))));
    match &result {
        Ok(()) => {
            worker.count("bytes pushed", len as u64);
            shared.miners.succeeded(miner.account, len, began.elapsed());
        }
        Err(_) => shared.miners.failed(miner.account),
    }
    result
}

/// The chain lists the file: twelve miners reported.
async fn placed(
    shared: &Arc<Shared>,
    pack: u64,
    mut names: Names,
    file: &FileInfo,
) -> Result<Step, StepError> {
    // Reads find the miners by what is noted here, also when the chain is away.
    let _ = shared.miners.list().await;
    if !names.note_holders(file, |account| shared.miners.endpoint(account)) {
        return Err(StepError::Deal(
            "the file lists other fragments than the pack".into(),
        ));
    }
    let completion = file.completion;
    steps::reach_async(steps::PLACE).await?;
    shared
        .meta
        .write(Durability::Buffered, move |tx| -> crate::Result<()> {
            let updated = record::update(tx, pack, |record| {
                if record.state == PackState::Declared {
                    record.state = PackState::Placed;
                    record.last_error = None;
                }
            })?;
            if updated.is_some() {
                record::put_names(tx, pack, &names)?;
                life::note_completed(tx, pack, completion)?;
            }
            Ok(())
        })
        .await?;
    steps::reach_async(steps::PLACED).await?;
    tracing::info!(pack, "pack placed");
    shared.workers.placer.count("packs placed", 1);
    shared.progressed();
    Ok(Step::Next)
}

/// Neither deal nor file: an answer from a node that lags behind, or the order is gone (its
/// territory expired). Only the latter lasts, and only what is final shows it: the record goes back
/// to hashed, from where the order is waited for until that is known.
async fn vanished(shared: &Shared, pack: u64, memory: &mut Memory) -> Result<Step, StepError> {
    memory.vanished += 1;
    if memory.vanished < GONE_AFTER {
        return Ok(Step::Poll);
    }
    memory.plan = None;
    shared
        .update(pack, Durability::Buffered, |record| {
            if record.state == PackState::Declared {
                record.state = PackState::Hashed;
                record.declaring = true;
            }
        })
        .await?;
    Err(StepError::Deal(
        "the order is not on the chain; it is declared again once that is final".into(),
    ))
}
