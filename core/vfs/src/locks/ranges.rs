//! The locks of one inode: who holds which bytes, and how.
//!
//! As fcntl(2) has it: a holder has at most one lock on a byte; setting one replaces what it had there,
//! and what is left of that on both sides stays. Neighbours of one holder that are alike become one.
use serde::{Deserialize, Serialize};
use store::MemberRef;

/// Who holds locks: an owner as the kernel of one gateway names it, in one life of that gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// The gateway.
    pub at: MemberRef,
    /// Owner at that gateway.
    pub owner: u64,
}

/// A lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    pub holder: Holder,
    /// First byte.
    pub first: u64,
    /// Last byte.
    pub last: u64,
    /// Shared with nobody.
    pub exclusive: bool,
    /// Process that took it, for people.
    pub pid: u32,
}

impl Held {
    fn meets(&self, first: u64, last: u64) -> bool {
        self.first <= last && first <= self.last
    }
}

/// All locks of an inode.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Locks(Vec<Held>);

impl Locks {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets those of holders that are not `alive`.
    pub(crate) fn retain<E>(&mut self, mut alive: impl FnMut(&Holder) -> Result<bool, E>) -> Result<(), E> {
        let mut kept = Vec::with_capacity(self.0.len());
        for held in self.0.drain(..) {
            if alive(&held.holder)? {
                kept.push(held);
            }
        }
        self.0 = kept;
        Ok(())
    }

    /// The locks of others that are in the way of `wanted`, in the order of their bytes.
    pub(crate) fn against<'a>(&'a self, wanted: &'a Held) -> impl Iterator<Item = &'a Held> {
        self.0.iter().filter(|held| {
            held.holder != wanted.holder
                && (held.exclusive || wanted.exclusive)
                && held.meets(wanted.first, wanted.last)
        })
    }

    /// Whether the holder has any.
    pub(crate) fn holds(&self, holder: Holder) -> bool {
        self.0.iter().any(|held| held.holder == holder)
    }

    /// Gives the holder this lock, which nothing is in the way of.
    pub(crate) fn set(&mut self, mut lock: Held) {
        self.clear(lock.holder, lock.first, lock.last);
        self.0.retain(|held| {
            let alike = held.holder == lock.holder && held.exclusive == lock.exclusive;
            let touches =
                held.last.checked_add(1) == Some(lock.first) || lock.last.checked_add(1) == Some(held.first);
            if alike && touches {
                lock.first = lock.first.min(held.first);
                lock.last = lock.last.max(held.last);
            }
            !(alike && touches)
        });
        let at = self.0.partition_point(|held| held.first < lock.first);
        self.0.insert(at, lock);
    }

    /// Takes these bytes from the holder.
    pub(crate) fn clear(&mut self, holder: Holder, first: u64, last: u64) {
        let mut rest = Vec::new();
        self.0.retain(|held| {
            if held.holder != holder || !held.meets(first, last) {
                return true;
            }
            if held.first < first {
                rest.push(Held {
                    last: first - 1,
                    ..*held
                });
            }
            if held.last > last {
                rest.push(Held {
                    first: last + 1,
                    ..*held
                });
            }
            false
        });
        self.0.extend(rest);
        self.0.sort_by_key(|held| held.first);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPAN: u64 = 24;

    fn holder(owner: u64) -> Holder {
        Holder {
            at: MemberRef {
                member: 0,
                generation: 1,
            },
            owner,
        }
    }

    fn lock(owner: u64, first: u64, last: u64, exclusive: bool) -> Held {
        Held {
            holder: holder(owner),
            first,
            last,
            exclusive,
            pid: 0,
        }
    }

    proptest! {
        /// Against a model with one entry for each owner and byte.
        #[test]
        fn every_byte_is_held_as_it_was_set_last(
            steps in prop::collection::vec((0..3u64, 0..SPAN, 0..SPAN, 0..3u8), 1..60),
        ) {
            let mut locks = Locks::default();
            let mut model = vec![vec![None; SPAN as usize]; 3];
            for (owner, a, b, what) in steps {
                let (first, last) = (a.min(b), a.max(b));
                let wanted = lock(owner, first, last, what == 1);
                let bytes = first as usize..=last as usize;
                let stands = |(other, held): (usize, &Vec<Option<bool>>)| {
                    other as u64 != owner
                        && held[bytes.clone()].iter().flatten().any(|held| *held || what == 1)
                };
                let refused = model.iter().enumerate().any(stands);
                prop_assert_eq!(locks.against(&wanted).next().is_some(), refused);
                match what {
                    2 => locks.clear(holder(owner), first, last),
                    _ if refused => continue,
                    _ => locks.set(wanted),
                }
                model[owner as usize][bytes].fill((what != 2).then_some(what == 1));
                let mut seen = vec![vec![None; SPAN as usize]; 3];
                for held in &locks.0 {
                    for byte in held.first..=held.last {
                        let slot: &mut Option<bool> = &mut seen[held.holder.owner as usize][byte as usize];
                        prop_assert!(slot.is_none(), "two locks of one holder on a byte");
                        *slot = Some(held.exclusive);
                    }
                }
                prop_assert_eq!(&seen, &model);
                prop_assert!(locks.0.is_sorted_by_key(|held| held.first));
                for owner in 0..3 {
                    let own: Vec<_> = locks.0.iter().filter(|held| held.holder.owner == owner).collect();
                    prop_assert!(own.windows(2).all(|two| two[0].last + 1 < two[1].first
                        || two[0].exclusive != two[1].exclusive));
                }
            }
        }
    }

    #[test]
    fn the_ends_of_the_numbers_are_bytes_like_others() {
        let mut locks = Locks::default();
        locks.set(lock(1, 0, u64::MAX, true));
        assert!(
            locks
                .against(&lock(2, u64::MAX, u64::MAX, false))
                .next()
                .is_some()
        );
        locks.clear(holder(1), 10, u64::MAX);
        locks.set(lock(2, 10, u64::MAX, true));
        assert!(locks.against(&lock(3, 9, 10, false)).count() == 2);
        let dead = |holder: &Holder| Ok::<_, ()>(holder.owner != 1);
        locks.retain(dead).unwrap();
        assert!(!locks.holds(holder(1)) && locks.holds(holder(2)) && !locks.is_empty());
    }
}
