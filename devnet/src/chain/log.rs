//! The block log: the chain on disk.
//!
//! `blocks.log` is an 8-byte magic and then records, each `length u32 LE ++ CRC-32 u32 LE ++
//! SCALE bytes`, synced one by one before the block is announced. A start replays them all. A
//! record cut short by a crash can only be the last one, was never announced, and is dropped.
//! A bad record before the last is damage and refuses to start.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use parity_scale_codec::{Decode, Encode};

use super::header::Header;
use crate::error::{Error, Result};
use crate::runtime::state::{Bytes, Changes};

const MAGIC: &[u8; 8] = b"CESSDEV1";
/// Length and checksum before each record.
const PREFIX: u64 = 8;
/// Longest record that is believed: far above what a block of 5 MiB can change.
const MAX_RECORD: u32 = 1 << 30;

/// Changes in their stored form.
type StoredChanges = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// One record.
#[derive(Debug, Encode, Decode)]
pub enum Record {
    /// A block: header, extrinsics, changes to the parent's state. The first is block 0.
    Block(Header, Vec<Vec<u8>>, StoredChanges),
    /// The blocks above this number were retracted.
    Rollback(u32),
}

/// Converts changes for storage.
pub fn to_stored(changes: &Changes) -> StoredChanges {
    changes
        .iter()
        .map(|(key, value)| (key.clone(), value.as_ref().map(|value| value.to_vec())))
        .collect()
}

/// Converts changes from storage.
pub fn from_stored(changes: StoredChanges) -> Changes {
    changes
        .into_iter()
        .map(|(key, value)| (key, value.map(Bytes::from)))
        .collect()
}

/// The open log.
pub struct Log {
    file: File,
    end: u64,
}

impl Log {
    /// Opens or creates the log and hands every whole record, with its offset, to `visit`.
    pub fn open(path: &Path, mut visit: impl FnMut(u64, Record) -> Result<()>) -> Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(Error::io(format!("opening {}", path.display())))?;
        let length = file.metadata().map_err(Error::io("block log"))?.len();
        let mut end = MAGIC.len() as u64;
        if length < end {
            file.set_len(0)
                .and_then(|()| file.write_all(MAGIC))
                .map_err(Error::io("block log"))?;
            file.sync_all().map_err(Error::io("block log"))?;
            sync_parent(path)?;
            return Ok(Self { file, end });
        }
        let mut magic = [0; 8];
        file.read_exact(&mut magic).map_err(Error::io("block log"))?;
        if &magic != MAGIC {
            return Err(Error::Log(format!("{} is no block log", path.display())));
        }
        while end < length {
            match read_record(&file, end, length)? {
                Some((record, next)) => {
                    visit(end, record)?;
                    end = next;
                }
                None => break,
            }
        }
        if end < length {
            file.set_len(end)
                .and_then(|()| file.sync_all())
                .map_err(Error::io("block log"))?;
        }
        file.seek(SeekFrom::Start(end)).map_err(Error::io("block log"))?;
        Ok(Self { file, end })
    }

    /// Appends a record; on disk when this returns, unless `sync` is false. Answers its offset.
    pub fn append(&mut self, record: &Record, sync: bool) -> Result<u64> {
        let body = record.encode();
        let mut bytes = Vec::with_capacity(body.len() + PREFIX as usize);
        bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
        bytes.extend_from_slice(&body);
        let at = self.end;
        self.file
            .write_all_at(&bytes, at)
            .map_err(Error::io("writing a block"))?;
        if sync {
            self.file.sync_data().map_err(Error::io("syncing a block"))?;
        }
        self.end = at + bytes.len() as u64;
        Ok(at)
    }

    /// A second handle for reading bodies back.
    pub fn reader(&self) -> Result<LogReader> {
        Ok(LogReader(self.file.try_clone().map_err(Error::io("block log"))?))
    }
}

/// Reads single records.
pub struct LogReader(File);

impl LogReader {
    /// The extrinsics of the block whose record is at `offset`.
    pub fn body(&self, offset: u64) -> Result<Vec<Vec<u8>>> {
        let length = self.0.metadata().map_err(Error::io("block log"))?.len();
        match read_record(&self.0, offset, length)? {
            Some((Record::Block(_, body, _), _)) => Ok(body),
            _ => Err(Error::Log(format!("no block at {offset}"))),
        }
    }
}

/// The record at `offset` and where the next begins; `None` for a torn tail.
fn read_record(file: &File, offset: u64, length: u64) -> Result<Option<(Record, u64)>> {
    let mut prefix = [0; PREFIX as usize];
    if offset + PREFIX > length {
        return Ok(None);
    }
    file.read_exact_at(&mut prefix, offset)
        .map_err(Error::io("block log"))?;
    let [l0, l1, l2, l3, c0, c1, c2, c3] = prefix;
    let size = u32::from_le_bytes([l0, l1, l2, l3]);
    let checksum = u32::from_le_bytes([c0, c1, c2, c3]);
    let next = offset + PREFIX + u64::from(size);
    if size > MAX_RECORD || next > length {
        return Ok(None);
    }
    let mut body = vec![0; size as usize];
    file.read_exact_at(&mut body, offset + PREFIX)
        .map_err(Error::io("block log"))?;
    if crc32fast::hash(&body) == checksum
        && let Ok(record) = Record::decode(&mut &body[..])
    {
        return Ok(Some((record, next)));
    }
    if next == length {
        return Ok(None);
    }
    Err(Error::Log(format!("the record at {offset} is damaged")))
}

fn sync_parent(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    File::open(parent)
        .and_then(|dir| dir.sync_all())
        .map_err(Error::io("block log directory"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(path: &Path) -> Result<Vec<u32>> {
        let mut seen = Vec::new();
        Log::open(path, |_, record| {
            if let Record::Rollback(number) = record {
                seen.push(number);
            }
            Ok(())
        })?;
        Ok(seen)
    }

    #[test]
    fn a_torn_tail_goes_and_damage_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blocks.log");
        let mut log = Log::open(&path, |_, _| Ok(())).unwrap();
        for number in 0..3 {
            log.append(&Record::Rollback(number), true).unwrap();
        }
        drop(log);
        assert_eq!(numbers(&path).unwrap(), [0, 1, 2]);
        let whole = std::fs::read(&path).unwrap();
        for cut in 1..13 {
            std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            assert_eq!(numbers(&path).unwrap(), [0, 1], "cut {cut}");
            assert_eq!(numbers(&path).unwrap(), [0, 1], "cut {cut}, second start");
        }
        let mut damaged = whole;
        damaged[17] ^= 1;
        std::fs::write(&path, damaged).unwrap();
        assert!(matches!(numbers(&path), Err(Error::Log(_))));
    }
}
