//! What members ask of each other, in rows: the one that is asked hears of them by the change feed.
use std::collections::BTreeSet;
use std::ops::Bound;

use meta::changes::Change;
use meta::{Durability, Read};

use super::{Members, rows};
use crate::{ChunkId, Error, Result, random, tables};

impl Members {
    /// See [`super::Role::ask_to_pack`].
    pub(super) async fn ask_to_pack(&self, member: u16, chunk: ChunkId) -> Result<()> {
        let request = random::u64();
        self.meta
            .write(Durability::Buffered, move |tx| -> Result<()> {
                let value = [chunk.0.to_be_bytes(), request.to_be_bytes()].concat();
                Ok(tx.put(&rows::pack_key(member), &value)?)
            })
            .await
    }

    /// See [`super::Role::asked_to_pack`].
    pub(super) fn asked_to_pack(&self) -> Result<Option<(ChunkId, u64)>> {
        let key = rows::pack_key(self.me.member);
        let Some(value) = self.meta.snapshot()?.get(&key)? else {
            return Ok(None);
        };
        let (chunk, request) = value.split_at_checked(8).unwrap_or_default();
        Ok(Some((
            ChunkId(tables::u64_from(chunk)?),
            tables::u64_from(request)?,
        )))
    }

    /// Asks the keeper for a checkpoint that is begun after this call; answers its number. Waits as long as the
    /// caller does: while there is no keeper, the next one takes it.
    pub(crate) async fn ask_for_checkpoint(&self) -> Result<u32> {
        let mut changes = self.meta.subscribe()?;
        let request = self
            .meta
            .write(Durability::Buffered, |tx| -> Result<u64> {
                let request = asked(tx)? + 1;
                tx.put(&rows::CHECKPOINTS_ASKED, &request.to_be_bytes())?;
                Ok(request)
            })
            .await?;
        loop {
            if let Some((taken, number)) = taken(&*self.meta.snapshot()?)?
                && taken >= request
            {
                return Ok(number);
            }
            wait_for(&mut changes, &rows::CHECKPOINTS_TAKEN).await?;
        }
    }

    /// Returns when somebody waits for a checkpoint: the number of the last request.
    pub(crate) async fn checkpoint_asked(&self) -> Result<u64> {
        let mut changes = self.meta.subscribe()?;
        loop {
            {
                let snapshot = self.meta.snapshot()?;
                let asked = asked(&*snapshot)?;
                if taken(&*snapshot)?.is_none_or(|(taken, _)| taken < asked) && asked > 0 {
                    return Ok(asked);
                }
            }
            wait_for(&mut changes, &rows::CHECKPOINTS_ASKED).await?;
        }
    }

    /// The checkpoint `number` was begun after `request` was made.
    pub(crate) async fn checkpoint_taken(&self, request: u64, number: u32) -> Result<()> {
        self.meta
            .write(Durability::Buffered, move |tx| -> Result<()> {
                let value = [&request.to_be_bytes()[..], &number.to_be_bytes()].concat();
                Ok(tx.put(&rows::CHECKPOINTS_TAKEN, &value)?)
            })
            .await
    }
}

/// Segments (pack, number) that are to be looked at before their time.
type Segments = BTreeSet<(u64, u32)>;

impl Members {
    /// Asks the keeper to look at `segments`: what it finds shows in their health.
    pub(crate) async fn ask_to_look(&self, segments: Segments) -> Result<()> {
        self.meta
            .write(Durability::Buffered, move |tx| -> Result<()> {
                for segment in &segments {
                    tx.put(&rows::look_key(*segment), &[])?;
                }
                Ok(())
            })
            .await
    }

    /// Returns what somebody asked to have looked at, once somebody does.
    pub(crate) async fn look_asked(&self) -> Result<Segments> {
        let mut changes = self.meta.subscribe()?;
        loop {
            let asked = to_look_at(&*self.meta.snapshot()?)?;
            if !asked.is_empty() {
                return Ok(asked);
            }
            wait_for(&mut changes, &rows::LOOKS_ASKED).await?;
        }
    }

    /// These were looked at.
    pub(crate) async fn looked(&self, segments: Segments) -> Result<()> {
        self.meta
            .write(Durability::Buffered, move |tx| -> Result<()> {
                for segment in &segments {
                    tx.delete(&rows::look_key(*segment))?;
                }
                Ok(())
            })
            .await
    }
}

fn to_look_at<R: Read + ?Sized>(read: &R) -> Result<Segments> {
    let [table, part] = rows::LOOKS_ASKED;
    let (start, end) = ([table, part], [table, part + 1]);
    read.range(Bound::Included(&start), Bound::Excluded(&end), false)?
        .map(|row| {
            let (key, _) = row?;
            let (pack, number) = key
                .get(2..)
                .unwrap_or_default()
                .split_at_checked(8)
                .unwrap_or_default();
            Ok((tables::u64_from(pack)?, tables::u32_from(number)?))
        })
        .collect()
}

fn asked<R: Read + ?Sized>(read: &R) -> Result<u64> {
    read.get(&rows::CHECKPOINTS_ASKED)?
        .map_or(Ok(0), |value| tables::u64_from(&value))
}

fn taken<R: Read + ?Sized>(read: &R) -> Result<Option<(u64, u32)>> {
    let Some(value) = read.get(&rows::CHECKPOINTS_TAKEN)? else {
        return Ok(None);
    };
    let (request, number) = value.split_at_checked(8).unwrap_or_default();
    Ok(Some((tables::u64_from(request)?, tables::u32_from(number)?)))
}

/// Returns when a key that begins so was written, or may have been.
async fn wait_for(changes: &mut meta::changes::Changes, key: &[u8]) -> Result<()> {
    loop {
        match changes.next().await {
            None => return Err(Error::ShuttingDown),
            Some(Change::Lost) => return Ok(()),
            Some(Change::Commit { keys, .. }) => {
                if keys.iter().any(|changed| changed.starts_with(key)) {
                    return Ok(());
                }
            }
        }
    }
}
