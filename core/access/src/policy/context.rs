//! What a request says about itself: condition keys and their values.
use std::collections::BTreeMap;

/// Condition keys (case does not matter) and the values that a request has for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    values: BTreeMap<String, Vec<String>>,
}

impl Context {
    /// Gives a key its one value.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.values.insert(key.to_ascii_lowercase(), vec![value.into()]);
    }

    /// Gives a key several values: none of them is a key that the request does not have.
    pub fn set_all(&mut self, key: &str, values: Vec<String>) {
        if !values.is_empty() {
            self.values.insert(key.to_ascii_lowercase(), values);
        }
    }

    /// The values of a key; `None` when the request does not have it.
    pub fn get(&self, key: &str) -> Option<&[String]> {
        let found = match self.values.get(key) {
            None if key.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                self.values.get(&key.to_ascii_lowercase())
            }
            found => found,
        };
        found.map(Vec::as_slice)
    }
}
