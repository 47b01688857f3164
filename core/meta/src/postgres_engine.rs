//! A database that several gateways share: PostgreSQL, or one that speaks its protocol and dialect.
//!
//! * A transaction is a SERIALIZABLE one of the database, on a connection of its own; its writes are
//!   held here and sent with the COMMIT ([`write`](self)). What the database cannot put into an order (40001,
//!   40P01) is a conflict, which the handle retries. The database may report a conflict where there is none.
//! * A view is a REPEATABLE READ transaction that only reads. It holds a connection, so views have a pool of
//!   their own with a bound: whoever wants one more waits for one to end.
//! * Every commit is synchronous: when it returns it is on the disk of the database, as surely as the
//!   database is set up to do that. So `Buffered` means `Synced` here, and there is nothing left to
//!   sync; concurrent commits share flushes inside the server.
//! * Every wait has a deadline. A connection that breaks is replaced. A commit whose answer was lost is
//!   looked for, so that it is never taken for failed when it happened, nor done twice.
//! * The change feed is a table; other gateways' commits are heard of by asking every [`POLL`].
//! * What belongs to whom is checked at open: the tables, the namespace, and that the database still has what it
//!   had when this gateway last used it.
mod config;
mod connection;
mod failure;
mod follow;
mod mark;
mod order;
mod pool;
mod read;
mod schema;
mod tls;
mod wait;
mod write;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

pub use self::config::{PostgresConfig, TlsMode};
use self::connection::{Connection, Connector};
use self::failure::Failure;
pub use self::follow::POLL;
use self::mark::{Lock, Mark, Noted};
use self::order::Order;
use self::pool::Pool;
use self::read::{Session, View};
use self::write::Write;
use crate::changes::{Changes, Subscribers};
use crate::{Engine, Error, Read, Result, Transaction};

/// What a scour is answered.
const CANNOT_SCOUR: &str = "what a database keeps of deleted rows (dead rows, logs, standbys, backups) is for its \
                            administrator to remove";
/// Longest wait for the database when the engine is closed.
const LEAVING: Duration = Duration::from_secs(2);

/// A namespace in a PostgreSQL database.
pub struct PostgresEngine {
    shared: Arc<Shared>,
    _lock: Lock,
}

struct Shared {
    connector: Arc<Connector>,
    writers: Arc<Pool>,
    views: Arc<Pool>,
    order: Order,
    /// This start of this gateway.
    gateway: i64,
    namespace: String,
    patience: Duration,
    mark: Mark,
    noted: Mutex<i64>,
    /// When the last look at what others committed began that went through.
    heard: Mutex<Option<Instant>>,
}

impl PostgresEngine {
    /// Connects, makes the tables that are missing, and checks that they are the ones that `mark` (a file
    /// on this machine, made if absent) remembers. [`Error::InUse`] when another process uses that.
    pub fn open(config: &PostgresConfig, mark: &Path) -> Result<Self> {
        let connector = Arc::new(Connector::new(config)?);
        let threads = connector.threads();
        let patience = config.deadline();
        let mark = Mark::at(mark.to_owned());
        let lock = mark.lock()?;
        let noted = mark.read()?;
        let entered = {
            let (connector, schema, path) = (
                Arc::clone(&connector),
                config.schema.clone(),
                mark.path().to_owned(),
            );
            let (answer, answered) = futures::channel::oneshot::channel();
            // Making tables takes timers, which only the runtime has.
            threads.spawn(async move {
                let _ = answer.send(enter(&connector, &schema, noted, &path).await);
            });
            // Tables may have to be made, by several gateways at once.
            wait::until(Instant::now() + 6 * patience, answered)
        };
        let (namespace, gateway) = match entered {
            Some(Ok(entered)) => entered?,
            _ => return Err(Failure::late().into()),
        };
        mark.write(&Noted {
            namespace: namespace.clone(),
            gateway,
            number: 0,
        })?;
        let shared = Arc::new(Shared {
            writers: Pool::new(Arc::clone(&connector), config.connections),
            views: Pool::new(Arc::clone(&connector), config.views),
            connector: Arc::clone(&connector),
            order: Order::new(),
            gateway,
            namespace,
            patience,
            mark,
            noted: Mutex::new(0),
            heard: Mutex::new(None),
        });
        threads.spawn(follow::run(Arc::downgrade(&shared), connector));
        Ok(Self { shared, _lock: lock })
    }
}

impl Drop for PostgresEngine {
    fn drop(&mut self) {
        self.shared.mark(self.shared.order.last());
        if let Err(failure) = self.shared.leave() {
            tracing::debug!(?failure, "the database was not told that this gateway ends");
        }
    }
}

/// Makes the tables, compares them with what was noted, and enters this start.
async fn enter(
    connector: &Connector,
    schema: &str,
    noted: Option<Noted>,
    mark: &Path,
) -> Result<(String, i64)> {
    let client = connector.client().await?;
    let namespace = schema::prepare(&client, schema).await?;
    if let Some(noted) = &noted {
        if noted.namespace != namespace {
            return Err(Error::Damaged(format!(
                "the database holds namespace {namespace}, this gateway worked with {} (remove {} to use it all the same)",
                noted.namespace,
                mark.display()
            )));
        }
        if noted.number > 0 && !schema::still_has(&client, schema, noted.gateway, noted.number).await? {
            return Err(Error::Damaged(format!(
                "the database has lost acknowledged commits: it does not have commit {} of gateway {} \
                 (remove {} to open what is left)",
                noted.number,
                noted.gateway,
                mark.display()
            )));
        }
    }
    let gateway = schema::enter(&client, schema).await?;
    if let Some(before) = noted {
        // Whoever has the mark is that gateway: its last start is over, however it ended.
        schema::leave(&client, schema, before.gateway).await?;
    }
    Ok((namespace, gateway))
}

impl Shared {
    /// Notes the last commit, for the next start. A failure costs a check, nothing else.
    fn mark(&self, number: u64) {
        let number = number as i64;
        let mut noted = self.noted.lock();
        if *noted == number {
            return;
        }
        let written = self.mark.write(&Noted {
            namespace: self.namespace.clone(),
            gateway: self.gateway,
            number,
        });
        match written {
            Ok(()) => *noted = number,
            Err(error) => tracing::warn!(%error, "the last commit cannot be noted"),
        }
    }

    /// Says that this start of this gateway is over, so that nobody takes it for a running one.
    fn leave(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + self.patience.min(LEAVING);
        let (lease, _) = self.writers.take(deadline)?;
        let leave = schema::leave(&lease.client, &self.connector.config().schema, self.gateway);
        let left = wait::until(deadline, leave).unwrap_or_else(|| Err(Failure::late()));
        lease.give_up();
        left
    }

    fn session(&self, pool: &Arc<Pool>, begin: &str, fixed: bool) -> Result<Session> {
        let deadline = Instant::now() + self.patience;
        let lease = pool.begin(deadline, async |connection: &Connection| {
            let begin = connection.client.batch_execute(begin);
            if fixed {
                let touch = connection.client.query(&connection.statements.touch, &[]);
                futures::future::try_join(begin, touch).await?;
            } else {
                begin.await?;
            }
            Ok(())
        })?;
        Ok(Session::new(lease, self.patience))
    }
}

impl Engine for PostgresEngine {
    fn snapshot(&self) -> Result<Box<dyn Read + Send>> {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let session = self.shared.session(&self.shared.views, begin, true)?;
        Ok(Box::new(View(session)))
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>> {
        let begin = "BEGIN ISOLATION LEVEL SERIALIZABLE";
        let session = self.shared.session(&self.shared.writers, begin, false)?;
        Ok(Box::new(Write {
            session,
            engine: &self.shared,
            writes: Default::default(),
        }))
    }

    fn sync(&self) -> Result<()> {
        // Every commit was.
        Ok(())
    }

    fn guarded(&self) -> bool {
        false
    }

    fn heard(&self) -> Option<Instant> {
        *self.shared.heard.lock()
    }

    fn recovers(&self) -> bool {
        true
    }

    /// Ends when the database answers and takes writes. A commit whose outcome nobody could learn may be
    /// there: others may have built on it.
    fn recover(&self) -> Result<()> {
        let mut tx = self.begin()?;
        tx.delete(PROBE_KEY)?;
        tx.commit()
    }

    fn scour(&self) -> Result<()> {
        Err(Error::Engine(CANNOT_SCOUR.into()))
    }

    fn cannot_scour(&self) -> Option<&'static str> {
        Some(CANNOT_SCOUR)
    }

    fn subscribe(&self) -> Result<Changes> {
        Ok(self.shared.order.subscribe())
    }

    fn hand_over(&self) -> Subscribers {
        self.shared.order.hand_over()
    }

    fn take_over(&self, subscribers: Subscribers) {
        self.shared.order.take_over(subscribers);
    }

    fn others(&self) -> Result<u64> {
        let shared = &self.shared;
        let deadline = Instant::now() + shared.patience;
        let (lease, _) = shared.writers.take(deadline)?;
        let asked = schema::others(&lease.client, &shared.connector.config().schema, shared.gateway);
        let others = wait::until(deadline, asked).unwrap_or_else(|| Err(Failure::late().into()));
        if others.is_err() {
            lease.give_up();
        }
        Ok(others? as u64)
    }

    fn start(&self) -> Option<u64> {
        Some(self.shared.gateway.unsigned_abs())
    }

    fn end(&self, start: u64) -> Result<()> {
        let shared = &self.shared;
        let start = i64::try_from(start).map_err(|_| Error::Engine("there is no such start".into()))?;
        let deadline = Instant::now() + shared.patience;
        let (lease, _) = shared.writers.take(deadline)?;
        let end = schema::end(&lease.client, &shared.connector.config().schema, start);
        let ended = wait::until(deadline, end).unwrap_or_else(|| Err(Failure::late()));
        if ended.is_err() {
            lease.give_up();
        }
        Ok(ended?)
    }

    fn disk_bytes(&self) -> Result<u64> {
        let shared = &self.shared;
        let deadline = Instant::now() + shared.patience;
        let (lease, _) = shared.writers.take(deadline)?;
        let text = format!(
            "SELECT pg_total_relation_size('{}.rows')::bigint",
            shared.connector.config().schema
        );
        let asked = wait::until(deadline, lease.client.query_one(&text, &[]));
        match asked.map(|answer| answer.map_err(Failure::from)) {
            Some(Ok(row)) => Ok(row.try_get::<_, i64>(0).map_err(Failure::from)?.unsigned_abs()),
            // Not every database can tell.
            Some(Err(Failure::Refused(_) | Failure::UnknownSetting)) => Ok(0),
            Some(Err(failure)) => {
                lease.give_up();
                Err(failure.into())
            }
            None => {
                lease.give_up();
                Err(Failure::late().into())
            }
        }
    }
}

/// A key that is never there.
const PROBE_KEY: &[u8] = &[0x00, b'p'];
