//! Owners of complete files: adding, moving, removing them.

use std::collections::BTreeMap;

use super::{
    Error, Event, FILE, FRAGMENT_SIZE, FileInfo, FileState, USER_HOLD_FILE_LIST, UserBrief,
    UserFileSliceInfo, charge,
};
use crate::runtime::context::Context;
use crate::runtime::primitives::{AccountId32, DispatchResult, Hash, TerrName};
use crate::runtime::sminer;
use crate::runtime::storage_handler::space;

/// A further owner of a complete file: no data moves, the charge is the same.
pub(super) fn add_owner(
    context: &mut Context<'_>,
    file_hash: Hash,
    mut file: FileInfo,
    brief: UserBrief,
) -> DispatchResult {
    let charged = charge(file.segment_list.0.len());
    space::ensure_room(context, &brief.user, &brief.territory_name, charged)?;
    if file
        .owner
        .0
        .iter()
        .any(|owner| owner.user == brief.user && owner.territory_name == brief.territory_name)
    {
        return Err(Error::Existed.into());
    }
    space::use_remaining(context, &brief.user, &brief.territory_name, charged)?;
    remember(context, &brief, file_hash, charged)?;
    file.owner.try_push(brief).map_err(|_| Error::BoundedVecError)?;
    FILE.put(&mut context.state, &file_hash, &file);
    Ok(())
}

/// Adds the file to its owner's list.
pub(super) fn remember(
    context: &mut Context<'_>,
    brief: &UserBrief,
    file_hash: Hash,
    charged: u128,
) -> DispatchResult {
    let mut list = USER_HOLD_FILE_LIST.value(&context.state, &brief.user);
    let entry = UserFileSliceInfo {
        territory_name: brief.territory_name.clone(),
        file_hash,
        file_size: charged,
    };
    list.try_push(entry).map_err(|_| Error::StorageLimitReached)?;
    USER_HOLD_FILE_LIST.put(&mut context.state, &brief.user, &list);
    Ok(())
}

pub(super) fn deliver(
    context: &mut Context<'_>,
    user: AccountId32,
    file_hash: Hash,
    target: TerrName,
) -> DispatchResult {
    let mut file = FILE.get(&context.state, &file_hash).ok_or(Error::NonExistent)?;
    if file.stat != FileState::Active {
        return Err(Error::NotActive.into());
    }
    let charged = charge(file.segment_list.0.len());
    let brief = file
        .owner
        .0
        .iter_mut()
        .find(|brief| brief.user == user)
        .ok_or(Error::NotOwner)?;
    // Space leaves the old territory first, so that the target may be the same one.
    space::release(context, &user, &brief.territory_name, charged)?;
    space::ensure_room_for_move(context, &user, &target, charged)?;
    space::use_remaining(context, &user, &target, charged)?;
    let mut list = USER_HOLD_FILE_LIST.value(&context.state, &user);
    for entry in &mut list.0 {
        if entry.file_hash == file_hash && entry.territory_name == brief.territory_name {
            entry.territory_name = target.clone();
        }
    }
    brief.territory_name = target.clone();
    USER_HOLD_FILE_LIST.put(&mut context.state, &user, &list);
    FILE.put(&mut context.state, &file_hash, &file);
    context.deposit(Event::TerritoryFileDelivery {
        file_hash,
        new_territory: target,
    });
    Ok(())
}

pub(super) fn delete(
    context: &mut Context<'_>,
    operator: AccountId32,
    owner: AccountId32,
    file_hash: Hash,
) -> DispatchResult {
    let file = FILE.get(&context.state, &file_hash).ok_or(Error::NonExistent)?;
    remove_owner(context, &owner, file_hash, file, true)?;
    let mut list = USER_HOLD_FILE_LIST.value(&context.state, &owner);
    list.0.retain(|entry| entry.file_hash != file_hash);
    USER_HOLD_FILE_LIST.put(&mut context.state, &owner, &list);
    context.deposit(Event::DeleteFile {
        operator,
        owner,
        file_hash,
    });
    Ok(())
}

/// Takes all briefs of `owner` off the file; the sole owner takes the file with it. Where
/// several briefs were all the same user's, a file without owner stays: so does the network.
pub(super) fn remove_owner(
    context: &mut Context<'_>,
    owner: &AccountId32,
    file_hash: Hash,
    mut file: FileInfo,
    refund: bool,
) -> DispatchResult {
    let charged = charge(file.segment_list.0.len());
    let sole = file.owner.0.len() == 1;
    let (gone, left): (Vec<_>, Vec<_>) = file.owner.0.drain(..).partition(|brief| brief.user == *owner);
    if gone.is_empty() {
        return Ok(());
    }
    if refund {
        for brief in &gone {
            space::release(context, owner, &brief.territory_name, charged)?;
        }
    }
    file.owner.0 = left;
    if sole {
        clear(context, file_hash, &file)
    } else {
        FILE.put(&mut context.state, &file_hash, &file);
        Ok(())
    }
}

/// Removes the file and gives its miners their space back.
fn clear(context: &mut Context<'_>, file_hash: Hash, file: &FileInfo) -> DispatchResult {
    let mut tagged: BTreeMap<AccountId32, u128> = BTreeMap::new();
    let mut untagged: BTreeMap<AccountId32, u128> = BTreeMap::new();
    for fragment in file
        .segment_list
        .0
        .iter()
        .flat_map(|segment| &segment.fragment_list.0)
    {
        let side = if fragment.tag.is_some() {
            &mut tagged
        } else {
            &mut untagged
        };
        *side.entry(fragment.miner).or_default() += FRAGMENT_SIZE;
    }
    for (miner, bytes) in &tagged {
        sminer::take_out_of_service(context, miner, *bytes)?;
    }
    for (miner, bytes) in &untagged {
        sminer::unlock(context, miner, *bytes)?;
    }
    space::take_out_of_service(
        context,
        charge(file.segment_list.0.len()),
        untagged.values().sum(),
    );
    FILE.remove(&mut context.state, &file_hash);
    Ok(())
}
