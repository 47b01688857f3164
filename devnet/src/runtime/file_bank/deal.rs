//! Declaring a file and reporting its fragments.

use super::{
    CompleteInfo, DEAL_MAP, DealInfo, DeclaredSegments, Error, Event, FILE, FRAGMENT_COUNT, FRAGMENT_SIZE,
    FileInfo, FileState, FragmentInfo, NAME_MIN_LENGTH, SegmentInfo, UserBrief, charge, file,
};
use crate::runtime::context::Context;
use crate::runtime::primitives::{AccountId32, BoundedVec, DispatchResult, Hash};
use crate::runtime::sminer;
use crate::runtime::storage_handler::space;

pub(super) fn declare(
    context: &mut Context<'_>,
    operator: AccountId32,
    file_hash: Hash,
    segments: DeclaredSegments,
    brief: UserBrief,
    file_size: u128,
) -> DispatchResult {
    if segments
        .0
        .iter()
        .any(|segment| segment.fragment_list.0.len() != FRAGMENT_COUNT)
        || brief.file_name.0.len() < NAME_MIN_LENGTH
    {
        return Err(Error::SpecError.into());
    }
    let owner = brief.user;
    if let Some(known) = FILE.get(&context.state, &file_hash) {
        file::add_owner(context, file_hash, known, brief)?;
    } else {
        let needed = charge(segments.0.len());
        space::ensure_room(context, &owner, &brief.territory_name, needed)?;
        space::lock(context, &owner, &brief.territory_name, needed)?;
        // An open deal of the same FID is overwritten and the space it locked stays locked:
        // so does the network.
        let deal = DealInfo {
            file_size,
            segment_list: segments,
            user: brief,
            complete_list: BoundedVec::default(),
        };
        DEAL_MAP.put(&mut context.state, &file_hash, &deal);
    }
    context.deposit(Event::UploadDeclaration {
        operator,
        owner,
        deal_hash: file_hash,
    });
    Ok(())
}

pub(super) fn report(
    context: &mut Context<'_>,
    miner: AccountId32,
    index: u8,
    deal_hash: Hash,
) -> DispatchResult {
    if index == 0 || usize::from(index) > FRAGMENT_COUNT {
        return Err(Error::SpecError.into());
    }
    if !sminer::is_positive(context, &miner)? {
        return Err(Error::MinerStateError.into());
    }
    let mut deal = DEAL_MAP
        .get(&context.state, &deal_hash)
        .ok_or(Error::NonExistent)?;
    if deal
        .complete_list
        .0
        .iter()
        .any(|done| done.index == index || done.miner == miner)
    {
        return Err(Error::Existed.into());
    }
    let share = deal.segment_list.0.len() as u128 * FRAGMENT_SIZE;
    if space::is_expired(context, &deal.user.user, &deal.user.territory_name) {
        for done in &deal.complete_list.0 {
            sminer::unlock(context, &done.miner, share)?;
        }
        DEAL_MAP.remove(&mut context.state, &deal_hash);
        context.deposit(Event::TransferReport {
            acc: miner,
            deal_hash,
        });
        return Ok(());
    }
    sminer::lock(context, &miner, share)?;
    deal.complete_list
        .try_push(CompleteInfo { index, miner })
        .map_err(|_| Error::BoundedVecError)?;
    if deal.complete_list.0.len() == FRAGMENT_COUNT {
        complete(context, deal_hash, deal)?;
    } else {
        DEAL_MAP.put(&mut context.state, &deal_hash, &deal);
    }
    context.deposit(Event::TransferReport {
        acc: miner,
        deal_hash,
    });
    Ok(())
}

/// The twelfth report: the deal becomes a file.
fn complete(context: &mut Context<'_>, file_hash: Hash, deal: DealInfo) -> DispatchResult {
    let mut miners = [None; FRAGMENT_COUNT];
    for done in &deal.complete_list.0 {
        miners[usize::from(done.index) - 1] = Some(done.miner);
    }
    let mut segments = Vec::with_capacity(deal.segment_list.0.len());
    for segment in deal.segment_list.0 {
        let mut fragments = Vec::with_capacity(FRAGMENT_COUNT);
        for (hash, miner) in segment.fragment_list.0.into_iter().zip(miners) {
            let miner = miner.ok_or(Error::BugInvalid)?;
            fragments.push(FragmentInfo {
                hash,
                avail: true,
                tag: None,
                miner,
            });
        }
        segments.push(SegmentInfo {
            hash: segment.hash,
            fragment_list: BoundedVec(fragments),
        });
    }
    let charged = charge(segments.len());
    space::use_locked(context, &deal.user.user, &deal.user.territory_name, charged)?;
    space::put_in_service(context, charged);
    file::remember(context, &deal.user, file_hash, charged)?;
    let info = FileInfo {
        segment_list: BoundedVec(segments),
        owner: BoundedVec(vec![deal.user]),
        file_size: deal.file_size,
        completion: context.number,
        stat: FileState::Active,
    };
    FILE.put(&mut context.state, &file_hash, &info);
    DEAL_MAP.remove(&mut context.state, &file_hash);
    context.deposit(Event::StorageCompleted { file_hash });
    Ok(())
}
