//! Read-write transactions: SERIALIZABLE ones of the database.
//!
//! Writes stay here until the commit, which sends all of them, a row that says what changed, and the
//! COMMIT itself in one go. So a transaction holds no locks while its closure thinks, and a commit
//! takes one round trip.
//!
//! When the connection breaks in the middle of that, nobody knows whether the database committed. The row
//! that says what changed tells: its number is this transaction's alone. Writing it once more either
//! finds it there (committed), or succeeds, and then the transaction can never be committed any more,
//! for the row is unique. While the lost transaction is still under way, the database makes that
//! attempt wait for its end.
use std::ops::Bound;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio_postgres::types::ToSql;

use super::Shared;
use super::failure::Failure;
use super::follow;
use super::read::Session;
use super::wait;
use crate::bounds::{check_key, check_value};
use crate::overlay::{self, Writes};
use crate::{Error, KeyValue, Read, Result, Transaction};

/// Most bytes of rows in one statement.
const BATCH_BYTES: usize = 4 << 20;
/// Most rows in one statement.
const BATCH_ROWS: usize = 4096;
/// How long it is tried to learn what became of a commit, beside the wait for an answer.
const RESOLVE: Duration = Duration::from_secs(30);
/// Pause between two attempts at that.
const RESOLVE_PAUSE: Duration = Duration::from_millis(200);

pub(super) struct Write<'e> {
    pub(super) session: Session,
    pub(super) engine: &'e Shared,
    pub(super) writes: Writes,
}

impl Read for Write<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.writes.get(key) {
            Some(written) => Ok(written.clone()),
            None => self.session.get(key),
        }
    }

    fn range<'a>(
        &'a self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
    ) -> Result<Box<dyn Iterator<Item = Result<KeyValue>> + 'a>> {
        let below = self.session.range(from, to, reverse);
        Ok(overlay::merge(below, &self.writes, from, to, reverse))
    }
}

impl Transaction for Write<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        check_key(key)?;
        check_value(value)?;
        self.writes.insert(key.to_vec(), Some(value.to_vec()));
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        check_key(key)?;
        self.writes.insert(key.to_vec(), None);
        Ok(())
    }

    fn doomed(&self) -> bool {
        self.session.is_doomed()
    }

    fn commit(self: Box<Self>) -> Result<()> {
        let Self {
            session,
            engine,
            writes,
        } = *self;
        // Without its connection nothing of it was committed.
        if session.is_doomed() || session.lease.is_given_up() {
            return Err(Error::Conflict);
        }
        if writes.is_empty() {
            // It may still have seen what no order of the others explains.
            let ended = end(&session);
            return ended.map_err(|failure| match failure {
                Failure::Lost(_) => Error::Conflict,
                other => other.into(),
            });
        }
        let number = engine.order.take();
        let sent = send(&session, engine.gateway, number, &writes);
        // Who waits below keeps no connection from who has to ask what became of an earlier commit.
        drop(session);
        let outcome = match sent {
            Err(Failure::Lost(reason)) => {
                tracing::warn!(%reason, "a commit was not answered; asking what became of it");
                engine.resolve(number)
            }
            other => other,
        };
        match outcome {
            Ok(()) => {
                let told_by = Instant::now() + engine.patience + RESOLVE;
                engine
                    .order
                    .committed(number, writes.into_keys().collect(), told_by);
                Ok(())
            }
            Err(failure) => {
                if matches!(failure, Failure::Lost(_)) {
                    // It may have been committed: whoever keeps something must not rely on it.
                    engine.order.lose();
                }
                engine.order.withdraw(number);
                Err(failure.into())
            }
        }
    }
}

/// Commits a transaction that wrote nothing.
fn end(session: &Session) -> Result<(), Failure> {
    let deadline = Instant::now() + session.patience;
    let ended = wait::until(deadline, session.lease.client.batch_execute("COMMIT"));
    let ended = ended.ok_or_else(Failure::late).and_then(|answer| Ok(answer?));
    if matches!(ended, Err(Failure::Lost(_))) {
        session.lease.give_up();
    }
    session.end();
    ended
}

/// Writes all there is and commits.
fn send(session: &Session, gateway: i64, number: u64, writes: &Writes) -> Result<(), Failure> {
    let client = &session.lease.client;
    let statements = &session.lease.statements;
    let told = follow::encode(writes.keys());
    let number = number as i64;
    let batches = batches(writes);
    let all = async {
        // Each is sent when it is looked at first: so one after the other, without waiting in between.
        // What follows one that fails fails as well, the COMMIT included.
        let mut sent = Vec::with_capacity(batches.len() + 2);
        for batch in &batches {
            let request = async move {
                match batch {
                    Batch::Put(keys, values) => client.execute(&statements.put, &[keys, values]).await,
                    Batch::Delete(keys) => client.execute(&statements.delete, &[keys]).await,
                }
                .map(|_| ())
            };
            sent.push(Sent::look(request.boxed()));
        }
        let tell = async {
            client
                .execute(&statements.tell, &[&gateway, &number, &told])
                .await
                .map(|_| ())
        };
        sent.push(Sent::look(tell.boxed()));
        sent.push(Sent::look(client.batch_execute("COMMIT").boxed()));
        // The first that failed says why.
        let mut outcome = Ok(());
        for request in sent {
            let answer = request.answer().await;
            outcome = outcome.and(answer);
        }
        outcome
    };
    let answer = match wait::until(Instant::now() + session.patience, all) {
        Some(answer) => answer.map_err(Failure::from),
        None => Err(Failure::late()),
    };
    if matches!(answer, Err(Failure::Lost(_))) {
        session.lease.give_up();
    }
    // A COMMIT ends a transaction that failed as well.
    session.end();
    answer
}

/// A request that was sent, and may have been answered already.
enum Sent<'a, T> {
    Waiting(BoxFuture<'a, T>),
    Answered(T),
}

impl<'a, T> Sent<'a, T> {
    /// Sends a request by looking at it once.
    fn look(mut request: BoxFuture<'a, T>) -> Self {
        match request.as_mut().now_or_never() {
            Some(answer) => Self::Answered(answer),
            None => Self::Waiting(request),
        }
    }

    async fn answer(self) -> T {
        match self {
            Self::Waiting(request) => request.await,
            Self::Answered(answer) => answer,
        }
    }
}

enum Batch<'w> {
    Put(Vec<&'w [u8]>, Vec<&'w [u8]>),
    Delete(Vec<&'w [u8]>),
}

/// The writes as statements take them. A key occurs once, so their order does not matter.
fn batches(writes: &Writes) -> Vec<Batch<'_>> {
    let mut batches = Vec::new();
    let (mut keys, mut values, mut bytes) = (Vec::new(), Vec::new(), 0);
    let mut deleted = Vec::new();
    for (key, value) in writes {
        let Some(value) = value else {
            deleted.push(&key[..]);
            continue;
        };
        if !keys.is_empty() && (keys.len() == BATCH_ROWS || bytes + key.len() + value.len() > BATCH_BYTES) {
            batches.push(Batch::Put(std::mem::take(&mut keys), std::mem::take(&mut values)));
            bytes = 0;
        }
        bytes += key.len() + value.len();
        keys.push(&key[..]);
        values.push(&value[..]);
    }
    if !keys.is_empty() {
        batches.push(Batch::Put(keys, values));
    }
    batches.extend(
        deleted
            .chunks(BATCH_ROWS)
            .map(|keys| Batch::Delete(keys.to_vec())),
    );
    batches
}

/// What a row of the feed stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Commit,
    /// That there is no commit of this number, and will be none.
    Claim,
}

impl Shared {
    /// Learns what became of a commit whose connection was lost. `Conflict`: it did not happen, and
    /// never will.
    fn resolve(&self, number: u64) -> Result<(), Failure> {
        let deadline = Instant::now() + self.patience + RESOLVE;
        loop {
            let failure = match self.claim(number) {
                Ok(()) => return Err(Failure::Conflict),
                Err(Failure::Exists) => return Ok(()),
                // Whatever became of it had happened when this start was ended.
                Err(Failure::Ended) => match self.is_told(number) {
                    Ok(true) => return Ok(()),
                    Ok(false) => return Err(Failure::Ended),
                    Err(failure) => failure,
                },
                Err(failure) => failure,
            };
            let passing = matches!(failure, Failure::Lost(_) | Failure::Conflict);
            if !passing || Instant::now() + RESOLVE_PAUSE >= deadline {
                tracing::error!(?failure, "nobody knows what became of a commit");
                return Err(Failure::Lost(
                    "the connection to the database broke during a commit, and it cannot be asked whether it took it".into(),
                ));
            }
            wait::yielding(|| std::thread::sleep(RESOLVE_PAUSE));
        }
    }

    /// Writes the row of a commit that changed nothing.
    fn claim(&self, number: u64) -> Result<(), Failure> {
        let deadline = Instant::now() + self.patience;
        let (lease, _) = self.writers.take(deadline)?;
        let (number, nothing) = (number as i64, Vec::<u8>::new());
        let row: [&(dyn ToSql + Sync); 3] = [&self.gateway, &number, &nothing];
        let claim = lease.client.execute(&lease.statements.tell, &row);
        match wait::until(deadline, claim) {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => {
                let failure = Failure::from(error);
                if matches!(failure, Failure::Exists) {
                    // By an earlier claim, whose answer was lost, or by the commit?
                    let told = self.told(&lease.client, number, deadline);
                    if told.is_err() {
                        lease.give_up();
                    }
                    return if told? == Some(Told::Claim) {
                        Ok(())
                    } else {
                        Err(failure)
                    };
                }
                if matches!(failure, Failure::Lost(_)) {
                    lease.give_up();
                }
                Err(failure)
            }
            None => {
                lease.give_up();
                Err(Failure::late())
            }
        }
    }

    /// Whether a commit was told under a number.
    fn is_told(&self, number: u64) -> Result<bool, Failure> {
        let deadline = Instant::now() + self.patience;
        let (lease, _) = self.writers.take(deadline)?;
        let told = self.told(&lease.client, number as i64, deadline);
        if told.is_err() {
            lease.give_up();
        }
        Ok(told? == Some(Told::Commit))
    }

    /// Whose the row of a number is, if there is one: a claim's names no keys, and every commit's names some.
    fn told(
        &self,
        client: &tokio_postgres::Client,
        number: i64,
        deadline: Instant,
    ) -> Result<Option<Told>, Failure> {
        let text = format!(
            "SELECT octet_length(keys) = 0 FROM {}.feed WHERE gateway = $1 AND number = $2",
            self.connector.config().schema
        );
        let key: [&(dyn ToSql + Sync); 2] = [&self.gateway, &number];
        let Some(found) = wait::until(deadline, client.query_opt(&text, &key)) else {
            return Err(Failure::late());
        };
        let Some(row) = found? else { return Ok(None) };
        let is_claim: bool = row.try_get(0)?;
        Ok(Some(if is_claim { Told::Claim } else { Told::Commit }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_every_write_once_and_stay_small() {
        let mut writes = Writes::new();
        for n in 0..20_000u32 {
            let value = (n % 3 != 0).then(|| vec![0; 1000]);
            writes.insert(n.to_be_bytes().to_vec(), value);
        }
        writes.insert(b"large".to_vec(), Some(vec![0; 2 * BATCH_BYTES]));
        let (mut put, mut deleted) = (0, 0);
        for batch in batches(&writes) {
            match batch {
                Batch::Put(keys, values) => {
                    assert!(keys.len() == values.len() && keys.len() <= BATCH_ROWS);
                    let bytes: usize = values.iter().map(|value| value.len()).sum();
                    assert!(bytes <= BATCH_BYTES || keys.len() == 1);
                    put += keys.len();
                }
                Batch::Delete(keys) => {
                    assert!(keys.len() <= BATCH_ROWS);
                    deleted += keys.len();
                }
            }
        }
        assert_eq!(put + deleted, writes.len());
        assert_eq!(deleted, writes.values().filter(|value| value.is_none()).count());
    }
}
