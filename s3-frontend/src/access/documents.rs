//! The policies of callers, parsed once and kept by their text.
use std::sync::Arc;

use access::Policy;
use access::policy::{Document, Kind};

/// Bytes of policies that are kept parsed.
const KEPT_BYTES: u64 = 16 << 20;
/// About how many policies these are.
const KEPT_POLICIES: usize = 4_096;
/// What an entry costs beside its text.
const ENTRY_BYTES: u64 = 512;

type Kept = Option<Arc<Document>>;

/// Parsed policies.
pub(super) struct Documents(quick_cache::sync::Cache<String, Kept, ByBytes>);

#[derive(Clone)]
struct ByBytes;

impl quick_cache::Weighter<String, Kept> for ByBytes {
    fn weight(&self, text: &String, _: &Kept) -> u64 {
        // A parsed pattern has a token of some bytes for each of the text's.
        ENTRY_BYTES + 8 * text.len() as u64
    }
}

impl Documents {
    pub(super) fn new() -> Self {
        Self(quick_cache::sync::Cache::with_weighter(
            KEPT_POLICIES,
            KEPT_BYTES,
            ByBytes,
        ))
    }

    /// What a policy says; `None` if it cannot be read, and then its holder may do nothing.
    pub(super) fn of(&self, policy: &Policy) -> Kept {
        if let Some(kept) = self.0.get(policy.text.as_str()) {
            return kept;
        }
        let read = Document::parse(&policy.text, Kind::Identity)
            .inspect_err(|error| tracing::error!(policy = policy.name, %error, "a policy cannot be read"))
            .ok()
            .map(Arc::new);
        self.0.insert(policy.text.clone(), read.clone());
        read
    }
}
