//! Which changes of a retention are allowed.
use super::{Governance, Retention, RetentionMode};
use crate::Timestamp;

/// Whether the retention `old` may be replaced by `new` now. What has ended binds nobody. What binds
/// may be made longer by everybody; nothing else may be done to one in compliance mode, and the rest
/// to one in governance mode by who bypasses it.
pub(super) fn may_change(
    old: Option<Retention>,
    new: Option<Retention>,
    now: Timestamp,
    governance: Governance,
) -> bool {
    let Some(old) = old.filter(|old| now < old.until) else {
        return true;
    };
    let longer = new.is_some_and(|new| new.mode == old.mode && new.until >= old.until);
    longer || (old.mode == RetentionMode::Governance && governance == Governance::Bypassed)
}

#[cfg(test)]
mod tests {
    use super::RetentionMode::{Compliance, Governance as Soft};
    use super::*;

    #[test]
    fn only_more_is_allowed_and_governance_may_be_bypassed() {
        let keep = |mode, until| {
            Some(Retention {
                mode,
                until: Timestamp(until),
            })
        };
        let now = Timestamp(100);
        for (old, new, everybody, bypassing) in [
            (None, keep(Compliance, 200), true, true),
            (keep(Compliance, 100), None, true, true),
            (keep(Compliance, 200), keep(Compliance, 200), true, true),
            (keep(Compliance, 200), keep(Compliance, 300), true, true),
            (keep(Compliance, 200), keep(Compliance, 199), false, false),
            (keep(Compliance, 200), keep(Soft, 300), false, false),
            (keep(Compliance, 200), None, false, false),
            (keep(Soft, 200), keep(Soft, 300), true, true),
            (keep(Soft, 200), keep(Soft, 150), false, true),
            (keep(Soft, 200), keep(Compliance, 300), false, true),
            (keep(Soft, 200), None, false, true),
        ] {
            assert_eq!(
                may_change(old, new, now, Governance::Binds),
                everybody,
                "{old:?} {new:?}"
            );
            assert_eq!(
                may_change(old, new, now, Governance::Bypassed),
                bypassing,
                "{old:?} {new:?}"
            );
        }
    }
}
