//! Somebody else's order under our FID.
//!
//! Nobody can guess a pack's FID, but from the moment that a declaration is in a node's pool
//! everybody can see it, and the chain takes a declaration of any FID from anybody: whoever is
//! quicker owns the file, and whoever comes later overwrites an open deal. Nothing of ours can be
//! had under such a name. So the pack gets another one: it is laid out again with a fresh nonce in
//! its headers and freshly sealed indexes, which changes every hash, and goes on from there. Its
//! chunks, their order and their places stay as they are.
//!
//! What counts is what is *final*: a stranger's order in a block that is retracted could leave our
//! own order behind, which nobody could complete or cancel.
use std::sync::Arc;

use cess::account::SS58_PREFIX;
use cess::chain::{Deal, Fate, FileInfo};
use cess::codec::FRAGMENTS;
use cess::{AccountId, Hash};
use meta::Durability;

use crate::pack::record::{self, Names, Record};
use crate::place::drive::{self, Memory, Step};
use crate::place::{Shared, StepError, orders};
use crate::{PackState, random};

/// What the chain has under the FID of a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Under {
    /// Nothing.
    Nothing,
    /// Our deal or file.
    Ours,
    /// Something that the pack cannot become. The text says what.
    Strangers(String),
}

/// Compares what the chain has with the pack that `names` describes.
pub(crate) fn under(owner: AccountId, names: &Names, deal: Option<&Deal>, file: Option<&FileInfo>) -> Under {
    let ours = names.hashes();
    if let Some(file) = file {
        let same = file.segments.len() == ours.len()
            && file
                .segments
                .iter()
                .zip(&ours)
                .all(|((segment, fragments), ours)| {
                    *segment == ours.segment
                        && fragments.iter().map(|fragment| fragment.hash).eq(ours.fragments)
                });
        return match (file.owners.contains(&owner), same) {
            (true, true) => Under::Ours,
            (true, false) => Under::Strangers("the file lists other fragments than the pack".into()),
            (false, _) => Under::Strangers("the file belongs to another account".into()),
        };
    }
    match deal {
        None => Under::Nothing,
        Some(deal) if deal.owner != owner => {
            let stranger = deal.owner.to_ss58(SS58_PREFIX);
            Under::Strangers(format!("the deal belongs to {stranger}"))
        }
        Some(deal) if deal.segments != ours => {
            Under::Strangers("the deal lists other fragments than the pack".into())
        }
        Some(_) => Under::Ours,
    }
}

/// The chain has something of a stranger's under the pack's FID.
pub(crate) async fn met(
    shared: &Arc<Shared>,
    pack: u64,
    record: &Record,
    names: &Names,
    memory: &mut Memory,
    what: String,
) -> Result<Step, StepError> {
    let fid = drive::fid(record)?;
    let sent = orders::get(&*shared.meta.snapshot()?, pack)?;
    if let Some(validity) = sent {
        match shared.network.fate(fid, &validity).await? {
            Fate::Pending { .. } => return Ok(Step::Poll),
            Fate::Settled { deal, file } => {
                let owner = shared.settings.owner;
                if !matches!(
                    under(owner, names, deal.as_ref(), file.as_ref()),
                    Under::Strangers(_)
                ) {
                    return Ok(Step::Poll);
                }
            }
        }
    }
    give_up_share(shared, fid).await?;
    lay_out_again(shared, pack, fid).await?;
    tracing::warn!(pack, %fid, what, "pack is laid out again under another FID");
    shared.workers.placer.count("packs laid out again", 1);
    shared
        .workers
        .placer
        .failed(&format_args!("pack {pack}: {fid}: {what}; laid out again"));
    memory.plan = None;
    memory.vanished = 0;
    Ok(Step::Next)
}

/// Our declaration may have made us an owner of a stranger's file, for which our territory pays.
async fn give_up_share(shared: &Shared, fid: Hash) -> Result<(), StepError> {
    let owner = shared.settings.owner;
    let owned = |file: Option<FileInfo>| file.is_some_and(|file| file.owners.contains(&owner));
    if !owned(shared.network.file(fid).await?) {
        return Ok(());
    }
    shared.network.delete_file(owner, fid).await?;
    if owned(shared.network.file(fid).await?) {
        return Err(StepError::Deal(format!("the chain did not delete {fid}")));
    }
    Ok(())
}

/// Back to closed, with a nonce that makes another FID of the same chunks.
async fn lay_out_again(shared: &Shared, pack: u64, fid: Hash) -> Result<(), StepError> {
    let mut nonce = [0; 16];
    random::fill(&mut nonce);
    shared
        .meta
        .write(Durability::Buffered, move |tx| -> crate::Result<()> {
            let Some(mut record) = record::get(tx, pack)? else {
                return Ok(());
            };
            let before_placed = matches!(record.state, PackState::Hashed | PackState::Declared);
            if !before_placed || record.retired || record.fid != Some(fid.0) {
                return Ok(());
            }
            record.state = PackState::Closed;
            record.fid = None;
            record.nonce = nonce;
            record.declaring = false;
            record.assigned = [None; FRAGMENTS];
            record.last_error = None;
            record::put(tx, pack, &record)?;
            record::delete_sealed_indexes(tx, pack, record.segments)?;
            orders::forget(tx, pack)
        })
        .await?;
    shared.progressed();
    Ok(())
}
