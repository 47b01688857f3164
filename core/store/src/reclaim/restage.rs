//! Bringing back to staging what only the network has.
//!
//! Frames come as they are: sealed once, under the key and the chunk id that they keep, so that
//! nothing that refers to a chunk changes. Each is authenticated by its tag before it is staged; who
//! asked for it is read from the segment's own index.
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use bytes::Bytes;
use meta::Transaction;

use crate::checkpoint::owners;
use crate::frame::Header;
use crate::inner::Inner;
use crate::pack::layout::Slot;
use crate::place::waiting::{self, Waiting};
use crate::read::trace::Log;
use crate::staging::{StagedFrame, Staging};
use crate::{ChunkId, Error, Owner, Result, tables};

/// A frame that is in staging again, durable, and that no row names yet.
pub(crate) struct Restaged {
    /// As the packer sees it.
    pub waiting: Waiting,
    frame: Option<StagedFrame>,
}

impl Restaged {
    /// One that needs no name.
    #[cfg(test)]
    pub(crate) const fn nameless(waiting: Waiting) -> Self {
        Self { waiting, frame: None }
    }

    /// Names the frame in `tx`; false when staging has the chunk already, or has not finished
    /// giving its space back.
    pub(crate) fn name(&self, tx: &mut dyn Transaction) -> Result<bool> {
        let chunk = self.waiting.chunk;
        let member = self.frame.as_ref().map_or(0, Staging::member_of);
        let taken = [
            tables::chunk_key(tables::STAGED, chunk),
            tables::member_key(tables::FREED, member, chunk),
        ];
        for key in taken {
            if tx.get(&key)?.is_some() {
                return Ok(false);
            }
        }
        if let Some(frame) = &self.frame {
            Staging::name(tx, chunk, frame)?;
        }
        Ok(true)
    }
}

impl Inner {
    /// Fetches the frames of `slots`, which lie in `segment` of `pack`, and stages them durably.
    ///
    /// [`Error::StagingFull`] when there is no room for all of them; what was staged by then is
    /// given back.
    pub(crate) async fn restage(
        self: &Arc<Self>,
        pack: u64,
        segment: u32,
        slots: &[Slot],
    ) -> Result<Vec<Restaged>> {
        let Some(first) = slots.first() else {
            return Ok(Vec::new());
        };
        let Some(remote) = &self.remote else {
            return Err(Error::Unavailable {
                chunk: first.chunk,
                reason: "no network is configured".into(),
            });
        };
        let open = |header: &[u8], sealed: &[u8]| self.keys.open_index(header, sealed);
        let log = Log::new(true);
        let index = remote
            .fetch_index(first.chunk, pack, segment, &open, &log)
            .await?;
        let mut owners: HashMap<ChunkId, Owner> = index
            .entries
            .iter()
            .map(|entry| (entry.chunk, entry.owner))
            .collect();
        owners::complete(
            &*self.meta.snapshot()?,
            &mut owners,
            slots.iter().map(|slot| slot.chunk),
        )?;
        let mut frames = self.gather(slots, &log).await?;
        let mut restaged = Vec::with_capacity(slots.len());
        for slot in slots {
            let chunk = slot.chunk;
            let owner = *owners.get(&chunk).ok_or(Error::Damaged(chunk))?;
            let frame = frames.remove(&chunk).ok_or(Error::Damaged(chunk))?;
            let plain_len = Header::parse(&frame)
                .map_err(|_| Error::Damaged(chunk))?
                .plain_len;
            let len = frame.len() as u32;
            let admission = self.staging.admit(plain_len as usize).await?;
            let inner = self.clone();
            let frame = self
                .tasks
                .spawn_blocking(move || {
                    inner
                        .staging
                        .put(admission, chunk, owner, plain_len, frame.to_vec())
                })
                .await
                .map_err(|_| Error::ShuttingDown)??;
            restaged.push(Restaged {
                waiting: Waiting {
                    chunk,
                    len,
                    stream: waiting::MOVED,
                },
                frame: Some(frame),
            });
        }
        self.staging.sync().await?;
        Ok(restaged)
    }

    /// Authentic frames of `slots`: from the disk cache, else together from the miners, else one by
    /// one with everything that reading knows to do.
    async fn gather(self: &Arc<Self>, slots: &[Slot], log: &Log) -> Result<HashMap<ChunkId, Bytes>> {
        let mut frames = HashMap::with_capacity(slots.len());
        let mut missing = Vec::new();
        for slot in slots {
            match self.disk.get(slot.chunk).await {
                Some(frame) if self.authentic(slot.chunk, &frame).await => {
                    frames.insert(slot.chunk, frame);
                }
                _ => missing.push(slot.chunk),
            }
        }
        if let Some(remote) = &self.remote {
            for run in remote.runs(&missing) {
                for (chunk, frame) in remote.fetch_run(&run, log).await {
                    if self.authentic(chunk, &frame).await {
                        frames.insert(chunk, frame);
                    }
                }
            }
        }
        for chunk in missing {
            if let Entry::Vacant(entry) = frames.entry(chunk) {
                entry.insert(self.fetch(chunk, log).await?.0);
            }
        }
        Ok(frames)
    }

    async fn authentic(self: &Arc<Self>, chunk: ChunkId, frame: &Bytes) -> bool {
        let (inner, frame) = (self.clone(), frame.clone());
        tokio::task::spawn_blocking(move || inner.open_frame(chunk, &frame).is_ok())
            .await
            .unwrap_or(false)
    }
}
