//! The keys: passphrase → root key → key per domain → sub-key per (domain, epoch).
//!
//! - [`passphrase`] opens the root key. Keys are derived from it (HKDF-SHA-256): one wraps domain
//!   keys, one seals segment indexes, those of [`kept`] are for the secrets of others.
//! - A domain key is random, wrapped in the DOMAIN row. Deleting that row ends the domain for this
//!   store: none of its chunks can be opened through it again. It is no shredding: packs carry the
//!   wrapped keys of what is in them, so an older copy of the root row and the passphrase open them.
//! - Chunks are sealed by a sub-key, random, wrapped by the domain key in an EPOCH row. The epoch
//!   rises at every open, so a store that was set back to an older state never seals under a key
//!   that it used before, and a nonce (the chunk id) cannot repeat under a key.
//!
//! Sub-keys are made at the first seal of a domain in an epoch, and their row is synced before.
pub(crate) mod kept;
pub(crate) mod passphrase;
pub(crate) mod wrap;

use std::collections::{HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use aws_lc_rs::aead::LessSafeKey;
use aws_lc_rs::hkdf;
use meta::{Durability, Meta, Transaction};
use parking_lot::RwLock;
use zeroize::Zeroizing;

use self::kept::KeptSecrets;
pub use self::passphrase::PassphraseCost;
use self::wrap::{KEY, Secret};
use crate::pack::segment;
use crate::{DomainId, Error, Result, tables};

/// Opened sub-keys kept in memory. Beyond that all are forgotten and opened again as needed.
const CACHED_MAX: usize = 4096;

/// A sub-key and the epoch it belongs to.
pub(crate) struct SubKey {
    /// The epoch.
    pub epoch: u32,
    /// The cipher.
    pub cipher: LessSafeKey,
}

/// Wrapped keys as the rows hold them, for a pack that explains itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WrappedKeys {
    /// Domain key, wrapped by a key derived from the root key.
    pub domain: Vec<u8>,
    /// Sub-key, wrapped by the domain key.
    pub epoch: Vec<u8>,
}

/// Seals and opens the indexes of the segments of one namespace.
pub(crate) struct IndexKey {
    cipher: LessSafeKey,
    /// Another key derived from the same root key, which tells namespaces apart and opens nothing.
    name: Secret,
}

impl IndexKey {
    /// Of the namespace with this root key.
    pub(crate) fn of(root: &Secret) -> Self {
        Self {
            cipher: wrap::cipher(&derived(root, b"cess-gateway segment indexes 1")),
            name: derived(root, b"cess-gateway namespace name 1"),
        }
    }

    /// Whether both are of one namespace.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.name == other.name
    }

    /// Opens a segment's index; `None` when it was sealed by another namespace or with another header.
    pub(crate) fn open(&self, header: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        Some(wrap::open(&self.cipher, header, sealed)?.to_vec())
    }
}

/// All keys of an open store.
pub(crate) struct Keys {
    meta: Meta,
    /// Wraps domain keys.
    domains: LessSafeKey,
    /// Seals segment indexes.
    indexes: IndexKey,
    /// For what others keep.
    kept: KeptSecrets,
    epoch: u32,
    opened: RwLock<HashMap<(DomainId, u32), Arc<SubKey>>>,
    /// Domains that a transaction destroys or destroyed: whether it was committed, the row says.
    ending: RwLock<HashSet<DomainId>>,
}

impl Keys {
    /// Opens the root key, or makes one in a store that has none, and begins a new epoch. When it
    /// returns, everything that was committed before is durable.
    pub(crate) async fn open(
        meta: Meta,
        passphrase: Zeroizing<Vec<u8>>,
        cost: PassphraseCost,
    ) -> Result<Self> {
        let row = meta.snapshot()?.get(&[tables::ROOT])?;
        let (created, root) = tokio::task::spawn_blocking(move || match row {
            Some(row) => Ok((None, passphrase::open(&passphrase, &row)?)),
            None => passphrase::create(&passphrase, cost).map(|(row, root)| (Some(row), root)),
        })
        .await
        .map_err(|_| Error::ShuttingDown)??;
        let epoch = meta
            .write::<u32, Error, _>(Durability::Synced, move |tx| {
                if let Some(row) = &created {
                    if tx.get(&[tables::ROOT])?.is_some() {
                        return Err(Error::Key(
                            "another process made a root key at the same time".into(),
                        ));
                    }
                    tx.put(&[tables::ROOT], row)?;
                }
                let last = tx
                    .get(&[tables::EPOCH])?
                    .map_or(Ok(0), |row| tables::u32_from(&row))?;
                let epoch = last
                    .checked_add(1)
                    .ok_or_else(|| tables::damaged("epochs are used up"))?;
                tx.put(&[tables::EPOCH], &epoch.to_be_bytes())?;
                Ok(epoch)
            })
            .await?;
        Ok(Self {
            meta,
            domains: wrap::cipher(&derived(&root, b"cess-gateway domain keys 1")),
            indexes: IndexKey::of(&root),
            kept: KeptSecrets::of(&root),
            epoch,
            opened: RwLock::default(),
            ending: RwLock::default(),
        })
    }

    /// Puts a fresh domain key.
    pub(crate) fn create_domain(&self, tx: &mut dyn Transaction, domain: DomainId) -> Result<()> {
        let key = tables::domain_key(domain);
        if tx.get(&key)?.is_some() {
            return Err(Error::Key(format!("domain {} exists already", domain.0)));
        }
        let wrapped = wrap::seal(&self.domains, &domain_context(domain), wrap::fresh().as_ref());
        Ok(tx.put(&key, &wrapped)?)
    }

    /// Deletes a domain's key and sub-keys.
    pub(crate) fn destroy_domain(tx: &mut dyn Transaction, domain: DomainId) -> Result<()> {
        tx.delete(&tables::domain_key(domain))?;
        let (from, to) = (tables::epoch_key(domain, 0), tables::epoch_key(domain, u32::MAX));
        let epochs = tx
            .range(Bound::Included(&from), Bound::Included(&to), false)?
            .map(|row| row.map(|(key, _)| key))
            .collect::<Result<Vec<_>, _>>()?;
        for key in epochs {
            tx.delete(&key)?;
        }
        Ok(())
    }

    /// A transaction is about to destroy `domain`. False when that is known.
    pub(crate) fn note_ending(&self, domain: DomainId) -> bool {
        self.ending.write().insert(domain)
    }

    /// The transaction that was to destroy `domain` was never committed.
    pub(crate) fn note_spared(&self, domain: DomainId) {
        self.ending.write().remove(&domain);
    }

    /// Whether `domain` has its key. Reads metadata only for domains that are being destroyed.
    pub(crate) fn lives(&self, domain: DomainId) -> Result<bool> {
        if !self.ending.read().contains(&domain) {
            return Ok(true);
        }
        Ok(self.meta.snapshot()?.get(&tables::domain_key(domain))?.is_some())
    }

    /// Whether `domain` has its key, as the metadata say now.
    pub(crate) fn has(&self, domain: DomainId) -> Result<bool> {
        Ok(self.meta.snapshot()?.get(&tables::domain_key(domain))?.is_some())
    }

    /// The sub-key that seals chunks of `domain` now.
    pub(crate) async fn sealing(&self, domain: DomainId) -> Result<Arc<SubKey>> {
        match self.opening(domain, self.epoch) {
            Ok(key) => return Ok(key),
            Err(Error::Key(_)) => {}
            Err(error) => return Err(error),
        }
        let domain_row = self
            .meta
            .snapshot()?
            .get(&tables::domain_key(domain))?
            .ok_or_else(|| destroyed(domain))?;
        let domain_cipher = self.open_domain(domain, &domain_row)?;
        let epoch = self.epoch;
        let wrapped = wrap::seal(
            &domain_cipher,
            &epoch_context(domain, epoch),
            wrap::fresh().as_ref(),
        );
        self.meta
            .write::<(), Error, _>(Durability::Synced, move |tx| {
                if tx.get(&tables::domain_key(domain))?.as_ref() != Some(&domain_row) {
                    return Err(destroyed(domain));
                }
                let key = tables::epoch_key(domain, epoch);
                // Somebody else may have been first: his key is the key.
                if tx.get(&key)?.is_none() {
                    tx.put(&key, &wrapped)?;
                }
                Ok(())
            })
            .await?;
        self.opening(domain, epoch)
    }

    /// The sub-key that opens chunks of `domain` sealed in `epoch`. Reads metadata.
    pub(crate) fn opening(&self, domain: DomainId, epoch: u32) -> Result<Arc<SubKey>> {
        let snapshot = self.meta.snapshot()?;
        // Looked at every time: a destroyed domain must not live on in memory.
        let Some(domain_row) = snapshot.get(&tables::domain_key(domain))? else {
            self.opened.write().retain(|(of, _), _| *of != domain);
            return Err(destroyed(domain));
        };
        if let Some(key) = self.opened.read().get(&(domain, epoch)) {
            return Ok(key.clone());
        }
        let wrapped = snapshot
            .get(&tables::epoch_key(domain, epoch))?
            .ok_or_else(|| Error::Key(format!("domain {} has no key for epoch {epoch}", domain.0)))?;
        let domain_cipher = self.open_domain(domain, &domain_row)?;
        let secret = wrap::open_key(&domain_cipher, &epoch_context(domain, epoch), &wrapped)
            .ok_or_else(|| tables::damaged(&format!("sub-key of domain {} in epoch {epoch}", domain.0)))?;
        let key = Arc::new(SubKey {
            epoch,
            cipher: wrap::cipher(&secret),
        });
        let mut opened = self.opened.write();
        if opened.len() >= CACHED_MAX {
            opened.clear();
        }
        opened.insert((domain, epoch), key.clone());
        Ok(key)
    }

    /// The wrapped keys that open frames of `domain` sealed in `epoch`.
    pub(crate) fn wrapped(&self, domain: DomainId, epoch: u32) -> Result<WrappedKeys> {
        let snapshot = self.meta.snapshot()?;
        let domain_row = snapshot
            .get(&tables::domain_key(domain))?
            .ok_or_else(|| destroyed(domain))?;
        let epoch_row = snapshot
            .get(&tables::epoch_key(domain, epoch))?
            .ok_or_else(|| Error::Key(format!("domain {} has no key for epoch {epoch}", domain.0)))?;
        Ok(WrappedKeys {
            domain: domain_row,
            epoch: epoch_row,
        })
    }

    /// For secrets that others keep in the metadata.
    pub(crate) const fn kept(&self) -> &KeptSecrets {
        &self.kept
    }

    /// The root row: how the passphrase opens the root key.
    pub(crate) fn root_row(&self) -> Result<Vec<u8>> {
        self.meta
            .snapshot()?
            .get(&[tables::ROOT])?
            .filter(|row| row.len() <= segment::ROOT_ROOM)
            .ok_or_else(|| tables::damaged("there is no root row that a pack could carry"))
    }

    /// Seals a segment's index, bound to the segment's header. Adds 28 bytes.
    pub(crate) fn seal_index(&self, header: &[u8], index: &[u8]) -> Vec<u8> {
        wrap::seal(&self.indexes.cipher, header, index)
    }

    /// Opens a segment's index; `None` when it was not sealed by this store or with this header.
    pub(crate) fn open_index(&self, header: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        self.indexes.open(header, sealed)
    }

    fn open_domain(&self, domain: DomainId, row: &[u8]) -> Result<LessSafeKey> {
        wrap::open_key(&self.domains, &domain_context(domain), row)
            .map(|secret| wrap::cipher(&secret))
            .ok_or_else(|| tables::damaged(&format!("key of domain {}", domain.0)))
    }
}

fn destroyed(domain: DomainId) -> Error {
    Error::Key(format!(
        "domain {} has no key: it was destroyed or never made",
        domain.0
    ))
}

fn domain_context(domain: DomainId) -> Vec<u8> {
    [b"cess-gateway domain key 1", &domain.0.to_le_bytes()[..]].concat()
}

fn epoch_context(domain: DomainId, epoch: u32) -> Vec<u8> {
    [
        b"cess-gateway sub-key 1",
        &domain.0.to_le_bytes()[..],
        &epoch.to_le_bytes(),
    ]
    .concat()
}

/// A key derived from the root key for one purpose.
fn derived(root: &Secret, purpose: &[u8]) -> Secret {
    let mut key = Zeroizing::new([0; KEY]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, &[])
        .extract(root.as_ref())
        .expand(&[purpose], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(key.as_mut()))
        .expect("HKDF-SHA-256 gives 32 bytes");
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    async fn keys(meta: &Meta) -> Keys {
        Keys::open(meta.clone(), testing::passphrase("p"), PassphraseCost::LIGHT)
            .await
            .unwrap()
    }

    async fn domain(meta: &Meta, keys: &Arc<Keys>, id: u64) -> DomainId {
        let made = keys.clone();
        meta.write(Durability::Synced, move |tx| made.create_domain(tx, DomainId(id)))
            .await
            .unwrap();
        DomainId(id)
    }

    fn sample(key: &SubKey) -> Vec<u8> {
        let mut bytes = vec![0; 32];
        let nonce = aws_lc_rs::aead::Nonce::assume_unique_for_key([0; 12]);
        let tag = key
            .cipher
            .seal_in_place_separate_tag(nonce, aws_lc_rs::aead::Aad::empty(), &mut bytes)
            .unwrap();
        bytes.extend_from_slice(tag.as_ref());
        bytes
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_open_begins_an_epoch_with_a_fresh_sub_key_and_opens_the_old_ones() {
        let dir = tempfile::tempdir().unwrap();
        let meta = testing::meta(dir.path());
        let first = Arc::new(keys(&meta).await);
        let id = domain(&meta, &first, 7).await;
        let one = first.sealing(id).await.unwrap();
        let second = Arc::new(keys(&meta).await);
        let two = second.sealing(id).await.unwrap();
        assert_eq!((one.epoch, two.epoch), (1, 2));
        assert_ne!(sample(&one), sample(&two));
        assert_eq!(sample(&second.opening(id, 1).unwrap()), sample(&one));
        assert!(matches!(second.opening(id, 3), Err(Error::Key(_))));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn concurrent_first_seals_agree_on_one_sub_key() {
        let dir = tempfile::tempdir().unwrap();
        let meta = testing::meta(dir.path());
        let keys = Arc::new(keys(&meta).await);
        let id = domain(&meta, &keys, 1).await;
        let tasks: Vec<_> = (0..16)
            .map(|_| {
                let keys = keys.clone();
                tokio::spawn(async move { sample(&keys.sealing(id).await.unwrap()) })
            })
            .collect();
        let mut samples = Vec::new();
        for task in tasks {
            samples.push(task.await.unwrap());
        }
        samples.dedup();
        assert_eq!(samples.len(), 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_destroyed_domain_has_no_keys_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let meta = testing::meta(dir.path());
        let keys = Arc::new(keys(&meta).await);
        let (gone, stays) = (domain(&meta, &keys, 1).await, domain(&meta, &keys, 2).await);
        assert!(keys.sealing(gone).await.is_ok() && keys.sealing(stays).await.is_ok());
        assert!(keys.wrapped(gone, 1).is_ok());
        meta.write(Durability::Buffered, move |tx| Keys::destroy_domain(tx, gone))
            .await
            .unwrap();
        assert!(matches!(keys.sealing(gone).await, Err(Error::Key(_))));
        assert!(matches!(keys.opening(gone, 1), Err(Error::Key(_))));
        assert!(matches!(keys.wrapped(gone, 1), Err(Error::Key(_))));
        assert!(
            meta.snapshot()
                .unwrap()
                .get(&tables::epoch_key(gone, 1))
                .unwrap()
                .is_none()
        );
        assert!(keys.opening(stays, 1).is_ok());
        // A domain that was never made, and one that is made twice.
        assert!(matches!(keys.sealing(DomainId(3)).await, Err(Error::Key(_))));
        let again = keys.clone();
        let twice = meta
            .write(Durability::Buffered, move |tx| again.create_domain(tx, stays))
            .await;
        assert!(matches!(twice, Err(Error::Key(_))));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn wrong_passphrase_is_told_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let meta = testing::meta(dir.path());
        let right = keys(&meta).await;
        let sealed = right.seal_index(b"header", b"index");
        let wrong = Keys::open(meta.clone(), testing::passphrase("q"), PassphraseCost::LIGHT).await;
        assert!(matches!(wrong.map(|_| ()), Err(Error::Key(_))));
        let again = keys(&meta).await;
        assert_eq!(again.epoch, 2, "a wrong passphrase begins no epoch");
        assert_eq!(again.open_index(b"header", &sealed).unwrap(), b"index");
        assert!(again.open_index(b"other header", &sealed).is_none());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_wrapped_key_cannot_stand_in_for_another_domains() {
        let dir = tempfile::tempdir().unwrap();
        let meta = testing::meta(dir.path());
        let keys = Arc::new(keys(&meta).await);
        let (one, two) = (domain(&meta, &keys, 1).await, domain(&meta, &keys, 2).await);
        meta.write::<(), Error, _>(Durability::Buffered, move |tx| {
            let row = tx.get(&tables::domain_key(one))?.unwrap_or_default();
            Ok(tx.put(&tables::domain_key(two), &row)?)
        })
        .await
        .unwrap();
        assert!(matches!(keys.sealing(two).await, Err(Error::Meta(_))));
    }
}
