//! Plaintext of a destroyed domain must not live on in memory.
//!
//! A domain is destroyed in a transaction of the caller's, whose end the store does not see. So from
//! that moment on every hit of that domain asks the metadata first, and the domain is looked at
//! again a few times: once its key is gone, so is its plaintext.
use std::sync::Arc;
use std::time::Duration;

use crate::DomainId;
use crate::inner::Inner;

/// Pauses before the looks. A transaction that is not committed by the last was rolled back.
const LOOKS: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(500),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
];

impl Inner {
    /// Forgets the plaintext of `domain` once the running transaction has destroyed it.
    pub(crate) fn forget_when_destroyed(self: &Arc<Self>, domain: DomainId) {
        if !self.keys.note_ending(domain) {
            return;
        }
        // Outside a runtime only the hits ask.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let inner = Arc::downgrade(self);
        let looking = async move {
            for pause in LOOKS {
                tokio::time::sleep(pause).await;
                let Some(inner) = inner.upgrade() else { return };
                if matches!(inner.keys.lives(domain), Ok(false)) {
                    inner.memory.forget(domain);
                    return;
                }
            }
            if let Some(inner) = inner.upgrade() {
                inner.keys.note_spared(domain);
            }
        };
        let stop = self.stop.clone();
        self.tasks.spawn_on(
            async move {
                // Nothing is left to forget when everything stops.
                let _ = stop.run_until_cancelled(looking).await;
            },
            &runtime,
        );
    }
}
