//! Packs from what they say of themselves.
use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;

use cess::codec::FRAGMENTS;
use cess::{AccountId, Hash};
use futures::StreamExt as _;
use meta::{Durability, Transaction};

use crate::checkpoint::rows::{self, FOUND_DOMAIN, FOUND_PART};
use crate::checkpoint::{BLOCK, DOMAIN, MANIFEST, fence, listed};
use crate::health;
use crate::pack::index::{Entry, Keys};
use crate::pack::layout::{self, Slot};
use crate::pack::record::{self, Names, Record};
use crate::pack::segment;
use crate::place::miners::Miners;
use crate::place::network::Network;
use crate::reclaim::moved;
use crate::remote::unlisted::{SelfPortrait, Unlisted};
use crate::restore::{FoundChunk, Progress, Report, Request, Tell};
use crate::{ChunkId, Error, PackState, Result, Store, locations, references, tables};

/// Files read at the same time.
const FILES: usize = 4;
/// Segments of a file read at the same time.
const SEGMENTS: usize = 4;

/// The highest numbers that any pack names.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Highest {
    pub chunk: u64,
    pub epoch: u32,
    pub incarnation: u32,
}

/// Brings packs back.
pub(super) struct Packs<'a> {
    pub store: &'a Store,
    pub network: &'a dyn Network,
    pub miners: &'a Miners,
    pub owner: AccountId,
}

/// What a file turned out to be.
enum Outcome {
    /// Its rows are there.
    Pack,
    /// Somebody else's, or none of the owner's any more.
    Foreign,
    /// It cannot be read now.
    Unreadable(Error),
}

impl Packs<'_> {
    /// Makes the rows of every pack among `fids`.
    pub(super) async fn rebuild(
        &self,
        fids: &[Hash],
        request: &Request,
        report: &mut Report,
        tell: &Tell<'_>,
    ) -> Result<Highest> {
        let known: HashSet<Hash> = record::all(&*self.store.inner.meta.snapshot()?)?
            .into_iter()
            .filter_map(|(_, record)| record.fid.map(Hash))
            .collect();
        report.files = fids.len() as u64;
        tell(Progress::Files(0, report.files));
        let known = &known;
        let mut looked = futures::stream::iter(fids)
            .map(|fid| async move {
                let outcome = if known.contains(fid) {
                    Ok(Outcome::Pack)
                } else {
                    self.file(*fid).await
                };
                (*fid, outcome)
            })
            .buffer_unordered(FILES);
        let mut done = 0;
        while let Some((fid, outcome)) = looked.next().await {
            done += 1;
            match outcome? {
                Outcome::Pack => {}
                Outcome::Foreign => report.foreign += 1,
                Outcome::Unreadable(error) => {
                    tracing::warn!(%fid, %error, "a pack cannot be read");
                    report.unreadable.push((fid.to_string(), error.to_string()));
                }
            }
            tell(Progress::Files(done, report.files));
        }
        if !report.unreadable.is_empty() && !request.accept_loss {
            return Err(Error::CannotRestore(format!(
                "{} of {} files cannot be read now ({}); run it again later, or accept that what is in \
                 them is lost",
                report.unreadable.len(),
                report.files,
                report.unreadable[0].1
            )));
        }
        self.store.inner.meta.sync().await?;
        let snapshot = self.store.inner.meta.snapshot()?;
        let mut highest = Highest::default();
        for (pack, record) in record::all(&*snapshot)? {
            report.packs += 1;
            report.segments += u64::from(record.segments);
            report.chunks += record.chunks;
            report.bytes += record.bytes;
            highest.chunk = highest.chunk.max(record.last);
            highest.incarnation = highest.incarnation.max(fence::incarnation_of(pack));
        }
        let sub_keys = snapshot.range(
            Bound::Excluded(&[tables::EPOCH]),
            Bound::Excluded(&[tables::EPOCH + 1]),
            false,
        )?;
        for row in sub_keys {
            let (key, _) = row?;
            highest.epoch = highest
                .epoch
                .max(tables::u32_from(key.get(9..).unwrap_or_default())?);
        }
        Ok(highest)
    }

    async fn file(&self, fid: Hash) -> Result<Outcome> {
        let endpoint = |account| self.miners.endpoint(account);
        let Some(file) = listed(self.network, self.owner, fid, endpoint).await? else {
            return Ok(Outcome::Foreign);
        };
        let portraits = match self.portraits(&file).await {
            Ok(Some(portraits)) => portraits,
            Ok(None) => return Ok(Outcome::Foreign),
            Err(error @ (Error::Unavailable { .. } | Error::Damaged(_))) => {
                return Ok(Outcome::Unreadable(error));
            }
            Err(error) => return Err(error),
        };
        let Some(first) = portraits.first().map(|portrait| portrait.header) else {
            return Ok(Outcome::Foreign);
        };
        let together = portraits.iter().all(|portrait| {
            portrait.header.pack == first.pack
                && portrait.header.nonce == first.nonce
                && portrait.header.segments as usize == portraits.len()
        });
        if !together {
            return Ok(Outcome::Unreadable(patchwork(
                fid,
                "its segments are not of one pack",
            )));
        }
        self.note(fid, first.pack, first.nonce, file.names().clone(), portraits)
            .await?;
        Ok(Outcome::Pack)
    }

    /// What all segments of a file say; `None` when it is not of this namespace, which its first segment
    /// tells. One whose other segments are something else is damaged: no restore may pass it over.
    async fn portraits(&self, file: &Unlisted) -> Result<Option<Vec<SelfPortrait>>> {
        let inner = &self.store.inner;
        let Some(remote) = &inner.remote else {
            return Ok(None);
        };
        let open = |header: &[u8], sealed: &[u8]| inner.keys.open_index(header, sealed);
        let count = file.names().segments.len() as u32;
        let Some(first) = remote.self_portrait(file, 0, &open).await? else {
            return Ok(None);
        };
        let open = &open;
        let mut others = futures::stream::iter(1..count)
            .map(|number| async move { (number, remote.self_portrait(file, number, open).await) })
            .buffered(SEGMENTS);
        let mut all = vec![first];
        while let Some((number, portrait)) = others.next().await {
            let portrait = portrait?.ok_or_else(|| {
                let reason = format!("segment 0 opens with this namespace's key, segment {number} does not");
                patchwork(file.fid(), &reason)
            })?;
            all.push(portrait);
        }
        Ok(Some(all))
    }

    /// Writes the rows of a pack.
    async fn note(
        &self,
        fid: Hash,
        pack: u64,
        nonce: [u8; 16],
        names: Names,
        portraits: Vec<SelfPortrait>,
    ) -> Result<()> {
        let entries = |portrait: &SelfPortrait| portrait.index.entries.clone();
        let segments: Vec<Vec<Slot>> = portraits.iter().map(|one| slots(&entries(one))).collect();
        let all: Vec<Entry> = portraits.iter().flat_map(entries).collect();
        let ids = || all.iter().map(|entry| entry.chunk.0);
        let mut assigned = [None; FRAGMENTS];
        for (index, place) in assigned.iter_mut().enumerate() {
            *place = names.holder(0, index).map(|holder| holder.account);
        }
        let record = Record {
            state: PackState::Verified,
            nonce,
            file_name: [0; 8],
            segments: segments.len() as u32,
            chunks: all.len() as u64,
            bytes: all.iter().map(|entry| u64::from(entry.len)).sum(),
            first: ids().min().unwrap_or(0),
            last: ids().max().unwrap_or(0),
            fid: Some(fid.0),
            declaring: false,
            assigned,
            unverified: 0,
            reclaimed: true,
            retired: false,
            last_error: None,
        };
        let keys: BTreeMap<(u64, u32), Keys> = portraits
            .into_iter()
            .flat_map(|portrait| portrait.index.keys)
            .map(|keys| ((keys.domain.0, keys.epoch), keys))
            .collect();
        let meta = &self.store.inner.meta;
        meta.write(Durability::Buffered, move |tx| -> Result<()> {
            if record::get(tx, pack)?.is_some() {
                tracing::warn!(pack, %fid, "two files have the number of one pack; the first is kept");
                return Ok(());
            }
            record::put(tx, pack, &record)?;
            record::put_names(tx, pack, &names)?;
            for (number, slots) in segments.iter().enumerate() {
                record::put_contents(tx, pack, number as u32, slots)?;
                // Nobody has looked at it from here yet.
                health::record::put(tx, pack, number as u32, &health::record::Record::unknown())?;
            }
            locate(tx, pack, &segments)?;
            for keys in keys.values() {
                keep_keys(tx, keys)?;
            }
            for entry in all.iter().filter(|entry| entry.owner.inode == MANIFEST) {
                tx.put(&rows::key(FOUND_PART, &[entry.owner.offset, entry.chunk.0]), &[])?;
            }
            Ok(())
        })
        .await
    }

    /// Every chunk of the packs but those of checkpoints, from the packs' indexes.
    pub(super) async fn found(&self) -> Result<Vec<FoundChunk>> {
        let inner = &self.store.inner;
        let Some(remote) = &inner.remote else {
            return Ok(Vec::new());
        };
        let open = |header: &[u8], sealed: &[u8]| inner.keys.open_index(header, sealed);
        let mut found = Vec::new();
        let packs = record::all(&*inner.meta.snapshot()?)?;
        for (pack, record) in packs {
            let Some(names) = record::names(&*inner.meta.snapshot()?, pack)? else {
                continue;
            };
            let file = Unlisted::new(Hash(record.fid.unwrap_or_default()), names);
            for number in 0..record.segments {
                let Some(portrait) = remote.self_portrait(&file, number, &open).await? else {
                    continue;
                };
                for entry in portrait.index.entries {
                    if let Some(about) = entry.frame
                        && !matches!(entry.owner.inode, MANIFEST | BLOCK)
                        && about.domain != DOMAIN
                    {
                        found.push(FoundChunk {
                            chunk: entry.chunk,
                            domain: about.domain,
                            owner: entry.owner,
                            len: about.plain_len,
                        });
                    }
                }
            }
        }
        found.sort_unstable_by_key(|one| one.chunk);
        found.dedup_by_key(|one| one.chunk);
        Ok(found)
    }
}

/// A pack of this namespace that is not what was stored.
fn patchwork(fid: Hash, reason: &str) -> Error {
    Error::Unavailable {
        chunk: ChunkId(0),
        reason: format!("file {fid}: {reason}"),
    }
}

fn slots(entries: &[Entry]) -> Vec<Slot> {
    let mut offset = segment::HEADER as u32;
    entries
        .iter()
        .map(|entry| {
            let slot = Slot {
                chunk: entry.chunk,
                offset,
                len: entry.len,
            };
            offset = offset.saturating_add(entry.len);
            slot
        })
        .collect()
}

/// Notes where the chunks lie. One that another pack holds, too, was on its way from the one with the
/// lower number to the other: there it is dead. But it is noted where it came from: that file stays, and
/// can be read in place of the other, until the other was looked at.
fn locate(tx: &mut dyn Transaction, pack: u64, segments: &[Vec<Slot>]) -> Result<()> {
    let mut places: Vec<_> = layout::locations(pack, segments).collect();
    places.sort_unstable_by_key(|(chunk, _)| *chunk);
    let ids: Vec<ChunkId> = places.iter().map(|(chunk, _)| *chunk).collect();
    let elsewhere: BTreeMap<ChunkId, _> = locations::get_many(tx, &ids)?.into_iter().collect();
    let mut mine = Vec::with_capacity(places.len());
    for (chunk, place) in places {
        match elsewhere.get(&chunk) {
            Some(other) if other.pack > pack => {
                references::die(tx, pack, chunk, place.len)?;
                moved::put(tx, chunk, pack)?;
            }
            Some(other) => {
                references::die(tx, other.pack, chunk, other.len)?;
                moved::put(tx, chunk, other.pack)?;
                mine.push((chunk, place));
            }
            None => mine.push((chunk, place)),
        }
    }
    locations::set(tx, mine)
}

fn keep_keys(tx: &mut dyn Transaction, keys: &Keys) -> Result<()> {
    tx.put(&tables::epoch_key(keys.domain, keys.epoch), &keys.epoch_key)?;
    if keys.domain == DOMAIN {
        // What reads checkpoints cannot come from one.
        tx.put(&tables::domain_key(DOMAIN), &keys.domain_key)?;
    } else {
        tx.put(&rows::key(FOUND_DOMAIN, &[keys.domain.0]), &keys.domain_key)?;
    }
    Ok(())
}
