//! What a restore brought back and nobody has looked at since.
//!
//! A restore takes the chain's word that the miners hold a pack: it reads headers, indexes and the
//! checkpoint, and of everything else nothing. So the packs of earlier incarnations have their rows as
//! if they were verified, their segments count as *placed* only, until a look of the scrubber found
//! enough good fragments in them. That the health record of a segment says by itself: a restore writes
//! one in which no fragment was ever good.
//!
//! Until then nothing that a segment stands in for is given up: of a chunk that lies in two packs, both
//! stay.
use meta::Read;

use crate::checkpoint::{fence, rows};
use crate::health::record;
use crate::health::repair::live;
use crate::locations::Location;
use crate::place::level_of;
use crate::{Level, PackState, Result};

/// What is known of restored packs. Costs nothing in a namespace that was never restored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    incarnation: u32,
}

impl Seen {
    /// As of `read`.
    pub(crate) fn new<R: Read + ?Sized>(read: &R) -> Result<Self> {
        Ok(Self {
            incarnation: rows::incarnation(read)?,
        })
    }

    /// Whether a segment was read back by this incarnation.
    pub(crate) fn segment<R: Read + ?Sized>(self, read: &R, pack: u64, segment: u32) -> Result<bool> {
        if fence::incarnation_of(pack) >= self.incarnation {
            return Ok(true);
        }
        Ok(record::get(read, pack, segment)?.is_none_or(|known| known.is_seen()))
    }

    /// Segments of a pack in which something lives and of which that is not so.
    pub(crate) fn unseen<R: Read + ?Sized>(self, read: &R, pack: u64, segments: u32) -> Result<u32> {
        let mut unseen = 0;
        for number in 0..segments {
            if !self.segment(read, pack, number)? && !live(read, pack, number)?.is_empty() {
                unseen += 1;
            }
        }
        Ok(unseen)
    }

    /// The level of what lies at `place`, in a pack that has come to `state`.
    pub(crate) fn level<R: Read + ?Sized>(
        self,
        read: &R,
        place: &Location,
        state: PackState,
    ) -> Result<Level> {
        let level = level_of(state);
        if level == Level::Verified && !self.segment(read, place.pack, place.segment)? {
            return Ok(Level::Placed);
        }
        Ok(level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::record::{FragmentState, Record};
    use crate::memory_rows::Rows;

    #[test]
    fn a_restored_segment_is_placed_until_enough_of_it_was_good() {
        let mut rows = Rows::default();
        let place = |pack| Location {
            pack,
            segment: 0,
            offset: 64,
            len: 10,
        };
        record::put(&mut rows, 5, 0, &Record::unknown()).unwrap();
        let level = |rows: &Rows, pack| {
            let seen = Seen::new(rows).unwrap();
            seen.level(rows, &place(pack), PackState::Verified).unwrap()
        };
        assert_eq!(level(&rows, 5), Level::Verified, "nothing was restored");
        crate::checkpoint::rows::put_incarnation(&mut rows, 1).unwrap();
        assert_eq!(level(&rows, 5), Level::Placed);
        assert_eq!(level(&rows, fence::first_pack(1)), Level::Verified);
        let good = |count: usize| {
            let mut known = Record::unknown();
            for slot in known.slots.iter_mut().take(count) {
                *slot = slot.after(FragmentState::Good, 100, true);
            }
            known
        };
        record::put(&mut rows, 5, 0, &good(5)).unwrap();
        assert_eq!(level(&rows, 5), Level::Placed);
        record::put(&mut rows, 5, 0, &good(6)).unwrap();
        assert_eq!(level(&rows, 5), Level::Verified);
        assert!(Record::verified(7).is_seen());
    }
}
