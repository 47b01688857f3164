//! How long chunks have waited for a pack, across restarts and whatever the clock says.
//!
//! Ages are counted by a clock that only goes forward while the gateway runs, and kept in a row.
//! How long it did not run is known from the wall clock alone, which may jump by years: so a stop
//! counts as what the wall clock says, but never as less than nothing nor as more than half of the
//! longest age. A jump neither closes a pack at once nor keeps one from ever closing.
//!
//! One age per chunk would be as large as the list of chunks. Marks do: a mark says that every
//! chunk up to some id has waited for at least so long. A new mark is begun once the last one has
//! a sixteenth of the longest age, so that there are few and a pack is late by no more than that.
//!
//! ```text
//! 0x8c 00               those of the first member: { wall clock u64, ms; marks: list of (chunk id u64, age u64, ms) }, postcard
//! 0x8c 00 ‹member u16›  those of another one
//! ```
use std::time::{Duration, Instant};

use meta::{Read, Transaction};
use serde::{Deserialize, Serialize};

use crate::tables::{self, PACKING};
use crate::{ChunkId, Result};

/// Key of the row of `member`.
fn key(member: u16) -> Vec<u8> {
    let mut key = vec![PACKING, 0];
    if member > 0 {
        key.extend_from_slice(&member.to_be_bytes());
    }
    key
}
/// Steps in which ages are told apart.
const STEPS: u32 = 16;
/// Ages are kept again after this part of the longest age at the latest: what a crash can forget.
const KEEP: u32 = 60;

/// Chunks up to `to` have waited for `age`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    to: u64,
    age: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    wall: u64,
    marks: Vec<Mark>,
}

/// The ages of chunks that no pack holds.
pub(crate) struct Ages {
    longest: Duration,
    marks: Vec<Mark>,
    counted: Instant,
    kept: Instant,
    changed: bool,
}

const fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

impl Ages {
    /// As they were kept. `now` and `wall` are the two clocks.
    pub(crate) fn load<R: Read + ?Sized>(
        read: &R,
        member: u16,
        longest: Duration,
        now: Instant,
        wall: Duration,
    ) -> Result<Self> {
        let mut row = match read.get(&key(member))? {
            // Ages that cannot be read are ages that nobody kept.
            Some(value) => postcard::from_bytes(&value).unwrap_or_else(|error| {
                tracing::warn!(%error, "the ages of unpacked chunks cannot be read; they begin anew");
                Row::default()
            }),
            None => Row::default(),
        };
        let stopped = millis(wall).saturating_sub(row.wall).min(millis(longest / 2));
        for mark in &mut row.marks {
            mark.age = mark.age.saturating_add(stopped);
        }
        Ok(Self {
            longest,
            marks: row.marks,
            counted: now,
            kept: now,
            changed: false,
        })
    }

    /// Counts on to `now`. `oldest` and `newest` are the lowest and highest chunk that waits.
    pub(crate) fn count(&mut self, now: Instant, waiting: Option<(ChunkId, ChunkId)>) {
        let passed = millis(now.saturating_duration_since(self.counted));
        self.counted += Duration::from_millis(passed);
        // Older than twice the longest age is all the same; so a sum never overflows.
        let most = millis(self.longest).saturating_mul(2);
        for mark in &mut self.marks {
            mark.age = mark.age.saturating_add(passed).min(most);
        }
        let before = self.marks.len();
        let Some((oldest, newest)) = waiting else {
            self.marks.clear();
            self.changed |= before > 0;
            return;
        };
        self.marks.retain(|mark| mark.to >= oldest.0);
        self.changed |= self.marks.len() != before;
        match self.marks.last_mut() {
            Some(last) if last.to >= newest.0 => {}
            Some(last) if last.age < millis(self.longest / STEPS) => last.to = newest.0,
            _ => {
                self.marks.push(Mark { to: newest.0, age: 0 });
                self.changed = true;
            }
        }
    }

    /// How long the chunk that has waited longest has, as of the last [`Self::count`].
    pub(crate) fn oldest(&self) -> Duration {
        Duration::from_millis(self.marks.first().map_or(0, |mark| mark.age))
    }

    /// Whether it is time to keep them.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let stale = now.saturating_duration_since(self.kept) >= self.longest / KEEP;
        self.changed || (stale && !self.marks.is_empty())
    }

    /// What to keep, as of the last [`Self::count`]; hand it to [`keep`].
    pub(crate) fn take_row(&mut self, now: Instant, wall: Duration) -> Result<Vec<u8>> {
        self.kept = now;
        self.changed = false;
        let row = Row {
            wall: millis(wall),
            marks: self.marks.clone(),
        };
        postcard::to_stdvec(&row).map_err(|error| tables::damaged(&format!("ages: {error}")))
    }
}

/// Keeps ages.
pub(crate) fn keep(tx: &mut dyn Transaction, member: u16, ages: &[u8]) -> Result<()> {
    Ok(tx.put(&key(member), ages)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_rows::Rows;

    const HOUR: Duration = Duration::from_secs(3600);
    const MINUTE: Duration = Duration::from_secs(60);
    const YEARS: Duration = Duration::from_secs(10 * 365 * 86400);
    /// A wall clock.
    const WALL: Duration = Duration::from_secs(1_800_000_000);

    fn waiting(oldest: u64, newest: u64) -> Option<(ChunkId, ChunkId)> {
        Some((ChunkId(oldest), ChunkId(newest)))
    }

    /// Ages of chunks 1 to 5 after 20 minutes, restarted when the wall clock says `wall`.
    fn restarted(wall: Duration) -> Duration {
        let mut rows = Rows::default();
        let start = Instant::now();
        let mut ages = Ages::load(&rows, 0, HOUR, start, WALL).unwrap();
        ages.count(start, waiting(1, 5));
        ages.count(start + 20 * MINUTE, waiting(1, 5));
        let row = ages.take_row(start + 20 * MINUTE, WALL + 20 * MINUTE).unwrap();
        keep(&mut rows, 0, &row).unwrap();
        Ages::load(&rows, 0, HOUR, start, wall).unwrap().oldest()
    }

    #[test]
    fn an_age_survives_a_restart_and_the_stop_counts() {
        assert_eq!(restarted(WALL + 20 * MINUTE), 20 * MINUTE);
        assert_eq!(restarted(WALL + 25 * MINUTE), 25 * MINUTE);
    }

    #[test]
    fn a_clock_that_jumps_neither_wedges_nor_flushes() {
        assert_eq!(
            restarted(WALL + YEARS),
            50 * MINUTE,
            "half of the longest age at most"
        );
        assert_eq!(restarted(WALL.saturating_sub(YEARS)), 20 * MINUTE);
        assert_eq!(restarted(Duration::ZERO), 20 * MINUTE);
    }

    #[test]
    fn the_oldest_that_still_waits_counts() {
        let start = Instant::now();
        let mut ages = Ages::load(&Rows::default(), 0, HOUR, start, WALL).unwrap();
        assert_eq!(ages.oldest(), Duration::ZERO);
        ages.count(start, waiting(1, 5));
        ages.count(start + 10 * MINUTE, waiting(1, 9));
        ages.count(start + 30 * MINUTE, waiting(1, 20));
        assert_eq!(ages.oldest(), 30 * MINUTE);
        ages.count(start + 30 * MINUTE, waiting(6, 20));
        assert_eq!(ages.oldest(), 20 * MINUTE, "1 to 5 are packed");
        ages.count(start + 30 * MINUTE, waiting(10, 20));
        assert_eq!(ages.oldest(), Duration::ZERO);
        ages.count(start + 40 * MINUTE, None);
        assert_eq!(ages.oldest(), Duration::ZERO);
        assert!(
            ages.is_due(start + 40 * MINUTE),
            "that nothing waits is kept, too"
        );
    }

    #[test]
    fn marks_stay_few_and_ages_bounded() {
        let start = Instant::now();
        let mut ages = Ages::load(&Rows::default(), 0, HOUR, start, WALL).unwrap();
        for second in 0..2 * 3600 {
            ages.count(start + Duration::from_secs(second), waiting(1, second + 1));
        }
        assert!(ages.marks.len() <= 2 * STEPS as usize + 1, "{}", ages.marks.len());
        ages.count(start + YEARS, waiting(1, 9000));
        assert_eq!(ages.oldest(), 2 * HOUR);
    }

    #[test]
    fn ages_that_cannot_be_read_begin_anew() {
        let mut rows = Rows::default();
        keep(&mut rows, 0, &[0xff; 30]).unwrap();
        let ages = Ages::load(&rows, 0, HOUR, Instant::now(), WALL).unwrap();
        assert_eq!(ages.oldest(), Duration::ZERO);
    }
}
