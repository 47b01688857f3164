//! What the other gateways commit, and being there for them.
//!
//! Each commit writes a row to `feed`: the gateway, a number of its own, and the keys. A gateway asks the database
//! every [`POLL`] for rows that it has not seen; not every database that is meant here could wake it.
//! Numbers are taken before the commit, so a row may appear after one with a greater number: what is
//! missing in between is asked for again until [`GAP`] has passed, longer than any commit takes.
//!
//! A gateway removes its own rows when they are [`KEPT`] old and notes up to where. One that finds that it missed
//! rows (it could not reach the database for so long) tells its subscribers that they lost track.
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio_postgres::{Client, Statement};

use super::Shared;
use super::connection::Connector;
use super::failure::Failure;

/// Pause between two looks at what others committed: with the time that a query takes, the bound on how
/// late a change is heard of.
pub const POLL: Duration = Duration::from_millis(200);
/// How long a number that is missing is asked for.
const GAP: Duration = Duration::from_mins(2);
/// How long rows stay.
const KEPT: Duration = Duration::from_mins(5);
/// Pause between two signs of life.
const BEAT: Duration = Duration::from_secs(5);
/// Pause between two removals of old rows.
const TRIM: Duration = Duration::from_secs(30);
/// Most rows of one answer.
const PAGE: i64 = 500;
/// Most numbers that are missing at a time.
const GAPS: i64 = 10_000;
/// Most bytes of keys that a commit tells of. A larger one tells that much has changed.
const TOLD_BYTES: usize = 256 << 10;
/// Stands in for a key's length when there were too many.
const TOO_MANY: u16 = u16::MAX;

/// The keys of a commit as the `feed` table holds them: length (u16 BE) and bytes of each.
pub(super) fn encode<'k>(keys: impl Iterator<Item = &'k Vec<u8>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for key in keys {
        bytes.extend_from_slice(&(key.len() as u16).to_be_bytes());
        bytes.extend_from_slice(key);
        if bytes.len() > TOLD_BYTES {
            return TOO_MANY.to_be_bytes().to_vec();
        }
    }
    bytes
}

/// `None`: too many, or not to be understood.
fn decode(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut keys = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (key, rest) = rest.split_at_checked(u16::from_be_bytes(*length) as usize)?;
        keys.push(key.to_vec());
        bytes = rest;
    }
    bytes.is_empty().then_some(keys)
}

/// What is known of another gateway.
#[derive(Debug, PartialEq, Eq)]
struct Watched {
    /// Greatest number that was seen or given up.
    seen: i64,
    /// Smaller ones that were not seen yet, and since when.
    missing: BTreeMap<i64, Instant>,
}

impl Watched {
    fn at(seen: i64) -> Self {
        Self {
            seen,
            missing: BTreeMap::new(),
        }
    }

    /// Rows up to `trimmed` are gone; answers whether some of them were not seen.
    fn trim(&mut self, trimmed: i64) -> bool {
        if trimmed <= self.seen {
            return false;
        }
        *self = Self::at(trimmed);
        true
    }

    /// A row was found; answers whether too many are missing before it.
    fn found(&mut self, number: i64, now: Instant) -> bool {
        if self.missing.remove(&number).is_some() || number <= self.seen {
            return false;
        }
        let before = number - self.seen - 1;
        if before + self.missing.len() as i64 > GAPS {
            *self = Self::at(number);
            return true;
        }
        self.missing
            .extend((self.seen + 1..number).map(|number| (number, now)));
        self.seen = number;
        false
    }

    fn give_up(&mut self, now: Instant) {
        self.missing
            .retain(|_, since| now.saturating_duration_since(*since) < GAP);
    }
}

/// Runs until the engine is gone.
pub(super) async fn run(shared: Weak<Shared>, connector: Arc<Connector>) {
    let mut follower = Follower {
        watched: BTreeMap::new(),
        first: true,
        taken: VecDeque::new(),
        trimmed: 0,
    };
    let mut session = None;
    let (mut beat, mut trim) = (Instant::now(), Instant::now());
    loop {
        tokio::time::sleep(POLL).await;
        let Some(shared) = shared.upgrade() else { return };
        let now = Instant::now();
        let step = async {
            let session = match &mut session {
                Some(session) => session,
                empty => empty.insert(Session::open(&connector).await?),
            };
            let asked = Instant::now();
            follower.poll(session, &shared).await?;
            *shared.heard.lock() = Some(asked);
            if now >= beat + BEAT {
                beat = now;
                session.beat(shared.gateway).await?;
                shared.mark(shared.order.last());
            }
            if now >= trim + TRIM {
                trim = now;
                follower.trim(session, &shared).await?;
            }
            Ok::<_, Failure>(())
        };
        // A server that does not answer must not keep a gateway from asking another one.
        let outcome = tokio::time::timeout(2 * shared.patience, step).await;
        match outcome {
            Ok(Ok(()) | Err(Failure::Conflict)) => {}
            Ok(Err(failure)) => {
                tracing::debug!(?failure, "what other gateways commit cannot be read");
                session = None;
            }
            Err(_) => session = None,
        }
    }
}

/// A connection with what is asked again and again.
struct Session {
    client: Client,
    gateways: Statement,
    feed: Statement,
    beat: Statement,
    schema: String,
}

impl Session {
    async fn open(connector: &Connector) -> Result<Self, Failure> {
        let client = connector.client().await?;
        let schema = connector.config().schema.clone();
        let gateways = client
            .prepare(&format!(
                "SELECT id, trimmed, seen > now() - interval '30 seconds' FROM {schema}.gateways \
                 WHERE id <> $1 AND seen > now() - interval '1 day'"
            ))
            .await?;
        let feed = client
            .prepare(&format!(
                "SELECT f.number, f.keys, g.trimmed FROM {schema}.feed AS f \
                 JOIN {schema}.gateways AS g ON g.id = f.gateway \
                 WHERE f.gateway = $1 AND (f.number > $2 OR f.number = ANY ($3::bigint[])) \
                 ORDER BY f.number LIMIT $4"
            ))
            .await?;
        let beat = client
            .prepare(&format!(
                "UPDATE {schema}.gateways SET seen = now() WHERE id = $1"
            ))
            .await?;
        Ok(Self {
            client,
            gateways,
            feed,
            beat,
            schema,
        })
    }

    async fn beat(&self, gateway: i64) -> Result<(), Failure> {
        if self.client.execute(&self.beat, &[&gateway]).await? == 0 {
            tracing::error!("this gateway's entry is gone from the database: was the database replaced?");
        }
        Ok(())
    }
}

struct Follower {
    watched: BTreeMap<i64, Watched>,
    /// Nothing was asked yet: what was committed before is not news.
    first: bool,
    /// Own numbers that were settled, and when that was seen.
    taken: VecDeque<(Instant, u64)>,
    trimmed: u64,
}

impl Follower {
    async fn poll(&mut self, session: &Session, shared: &Shared) -> Result<(), Failure> {
        let gateways = session
            .client
            .query(&session.gateways, &[&shared.gateway])
            .await?;
        for row in &gateways {
            let (gateway, trimmed, alive): (i64, i64, bool) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            // What gateways that had ended before did is in every view there is.
            let news = !self.first || alive;
            let start = if self.first { trimmed } else { 0 };
            let watched = self.watched.entry(gateway).or_insert_with(|| Watched::at(start));
            if watched.trim(trimmed) && news {
                shared.order.lose();
            }
            loop {
                let now = Instant::now();
                let missing: Vec<i64> = watched.missing.keys().copied().collect();
                let rows = session
                    .client
                    .query(&session.feed, &[&gateway, &watched.seen, &missing, &PAGE])
                    .await?;
                for row in &rows {
                    // As it was when this answer was made: whatever it removed cannot be in it.
                    let lost = watched.trim(row.try_get(2)?) || watched.found(row.try_get(0)?, now);
                    match decode(row.try_get(1)?) {
                        _ if !news => {}
                        Some(keys) if !lost => shared.order.heard(keys),
                        _ => shared.order.lose(),
                    }
                }
                watched.give_up(now);
                if (rows.len() as i64) < PAGE {
                    break;
                }
            }
        }
        self.first = false;
        Ok(())
    }

    /// Removes own rows that are old, and those of gateways that are long gone.
    async fn trim(&mut self, session: &Session, shared: &Shared) -> Result<(), Failure> {
        let now = Instant::now();
        self.taken.push_back((now, shared.order.settled()));
        while let Some((since, number)) = self.taken.front()
            && now.saturating_duration_since(*since) >= KEPT
        {
            self.trimmed = *number;
            self.taken.pop_front();
        }
        let (schema, gateway, trimmed) = (&session.schema, shared.gateway, self.trimmed);
        session
            .client
            .batch_execute(&format!(
                "BEGIN; \
                 DELETE FROM {schema}.feed WHERE gateway = {gateway} AND number <= {trimmed}; \
                 UPDATE {schema}.gateways SET trimmed = {trimmed}, seen = now() WHERE id = {gateway}; \
                 COMMIT; \
                 DELETE FROM {schema}.feed WHERE gateway IN \
                 (SELECT id FROM {schema}.gateways WHERE seen < now() - interval '1 day')"
            ))
            .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_the_table() {
        for keys in [
            vec![],
            vec![b"a".to_vec()],
            vec![b"".to_vec(), vec![7; crate::KEY_MAX]],
        ] {
            assert_eq!(decode(&encode(keys.iter())), Some(keys));
        }
        let many: Vec<_> = (0..100_000u32).map(|n| n.to_be_bytes().to_vec()).collect();
        let encoded = encode(many.iter());
        assert!(encoded.len() < 10);
        assert_eq!(decode(&encoded), None);
        for broken in [&b"\0"[..], b"\0\x05abc", b"\xff\xff"] {
            assert_eq!(decode(broken), None);
        }
    }

    #[test]
    fn missing_numbers_are_asked_for_until_they_are_given_up() {
        let now = Instant::now();
        let mut watched = Watched::at(4);
        assert!(!watched.found(5, now) && watched.missing.is_empty());
        assert!(!watched.found(9, now));
        let missing = |watched: &Watched| watched.missing.keys().copied().collect::<Vec<_>>();
        assert_eq!(missing(&watched), [6, 7, 8]);
        assert!(!watched.found(7, now));
        assert_eq!(missing(&watched), [6, 8]);
        // One that was seen says nothing new.
        assert!(!watched.found(7, now) && watched.seen == 9);
        watched.give_up(now + GAP / 2);
        assert_eq!(missing(&watched), [6, 8]);
        watched.give_up(now + GAP);
        assert!(watched.missing.is_empty());
        // Rows that are gone and were seen are no loss.
        assert!(!watched.trim(9));
        assert!(watched.trim(10) && watched.seen == 10);
        // Far too many.
        assert!(watched.found(20_000, now) && watched.missing.is_empty() && watched.seen == 20_000);
    }
}
