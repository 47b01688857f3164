//! A placed pack, and whether that is for good.
//!
//! Everything is read at the best block, and a best block can be retracted, with the order or the
//! last report in it. As long as staging has the bytes, nothing is lost by that: the pack goes back
//! to where the chain is. So what ends with giving staging's space back begins here: a pack is read
//! back only when a *final* block lists its file, and the holders are those that this block names.
use std::sync::Arc;

use cess::Hash;
use meta::Durability;

use crate::pack::record::{self, Record};
use crate::place::drive::{self, Step};
use crate::place::{Shared, StepError};
use crate::{Error, PackState};

/// `None`: a final block lists the file. Otherwise what to do instead of reading back.
pub(crate) async fn awaited(
    shared: &Arc<Shared>,
    pack: u64,
    record: &Record,
) -> Result<Option<Step>, StepError> {
    let fid = drive::fid(record)?;
    if let Some(file) = shared.network.final_file(fid).await? {
        let mut names = record::names(&*shared.meta.snapshot()?, pack)?
            .ok_or_else(|| Error::from(meta::Error::Damaged("pack table: no names".into())))?;
        let before = names.clone();
        if !file.owners.contains(&shared.settings.owner)
            || !names.note_holders(&file, |account| shared.miners.endpoint(account))
        {
            return go_back(shared, pack, fid).await.map(Some);
        }
        if names != before {
            // Another fork, other reports.
            shared
                .meta
                .write(Durability::Buffered, move |tx| -> crate::Result<()> {
                    if record::get(tx, pack)?.is_some() {
                        record::put_names(tx, pack, &names)?;
                    }
                    Ok(())
                })
                .await?;
        }
        return Ok(None);
    }
    if shared.network.file(fid).await?.is_some() {
        return Ok(Some(Step::Poll));
    }
    go_back(shared, pack, fid).await.map(Some)
}

/// The block that made the pack placed is not on the chain any more.
async fn go_back(shared: &Shared, pack: u64, fid: Hash) -> Result<Step, StepError> {
    shared
        .update(pack, Durability::Buffered, |record| {
            if record.state == PackState::Placed && !record.retired {
                record.state = PackState::Declared;
            }
        })
        .await?;
    tracing::warn!(pack, %fid, "the chain took a completed file back; going on from its order");
    let worker = &shared.workers.placer;
    worker.count("completions that were retracted", 1);
    worker.failed(&format_args!(
        "pack {pack}: the chain took the completed file back"
    ));
    Ok(Step::Next)
}
