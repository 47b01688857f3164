//! Health as `vfs` and the program see it.
use std::collections::BTreeSet;

use crate::health::explain::{self, Explained};
use crate::health::report::{self, HealthStatus, ScrubReport, SegmentHealth};
use crate::health::scrub::Scope;
use crate::{ChunkId, Error, Result, Store, locations};

impl Store {
    /// How well the network keeps what it took, as far as the last looks know.
    pub fn health(&self) -> Result<HealthStatus> {
        report::status(&*self.inner.meta.snapshot()?, &self.inner.config.health)
    }
    /// Segments of which not all fragments are good, at most `most`.
    pub fn unwell(&self, most: usize) -> Result<Vec<SegmentHealth>> {
        report::unwell(&*self.inner.meta.snapshot()?, &self.inner.config.health, most)
    }
    /// Live chunks that could not be rebuilt when that was tried last, at most `most`.
    pub fn lost_chunks(&self, most: usize) -> Result<Vec<ChunkId>> {
        report::lost_chunks(&*self.inner.meta.snapshot()?, most)
    }
    /// Looks at every verified segment now, and stores again what is at risk. Takes as long as the
    /// scrubber's limit wants. Without a network, [`Error::NotYet`].
    pub async fn scrub(&self) -> Result<ScrubReport> {
        self.scrub_over(Scope::All).await
    }
    /// As [`Self::scrub`], only where `chunks` lie.
    pub async fn scrub_chunks(&self, chunks: &[ChunkId]) -> Result<ScrubReport> {
        let places = locations::get_many(&*self.inner.meta.snapshot()?, chunks)?;
        let segments: BTreeSet<_> = places
            .into_iter()
            .map(|(_, place)| (place.pack, place.segment))
            .collect();
        self.scrub_over(Scope::Segments(segments)).await
    }
    /// Where chunks are, how they came there, and how well they are kept; one by one those for
    /// which `wanted`.
    pub async fn explain(&self, chunks: &[ChunkId], wanted: impl Fn(ChunkId) -> bool) -> Result<Explained> {
        explain::explain(&self.inner, chunks, wanted).await
    }

    async fn scrub_over(&self, scope: Scope) -> Result<ScrubReport> {
        match &self.health {
            Some(health) => health.scrub(scope).await,
            None => Err(Error::NotYet(crate::Level::Verified)),
        }
    }
}
