//! What other gateways commit that this one keeps in memory, or waits for.
//!
//! Everything here would also be found without being told of: by the next look of a worker, or when a row is
//! read in any case. Hearing it makes it prompt, and has plaintext forgotten whose key is gone.
use std::sync::{Arc, Weak};

use meta::changes::{Change, Changes};

use super::rows;
use crate::checkpoint::rows as checkpoints;
use crate::health;
use crate::inner::Inner;
use crate::pack::record;
use crate::place::Placing;
use crate::tables::{self, DOMAIN, FREED};
use crate::{DomainId, domains};

/// Follows the change feed until the store closes.
pub(crate) async fn run(inner: Weak<Inner>, placing: Option<Weak<Placing>>, mut changes: Changes) {
    while let Some(change) = changes.next().await {
        let Some(inner) = inner.upgrade() else { return };
        let placing = placing.as_ref().and_then(Weak::upgrade);
        match change {
            Change::Lost => everything(&inner, placing.as_deref()),
            Change::Commit { keys, .. } => {
                let mut news = News::default();
                for key in keys.iter() {
                    news.hear(&inner, key);
                }
                news.act(&inner, placing.as_deref());
            }
        }
    }
}

/// Anything may have changed.
fn everything(inner: &Arc<Inner>, placing: Option<&Placing>) {
    inner.domains.forget_all();
    let news = News {
        packs: true,
        asked: true,
        freed: true,
        superseded: true,
    };
    news.act(inner, placing);
    // Something of a domain that was destroyed may be in it.
    inner.memory.clear();
}

/// What was heard of in one commit.
#[derive(Default)]
struct News {
    packs: bool,
    asked: bool,
    freed: bool,
    superseded: bool,
}

impl News {
    fn hear(&mut self, inner: &Arc<Inner>, key: &[u8]) {
        let own = inner.members.me().member;
        match key.first() {
            // A segment that was looked at may have a level that it had not.
            Some(&(record::TABLE | health::record::TABLE)) => self.packs = true,
            Some(&FREED) => {
                self.freed |= tables::member_and_chunk(key).is_ok_and(|(member, _)| member == own);
            }
            Some(&DOMAIN) => {
                if let Ok(domain) = tables::u64_from(key.get(1..).unwrap_or_default()) {
                    look_at(inner, DomainId(domain));
                }
            }
            Some(&tables::MEMBERS) => self.asked |= key == rows::pack_key(own),
            Some(&tables::PACKING) => {
                if let Some(domain) = domains::domain_of(key) {
                    inner.domains.forget(domain);
                }
            }
            Some(&tables::CHECKPOINT) => self.superseded |= key == checkpoints::SUPERSEDED_KEY,
            _ => {}
        }
    }

    fn act(&self, inner: &Arc<Inner>, placing: Option<&Placing>) {
        if self.freed {
            inner.staging.announce_freed();
        }
        if let Some(placing) = placing {
            if self.asked {
                placing.wake_packer();
            }
            if self.packs {
                placing.heard();
            }
        }
        if self.superseded {
            let known = inner
                .meta
                .snapshot()
                .map_err(crate::Error::from)
                .and_then(|snapshot| checkpoints::superseded(&*snapshot));
            match known {
                Ok(Some(reason)) => inner.fence.close(reason),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot read whether the namespace was restored elsewhere");
                }
            }
        }
    }
}

/// A gateway made or destroyed `domain`.
fn look_at(inner: &Arc<Inner>, domain: DomainId) {
    inner.domains.forget(domain);
    if matches!(inner.keys.has(domain), Ok(false)) {
        inner.memory.forget(domain);
        inner.forget_when_destroyed(domain);
    }
}
