//! The newest checkpoint that can be read whole.
use std::collections::BTreeMap;

use cess::Hash;
use futures::StreamExt as _;

use crate::checkpoint::manifest::{Block, Manifest, Mark};
use crate::checkpoint::rows::{self, FOUND_PART, Kept, Restoring};
use crate::restore::{Found, Progress, Report, Request, Tell};
use crate::{ChunkId, Error, Result, Store};

/// Blocks read at the same time.
pub(super) const BLOCKS: usize = 8;

/// Chooses among the checkpoints that the packs hold. `None`: there is none, and that is accepted.
pub(super) async fn choose(
    store: &Store,
    request: &Request,
    report: &mut Report,
    tell: &Tell<'_>,
) -> Result<Option<Kept>> {
    let begun = match rows::restoring(&*store.inner.meta.snapshot()?)? {
        Restoring::Chosen(number) => Some(number),
        Restoring::Not | Restoring::Begun => None,
    };
    if let (Some(begun), Some(wanted)) = (begun, request.checkpoint)
        && begun != wanted
    {
        return Err(Error::CannotRestore(format!(
            "checkpoint {begun} is being restored into this directory already; choose an empty one"
        )));
    }
    let wanted = begun.or(request.checkpoint);
    let mut candidates = candidates(store, report).await?;
    candidates.sort_by_key(|kept| std::cmp::Reverse((kept.manifest.incarnation, kept.manifest.number)));
    let mut chosen = None;
    for kept in candidates {
        let mut found = Found {
            number: kept.manifest.number,
            incarnation: kept.manifest.incarnation,
            taken: kept.manifest.taken,
            rows: kept.manifest.rows,
            passed_over: None,
        };
        if chosen.is_some() {
            found.passed_over = Some("a newer one is used".into());
        } else if wanted.is_some_and(|wanted| wanted != found.number) {
            found.passed_over = Some("another one is asked for".into());
        } else if let Err(reason) = check(store, &kept.manifest, tell).await {
            tracing::warn!(number = found.number, reason, "a checkpoint cannot be read");
            found.passed_over = Some(reason);
        } else {
            report.checkpoint = Some(found);
            chosen = Some(kept);
            continue;
        }
        report.others.push(found);
    }
    if chosen.is_none() && (begun.is_some() || !request.without_checkpoint) {
        let reasons: Vec<String> = report
            .others
            .iter()
            .map(|found| {
                format!(
                    "{}: {}",
                    found.number,
                    found.passed_over.as_deref().unwrap_or_default()
                )
            })
            .collect();
        return Err(Error::CannotRestore(format!(
            "{} packs are found and none of {} checkpoints in them can be used ({})",
            report.packs,
            reasons.len(),
            reasons.join("; ")
        )));
    }
    Ok(chosen)
}

/// Every manifest that can be read.
async fn candidates(store: &Store, report: &mut Report) -> Result<Vec<Kept>> {
    let mut parts: BTreeMap<(u32, u16), BTreeMap<u16, Vec<ChunkId>>> = BTreeMap::new();
    for row in rows::part(&*store.inner.meta.snapshot()?, FOUND_PART)? {
        let (key, _) = row?;
        let mark = Mark::from_offset(rows::number_at(&key, 0)?);
        parts
            .entry((mark.number, mark.parts))
            .or_default()
            .entry(mark.part)
            .or_default()
            .push(ChunkId(rows::number_at(&key, 1)?));
    }
    let mut kept = Vec::new();
    for ((number, count), mut found) in parts {
        // Two incarnations may have used one number; chunk ids tell their parts apart.
        let most = found.values().map(Vec::len).max().unwrap_or(0);
        for chunks in found.values_mut() {
            chunks.sort_unstable();
        }
        for rank in 0..most {
            let chunks: Vec<ChunkId> = (0..count)
                .filter_map(|part| found.get(&part)?.get(rank).copied())
                .collect();
            match manifest(store, &chunks, count).await {
                Ok(manifest) => kept.push(Kept {
                    manifest,
                    parts: chunks,
                }),
                Err(reason) => report.others.push(Found {
                    number,
                    incarnation: 0,
                    taken: 0,
                    rows: 0,
                    passed_over: Some(reason),
                }),
            }
        }
    }
    Ok(kept)
}

async fn manifest(store: &Store, chunks: &[ChunkId], count: u16) -> Result<Manifest, String> {
    if chunks.len() != usize::from(count) {
        return Err("a part of its list is in no pack".into());
    }
    let bytes = gather(store, chunks).await?;
    Manifest::from_parts(&bytes).ok_or_else(|| "its list is not one that this version knows".into())
}

/// Reads every block.
async fn check(store: &Store, manifest: &Manifest, tell: &Tell<'_>) -> Result<(), String> {
    let of = manifest.blocks.len() as u64;
    let mut blocks = futures::stream::iter(&manifest.blocks)
        .map(|one| block(store, one))
        .buffered(BLOCKS);
    let mut done = 0;
    tell(Progress::Blocks(0, of));
    while let Some(read) = blocks.next().await {
        read?;
        done += 1;
        tell(Progress::Blocks(done, of));
    }
    Ok(())
}

/// The rows of a block; or why they cannot be had.
pub(super) async fn block(store: &Store, block: &Block) -> Result<Vec<u8>, String> {
    let bytes = gather(store, &block.chunks).await?;
    let rows = zstd::stream::decode_all(bytes.as_slice()).map_err(|error| format!("a block: {error}"))?;
    if Hash::of(&rows).0[..16] != block.digest {
        return Err("a block is not what the list says".into());
    }
    Ok(rows)
}

async fn gather(store: &Store, chunks: &[ChunkId]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for chunk in chunks {
        let plain = store.inner.plain(*chunk).await.map_err(|error| match error {
            Error::UnknownChunk(_) => "a part of it is in no pack".to_owned(),
            error => error.to_string(),
        })?;
        bytes.extend_from_slice(&plain);
    }
    Ok(bytes)
}
