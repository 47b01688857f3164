//! Backups: every row of one moment, as a stream of bytes that any engine can be filled from.
//!
//! An image is taken from a view, so writers go on and do not show in it. It holds what `vfs` and `store` own; the
//! rows of this crate (table 0x00) belong to an engine and stay behind.
//!
//! Format, numbers BE: `CGMIMAGE`, version u32 = 1. Blocks: length u32 (not 0) and CRC-32 u32 of the rows that
//! follow; a row is key length u16, value length u32, key, value, and rows come in key order. End: u32
//! 0, number of rows u64, SHA-256 of all rows as they stand in the blocks, CRC-32 u32 of number and
//! SHA-256. Nothing comes after it.
use std::io::{self, Write};
use std::ops::Bound;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::bounds::{check_key, check_value};
use crate::{Engine, Error, KEY_MAX, KeyValue, Read, Result, VALUE_MAX};

const MAGIC: [u8; 8] = *b"CGMIMAGE";
const VERSION: u32 = 1;
/// Bytes after which a block ends.
const BLOCK_BYTES: usize = 256 << 10;
/// Longest block: the last row of it may be as long as a row can be.
const BLOCK_MAX: usize = BLOCK_BYTES + 6 + KEY_MAX + VALUE_MAX;
/// First key that is not this crate's own.
pub(crate) const FIRST_KEY: &[u8] = &[0x01];
/// Most rows, and bytes of rows, in a transaction that fills a store.
const FILL_ROWS: usize = 1000;
const FILL_BYTES: usize = 2 << 20;

/// What an image or a store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Rows.
    pub rows: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// SHA-256 of all rows in key order: key length (u16 BE), value length (u32 BE), key, value of each.
    pub digest: [u8; 32],
}

/// Adds rows up.
#[derive(Clone)]
pub(crate) struct Sum {
    rows: u64,
    bytes: u64,
    digest: Sha256,
}

impl Sum {
    pub(crate) fn new() -> Self {
        Self {
            rows: 0,
            bytes: 0,
            digest: Sha256::new(),
        }
    }

    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.rows += 1;
        self.bytes += (key.len() + value.len()) as u64;
        self.digest.update((key.len() as u16).to_be_bytes());
        self.digest.update((value.len() as u32).to_be_bytes());
        self.digest.update(key);
        self.digest.update(value);
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    pub(crate) fn contents(&self) -> Contents {
        Contents {
            rows: self.rows,
            bytes: self.bytes,
            digest: self.digest.clone().finalize().into(),
        }
    }
}

/// The rows of a store that are not this crate's own, in key order.
pub(crate) fn rows<'a>(
    view: &'a (impl Read + ?Sized),
) -> Result<Box<dyn Iterator<Item = Result<KeyValue>> + 'a>> {
    view.range(Bound::Included(FIRST_KEY), Bound::Unbounded, false)
}

/// Writes an image of a view. `progress` is told the rows so far, now and then.
pub fn write(
    view: &(impl Read + ?Sized),
    to: &mut dyn Write,
    progress: &mut dyn FnMut(u64),
) -> Result<Contents> {
    to.write_all(&MAGIC).map_err(failed)?;
    to.write_all(&VERSION.to_be_bytes()).map_err(failed)?;
    let mut sum = Sum::new();
    let mut block = Vec::with_capacity(2 * BLOCK_BYTES);
    for row in rows(view)? {
        let (key, value) = row?;
        check_key(&key)?;
        check_value(&value)?;
        sum.add(&key, &value);
        block.extend_from_slice(&(key.len() as u16).to_be_bytes());
        block.extend_from_slice(&(value.len() as u32).to_be_bytes());
        block.extend_from_slice(&key);
        block.extend_from_slice(&value);
        if block.len() >= BLOCK_BYTES {
            write_block(&mut block, to)?;
            progress(sum.rows());
        }
    }
    if !block.is_empty() {
        write_block(&mut block, to)?;
    }
    let contents = sum.contents();
    progress(contents.rows);
    let mut end = Vec::new();
    end.extend_from_slice(&contents.rows.to_be_bytes());
    end.extend_from_slice(&contents.digest);
    let crc = crc32fast::hash(&end);
    to.write_all(&0u32.to_be_bytes()).map_err(failed)?;
    to.write_all(&end).map_err(failed)?;
    to.write_all(&crc.to_be_bytes()).map_err(failed)?;
    to.flush().map_err(failed)?;
    Ok(contents)
}

fn write_block(block: &mut Vec<u8>, to: &mut dyn Write) -> Result<()> {
    to.write_all(&(block.len() as u32).to_be_bytes())
        .map_err(failed)?;
    to.write_all(&crc32fast::hash(block).to_be_bytes())
        .map_err(failed)?;
    to.write_all(block).map_err(failed)?;
    block.clear();
    Ok(())
}

/// Writes an image of a view to a new file, which is durable, with its name, when this returns. A file
/// that is there already is an error; one that cannot be finished is removed.
pub fn write_file(
    view: &(impl Read + ?Sized),
    path: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Contents> {
    let failed = |error: io::Error| Error::Engine(format!("{}: {error}", path.display()));
    let mut file = std::fs::File::options()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(failed)?;
    let written = write(view, &mut file, progress).and_then(|contents| {
        file.sync_all().map_err(failed)?;
        let directory = match path.parent() {
            Some(directory) if !directory.as_os_str().is_empty() => directory,
            _ => Path::new("."),
        };
        std::fs::File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(failed)?;
        Ok(contents)
    });
    if written.is_err() {
        // What is wrong is said by the error; a file that stays all the same is no image.
        let _ = std::fs::remove_file(path);
    }
    written
}

/// Reads an image; `row` gets every row in key order. [`Error::Damaged`] when it is not whole and
/// unchanged: `row` may have got rows by then, each of them as it was written.
pub fn read(from: &mut dyn io::Read, mut row: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<Contents> {
    let mut head = [0; 12];
    fill(from, &mut head)?;
    if head[..8] != MAGIC {
        return Err(damaged("it does not begin like one"));
    }
    if head[8..] != VERSION.to_be_bytes() {
        return Err(damaged("its version is not known"));
    }
    let mut sum = Sum::new();
    let mut last = Vec::new();
    let mut block = Vec::new();
    loop {
        let length = number(from)? as usize;
        if length == 0 {
            break;
        }
        if length > BLOCK_MAX {
            return Err(damaged("a block is too long"));
        }
        let crc = number(from)?;
        block.resize(length, 0);
        fill(from, &mut block)?;
        if crc32fast::hash(&block) != crc {
            return Err(damaged("a block has changed"));
        }
        let mut rest = &block[..];
        while !rest.is_empty() {
            let (key, value, after) = split(rest).ok_or_else(|| damaged("a block ends within a row"))?;
            if key <= &last[..] || key < FIRST_KEY {
                return Err(damaged("rows are out of order"));
            }
            check_key(key)?;
            check_value(value)?;
            sum.add(key, value);
            row(key, value)?;
            last.clear();
            last.extend_from_slice(key);
            rest = after;
        }
    }
    let mut end = [0; 44];
    fill(from, &mut end)?;
    let contents = sum.contents();
    if end[40..] != crc32fast::hash(&end[..40]).to_be_bytes()
        || end[..8] != contents.rows.to_be_bytes()
        || end[8..40] != contents.digest
    {
        return Err(damaged("rows are missing or changed"));
    }
    if from.read(&mut [0]).map_err(failed)? != 0 {
        return Err(damaged("something comes after its end"));
    }
    Ok(contents)
}

fn split(rest: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (key_len, rest) = rest.split_first_chunk()?;
    let (value_len, rest) = rest.split_first_chunk()?;
    let (key, rest) = rest.split_at_checked(u16::from_be_bytes(*key_len) as usize)?;
    let (value, rest) = rest.split_at_checked(u32::from_be_bytes(*value_len) as usize)?;
    Some((key, value, rest))
}

fn number(from: &mut dyn io::Read) -> Result<u32> {
    let mut bytes = [0; 4];
    fill(from, &mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

fn fill(from: &mut dyn io::Read, bytes: &mut [u8]) -> Result<()> {
    from.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged("its end is missing"),
        _ => failed(error),
    })
}

fn damaged(what: &str) -> Error {
    Error::Damaged(format!("image of the metadata: {what}"))
}

fn failed(error: io::Error) -> Error {
    Error::Engine(format!("image of the metadata: {error}"))
}

/// Fills an engine with rows, in transactions of bearable size.
pub(crate) struct Filler<'e> {
    engine: &'e dyn Engine,
    rows: Vec<KeyValue>,
    bytes: usize,
}

impl<'e> Filler<'e> {
    pub(crate) fn of(engine: &'e dyn Engine) -> Self {
        Self {
            engine,
            rows: Vec::new(),
            bytes: 0,
        }
    }

    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.bytes += key.len() + value.len();
        self.rows.push((key.to_vec(), value.to_vec()));
        if self.rows.len() >= FILL_ROWS || self.bytes >= FILL_BYTES {
            self.write()?;
        }
        Ok(())
    }

    pub(crate) fn write(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        transact(self.engine, |tx| {
            rows.iter().try_for_each(|(key, value)| tx.put(key, value))
        })
    }
}

/// Runs `write` in a transaction of a store that nobody else writes to: a conflict is one that the engine only
/// believes to see.
pub(crate) fn transact(
    engine: &dyn Engine,
    mut write: impl FnMut(&mut dyn crate::Transaction) -> Result<()>,
) -> Result<()> {
    for _ in 0..100 {
        let mut tx = engine.begin()?;
        match write(tx.as_mut()).and_then(|()| tx.commit()) {
            Err(Error::Conflict) => {}
            other => return other,
        }
    }
    Err(Error::Engine("somebody else writes to the store".into()))
}

/// Fills an empty store from an image. [`Error::Damaged`] when the image is; the store then holds a part
/// of it and must not be used.
pub fn restore(from: &mut dyn io::Read, engine: &dyn Engine) -> Result<Contents> {
    if rows(engine.snapshot()?.as_ref())?.next().transpose()?.is_some() {
        return Err(Error::Engine(
            "the store that is to be filled is not empty".into(),
        ));
    }
    let mut filler = Filler::of(engine);
    let contents = read(from, |key, value| filler.add(key, value))?;
    filler.write()?;
    engine.sync()?;
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FjallEngine;

    fn engine(dir: &Path) -> FjallEngine {
        FjallEngine::open(dir, 8 << 20).unwrap()
    }

    fn some_rows(engine: &dyn Engine) {
        transact(engine, |tx| {
            tx.put(&[0, b'x'], b"the engine's own")?;
            for n in 0..3000u32 {
                let value = vec![n as u8; (n % 700) as usize];
                tx.put(&[&[1][..], &n.to_be_bytes()].concat(), &value)?;
            }
            tx.put(b"long", &vec![7; 2 << 20])
        })
        .unwrap();
    }

    #[test]
    fn an_image_restores_every_row() {
        let dir = tempfile::tempdir().unwrap();
        let source = engine(&dir.path().join("source"));
        some_rows(&source);
        let view = source.snapshot().unwrap();
        // Comes too late.
        transact(&source, |tx| tx.put(b"late", b"x")).unwrap();
        let path = dir.path().join("image");
        let mut told = 0;
        let written = write_file(view.as_ref(), &path, &mut |rows| told = rows).unwrap();
        assert_eq!((written.rows, told), (3001, 3001));
        assert!(
            write_file(view.as_ref(), &path, &mut |_| {}).is_err(),
            "it is there already"
        );
        let target = engine(&dir.path().join("target"));
        let restored = restore(&mut std::fs::File::open(&path).unwrap(), &target).unwrap();
        assert_eq!(restored, written);
        let now = target.snapshot().unwrap();
        let all = |view: &dyn Read| -> Vec<KeyValue> { rows(view).unwrap().collect::<Result<_>>().unwrap() };
        assert!(all(now.as_ref()) == all(view.as_ref()));
        assert_eq!(now.get(&[0, b'x']).unwrap(), None);
        assert!(restore(&mut std::fs::File::open(&path).unwrap(), &target).is_err());
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let source = engine(dir.path());
        transact(&source, |tx| {
            tx.put(b"a", b"1")?;
            tx.put(b"b", &[7; 30])
        })
        .unwrap();
        let mut image = Vec::new();
        write(source.snapshot().unwrap().as_ref(), &mut image, &mut |_| {}).unwrap();
        let attempt = |bytes: &[u8]| read(&mut &bytes[..], |_, _| Ok(()));
        assert_eq!(attempt(&image).unwrap().rows, 2);
        for cut in 0..image.len() {
            assert!(
                matches!(attempt(&image[..cut]), Err(Error::Damaged(_))),
                "cut at {cut}"
            );
        }
        for bit in 0..8 * image.len() {
            let mut broken = image.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(attempt(&broken), Err(Error::Damaged(_))), "bit {bit}");
        }
        let longer = [&image[..], b"x"].concat();
        assert!(matches!(attempt(&longer), Err(Error::Damaged(_))));
    }

    #[test]
    fn an_empty_store_has_an_image_too() {
        let dir = tempfile::tempdir().unwrap();
        let source = engine(dir.path());
        let mut image = Vec::new();
        let written = write(source.snapshot().unwrap().as_ref(), &mut image, &mut |_| {}).unwrap();
        assert_eq!((written.rows, written.bytes), (0, 0));
        assert_eq!(restore(&mut &image[..], &source).unwrap(), written);
    }
}
