//! What is heard of the other gateways, and who has to know.
//!
//! Workers and waiters are told of changes where those are made. Changes that another gateway makes are
//! told here, from the change feed ([`meta::changes`]): who works for all, and who waits for something that
//! others do, goes on as if it had been done at this gateway. Rows that are kept in memory follow the
//! feed by themselves ([`crate::row_cache`]).
use std::sync::Arc;
use std::time::Duration;

use meta::changes::Change;

use crate::clone::fold::FOLDED_IN;
use crate::schema::{DROPPED, LOCKS, ORPHAN, QUOTA};
use crate::snapshot::RULE;
use crate::snapshot::row::SNAPSHOTS;
use crate::vfs::Core;
use crate::{gateway_setting, inquiry};

/// Pause after an answer that could not be given.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The background worker.
pub(crate) async fn run(core: Arc<Core>) {
    if !core.store.is_shared() {
        return;
    }
    let mut changes = match core.meta.subscribe() {
        Ok(changes) => changes,
        Err(error) => {
            tracing::error!(%error, "what other gateways do cannot be heard of");
            return;
        }
    };
    // One may have been asked before.
    tell_all(&core);
    loop {
        let change = tokio::select! {
            () = core.stopped() => return,
            change = changes.next() => change,
        };
        match change {
            Some(Change::Commit { keys, .. }) => keys.iter().for_each(|key| tell(&core, key)),
            Some(Change::Lost) => tell_all(&core),
            None => return,
        }
    }
}

fn tell(core: &Core, key: &[u8]) {
    match key.first() {
        Some(&LOCKS) => {
            core.locks.changed.send_replace(());
        }
        Some(&ORPHAN) => core.purge_wanted.notify_one(),
        Some(&DROPPED) => core.release_wanted.notify_one(),
        Some(&SNAPSHOTS) => core.clean_wanted.notify_one(),
        Some(&RULE) => core.rules_wanted.notify_one(),
        Some(&FOLDED_IN) => core.folds.told.notify_one(),
        Some(&QUOTA) => core.quotas.count_wanted.notify_one(),
        _ if gateway_setting::is_one(key) => core.settings_changed.send_modify(|changes| *changes += 1),
        _ if inquiry::is_question(key) => core.inquiries.asked.notify_one(),
        _ if inquiry::is_answer(key) => core.inquiries.heard.notify_waiters(),
        _ => {}
    }
}

fn tell_all(core: &Core) {
    core.locks.changed.send_replace(());
    core.settings_changed.send_modify(|changes| *changes += 1);
    for wanted in [
        &core.purge_wanted,
        &core.release_wanted,
        &core.clean_wanted,
        &core.rules_wanted,
        &core.quotas.count_wanted,
        &core.inquiries.asked,
        &core.folds.told,
    ] {
        wanted.notify_one();
    }
    core.inquiries.heard.notify_waiters();
}

/// The background worker that answers what other gateways ask.
pub(crate) async fn answer(core: Arc<Core>) {
    if !core.store.is_shared() {
        return;
    }
    loop {
        tokio::select! {
            () = core.stopped() => return,
            () = core.inquiries.asked.notified() => {}
        }
        while let Err(error) = core.answer().await {
            tracing::debug!(%error, "what another gateway asks cannot be answered yet");
            tokio::select! {
                () = core.stopped() => return,
                () = tokio::time::sleep(RETRY_PAUSE) => {}
            }
        }
    }
}
