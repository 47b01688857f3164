//! Buckets as web sites: index and error documents, redirects, routing rules.
//!
//! A site is a bucket with a document ([`document`]) that says how; it is served under host names of its
//! own, to GET and HEAD. What is served are objects, fetched by anonymous requests of this door to itself:
//! who may read is decided where it is decided for every request, and nothing is public here that is not
//! public there. Errors are pages.
mod document;
mod page;
mod serve;

pub(crate) use document::{Condition, Redirect, RedirectAll, Refused, RoutingRule, Scheme, Site};
pub(crate) use page::refused;
pub(crate) use serve::{Fetch, Objects, Visit, serve};

/// Name of the bucket setting.
pub(crate) const SETTING: &str = "website";
