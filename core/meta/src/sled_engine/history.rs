//! What rows were before they were replaced, for views that began before that.
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

/// A row before a commit: until that commit's number, it had this value, or was not there.
type Before = (u64, Option<Vec<u8>>);

/// Rows of the past, in memory.
#[derive(Default)]
pub(super) struct History {
    /// By key; of each, the oldest first.
    rows: BTreeMap<Vec<u8>, VecDeque<Before>>,
    /// Which keys a commit has replaced, the oldest first.
    commits: VecDeque<(u64, Vec<Vec<u8>>)>,
}

impl History {
    /// Commit `sequence` replaced these rows.
    pub(super) fn add(&mut self, sequence: u64, rows: Vec<(Vec<u8>, Option<Vec<u8>>)>) {
        if rows.is_empty() {
            return;
        }
        let mut keys = Vec::with_capacity(rows.len());
        for (key, value) in rows {
            self.rows
                .entry(key.clone())
                .or_default()
                .push_back((sequence, value));
            keys.push(key);
        }
        self.commits.push_back((sequence, keys));
    }

    /// Forgets what no view that began at `oldest` or later can see.
    pub(super) fn forget(&mut self, oldest: u64) {
        while self
            .commits
            .front()
            .is_some_and(|(sequence, _)| *sequence <= oldest)
        {
            for key in self.commits.pop_front().into_iter().flat_map(|(_, keys)| keys) {
                if let Some(versions) = self.rows.get_mut(&key) {
                    while versions.front().is_some_and(|(until, _)| *until <= oldest) {
                        versions.pop_front();
                    }
                    if versions.is_empty() {
                        self.rows.remove(&key);
                    }
                }
            }
        }
    }

    /// The row as it was after commit `sequence`, if it was replaced since.
    pub(super) fn at(&self, key: &[u8], sequence: u64) -> Option<&Option<Vec<u8>>> {
        at(self.rows.get(key)?, sequence)
    }

    /// The same for every row of a range, in key order.
    pub(super) fn range(
        &self,
        first: &[u8],
        behind: Option<&[u8]>,
        sequence: u64,
    ) -> impl DoubleEndedIterator<Item = (&Vec<u8>, &Option<Vec<u8>>)> {
        self.rows
            .range::<[u8], _>(bounds(first, behind))
            .filter_map(move |(key, versions)| Some((key, at(versions, sequence)?)))
    }

    /// Whether the row was replaced after commit `sequence`. Only asked by those whose view is open.
    pub(super) fn changed(&self, key: &[u8], sequence: u64) -> bool {
        self.rows
            .get(key)
            .is_some_and(|versions| newer(versions, sequence))
    }

    /// The same for any row of a range.
    pub(super) fn changed_within(&self, first: &[u8], behind: Option<&[u8]>, sequence: u64) -> bool {
        if behind.is_some_and(|behind| behind <= first) {
            return false;
        }
        self.rows
            .range::<[u8], _>(bounds(first, behind))
            .any(|(_, versions)| newer(versions, sequence))
    }
}

fn bounds<'a>(first: &'a [u8], behind: Option<&'a [u8]>) -> (Bound<&'a [u8]>, Bound<&'a [u8]>) {
    (
        Bound::Included(first),
        behind.map_or(Bound::Unbounded, Bound::Excluded),
    )
}

fn at(versions: &VecDeque<Before>, sequence: u64) -> Option<&Option<Vec<u8>>> {
    let next = versions.partition_point(|(until, _)| *until <= sequence);
    versions.get(next).map(|(_, value)| value)
}

fn newer(versions: &VecDeque<Before>, sequence: u64) -> bool {
    versions.back().is_some_and(|(until, _)| *until > sequence)
}

/// The commits that open views saw last, and how many views saw each.
#[derive(Default)]
pub(super) struct Seen(BTreeMap<u64, usize>);

impl Seen {
    pub(super) fn add(&mut self, sequence: u64) {
        *self.0.entry(sequence).or_default() += 1;
    }

    pub(super) fn remove(&mut self, sequence: u64) {
        if let Some(views) = self.0.get_mut(&sequence) {
            *views -= 1;
            if *views == 0 {
                self.0.remove(&sequence);
            }
        }
    }

    /// That of the oldest view.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.0.keys().next().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, value: Option<&str>) -> (Vec<u8>, Option<Vec<u8>>) {
        (key.into(), value.map(Into::into))
    }

    #[test]
    fn every_view_sees_its_own_past() {
        let mut history = History::default();
        // a: nothing, then 1 (commit 1), then 2 (3), then gone (5). b: old, then new (3).
        history.add(1, vec![row("a", None)]);
        history.add(3, vec![row("a", Some("1")), row("b", Some("old"))]);
        history.add(5, vec![row("a", Some("2"))]);
        let past = |sequence| history.at(b"a", sequence).map(|value| value.as_deref());
        assert_eq!(past(0), Some(None));
        assert_eq!((past(1), past(2)), (Some(Some(&b"1"[..])), Some(Some(&b"1"[..]))));
        assert_eq!((past(3), past(4)), (Some(Some(&b"2"[..])), Some(Some(&b"2"[..]))));
        assert_eq!(past(5), None);
        let keys = |sequence| {
            history
                .range(b"", None, sequence)
                .map(|(key, _)| &key[..])
                .collect::<Vec<_>>()
        };
        assert_eq!(keys(2), [b"a", b"b"]);
        assert_eq!(keys(3), [b"a"]);
        assert!(keys(5).is_empty());
        assert!(history.changed(b"a", 4) && !history.changed(b"a", 5) && !history.changed(b"c", 0));
        assert!(history.changed_within(b"b", None, 2) && !history.changed_within(b"b", None, 3));
        assert!(!history.changed_within(b"b", Some(b"a"), 0));
    }

    #[test]
    fn what_nobody_can_see_is_forgotten() {
        let mut history = History::default();
        for commit in 1..=10 {
            history.add(
                commit,
                vec![
                    row("a", Some(&commit.to_string())),
                    row(&commit.to_string(), None),
                ],
            );
        }
        history.forget(4);
        assert_eq!(history.commits.len(), 6);
        assert_eq!(history.at(b"a", 4).unwrap().as_deref(), Some(&b"5"[..]));
        assert_eq!((history.rows.len(), history.rows[&b"a"[..]].len()), (7, 6));
        history.forget(10);
        assert!(history.rows.is_empty() && history.commits.is_empty());
        let mut seen = Seen::default();
        assert_eq!(seen.oldest(), None);
        for sequence in [7, 3, 3] {
            seen.add(sequence);
        }
        seen.remove(3);
        assert_eq!(seen.oldest(), Some(3));
        seen.remove(3);
        assert_eq!(seen.oldest(), Some(7));
    }
}
