//! Settings that doors keep for the whole gateway: bytes that `vfs` does not interpret.
//!
//! They are rows beside the settings of buckets, with the root in the place of a bucket, so that
//! checkpoints and all gateways of the namespace have them. Names are paths (`iam/user/…`), and what
//! belongs together begins alike: it is read and changed together, at one moment.
use std::collections::BTreeMap;

use meta::{Durability, Read};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::schema::{self, BUCKET_SETTING};
use crate::setting::BUCKET_SETTING_MAX;
use crate::{Error, InodeNo, Result, Vfs};

/// Settings by name.
pub type GatewaySettings = BTreeMap<String, Vec<u8>>;

/// What a change sets (`Some`) and removes (`None`), by name.
pub type GatewaySettingChanges = BTreeMap<String, Option<Vec<u8>>>;

impl Vfs {
    /// All settings of the gateway whose names begin with `prefix`, of one moment.
    pub async fn gateway_settings(&self, prefix: &str) -> Result<GatewaySettings> {
        read(&*self.core.snapshot()?, prefix)
    }

    /// Changes settings of the gateway; durable when it returns. `change` sees those whose names begin
    /// with `prefix` as they are in the transaction, may be asked more than once, and answers what to
    /// change, all of it or, with an error, nothing. [`Error::TooLarge`] for one above 1 MiB.
    pub async fn change_gateway_settings<T, E, F>(&self, prefix: &str, mut change: F) -> Result<Result<T, E>>
    where
        T: Send + 'static,
        E: Send + 'static,
        F: FnMut(&GatewaySettings) -> Result<(T, GatewaySettingChanges), E> + Send + 'static,
    {
        let prefix = prefix.to_owned();
        let changed = self
            .core
            .write(Durability::Synced, move |tx| {
                let (answer, changes) = match change(&read(&*tx, &prefix)?) {
                    Ok(done) => done,
                    Err(refused) => return Ok(Err(refused)),
                };
                for (name, value) in changes {
                    let key = key(&name);
                    match value {
                        Some(value) if value.len() > BUCKET_SETTING_MAX => return Err(Error::TooLarge),
                        Some(value) => tx.put(&key, &schema::encode_raw(&value))?,
                        None => tx.delete(&key)?,
                    }
                }
                Ok(Ok(answer))
            })
            .await?;
        self.core.settings_changed.send_modify(|changes| *changes += 1);
        Ok(changed)
    }

    /// Told when settings of the gateway may have changed, here or at another gateway.
    pub fn gateway_settings_changed(&self) -> watch::Receiver<u64> {
        self.core.settings_changed.subscribe()
    }

    /// Seals a secret that is to be kept in a setting, for `context`, which says what it is for. Adds
    /// 28 bytes.
    pub fn seal_secret(&self, context: &[u8], plain: &[u8]) -> Vec<u8> {
        self.core.store.seal_secret(context, plain)
    }

    /// Opens what [`Self::seal_secret`] sealed for the same context; `None`: it was not.
    pub fn open_secret(&self, context: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        self.core.store.open_secret(context, sealed)
    }

    /// The secret of this namespace that belongs to `name`: 32 bytes, always the same.
    pub fn made_secret(&self, name: &[u8]) -> Zeroizing<[u8; 32]> {
        self.core.store.made_secret(name)
    }
}

/// Whether a row is a setting of the gateway.
pub(crate) fn is_one(row: &[u8]) -> bool {
    row.starts_with(&schema::inode_key(BUCKET_SETTING, InodeNo::ROOT))
}

fn key(name: &str) -> Vec<u8> {
    schema::child_key(BUCKET_SETTING, InodeNo::ROOT, name.as_bytes())
}

fn read(read: &(impl Read + ?Sized), prefix: &str) -> Result<GatewaySettings> {
    let rows = schema::scan(read, &key(prefix))?;
    rows.map(|row| {
        let (key, value) = row?;
        let name = key.get(9..).and_then(|name| std::str::from_utf8(name).ok());
        let name = name.ok_or_else(|| schema::damaged("the name of a setting"))?;
        Ok((name.to_owned(), schema::decode_raw(&value)?.to_vec()))
    })
    .collect()
}
