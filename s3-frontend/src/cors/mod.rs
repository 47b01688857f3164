//! CORS: which pages of other origins a browser may let at a bucket.
//!
//! The rules are a bucket setting ([`document`]); [`answer`] says what a browser is told, to its question
//! before a request (preflight, `OPTIONS`) and beside the answer to a request. CORS grants nothing to
//! anybody: a request that a rule allows still needs its signature or a policy, and one that no rule
//! allows is answered all the same, only that the browser keeps the answer from the page.
mod answer;
mod document;

pub(crate) use answer::{Preflight, annotate};
pub(crate) use document::{Refused, Rule, Rules};

/// Name of the bucket setting.
pub(crate) const SETTING: &str = "cors";
