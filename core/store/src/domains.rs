//! What each key domain asks for.
//!
//! ```text
//! 0x8c 03 ‹domain u64 BE›   compression, one byte: the number in frame headers
//! ```
//! A domain without a row does as the gateway does. Sealing asks for each chunk, so answers are kept
//! in memory; a change shows in everything that is staged after it was made.
use std::collections::HashMap;

use meta::{Durability, Meta, Transaction};
use parking_lot::Mutex;

use crate::tables::{self, PACKING};
use crate::{Compression, DomainId, Error, Result};

const PART: u8 = 3;
/// Where the rows begin, and where they end.
pub(crate) const ROWS: [[u8; 2]; 2] = [[PACKING, PART], [PACKING, PART + 1]];
/// Domains kept in memory. Beyond that all are forgotten and read again as needed.
const KEPT_MAX: usize = 4096;

/// The settings of all key domains.
pub(crate) struct Domains {
    meta: Meta,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// Changes made so far: what was read before one is not kept after it.
    changes: u64,
    compression: HashMap<DomainId, Option<Compression>>,
}

fn key(domain: DomainId) -> [u8; 10] {
    let mut key = [PACKING; 10];
    key[1] = PART;
    key[2..].copy_from_slice(&domain.0.to_be_bytes());
    key
}

/// The domain that a row of this part is about.
pub(crate) fn domain_of(key: &[u8]) -> Option<DomainId> {
    let domain = key.strip_prefix(&[PACKING, PART])?.try_into().ok()?;
    Some(DomainId(u64::from_be_bytes(domain)))
}

impl Domains {
    /// Those that `meta` keeps.
    pub(crate) fn new(meta: Meta) -> Self {
        Self {
            meta,
            kept: Mutex::default(),
        }
    }

    /// How chunks of `domain` are compressed, if it asks for something.
    pub(crate) fn compression(&self, domain: DomainId) -> Result<Option<Compression>> {
        let changes = {
            let kept = self.kept.lock();
            if let Some(compression) = kept.compression.get(&domain) {
                return Ok(*compression);
            }
            kept.changes
        };
        let compression = match self.meta.snapshot()?.get(&key(domain))?.as_deref() {
            None => None,
            Some([number]) if Compression::from_number(*number).is_some() => {
                Compression::from_number(*number)
            }
            Some(_) => return Err(tables::damaged("an unknown compression")),
        };
        let mut kept = self.kept.lock();
        if kept.changes == changes {
            if kept.compression.len() >= KEPT_MAX {
                kept.compression.clear();
            }
            kept.compression.insert(domain, compression);
        }
        Ok(compression)
    }

    /// Sets it; `None`: as the gateway does. [`Error::Key`] when there is no such domain.
    pub(crate) async fn set_compression(
        &self,
        domain: DomainId,
        compression: Option<Compression>,
    ) -> Result<()> {
        self.meta
            .write(Durability::Synced, move |tx| -> Result<()> {
                if tx.get(&tables::domain_key(domain))?.is_none() {
                    return Err(Error::Key(format!("domain {} does not exist", domain.0)));
                }
                match compression {
                    Some(compression) => Ok(tx.put(&key(domain), &[compression as u8])?),
                    None => Ok(tx.delete(&key(domain))?),
                }
            })
            .await?;
        let mut kept = self.kept.lock();
        kept.changes += 1;
        kept.compression.remove(&domain);
        Ok(())
    }

    /// Another gateway may have changed what `domain` asks for.
    pub(crate) fn forget(&self, domain: DomainId) {
        let mut kept = self.kept.lock();
        kept.changes += 1;
        kept.compression.remove(&domain);
    }

    /// Another gateway may have changed what any domain asks for.
    pub(crate) fn forget_all(&self) {
        let mut kept = self.kept.lock();
        kept.changes += 1;
        kept.compression.clear();
    }

    /// Forgets what a destroyed domain asked for.
    pub(crate) fn destroy(tx: &mut dyn Transaction, domain: DomainId) -> Result<()> {
        Ok(tx.delete(&key(domain))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn a_domain_keeps_what_it_asked_for_until_it_is_destroyed() {
        let dir = tempfile::tempdir().unwrap();
        let meta = testing::meta(dir.path());
        let (domain, other) = (DomainId(3), DomainId(4));
        let domains = Domains::new(meta.clone());
        assert!(matches!(
            domains.set_compression(domain, Some(Compression::Lz4)).await,
            Err(Error::Key(_))
        ));
        for made in [domain, other] {
            meta.write::<(), Error, _>(Durability::Synced, move |tx| {
                Ok(tx.put(&tables::domain_key(made), b"a key")?)
            })
            .await
            .unwrap();
        }
        assert_eq!(domains.compression(domain).unwrap(), None);
        for compression in [
            Some(Compression::Lz4),
            Some(Compression::None),
            None,
            Some(Compression::Zstd),
        ] {
            domains.set_compression(domain, compression).await.unwrap();
            assert_eq!(domains.compression(domain).unwrap(), compression);
            assert_eq!(
                Domains::new(meta.clone()).compression(domain).unwrap(),
                compression
            );
            assert_eq!(domains.compression(other).unwrap(), None);
        }
        meta.write::<(), Error, _>(Durability::Synced, move |tx| Domains::destroy(tx, domain))
            .await
            .unwrap();
        assert_eq!(Domains::new(meta).compression(domain).unwrap(), None);
    }
}
