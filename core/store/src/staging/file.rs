//! One staging file: records one after another, never changed.
//!
//! ```text
//! offset  length  field of a record (integers little endian)
//!      0       4  magic "CGST"
//!      4       4  CRC-32 (ISO-HDLC) of everything after this field
//!      8       8  chunk id
//!     16       4  length of the frame
//!     20       …  frame
//! ```
//! Rows in the metadata name the records by offset; nothing is ever found by reading a file from
//! front to back. The checksum tells a torn or rotten record from a good one without any key.
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::uio::pwritev;

use crate::ChunkId;
use crate::frame::FRAME_MAX;

const MAGIC: [u8; 4] = *b"CGST";
/// Bytes of a record before its frame.
pub(crate) const RECORD_HEADER: usize = 20;
/// Smallest unit of disk space a hole can give back.
const BLOCK: u64 = 4096;

/// A staging file, open for as long as somebody refers to it.
#[derive(Debug)]
pub(crate) struct StagingFile {
    /// Its number.
    pub number: u64,
    path: PathBuf,
    file: File,
    /// Bytes of records in it that are still needed.
    pub live: AtomicU64,
    /// Written since it was last synced.
    dirty: AtomicBool,
    /// Number of the first record that may be lost, once a sync has failed; `u64::MAX` before.
    lost_from: AtomicU64,
}

/// Bytes that a frame takes in a staging file.
pub(crate) const fn record_len(frame_len: usize) -> u64 {
    (RECORD_HEADER + frame_len) as u64
}

impl StagingFile {
    fn path(directory: &Path, number: u64) -> PathBuf {
        directory.join(format!("{number:016x}.stg"))
    }

    /// The number in a file name, if it is one of ours.
    pub(crate) fn number_of(name: &str) -> Option<u64> {
        let hex = name.strip_suffix(".stg")?;
        (hex.len() == 16).then(|| u64::from_str_radix(hex, 16).ok())?
    }

    /// Makes a new file; its name is durable when this returns.
    pub(crate) fn create(directory: &Path, number: u64) -> io::Result<Self> {
        let path = Self::path(directory, number);
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        if let Err(error) = File::open(directory).and_then(|directory| directory.sync_all()) {
            // Nobody knows of it: whether it goes now or at the next start is all the same.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        Ok(Self {
            number,
            path,
            file,
            live: AtomicU64::new(0),
            dirty: AtomicBool::new(false),
            lost_from: AtomicU64::new(u64::MAX),
        })
    }

    /// Opens a file of an earlier run. It is never appended to.
    pub(crate) fn open(directory: &Path, number: u64) -> io::Result<Self> {
        let path = Self::path(directory, number);
        let file = File::options().read(true).write(true).open(&path)?;
        Ok(Self {
            number,
            path,
            file,
            live: AtomicU64::new(0),
            dirty: AtomicBool::new(false),
            lost_from: AtomicU64::new(u64::MAX),
        })
    }

    /// Writes a record at `offset`.
    pub(crate) fn write(&self, offset: u64, chunk: ChunkId, frame: &[u8]) -> io::Result<()> {
        let mut header = [0; RECORD_HEADER];
        header[..4].copy_from_slice(&MAGIC);
        header[8..16].copy_from_slice(&chunk.0.to_le_bytes());
        header[16..].copy_from_slice(&(frame.len() as u32).to_le_bytes());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&header[8..]);
        crc.update(frame);
        header[4..8].copy_from_slice(&crc.finalize().to_le_bytes());
        let written = self.write_both(&header, frame, offset);
        self.dirty.store(true, Ordering::SeqCst);
        written
    }

    /// Writes the two one behind the other, in one call unless the kernel takes less: a copy into one
    /// buffer would cost more than everything else that is done to a record.
    fn write_both(&self, header: &[u8], frame: &[u8], offset: u64) -> io::Result<()> {
        let both = [IoSlice::new(header), IoSlice::new(frame)];
        let written = loop {
            match pwritev(&self.file, &both, offset as i64) {
                Err(nix::errno::Errno::EINTR) => {}
                result => break result?,
            }
        };
        let rest = offset + written as u64;
        match written.checked_sub(header.len()) {
            Some(written) => self.file.write_all_at(&frame[written..], rest),
            None => {
                self.file.write_all_at(&header[written..], rest)?;
                self.file.write_all_at(frame, offset + header.len() as u64)
            }
        }
    }

    /// The frame of `chunk` in the record at `offset`; `InvalidData` when it is not there whole.
    pub(crate) fn read(&self, offset: u64, chunk: ChunkId, frame_len: u32) -> io::Result<Bytes> {
        let wrong = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        if frame_len as usize > FRAME_MAX {
            return Err(wrong("impossible frame length"));
        }
        let mut frame = vec![0; frame_len as usize];
        self.read_into(offset, chunk, &mut frame)?;
        Ok(Bytes::from(frame))
    }

    /// As [`Self::read`], written to `frame`, which tells the length.
    pub(crate) fn read_into(&self, offset: u64, chunk: ChunkId, frame: &mut [u8]) -> io::Result<()> {
        let wrong = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        let torn = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => wrong("the file ends before the record does"),
            _ => error,
        };
        let mut header = [0; RECORD_HEADER];
        self.file.read_exact_at(&mut header, offset).map_err(torn)?;
        self.file
            .read_exact_at(frame, offset + RECORD_HEADER as u64)
            .map_err(torn)?;
        let mut crc = crc32fast::Hasher::new();
        crc.update(&header[8..]);
        crc.update(frame);
        if header[..4] != MAGIC || header[4..8] != crc.finalize().to_le_bytes() {
            return Err(wrong("record checksum"));
        }
        if header[8..16] != chunk.0.to_le_bytes() || header[16..] != (frame.len() as u32).to_le_bytes() {
            return Err(wrong("another record than the row says"));
        }
        Ok(())
    }

    /// Whether it was written since the last sync.
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::SeqCst)
    }

    /// Syncs the file. After an error no other sync is tried: its success would prove nothing.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.dirty.store(false, Ordering::SeqCst);
        self.file.sync_data()
    }

    /// Takes the records from number `synced` on for lost, and the file for one that is not written
    /// to any more.
    pub(crate) fn fail(&self, synced: u64) {
        self.lost_from.fetch_min(synced, Ordering::SeqCst);
    }

    /// Whether a sync has failed: then it is not written to any more.
    pub(crate) fn has_failed(&self) -> bool {
        self.lost_from.load(Ordering::SeqCst) < u64::MAX
    }

    /// Whether the record with this number may be lost.
    pub(crate) fn may_have_lost(&self, record: u64) -> bool {
        record >= self.lost_from.load(Ordering::SeqCst)
    }

    /// Gives the disk space of a record back, but for the blocks it shares with its neighbours.
    pub(crate) fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        let from = offset.next_multiple_of(BLOCK);
        let to = (offset + len) / BLOCK * BLOCK;
        if from >= to {
            return Ok(());
        }
        let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        match fallocate(&self.file, hole, from as i64, (to - from) as i64) {
            // The space comes back when the whole file goes.
            Ok(()) | Err(nix::errno::Errno::EOPNOTSUPP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes the file. Readers that have it open still read it.
    pub(crate) fn delete(&self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;

    #[test]
    fn a_record_comes_back_and_every_flipped_bit_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let file = StagingFile::create(dir.path(), 7).unwrap();
        let (one, two) = (noise(100, 1), noise(50, 2));
        file.write(0, ChunkId(1), &one).unwrap();
        file.write(record_len(100), ChunkId(2), &two).unwrap();
        file.sync().unwrap();
        assert_eq!(file.read(0, ChunkId(1), 100).unwrap(), one);
        assert_eq!(file.read(record_len(100), ChunkId(2), 50).unwrap(), two);
        for wrong in [
            file.read(0, ChunkId(2), 100),
            file.read(0, ChunkId(1), 99),
            file.read(1, ChunkId(1), 100),
        ] {
            assert_eq!(wrong.unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        assert_eq!(
            file.read(1 << 20, ChunkId(1), 100).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
        assert_eq!(
            file.read(0, ChunkId(1), u32::MAX).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
        for at in 0..record_len(100) {
            let mut byte = [0];
            file.file.read_exact_at(&mut byte, at).unwrap();
            for bit in 0..8 {
                file.file.write_all_at(&[byte[0] ^ 1 << bit], at).unwrap();
                assert!(file.read(0, ChunkId(1), 100).is_err(), "byte {at} bit {bit}");
            }
            file.file.write_all_at(&byte, at).unwrap();
        }
        assert_eq!(
            StagingFile::open(dir.path(), 7)
                .unwrap()
                .read(0, ChunkId(1), 100)
                .unwrap(),
            one
        );
    }

    #[test]
    fn a_hole_spares_the_neighbours() {
        let dir = tempfile::tempdir().unwrap();
        let file = StagingFile::create(dir.path(), 1).unwrap();
        let frames: Vec<_> = (0..3).map(|n| noise(20_000 + n, n as u64)).collect();
        let mut offset = 0;
        let mut offsets = Vec::new();
        for (n, frame) in frames.iter().enumerate() {
            file.write(offset, ChunkId(n as u64), frame).unwrap();
            offsets.push(offset);
            offset += record_len(frame.len());
        }
        file.punch(offsets[1], record_len(frames[1].len())).unwrap();
        for n in [0, 2] {
            assert_eq!(
                file.read(offsets[n], ChunkId(n as u64), frames[n].len() as u32)
                    .unwrap(),
                frames[n]
            );
        }
        assert!(file.read(offsets[1], ChunkId(1), frames[1].len() as u32).is_err());
    }

    #[test]
    fn only_our_names_are_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let path = StagingFile::path(dir.path(), 0xabc);
        assert_eq!(
            StagingFile::number_of(path.file_name().unwrap().to_str().unwrap()),
            Some(0xabc)
        );
        for name in [
            "abc.stg",
            "0000000000000abc",
            "0000000000000abc.stg.tmp",
            "000000000000zzzz.stg",
            "",
        ] {
            assert_eq!(StagingFile::number_of(name), None, "{name}");
        }
    }
}
