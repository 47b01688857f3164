//! The handle everybody holds: retry on conflict, and one sync for all waiters.
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use crate::changes::Changes;
use crate::guard::{COUNTER_KEY, Guard};
use crate::migrate::Step;
use crate::migrate::live::{self, Moved};
use crate::sync::{Answer, GroupSync};
use crate::{Durability, Engine, Error, Place, Read, Result, Transaction, failpoint, image, migrate};

/// Conflicts after which a transaction runs alone. A transaction that reads much would otherwise
/// lose to a stream of short ones for ever.
const CONFLICTS_BEFORE_ALONE: u32 = 8;
/// First pause after a conflict; doubled each time.
const BACKOFF_FIRST: Duration = Duration::from_micros(50);
/// Longest pause after a conflict.
const BACKOFF_MAX: Duration = Duration::from_millis(10);

/// Engines of this process, in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// fjall 3.
    Fjall,
    /// sled 0.34.
    Sled,
}

/// Where the metadata lives, in a directory.
#[derive(Clone, Debug)]
pub struct MetaConfig {
    /// Which engine.
    pub engine: EngineKind,
    /// Directory, made if absent. Holds the engine's own directory and the guard file.
    pub path: PathBuf,
    /// Block cache in bytes.
    pub cache_bytes: u64,
}

/// A shared handle to the engine. Cheap to clone; the engine closes with the last clone and the
/// last snapshot.
#[derive(Clone)]
pub struct Meta {
    inner: Arc<Inner>,
}

struct Inner {
    /// Changed while `turn` is held alone.
    current: RwLock<Arc<Current>>,
    directory: PathBuf,
    /// Held while the namespace is moved.
    moving: Mutex<()>,
    /// Held shared by every transaction, alone by one that has lost too often.
    turn: RwLock<()>,
    /// Spreads the pauses of transactions that conflict with each other.
    jitter: AtomicU64,
}

/// The engine in use.
struct Current {
    // Dropped first: its thread ends before the engine closes.
    sync: GroupSync,
    engine: Arc<dyn Engine>,
    /// `None`: it was open already.
    place: Option<Place>,
}

impl Current {
    /// An engine with its guard file (for an engine that needs one) at `guard`.
    fn start(engine: Arc<dyn Engine>, guard: &Path, place: Option<Place>) -> Result<Self> {
        let guard = if engine.guarded() {
            Some(open_guard(engine.as_ref(), guard)?)
        } else {
            None
        };
        let sync = GroupSync::start(Arc::clone(&engine), guard)?;
        Ok(Self { sync, engine, place })
    }
}

impl Meta {
    /// Opens or creates the store in a directory. [`Error::InUse`] when another process has it,
    /// [`Error::Damaged`] when acknowledged commits are missing.
    pub fn open(config: &MetaConfig) -> Result<Self> {
        Self::at(&Place::Directory(config.clone()))
    }

    /// Opens or creates the namespace in a place. Beside the errors of [`Self::open`]: one that says so when
    /// the namespace was moved to another place, or is being moved to this one.
    pub fn at(place: &Place) -> Result<Self> {
        Self::at_among(place, &[])
    }

    /// As [`Self::at`]. When the namespace was moved there from one of `others`, and the move was cut off at
    /// its very end, ends it.
    pub fn at_among(place: &Place, others: &[Place]) -> Result<Self> {
        let engine = place.open()?;
        migrate::settle(place, engine.as_ref(), others)?;
        Self::with(engine, &place.guard(), Some(place.clone()))
    }

    /// A handle over an engine that is open already, with its guard file (for an engine that needs one) at
    /// `guard`.
    pub fn over(engine: Arc<dyn Engine>, guard: &Path) -> Result<Self> {
        Self::with(engine, guard, None)
    }

    fn with(engine: Arc<dyn Engine>, guard: &Path, place: Option<Place>) -> Result<Self> {
        migrate::check(engine.as_ref())?;
        let current = Current::start(engine, guard, place)?;
        Ok(Self {
            inner: Arc::new(Inner {
                current: RwLock::new(Arc::new(current)),
                directory: guard.parent().unwrap_or(Path::new(".")).to_owned(),
                moving: Mutex::new(()),
                turn: RwLock::new(()),
                jitter: AtomicU64::new(0x9e37_79b9),
            }),
        })
    }

    /// A consistent view of everything committed so far. Takes about a microsecond, and reads may block
    /// on disk for a block that is not cached; with a database, each is a round trip, and whoever
    /// wants a view waits while too many are open.
    ///
    /// Hold it for one request, not for minutes: the engine keeps every version and every record of
    /// who wrote what since the oldest snapshot, and its commits grow slower with them.
    pub fn snapshot(&self) -> Result<Box<dyn Read + Send>> {
        self.inner.current().engine.snapshot()
    }

    /// Whether there is no namespace yet.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(image::rows(&*self.snapshot()?)?.next().transpose()?.is_none())
    }

    /// As [`Self::snapshot`]; and when it returns, every commit that the view shows is in the queues of those
    /// who subscribed before. `None` of an engine that cannot tell: one that other processes use, too.
    pub fn told_snapshot(&self) -> Result<Option<Box<dyn Read + Send>>> {
        let current = self.inner.current();
        if !current.engine.tells_before_subscribing() {
            return Ok(None);
        }
        let view = current.engine.snapshot()?;
        // Waits for whoever is between making a commit visible and telling of it.
        drop(current.engine.subscribe()?);
        Ok(Some(view))
    }

    /// Runs `f` in a transaction on the blocking pool, again on conflict, and waits for `durability`.
    /// `f` may run several times: it must not keep state between runs. An error from `f` rolls back.
    ///
    /// When the returned future is dropped the transaction may still commit.
    pub async fn write<T, E, F>(&self, durability: Durability, mut f: F) -> Result<T, E>
    where
        F: FnMut(&mut dyn Transaction) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<crate::Error> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        let done = tokio::task::spawn_blocking(move || inner.transact(durability, &mut f)).await;
        let committed = match done {
            Ok(result) => result?,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => return Err(Error::Engine("the runtime is shutting down".into()).into()),
            },
        };
        committed.durable().await
    }

    /// As [`Self::write`], for an `f` that looks at a few rows and changes a few. It runs on the calling
    /// thread when the engine [is quick](Engine::is_quick) and nothing is under way that it would have to
    /// wait for: handing it to another thread and being woken takes longer than such a transaction. On
    /// conflict it goes to the blocking pool like others.
    pub async fn write_short<T, E, F>(&self, durability: Durability, mut f: F) -> Result<T, E>
    where
        F: FnMut(&mut dyn Transaction) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<crate::Error> + Send + 'static,
    {
        // Who does one after the other lets others have the thread now and then.
        tokio::task::coop::consume_budget().await;
        match self.inner.attempt_here(durability, &mut f)? {
            None => self.write(durability, f).await,
            Some(committed) => {
                drop(f);
                committed.durable().await
            }
        }
    }

    /// The keys of everything that is committed from now on, through any handle and by any gateway
    /// ([`crate::changes`]). Another gateway's commits come at most about
    /// [`crate::POSTGRES_POLL`] late while the database answers.
    pub fn subscribe(&self) -> Result<Changes> {
        self.inner.current().engine.subscribe()
    }

    /// Moves the namespace to `to`, which must hold none, while it is in use ([`migrate`]). Transactions wait
    /// at the end, for as long as some hundred rows and three syncs take; after it, this handle and its clones
    /// use `to`. Subscriptions go on, with a loss. Views from before keep the old engine open.
    ///
    /// An error of `progress` ends it. When it fails, the namespace is where it was; but if the old place cannot be told that it was left,
    /// everything is refused until a restart, which finds out.
    pub async fn move_to(
        &self,
        to: Place,
        mut progress: impl FnMut(Step) -> Result<()> + Send + 'static,
    ) -> Result<Moved> {
        let inner = Arc::clone(&self.inner);
        let moved = tokio::task::spawn_blocking(move || inner.move_to(&to, &mut progress));
        moved
            .await
            .unwrap_or_else(|_| Err(Error::Engine("the move was cut off".into())))
    }

    /// Writes an image of this moment to a new file ([`image`]). Writers go on meanwhile; commits of
    /// an engine of this process grow slower with every one that is committed until it ends.
    /// `progress` is told the rows so far.
    pub async fn backup(
        &self,
        path: PathBuf,
        mut progress: impl FnMut(u64) + Send + 'static,
    ) -> Result<image::Contents> {
        let engine = Arc::clone(&self.inner.current().engine);
        let written = tokio::task::spawn_blocking(move || {
            image::write_file(engine.snapshot()?.as_ref(), &path, &mut progress)
        });
        written
            .await
            .unwrap_or_else(|_| Err(Error::Engine("the backup was cut off".into())))
    }

    /// Makes everything committed so far durable; concurrent callers share one sync.
    pub async fn sync(&self) -> Result<()> {
        self.inner.current().sync.wait().await
    }

    /// Leaves nothing on disk of rows that were deleted before this call ([`Engine::scour`]). Writers
    /// go on meanwhile; takes about as long as copying the whole store.
    pub async fn scour(&self) -> Result<()> {
        let current = self.inner.current();
        let scoured = tokio::task::spawn_blocking(move || {
            current.sync.check()?;
            current.engine.scour()
        });
        scoured
            .await
            .unwrap_or_else(|_| Err(Error::Engine("the rewrite was cut off".into())))
    }

    /// Why [`Self::scour`] is refused by this engine, and what to do instead; `None`: it is not.
    pub fn cannot_scour(&self) -> Option<&'static str> {
        self.inner.current().engine.cannot_scour()
    }

    /// Whether other gateways may commit to the same namespace.
    pub fn is_shared(&self) -> bool {
        self.inner.current().engine.start().is_some()
    }

    /// The moment up to which what other gateways committed was told ([`Engine::heard`]).
    pub fn heard(&self) -> Option<Instant> {
        self.inner.current().engine.heard()
    }

    /// How many other gateways use the namespace now ([`Engine::others`]).
    pub async fn others(&self) -> Result<u64> {
        let engine = Arc::clone(&self.inner.current().engine);
        let others = tokio::task::spawn_blocking(move || engine.others());
        others
            .await
            .unwrap_or_else(|_| Err(Error::Engine("the question was cut off".into())))
    }

    /// The number of this opening of a store that several gateways share ([`Engine::start`]).
    pub fn start(&self) -> Option<u64> {
        self.inner.current().engine.start()
    }

    /// Ends another opening of the same store for good ([`Engine::end`]).
    pub async fn end(&self, start: u64) -> Result<()> {
        let engine = Arc::clone(&self.inner.current().engine);
        let ended = tokio::task::spawn_blocking(move || engine.end(start));
        ended
            .await
            .unwrap_or_else(|_| Err(Error::Engine("the request was cut off".into())))
    }

    /// Fails at once while writes would.
    pub fn check(&self) -> Result<()> {
        self.inner.current().sync.check()
    }

    /// Why nothing is written at the moment; `None` when all is well.
    pub fn trouble(&self) -> Option<String> {
        self.check().err().map(|error| error.to_string())
    }

    /// Where the namespace is; `None` over an engine that was open already.
    pub fn place(&self) -> Option<Place> {
        self.inner.current().place.clone()
    }

    /// The directory whose disk must not fill up.
    pub fn directory(&self) -> &Path {
        &self.inner.directory
    }

    /// Bytes on disk.
    pub fn disk_bytes(&self) -> Result<u64> {
        self.inner.current().engine.disk_bytes()
    }
}

/// What a transaction answered, and the sync that it waits for.
struct Committed<T> {
    value: T,
    sync: Option<Answer>,
}

impl<T> Committed<T> {
    /// The value, once it is as durable as it was asked to be.
    async fn durable<E: From<Error>>(self) -> Result<T, E> {
        if let Some(sync) = self.sync {
            sync.wait().await?;
        }
        Ok(self.value)
    }
}

fn open_guard(engine: &dyn Engine, path: &Path) -> Result<Guard> {
    let counter = match engine.snapshot()?.get(COUNTER_KEY)? {
        None => 0,
        Some(row) => row
            .try_into()
            .map(u64::from_be_bytes)
            .map_err(|_| Error::Damaged("counter row has a wrong length".into()))?,
    };
    // The file may lag behind the store; counting goes on from the store.
    let mut guard = Guard::open(path, counter)?;
    if guard.acknowledged() < counter {
        guard.record(counter)?;
    }
    Ok(guard)
}

/// A step that did not succeed, as callers see it.
fn failed(error: std::io::Error) -> Error {
    Error::Engine(error.to_string())
}

impl Inner {
    fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read())
    }

    fn move_to(&self, to: &Place, progress: &mut live::Tell<'_>) -> Result<Moved> {
        let Some(_one) = self.moving.try_lock() else {
            return Err(Error::Engine("the metadata are being moved already".into()));
        };
        let old = self.current();
        let from = old
            .place
            .as_ref()
            .ok_or_else(|| Error::Engine("nobody knows where the metadata are".into()))?;
        old.sync.check()?;
        let switch = |engine: Arc<dyn Engine>, leave: &dyn Fn() -> Result<()>| {
            let new = Current::start(Arc::clone(&engine), &to.guard(), Some(to.clone()))?;
            if let Err(error) = leave() {
                old.sync
                    .end(&format!("nobody knows whether the metadata were moved: {error}"));
                return Err(error);
            }
            engine.take_over(old.engine.hand_over());
            *self.current.write() = Arc::new(new);
            Ok(())
        };
        live::run((old.engine.as_ref(), from), to, &self.turn, progress, switch)
    }

    /// One run on this thread, if it has to wait for nobody; `None` if it would, and on conflict.
    fn attempt_here<T, E: From<Error>>(
        &self,
        durability: Durability,
        f: &mut impl FnMut(&mut dyn Transaction) -> Result<T, E>,
    ) -> Result<Option<Committed<T>>, E> {
        let Some(_turn) = self.turn.try_read() else {
            return Ok(None);
        };
        let current = self.current();
        if !current.engine.is_quick() {
            return Ok(None);
        }
        match current.sync.at_rest() {
            Some(_rest) => attempt(&current, durability, f),
            None => Ok(None),
        }
    }

    fn transact<T, E: From<Error>>(
        &self,
        durability: Durability,
        f: &mut impl FnMut(&mut dyn Transaction) -> Result<T, E>,
    ) -> Result<Committed<T>, E> {
        let mut conflicts = 0;
        loop {
            let outcome = if conflicts < CONFLICTS_BEFORE_ALONE {
                let _turn = self.turn.read();
                attempt(&self.current(), durability, f)?
            } else {
                let _alone = self.turn.write();
                attempt(&self.current(), durability, f)?
            };
            if let Some(value) = outcome {
                return Ok(value);
            }
            conflicts += 1;
            if conflicts == CONFLICTS_BEFORE_ALONE {
                tracing::debug!(
                    conflicts,
                    "a transaction keeps losing to others; it runs alone now"
                );
            } else if conflicts % (8 * CONFLICTS_BEFORE_ALONE) == 0 {
                tracing::warn!(
                    conflicts,
                    "a transaction conflicts although it runs alone in this process"
                );
            }
            std::thread::sleep(self.pause(conflicts));
        }
    }

    /// Between half and all of the doubled pause.
    fn pause(&self, conflicts: u32) -> Duration {
        let full = BACKOFF_FIRST
            .saturating_mul(1 << conflicts.min(16))
            .min(BACKOFF_MAX);
        let step = self.jitter.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        full.mul_f64(0.5 + (step >> 40) as f64 / (1u64 << 25) as f64)
    }
}

/// One run; `None` on conflict.
fn attempt<T, E: From<Error>>(
    current: &Current,
    durability: Durability,
    f: &mut impl FnMut(&mut dyn Transaction) -> Result<T, E>,
) -> Result<Option<Committed<T>>, E> {
    current.sync.check()?;
    let _running = current.sync.running();
    let mut tx = current.engine.begin()?;
    let value = match f(tx.as_mut()) {
        Ok(value) => value,
        Err(_) if tx.doomed() => return Ok(None),
        Err(error) => return Err(error),
    };
    let commit = || {
        failpoint::COMMIT.reach().map_err(failed)?;
        tx.commit()
    };
    match current.sync.commit(durability == Durability::Synced, commit) {
        Ok(sync) => Ok(Some(Committed { value, sync })),
        Err(Error::Conflict) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
