//! Which namespace of an account is restored: the root row that opens its keys.
//!
//! Every segment carries the root row of its namespace in clear, and an account may hold the packs of
//! several namespaces, some of them under one passphrase. In this order:
//! - the row of a file that the caller names;
//! - the only one that the passphrase opens among those of the newest files;
//! - if it opens several: that of the newest file that holds a part of a checkpoint, for what went on
//!   last is what was lost; else that of the newest file.
//!
//! The others are told, so that nobody takes one namespace for another. Rows that were replaced when the
//! passphrase was changed open the same root key: they are one namespace.
use cess::{AccountId, Hash};
use meta::Durability;
use zeroize::Zeroizing;

use crate::checkpoint::{MANIFEST, listed};
use crate::keys::IndexKey;
use crate::keys::passphrase;
use crate::place::miners::Miners;
use crate::place::network::Network;
use crate::remote::Remote;
use crate::remote::unlisted::Unlisted;
use crate::{Error, Result, tables};

/// Files whose rows are looked at.
const FILES: usize = 32;
/// Different rows that the passphrase is tried on: each costs what it states.
const ROWS: usize = 8;

/// Finds root rows.
pub(super) struct Roots<'a> {
    pub passphrase: &'a Zeroizing<Vec<u8>>,
    pub remote: &'a Remote,
    pub network: &'a dyn Network,
    pub miners: &'a Miners,
    pub owner: AccountId,
}

/// A file whose root row opens.
struct Opened {
    fid: Hash,
    file: Unlisted,
    /// Place of its namespace among those that were found.
    namespace: usize,
}

/// What was found so far.
#[derive(Default)]
struct Found {
    /// Rows that were tried, and the namespace that each opens.
    rows: Vec<(Vec<u8>, Option<usize>)>,
    /// The newest row of each namespace, and the key of its indexes.
    namespaces: Vec<(Vec<u8>, IndexKey)>,
    files: Vec<Opened>,
    failed: Option<Error>,
}

impl Roots<'_> {
    /// Keeps the row of the namespace to restore; answers a file of each of the others. `fids` are those
    /// of the account, the newest last; `named` those that the caller names.
    ///
    /// [`Error::Key`] when the passphrase opens none, [`Error::CannotRestore`] when there is none.
    pub(super) async fn open(&self, meta: &meta::Meta, fids: &[Hash], named: &[Hash]) -> Result<Vec<Hash>> {
        if meta.snapshot()?.get(&[tables::ROOT])?.is_some() {
            return Ok(Vec::new());
        }
        let newest = fids.iter().rev().filter(|fid| !named.contains(fid)).take(FILES);
        let order: Vec<Hash> = named.iter().chain(newest).copied().collect();
        let mut found = Found::default();
        self.look(&mut found, &order, false).await?;
        if found.namespaces.is_empty() {
            // Somebody may have lied about the rows. A whole segment, once, is worth to be sure.
            self.look(&mut found, &order, true).await?;
        }
        let Some(chosen) = self.choose(&found, named).await? else {
            let account = self.owner.to_ss58(cess::account::SS58_PREFIX);
            return Err(match (found.rows.is_empty(), found.failed) {
                (false, _) => Error::Key(format!("the passphrase does not open the packs of {account}")),
                (true, Some(error)) => error,
                (true, None) => Error::CannotRestore(format!(
                    "the chain lists no pack of {account} among {} files",
                    fids.len()
                )),
            });
        };
        let others = (0..found.namespaces.len())
            .filter(|other| *other != chosen)
            .filter_map(|other| found.files.iter().find(|file| file.namespace == other))
            .map(|file| file.fid)
            .collect();
        let Some((row, _)) = found.namespaces.into_iter().nth(chosen) else {
            return Ok(others);
        };
        meta.write::<(), Error, _>(Durability::Synced, move |tx| Ok(tx.put(&[tables::ROOT], &row)?))
            .await?;
        Ok(others)
    }

    /// Tries the rows of files in this order; with `checked`, the first one that carries any, from
    /// fragments that are what was stored.
    async fn look(&self, found: &mut Found, order: &[Hash], checked: bool) -> Result<()> {
        for fid in order {
            let endpoint = |account| self.miners.endpoint(account);
            let Some(file) = listed(self.network, self.owner, *fid, endpoint).await? else {
                continue;
            };
            let row = match self.remote.root_row(&file, checked).await {
                Ok(Some(row)) => row,
                // A file of something else says nothing.
                Ok(None) => continue,
                Err(error) => {
                    found.failed = Some(error);
                    continue;
                }
            };
            let fid = *fid;
            if let Some(namespace) = self.try_row(found, row).await? {
                found.files.push(Opened { fid, file, namespace });
            }
            if checked {
                break;
            }
        }
        Ok(())
    }

    /// The namespace whose root key the passphrase opens with `row`.
    async fn try_row(&self, found: &mut Found, row: Vec<u8>) -> Result<Option<usize>> {
        if let Some((_, namespace)) = found.rows.iter().find(|(known, _)| *known == row) {
            return Ok(*namespace);
        }
        if found.rows.len() >= ROWS {
            return Ok(None);
        }
        let (secret, candidate) = (self.passphrase.clone(), row.clone());
        let opened = tokio::task::spawn_blocking(move || passphrase::open(&secret, &candidate))
            .await
            .map_err(|_| Error::ShuttingDown)?;
        let namespace = opened.ok().map(|root| {
            let key = IndexKey::of(&root);
            let known = found.namespaces.iter().position(|(_, other)| other.is(&key));
            known.unwrap_or_else(|| {
                found.namespaces.push((row.clone(), key));
                found.namespaces.len() - 1
            })
        });
        found.rows.push((row, namespace));
        Ok(namespace)
    }

    /// Chooses among what was found.
    async fn choose(&self, found: &Found, named: &[Hash]) -> Result<Option<usize>> {
        let first = found.files.first().map(|file| file.namespace);
        let is_named = found.files.first().is_some_and(|file| named.contains(&file.fid));
        if is_named || found.namespaces.len() < 2 {
            return Ok(first);
        }
        for file in &found.files {
            let Some((_, key)) = found.namespaces.get(file.namespace) else {
                continue;
            };
            for number in 0..file.file.names().segments.len() as u32 {
                let open = |header: &[u8], sealed: &[u8]| key.open(header, sealed);
                // What cannot be read now stops the restore later, or is accepted there.
                let Ok(Some(portrait)) = self.remote.self_portrait(&file.file, number, &open).await else {
                    continue;
                };
                let mut entries = portrait.index.entries.iter();
                if entries.any(|entry| entry.owner.inode == MANIFEST) {
                    return Ok(Some(file.namespace));
                }
            }
        }
        Ok(first)
    }
}
