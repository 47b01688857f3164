//! The handle everybody holds: retry on conflict, and one sync for all waiters.
use std::path::PathBuf;

use crate::{Durability, Read, Result, Transaction};

/// Engines that can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// fjall 3, embedded.
    Fjall,
}

/// Where the metadata lives.
#[derive(Clone, Debug)]
pub struct MetaConfig {
    /// Which engine.
    pub engine: EngineKind,
    /// Its directory.
    pub path: PathBuf,
    /// Block cache in bytes.
    pub cache_bytes: u64,
}

/// A shared handle to the engine. Cheap to clone.
#[derive(Clone)]
pub struct Meta {}

impl Meta {
    /// Opens or creates the store.
    pub fn open(config: &MetaConfig) -> Result<Self> {
        let _ = config;
        todo!()
    }
    /// A consistent view of everything committed so far.
    pub fn snapshot(&self) -> Result<Box<dyn Read + Send>> {
        todo!()
    }
    /// Runs `f` in a transaction on the blocking pool, again on conflict, and waits for `durability`.
    /// `f` may run several times: it must not keep state between runs. An error from `f` rolls back.
    pub async fn write<T, E, F>(&self, durability: Durability, f: F) -> Result<T, E>
    where
        F: FnMut(&mut dyn Transaction) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<crate::Error> + Send + 'static,
    {
        let _ = (durability, f);
        todo!()
    }
    /// Makes everything committed so far durable; concurrent callers share one sync.
    pub async fn sync(&self) -> Result<()> {
        todo!()
    }
    /// Bytes on disk.
    pub fn disk_bytes(&self) -> Result<u64> {
        todo!()
    }
}
