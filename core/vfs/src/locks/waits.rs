//! Who waits for whom, at this gateway: to refuse a wait that would never end.
//!
//! Holders at other gateways are ends of the chain: whether they wait for somebody is not known here.
//! So a deadlock across gateways is not found; it ends when one of those who wait is interrupted.
use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;

use super::ranges::Holder;

/// The waits under way.
#[derive(Default)]
pub(crate) struct Waits {
    waiting: Mutex<HashMap<Holder, HashSet<Holder>>>,
}

impl Waits {
    /// `holder` is about to wait for `others`, all of them. `false`, and it must not, when one of them
    /// waits for it, directly or through others.
    pub(crate) fn begin(&self, holder: Holder, others: &[Holder]) -> bool {
        let mut waiting = self.waiting.lock();
        let mut seen = HashSet::new();
        let mut next = others.to_vec();
        while let Some(other) = next.pop() {
            if other == holder {
                return false;
            }
            if seen.insert(other) {
                next.extend(waiting.get(&other).into_iter().flatten());
            }
        }
        waiting.insert(holder, others.iter().copied().collect());
        true
    }

    /// It waits no more.
    pub(crate) fn end(&self, holder: Holder) {
        self.waiting.lock().remove(&holder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_closes_a_circle_is_refused() {
        let at = store::MemberRef {
            member: 0,
            generation: 1,
        };
        let [a, b, c, d] = [1, 2, 3, 4].map(|owner| Holder { at, owner });
        let waits = Waits::default();
        assert!(waits.begin(a, &[b]));
        assert!(waits.begin(b, &[c, d]));
        assert!(!waits.begin(d, &[a]));
        assert!(waits.begin(c, &[d]));
        waits.end(b);
        assert!(waits.begin(d, &[a]));
        assert!(!waits.begin(a, &[a]));
    }
}
