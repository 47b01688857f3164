//! Retention rules: snapshots that are taken and deleted by themselves.
//!
//! A rule belongs to an inode and says how many snapshots to keep: the last of each of so many hours,
//! days and weeks (of UTC, weeks beginning on Mondays) in which there are any. A snapshot is taken
//! once per the shortest of the units that the rule names; then those that it made and that no unit
//! keeps are deleted. Snapshots that somebody took by hand are never touched.
//!
//! | table | key after the table byte | value |
//! |---|---|---|
//! | [`RULE`] | inode | [`SnapshotRule`] |
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use meta::Durability;
use serde::{Deserialize, Serialize};
use store::workers::Worker;
use time::OffsetDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;

use super::known::Snapshot;
use super::path;
use crate::schema;
use crate::vfs::Core;
use crate::{Error, InodeNo, Result, Timestamp, Vfs, clock, inode, posix};

/// The rules.
pub(crate) const RULE: u8 = 0x36;

/// How often rules are looked at.
const TICK: Duration = Duration::from_secs(30);
/// Name of the worker.
const NAME: &str = "snapshotter";
/// Most snapshots of one unit that a rule may keep.
const KEPT_MAX: u32 = 10_000;
/// Names of snapshots that rules take: they sort by time.
const NAME_FORMAT: &[FormatItem<'_>] = format_description!("auto-[year][month][day]-[hour][minute][second]");

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;
/// 1970-01-01 was a Thursday: this much later a week begins.
const FIRST_MONDAY: i64 = 4 * DAY;

/// How many snapshots to keep: the last of each of so many hours, days and weeks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRule {
    /// Hours.
    pub hourly: u32,
    /// Days.
    pub daily: u32,
    /// Weeks.
    pub weekly: u32,
}

/// A rule and what it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRuleInfo {
    /// `bucket/key`, directories with a `/` at their end.
    pub path: String,
    /// The rule.
    pub rule: SnapshotRule,
}

impl SnapshotRule {
    fn check(self) -> Result<()> {
        let all = [self.hourly, self.daily, self.weekly];
        if all.iter().all(|kept| *kept == 0) {
            return Err(Error::Invalid("a rule that keeps no snapshot"));
        }
        if all.iter().any(|kept| *kept > KEPT_MAX) {
            return Err(Error::Invalid("a rule keeps at most 10,000 snapshots of a unit"));
        }
        Ok(())
    }

    /// Seconds from one snapshot to the next.
    fn period(self) -> i64 {
        match self {
            Self { hourly: 1.., .. } => HOUR,
            Self { daily: 1.., .. } => DAY,
            _ => WEEK,
        }
    }

    /// Whether it is time for the next one.
    fn is_due(self, now: i64, last: Option<i64>) -> bool {
        // A clock that was set back must not stop it for long.
        last.is_none_or(|last| now.abs_diff(last) >= self.period().unsigned_abs())
    }

    /// Which of the moments (seconds since 1970, the newest first) are kept.
    fn keeps(self, moments: &[i64]) -> Vec<bool> {
        let mut kept = vec![false; moments.len()];
        for (count, unit, shift) in [
            (self.hourly, HOUR, 0),
            (self.daily, DAY, 0),
            (self.weekly, WEEK, FIRST_MONDAY),
        ] {
            let mut seen = HashSet::new();
            for (moment, kept) in moments.iter().zip(&mut kept) {
                let slot = (moment - shift).div_euclid(unit);
                if seen.len() < count as usize && seen.insert(slot) {
                    *kept = true;
                }
            }
        }
        kept
    }
}

impl Vfs {
    /// Sets the rule by which snapshots of what is at `path` are taken and deleted, or ends it: those
    /// that it made stay then, until somebody deletes them.
    pub async fn set_snapshot_rule(&self, path: &str, rule: Option<SnapshotRule>) -> Result<()> {
        if let Some(rule) = rule {
            rule.check()?;
        }
        let look = || path::root(&*self.core.snapshot()?, path.as_bytes());
        let root = self.core.unfolding(look).await?;
        self.core
            .write(Durability::Synced, move |tx| {
                inode::load_timeless(&*tx, root)?
                    .filter(|record| record.nlink > 0)
                    .ok_or(Error::NotFound)?;
                let key = schema::inode_key(RULE, root);
                match &rule {
                    Some(rule) => Ok(tx.put(&key, &schema::encode(rule)?)?),
                    None => Ok(tx.delete(&key)?),
                }
            })
            .await?;
        self.core.rules_wanted.notify_one();
        Ok(())
    }

    /// All rules, by path.
    pub async fn snapshot_rules(&self) -> Result<Vec<SnapshotRuleInfo>> {
        let read = self.core.snapshot()?;
        let mut infos = Vec::new();
        for (root, rule) in all(&*read)? {
            if let Some(path) = posix::lookup::path(&*read, root)? {
                infos.push(SnapshotRuleInfo {
                    path: String::from_utf8_lossy(&path).into_owned(),
                    rule,
                });
            }
        }
        infos.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(infos)
    }
}

fn all(read: &(impl meta::Read + ?Sized)) -> Result<Vec<(InodeNo, SnapshotRule)>> {
    let mut rules = Vec::new();
    for row in schema::scan(read, &[RULE])? {
        let (key, value) = row?;
        rules.push((InodeNo(schema::number_at(&key, 1)?), schema::decode(&value)?));
    }
    Ok(rules)
}

/// The background worker.
pub(crate) async fn run(core: Arc<Core>) {
    let worker = core.store.workers().register(NAME);
    loop {
        tokio::select! {
            () = core.stopped() => return,
            () = worker.turn() => {}
        }
        let rules = match core.snapshot().and_then(|read| all(&*read)) {
            Ok(rules) => rules,
            Err(error) => {
                worker.failed(&error);
                Vec::new()
            }
        };
        for (root, rule) in rules {
            if core.is_stopping() {
                return;
            }
            if let Err(error) = apply(&core, &worker, root, rule).await {
                tracing::warn!(%error, ino = root.0, "snapshots by a rule failed; they will be tried again");
                worker.failed(&error);
            }
        }
        worker.waits(TICK);
        tokio::select! {
            () = core.stopped() => return,
            () = core.rules_wanted.notified() => {}
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// Takes the next snapshot of the inode when it is due, and deletes what the rule does not keep.
async fn apply(core: &Arc<Core>, worker: &Worker, root: InodeNo, rule: SnapshotRule) -> Result<()> {
    let read = core.snapshot()?;
    let there = inode::load_timeless(&*read, root)?.filter(|record| record.nlink > 0);
    let path = match there {
        Some(_) => posix::lookup::path(&*read, root)?,
        None => None,
    };
    let Some(path) = path else {
        drop(read);
        // Whatever it was for is deleted. Its snapshots stay.
        return core
            .write(Durability::Buffered, move |tx| {
                Ok(tx.delete(&schema::inode_key(RULE, root))?)
            })
            .await;
    };
    let made = made_by_rule(core, &*read, root)?;
    drop(read);
    let now = clock::now();
    // One that a clock that was ahead has dated says nothing about the next.
    let last = made
        .iter()
        .map(|one| seconds(one.record.created))
        .find(|created| *created <= seconds(now));
    let mut taken = Ok(());
    if rule.is_due(seconds(now), last) {
        let _work = worker.working(format!("a snapshot of {}", String::from_utf8_lossy(&path)));
        match core.create_snapshot(root, name_of(now)?, true).await {
            // Two within one second.
            Ok(_) | Err(Error::Exists) => worker.count("snapshots taken", 1),
            // That there is no new one keeps no old ones.
            Err(error) => taken = Err(error),
        }
    }
    let made = made_by_rule(core, &*core.snapshot()?, root)?;
    let moments: Vec<i64> = made
        .iter()
        .map(|snapshot| seconds(snapshot.record.created))
        .collect();
    let mut failed = None;
    for (snapshot, kept) in made.iter().zip(rule.keeps(&moments)) {
        if !kept {
            match core.delete_snapshot(snapshot.number).await {
                Ok(()) | Err(Error::NotFound) => worker.count("snapshots deleted", 1),
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
    }
    taken?;
    failed.map_or(Ok(()), Err)
}

/// Snapshots of the inode that its rule made, the newest first.
fn made_by_rule(core: &Core, read: &(impl meta::Read + ?Sized), root: InodeNo) -> Result<Vec<Arc<Snapshot>>> {
    let snapshots = core.known.at(read)?;
    let mut made: Vec<_> = snapshots
        .of(root)
        .filter(|snapshot| snapshot.record.automatic)
        .cloned()
        .collect();
    made.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.record.created));
    Ok(made)
}

fn seconds(moment: Timestamp) -> i64 {
    moment.0.div_euclid(1_000_000_000)
}

fn name_of(moment: Timestamp) -> Result<String> {
    OffsetDateTime::from_unix_timestamp(seconds(moment))
        .map_err(|error| error.to_string())
        .and_then(|moment| moment.format(NAME_FORMAT).map_err(|error| error.to_string()))
        .map_err(Error::Internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(hourly: u32, daily: u32, weekly: u32) -> SnapshotRule {
        SnapshotRule {
            hourly,
            daily,
            weekly,
        }
    }

    #[test]
    fn the_last_of_each_unit_is_kept() {
        // 40 days of hours, the newest first; the last is a Tuesday at 23:30.
        let start = 20_000 * DAY + 1800;
        let moments: Vec<i64> = (0..40 * 24).rev().map(|hour| start + hour * HOUR).collect();
        let kept = |rule: SnapshotRule| -> Vec<i64> {
            let kept = rule.keeps(&moments);
            let pairs = moments.iter().zip(kept);
            pairs
                .filter(|(_, kept)| *kept)
                .map(|(moment, _)| *moment)
                .collect()
        };
        assert_eq!(kept(rule(3, 0, 0)), moments[..3]);
        assert_eq!(kept(rule(0, 2, 0)), [moments[0], moments[24]]);
        let weekly = kept(rule(0, 0, 3));
        assert_eq!(weekly.len(), 3);
        // The last hour of a Sunday.
        for moment in &weekly[1..] {
            assert_eq!(
                (moment + HOUR - FIRST_MONDAY).div_euclid(WEEK) * WEEK + 1800,
                moment + HOUR - FIRST_MONDAY
            );
        }
        // The last Sunday is one of the seven days.
        assert_eq!(kept(rule(24, 7, 4)).len(), 24 + 6 + 2);
        assert_eq!(kept(rule(10_000, 0, 0)).len(), moments.len());
        // Hours without any do not count.
        assert_eq!(
            rule(2, 0, 0).keeps(&[500 * HOUR, 10 * HOUR, 0]),
            [true, true, false]
        );
    }

    #[test]
    fn the_shortest_unit_says_when() {
        assert!(rule(1, 1, 1).is_due(0, None));
        assert!(rule(1, 1, 0).is_due(HOUR, Some(0)));
        assert!(!rule(1, 1, 0).is_due(HOUR - 1, Some(0)));
        assert!(!rule(0, 1, 1).is_due(DAY - 1, Some(0)));
        assert!(rule(0, 0, 1).is_due(WEEK, Some(0)));
        // The clock was a day ahead for a while.
        assert!(rule(1, 0, 0).is_due(0, Some(DAY)));
        assert!(rule(0, 0, 0).check().is_err() && rule(0, 20_000, 0).check().is_err());
        assert!(rule(24, 7, 4).check().is_ok());
    }

    #[test]
    fn names_sort_by_time() {
        let name = |seconds: i64| name_of(Timestamp(seconds * 1_000_000_000)).unwrap();
        assert_eq!(name(1_700_000_000), "auto-20231114-221320");
        assert!(name(0) < name(1));
    }
}
