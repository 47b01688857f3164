//! The raw key-value state of the chain and the layers a block writes through.
//!
//! Keys are real Substrate storage keys, so `state_getStorage` and key paging need no
//! translation. A block executes on an [`Overlay`]: a stack of change sets over the state of its
//! parent. Each extrinsic, and each atomic batch inside one, gets a layer that is either merged
//! into the one below or dropped.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// A value. Shared, because the undo records of recent blocks keep old values alive.
pub type Bytes = Arc<[u8]>;
/// The whole state.
pub type RawState = BTreeMap<Vec<u8>, Bytes>;
/// Changes: `None` removes the key.
pub type Changes = BTreeMap<Vec<u8>, Option<Bytes>>;

/// A stack of change sets over a state.
pub struct Overlay<'a> {
    base: &'a RawState,
    layers: Vec<Changes>,
}

impl<'a> Overlay<'a> {
    /// An overlay without changes.
    pub fn new(base: &'a RawState) -> Self {
        Self {
            base,
            layers: vec![Changes::new()],
        }
    }

    /// The value of `key`, seen through all layers.
    pub fn get(&self, key: &[u8]) -> Option<&Bytes> {
        for layer in self.layers.iter().rev() {
            if let Some(change) = layer.get(key) {
                return change.as_ref();
            }
        }
        self.base.get(key)
    }

    /// Sets or removes `key` in the top layer.
    pub fn set(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        let value = value.map(Bytes::from);
        if let Some(top) = self.layers.last_mut() {
            top.insert(key, value);
        }
    }

    /// All live keys that start with `prefix`, in order.
    pub fn keys_with_prefix(&self, prefix: &[u8]) -> Vec<Vec<u8>> {
        let mut live: BTreeMap<&Vec<u8>, bool> = BTreeMap::new();
        for (key, _) in range_with_prefix(self.base, prefix) {
            live.insert(key, true);
        }
        for layer in &self.layers {
            for (key, change) in range_with_prefix(layer, prefix) {
                live.insert(key, change.is_some());
            }
        }
        live.into_iter()
            .filter(|(_, alive)| *alive)
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// Opens a layer.
    pub fn push(&mut self) {
        self.layers.push(Changes::new());
    }

    /// Merges the top layer into the one below.
    pub fn commit(&mut self) {
        if self.layers.len() > 1
            && let Some(top) = self.layers.pop()
            && let Some(below) = self.layers.last_mut()
        {
            below.extend(top);
        }
    }

    /// Drops the top layer.
    pub fn rollback(&mut self) {
        if self.layers.len() > 1 {
            self.layers.pop();
        }
    }

    /// Everything that changed.
    pub fn into_changes(mut self) -> Changes {
        while self.layers.len() > 1 {
            self.commit();
        }
        self.layers.pop().unwrap_or_default()
    }
}

/// The entries of `map` whose keys start with `prefix`, in order.
pub fn range_with_prefix<'m, V>(
    map: &'m BTreeMap<Vec<u8>, V>,
    prefix: &'m [u8],
) -> impl Iterator<Item = (&'m Vec<u8>, &'m V)> {
    map.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded))
        .take_while(move |(key, _)| key.starts_with(prefix))
}

/// Applies `changes` to `state`; answers what undoes them.
pub fn apply(state: &mut RawState, changes: &Changes) -> Changes {
    let mut undo = Changes::new();
    for (key, change) in changes {
        let old = match change {
            Some(value) => state.insert(key.clone(), value.clone()),
            None => state.remove(key),
        };
        undo.insert(key.clone(), old);
    }
    undo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_commit_roll_back_and_undo() {
        let mut state = RawState::new();
        state.insert(b"a".to_vec(), Bytes::from(&b"1"[..]));
        state.insert(b"ab".to_vec(), Bytes::from(&b"2"[..]));
        let mut overlay = Overlay::new(&state);
        overlay.push();
        overlay.set(b"a".to_vec(), None);
        overlay.rollback();
        assert_eq!(overlay.get(b"a").unwrap().as_ref(), b"1");
        overlay.push();
        overlay.set(b"a".to_vec(), None);
        overlay.set(b"ac".to_vec(), Some(b"3".to_vec()));
        overlay.commit();
        assert_eq!(
            overlay.keys_with_prefix(b"a"),
            vec![b"ab".to_vec(), b"ac".to_vec()]
        );
        let changes = overlay.into_changes();
        let before = state.clone();
        let undo = apply(&mut state, &changes);
        assert!(!state.contains_key(&b"a"[..]));
        apply(&mut state, &undo);
        assert_eq!(state, before);
    }
}
