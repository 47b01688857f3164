//! Health: whether the network still has what it took, and what is done when it has not.
//!
//! - [`life`]: when each pack came how far, and in which blocks.
//! - [`record`]: what is known of each segment's twelve fragments.
pub(crate) mod life;
pub(crate) mod record;

use meta::Read;

use crate::pack::record::Record as Pack;
use crate::{PackState, Result, clock};

/// Now, in seconds since 1970-01-01 UTC.
pub(crate) fn now() -> u64 {
    clock::wall().as_secs()
}

/// Good fragments of the worst segment of a pack; `None` while it is not verified.
pub(crate) fn worst<R: Read + ?Sized>(read: &R, pack: u64, about: &Pack) -> Result<Option<u8>> {
    if about.state < PackState::Verified {
        return Ok(None);
    }
    let mut worst = None;
    for segment in 0..about.segments {
        let known = record::get(read, pack, segment)?.unwrap_or_else(record::Record::unknown);
        let good = known.good() as u8;
        worst = Some(worst.map_or(good, |worst: u8| worst.min(good)));
    }
    Ok(worst)
}
