//! The identities of a namespace: asked by doors, changed by operators.
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::task::JoinHandle;
use vfs::Vfs;
use zeroize::Zeroizing;

use super::draft::Draft;
use super::known::{Known, Refusal};
use super::rows::{Book, PREFIX, secret_context};
use super::session::{self, Grant, Issued};
use super::view::Answer;
use super::{Order, names};
use crate::caller::{CanonicalId, Identity};
use crate::clock;
use crate::error::{Error, Kind, Result};
use crate::owner;

/// Pause after rows that could not be read.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Handle to the identities. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
    _follower: Arc<Follower>,
}

struct Shared {
    vfs: Vfs,
    known: RwLock<Arc<Known>>,
    /// Held while rows are read and put in their place: never older ones after newer ones.
    reading: tokio::sync::Mutex<()>,
}

/// Ends with the last handle.
struct Follower(JoinHandle<()>);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Registry {
    /// Those of a namespace.
    pub async fn open(vfs: Vfs) -> Result<Self> {
        let mut changed = vfs.gateway_settings_changed();
        changed.mark_unchanged();
        let known = Known::of(&vfs.gateway_settings(PREFIX).await?)?;
        let shared = Arc::new(Shared {
            vfs,
            known: RwLock::new(Arc::new(known)),
            reading: tokio::sync::Mutex::default(),
        });
        let following = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while changed.changed().await.is_ok() {
                while let Err(error) = following.read().await {
                    tracing::warn!(%error, "identities cannot be read again: those known before count");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        });
        Ok(Self {
            shared,
            _follower: Arc::new(Follower(task)),
        })
    }

    /// The identities as they are known now.
    pub fn known(&self) -> Arc<Known> {
        Arc::clone(&self.shared.known.read())
    }

    /// Carries out an order; durable, and known here, when it returns.
    pub async fn carry_out(&self, order: Order) -> Result<Answer> {
        if let Order::DeleteAccount { name } = &order
            && let Some(account) = self.known().account_named(name)
        {
            self.owns_nothing(&account.id, name).await?;
        }
        let vfs = self.shared.vfs.clone();
        let done = self
            .shared
            .vfs
            .change_gateway_settings(PREFIX, move |rows| {
                let seal = |context: &[u8], secret: &[u8]| vfs.seal_secret(context, secret);
                let mut draft = Draft::new(Book::read(rows)?, &seal);
                let answer = draft.carry_out(&order)?;
                Ok::<_, Error>((answer, draft.into_changes()))
            })
            .await??;
        self.shared.read().await?;
        Ok(done)
    }

    /// The secret of an access key, of a session's, too; `None`: not known, or disabled. The key of a
    /// session has one whether it was ever given out or not: only who was given it knows it.
    pub fn secret(&self, access_key: &str) -> Option<Zeroizing<String>> {
        if names::is_session_key(access_key) {
            return Some(session::secret(&self.shared.vfs, access_key));
        }
        let known = self.known();
        let sealed = hex::decode(&known.key(access_key)?.secret).ok()?;
        let secret = self
            .shared
            .vfs
            .open_secret(&secret_context(access_key), &sealed)?;
        String::from_utf8(secret.to_vec()).ok().map(Zeroizing::new)
    }

    /// Who signs with an access key, and with the token of a session if one is shown. That he does is
    /// not shown by this: the signature is.
    pub fn caller(&self, access_key: &str, token: Option<&str>) -> Result<Arc<Identity>, Refusal> {
        let known = self.known();
        match (names::is_session_key(access_key), token) {
            (true, Some(token)) => {
                session::caller(&self.shared.vfs, &known, access_key, token, clock::now()).map(Arc::new)
            }
            (true, None) => Err(Refusal::InvalidToken),
            (false, token) => {
                let holder = known.holder(access_key).ok_or(Refusal::UnknownKey)?;
                if token.is_some() {
                    return Err(Refusal::InvalidToken);
                }
                Ok(Arc::clone(holder))
            }
        }
    }

    /// Begins a session. `None` when whom it should stand for is not known.
    pub fn issue(&self, grant: Grant) -> Option<Issued> {
        session::issue(&self.shared.vfs, &self.known(), grant)
    }

    pub(super) fn vfs(&self) -> &Vfs {
        &self.shared.vfs
    }

    /// Refuses when the account owns buckets.
    async fn owns_nothing(&self, id: &CanonicalId, name: &str) -> Result<()> {
        for bucket in self.shared.vfs.buckets().await? {
            let setting = self.shared.vfs.bucket_setting(&bucket.name, owner::SETTING).await;
            let owner = match setting {
                // Deleted since the list was made.
                Err(vfs::Error::NoSuchBucket) => continue,
                setting => owner::parse(setting?.as_deref())?,
            };
            if owner.id == *id {
                return Err(Error::InUse {
                    kind: Kind::Account,
                    name: name.to_owned(),
                    by: format!("bucket {}", bucket.name),
                });
            }
        }
        Ok(())
    }
}

impl Shared {
    /// Takes in the rows as they are now.
    async fn read(&self) -> Result<()> {
        let _reading = self.reading.lock().await;
        let known = Known::of(&self.vfs.gateway_settings(PREFIX).await?)?;
        *self.known.write() = Arc::new(known);
        Ok(())
    }
}
