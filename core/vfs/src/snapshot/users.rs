//! Who needs the extents that are kept.
use std::collections::BTreeMap;

use meta::Read;

use super::as_of::AsOf;
use super::row::{self, PRESERVED};
use crate::extent::Extent;
use crate::schema::{self, EXTENT};
use crate::{InodeNo, Result, posix};

/// A kept extent: its inode, itself, and `bucket/key@snapshot` of the newest snapshot that needs it.
pub(crate) type KeptExtent = (InodeNo, Extent, Option<String>);

/// All extents that are kept for snapshots. Reads every kept row there is.
pub(crate) fn kept_extents<R: Read + ?Sized>(read: &R) -> Result<impl Iterator<Item = Result<KeptExtent>>> {
    let snapshots: BTreeMap<_, _> = row::all(read)?.into_iter().collect();
    let rows = schema::scan(read, &[PRESERVED])?;
    Ok(rows.filter_map(move |kept| {
        let look = || -> Result<Option<KeptExtent>> {
            let (key, value) = kept?;
            let (own, number) = row::parse_preserved(&key)?;
            let Some(value) = row::decode_kept(&value)?.filter(|_| own[0] == EXTENT) else {
                return Ok(None);
            };
            let ino = InodeNo(schema::number_at(&own, 1)?);
            let extent = Extent {
                offset: schema::number_at(&own, 9)?,
                record: schema::decode(&value)?,
            };
            let path = match snapshots.get(&number) {
                Some(snapshot) => {
                    let then = AsOf::new(read, number, snapshot.mark);
                    let path = posix::lookup::path(&then, ino)?;
                    path.map(|path| format!("{}@{}", String::from_utf8_lossy(&path), snapshot.name))
                }
                None => None,
            };
            Ok(Some((ino, extent, path)))
        };
        look().transpose()
    }))
}
