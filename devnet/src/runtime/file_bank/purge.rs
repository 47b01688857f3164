//! Removing the files of expired territories, at most 300 per block and user list.

use super::{CLEAR_USER_LIST, FILE, USER_HOLD_FILE_LIST, file};
use crate::runtime::context::Context;
use crate::runtime::primitives::{AccountId32, BoundedVec, TerrName};

/// Most files purged in one block.
const FILES_PER_BLOCK: usize = 300;

/// Lists territories whose files go in this block. Overwrites what is left of an earlier list:
/// so does the network, which is why files beyond the limit are forgotten.
pub(in crate::runtime) fn schedule_purge(
    context: &mut Context<'_>,
    territories: Vec<(AccountId32, TerrName)>,
) {
    CLEAR_USER_LIST.put(&mut context.state, &BoundedVec(territories));
}

pub(in crate::runtime) fn on_initialize(context: &mut Context<'_>) {
    let list = CLEAR_USER_LIST.value(&context.state);
    if list.0.is_empty() {
        return;
    }
    CLEAR_USER_LIST.kill(&mut context.state);
    let mut budget = FILES_PER_BLOCK;
    for (user, territory) in list.0 {
        let mut held = USER_HOLD_FILE_LIST.value(&context.state, &user);
        while budget > 0
            && let Some(entry) = held.0.pop()
        {
            budget -= 1;
            // Entries of the user's other territories are popped too, and forgotten.
            if entry.territory_name != territory {
                continue;
            }
            if let Some(info) = FILE.get(&context.state, &entry.file_hash) {
                // A file that cannot be released keeps its accounting as it was.
                let _ = context
                    .attempt(|context| file::remove_owner(context, &user, entry.file_hash, info, false));
            }
        }
        USER_HOLD_FILE_LIST.put(&mut context.state, &user, &held);
    }
}
