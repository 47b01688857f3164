//! One connection to the database, with the statements prepared that every transaction needs.
//!
//! The statements stay within what PostgreSQL, CockroachDB and YugabyteDB understand alike. Settings that only
//! some of them know are hints: a server that does not know one works without it.
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Instant;

use tokio::runtime::{Handle, Runtime};
use tokio_postgres::{Client, NoTls, Statement};

use super::config::PostgresConfig;
use super::failure::Failure;
use super::tls::Tls;
use super::wait;
use crate::{Error, Result};

/// Settings that not every server knows. Most of them make plans for large tables whatever the statistics say: rows are read by their
/// keys, never by going through a table (which in a serializable transaction would conflict with every write).
const HINTS: [&str; 6] = [
    // Whatever the database's default: what is committed here is acknowledged.
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
    "SET enable_seqscan = off",
    "SET enable_bitmapscan = off",
    "SET max_parallel_workers_per_gather = 0",
    "SET jit = off",
    // YugabyteDB orders tables by their keys only when told so.
    "SET yb_use_hash_splitting_by_default = off",
];

/// Threads that serve the sockets.
const THREADS: usize = 2;

/// Makes connections, and serves them: they work for as long as this is there.
pub(super) struct Connector {
    config: PostgresConfig,
    client: tokio_postgres::Config,
    tls: Option<Tls>,
    /// Taken when this is dropped.
    runtime: Option<Runtime>,
    threads: Handle,
}

impl Drop for Connector {
    fn drop(&mut self) {
        // A task of another runtime may be the one that drops this, and must not wait for the end of it.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Connector {
    pub(super) fn new(config: &PostgresConfig) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("meta-postgres")
            .enable_all()
            .build()
            .map_err(|error| Error::Engine(format!("threads for the database: {error}")))?;
        let threads = runtime.handle().clone();
        // Taken over first: an error below must not drop a runtime that nobody shuts down.
        let mut connector = Self {
            client: tokio_postgres::Config::new(),
            tls: None,
            config: config.clone(),
            runtime: Some(runtime),
            threads,
        };
        connector.client = config.client()?;
        if config.is_protected() {
            connector.tls = Some(Tls::new(config.ca_file.as_deref())?);
        }
        Ok(connector)
    }

    /// Where tasks run that need timers.
    pub(super) fn threads(&self) -> Handle {
        self.threads.clone()
    }

    pub(super) fn config(&self) -> &PostgresConfig {
        &self.config
    }

    /// A connection whose session is set up, without statements.
    pub(super) async fn client(&self) -> Result<Client, Failure> {
        // Whoever waits for this is not on the runtime that serves the sockets.
        let (settings, tls) = (self.client.clone(), self.tls.clone());
        let (answer, answered) = futures::channel::oneshot::channel();
        self.threads.spawn(async move {
            let connected = match tls {
                None => settings.connect(NoTls).await.map(|(client, connection)| {
                    tokio::spawn(connection);
                    client
                }),
                Some(tls) => settings.connect(tls).await.map(|(client, connection)| {
                    tokio::spawn(connection);
                    client
                }),
            };
            // Nobody waits any more: the connection closes.
            let _ = answer.send(connected);
        });
        let client = answered
            .await
            .map_err(|_| Failure::Lost("the engine is closing".into()))??;
        let millis = self.config.deadline().as_millis();
        client
            .batch_execute(&format!("SET statement_timeout = {millis}"))
            .await?;
        let idle = self.config.idle_seconds.saturating_mul(1000);
        let hints = HINTS.iter().map(|hint| (*hint).to_owned());
        for hint in hints.chain([format!("SET idle_in_transaction_session_timeout = {idle}")]) {
            match client.batch_execute(&hint).await.map_err(Failure::from) {
                Ok(()) | Err(Failure::UnknownSetting | Failure::Refused(_)) => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(client)
    }

    /// A connection that is ready for transactions.
    pub(super) fn connect(&self, deadline: Instant) -> Result<Connection, Failure> {
        let connecting = async {
            let client = self.client().await?;
            let statements = Statements::prepare(&client, &self.config.schema).await?;
            Ok(Connection { client, statements })
        };
        wait::until(deadline, connecting).unwrap_or_else(|| Err(Failure::late()))
    }
}

/// A connection and its statements.
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) statements: Statements,
}

impl Connection {
    /// Ends a transaction without waiting for the answer: the next request of this connection comes
    /// after it.
    pub(super) fn roll_back(&self) {
        let request = pin!(self.client.batch_execute("ROLLBACK"));
        // Sent by the first look at it. What is answered to nobody is dropped.
        let _ = request.poll(&mut Context::from_waker(Waker::noop()));
    }
}

/// Prepared statements.
pub(super) struct Statements {
    /// Reads a row that is there: it fixes what the transaction sees.
    pub(super) touch: Statement,
    /// The value of a key.
    pub(super) get: Statement,
    /// Rows from a key on, up to another one or to the end, at most so many.
    pub(super) forward: Statement,
    pub(super) forward_open: Statement,
    /// The same from behind.
    pub(super) backward: Statement,
    pub(super) backward_open: Statement,
    /// Sets keys to values.
    pub(super) put: Statement,
    /// Removes keys.
    pub(super) delete: Statement,
    /// Says what a commit changed.
    pub(super) tell: Statement,
}

impl Statements {
    async fn prepare(client: &Client, schema: &str) -> Result<Self, Failure> {
        let rows = format!("{schema}.rows");
        let range = |bounds: &str, order: &str, limit: u32| {
            format!("SELECT k, v FROM {rows} WHERE {bounds} ORDER BY k {order} LIMIT ${limit}")
        };
        let prepare = |text: String| async move {
            let statement = client.prepare(&text).await;
            statement.map_err(Failure::from)
        };
        let reads = futures::future::try_join4(
            prepare(range("k >= $1 AND k < $2", "ASC", 3)),
            prepare(range("k >= $1", "ASC", 2)),
            prepare(range("k >= $1 AND k < $2", "DESC", 3)),
            prepare(range("k >= $1", "DESC", 2)),
        );
        let others = futures::future::try_join5(
            prepare(format!("SELECT one FROM {schema}.identity")),
            prepare(format!("SELECT v FROM {rows} WHERE k = $1")),
            prepare(format!(
                "INSERT INTO {rows} (k, v) SELECT t.k, t.v FROM unnest($1::bytea[], $2::bytea[]) AS t (k, v) \
                 ON CONFLICT (k) DO UPDATE SET v = excluded.v"
            )),
            prepare(format!("DELETE FROM {rows} WHERE k = ANY ($1::bytea[])")),
            prepare(format!(
                "INSERT INTO {schema}.feed (gateway, number, keys) VALUES \
                 ((SELECT gateway FROM {schema}.running WHERE gateway = $1 FOR KEY SHARE), $2, $3)"
            )),
        );
        let (reads, others) = futures::future::try_join(reads, others).await?;
        let (forward, forward_open, backward, backward_open) = reads;
        let (touch, get, put, delete, tell) = others;
        Ok(Self {
            touch,
            get,
            forward,
            forward_open,
            backward,
            backward_open,
            put,
            delete,
            tell,
        })
    }
}
