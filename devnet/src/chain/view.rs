//! The state at a recent block, seen through the undo records of the blocks above it.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::runtime::item::Reader;
use crate::runtime::state::{Bytes, Changes, RawState};

/// A state: that of the best block, minus the blocks above the one asked for.
pub struct View<'a> {
    state: &'a RawState,
    /// Undo records, that of the lowest block first.
    undo: Vec<&'a Changes>,
}

impl<'a> View<'a> {
    /// `undo` lists the records of the blocks above, lowest first.
    pub fn new(state: &'a RawState, undo: Vec<&'a Changes>) -> Self {
        Self { state, undo }
    }

    /// The value of `key`.
    pub fn get(&self, key: &[u8]) -> Option<&'a Bytes> {
        // The lowest block that touched the key remembers what it was before all of them.
        match self.undo.iter().find_map(|changes| changes.get(key)) {
            Some(old) => old.as_ref(),
            None => self.state.get(key),
        }
    }

    /// Up to `count` keys with `prefix`, in order, strictly after `start`.
    pub fn keys(&self, prefix: &[u8], count: usize, start: Option<&[u8]>) -> Vec<Vec<u8>> {
        let from = match start {
            Some(start) if start >= prefix => Bound::Excluded(start),
            _ => Bound::Included(prefix),
        };
        let mut touched: BTreeMap<&[u8], bool> = BTreeMap::new();
        for changes in self.undo.iter().rev() {
            for (key, old) in changes.range::<[u8], _>((from, Bound::Unbounded)) {
                if !key.starts_with(prefix) {
                    break;
                }
                touched.insert(key, old.is_some());
            }
        }
        let mut base = self
            .state
            .range::<[u8], _>((from, Bound::Unbounded))
            .map(|(key, _)| key.as_slice())
            .take_while(|key| key.starts_with(prefix))
            .filter(|key| !touched.contains_key(key))
            .peekable();
        let mut others = touched
            .iter()
            .filter(|(_, alive)| **alive)
            .map(|(key, _)| *key)
            .peekable();
        let mut out = Vec::new();
        while out.len() < count {
            let next = match (base.peek(), others.peek()) {
                (Some(a), Some(b)) if a < b => base.next(),
                (_, Some(_)) => others.next(),
                (Some(_), None) => base.next(),
                (None, None) => None,
            };
            let Some(key) = next else { break };
            out.push(key.to_vec());
        }
        out
    }
}

impl Reader for View<'_> {
    fn read(&self, key: &[u8]) -> Option<&[u8]> {
        self.get(key).map(AsRef::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::state::apply;

    fn bytes(text: &str) -> Option<Bytes> {
        Some(Bytes::from(text.as_bytes()))
    }

    #[test]
    fn every_height_reads_and_pages_as_it_was() {
        let mut state = RawState::new();
        let mut states = vec![state.clone()];
        let mut undo = Vec::new();
        for round in 0_u8..20 {
            let mut changes = Changes::new();
            for step in 0..5_u8 {
                let key = vec![b'k', (round.wrapping_mul(7) + step.wrapping_mul(3)) % 16];
                let value = ((round + step) % 3 != 0)
                    .then(|| bytes(&format!("{round}/{step}")))
                    .flatten();
                changes.insert(key, value);
            }
            changes.insert(vec![b'z'], bytes("other"));
            undo.push(apply(&mut state, &changes));
            states.push(state.clone());
        }
        for (height, then) in states.iter().enumerate() {
            let view = View::new(&state, undo[height..].iter().collect());
            let expected: Vec<Vec<u8>> = then.keys().filter(|key| key[0] == b'k').cloned().collect();
            let mut paged = Vec::new();
            loop {
                let page = view.keys(b"k", 3, paged.last().map(Vec::as_slice));
                if page.is_empty() {
                    break;
                }
                paged.extend(page);
            }
            assert_eq!(paged, expected, "height {height}");
            for key in &expected {
                assert_eq!(view.get(key), then.get(key), "height {height}");
            }
        }
    }
}
