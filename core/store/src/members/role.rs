//! What this gateway is to the workers that place and look after packs.
use std::sync::Arc;

use super::{Keeper, Members};
use crate::{ChunkId, Result};

/// The part of this gateway among the members. By default that of one that is alone.
#[derive(Clone, Default)]
pub(crate) struct Role {
    /// Its number: it packs what lies in its own staging, and drives the packs that it made.
    pub member: u16,
    /// Open when it does the work of all.
    pub keeper: Keeper,
    /// The others, where there can be some.
    pub members: Option<Arc<Members>>,
}

impl std::fmt::Debug for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Role")
            .field("member", &self.member)
            .field("keeper", &self.keeper)
            .finish_non_exhaustive()
    }
}

impl Role {
    /// That of a member.
    pub(crate) fn of(members: &Arc<Members>, keeper: &Keeper) -> Self {
        Self {
            member: members.me().member,
            keeper: keeper.clone(),
            members: members.is_shared().then(|| members.clone()),
        }
    }

    /// Asks `member` to pack its chunks up to `chunk` at once.
    pub(crate) async fn ask_to_pack(&self, member: u16, chunk: ChunkId) -> Result<()> {
        match &self.members {
            Some(members) => members.ask_to_pack(member, chunk).await,
            None => Ok(()),
        }
    }

    /// What others ask this gateway to pack, and a number that tells one request from the next.
    pub(crate) fn asked_to_pack(&self) -> Result<Option<(ChunkId, u64)>> {
        match &self.members {
            Some(members) => members.asked_to_pack(),
            None => Ok(None),
        }
    }
}
