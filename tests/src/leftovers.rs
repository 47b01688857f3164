//! Looking for sealed bytes in files: what the miners hold must not lie about on the gateway.
use std::collections::HashMap;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use cess::codec::FRAGMENT_SIZE;
use rustix::fs::SeekFrom;

/// Bytes of a sample: long enough that two equal ones are copies.
const SAMPLE: usize = 32;
/// Bytes from one sample to the next.
const STEP: usize = 512;
/// Bytes at the start of a segment that are no frame: its header (docs/FORMAT.md).
const HEADER: usize = 64;

/// Samples of the bytes that miners store.
pub struct Samples {
    /// Whether a sample begins with these three bytes: rules most of a file out at once.
    begins: Vec<bool>,
    /// First eight bytes of a sample → the rest of it.
    heads: HashMap<u64, [u8; SAMPLE - 8]>,
    fragments: Vec<PathBuf>,
}

impl Samples {
    /// Takes samples of every fragment below `stores`. Data fragments hold frames as they are, so
    /// samples of these are samples of frames. (Other files, the chain's for one, hold hashes that the
    /// gateway knows, too.)
    pub fn of(stores: &Path) -> Result<Self> {
        let mut begins = vec![false; 1 << 24];
        let mut heads = HashMap::new();
        let mut fragments = Vec::new();
        for path in files_below(stores, &[])? {
            let content = std::fs::read(&path).with_context(|| path.display().to_string())?;
            if content.len() != FRAGMENT_SIZE {
                continue;
            }
            for sample in content.get(HEADER..).unwrap_or_default().chunks_exact(STEP) {
                let (head, tail) = split(sample);
                // Padding, or numbers that any file may hold.
                if !sample[..SAMPLE].windows(4).any(|window| window == [0; 4]) {
                    begins[first_three(sample)] = true;
                    heads.insert(head, tail);
                }
            }
            fragments.push(path);
        }
        Ok(Self {
            begins,
            heads,
            fragments,
        })
    }

    /// Number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Whether several fragments hold these bytes. Then they are of no frame, which is sealed once and
    /// lies in one place, but of the wrapped root key that every segment carries and the gateway has.
    fn is_in_several(&self, bytes: &[u8]) -> bool {
        let finder = memchr::memmem::Finder::new(bytes);
        let holds =
            |path: &&PathBuf| std::fs::read(path).is_ok_and(|content| finder.find(&content).is_some());
        self.fragments.iter().filter(holds).take(2).count() > 1
    }

    /// The files below `root`, but for those below `except`, that hold a sample.
    pub fn found_below(&self, root: &Path, except: &[&Path]) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for path in files_below(root, except)? {
            // A file may go while this looks.
            let Ok(content) = written(&path) else {
                continue;
            };
            let copied = content.windows(SAMPLE).any(|window| {
                self.begins[first_three(window)] && {
                    let (head, tail) = split(window);
                    self.heads.get(&head) == Some(&tail) && !self.is_in_several(window)
                }
            });
            if copied {
                found.push(path);
            }
        }
        Ok(found)
    }
}

/// The first three bytes as a number.
fn first_three(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) | usize::from(bytes[1]) << 8 | usize::from(bytes[2]) << 16
}

/// The first eight bytes of a sample as a number, and the rest.
fn split(bytes: &[u8]) -> (u64, [u8; SAMPLE - 8]) {
    let mut head = [0; 8];
    let mut tail = [0; SAMPLE - 8];
    head.copy_from_slice(&bytes[..8]);
    tail.copy_from_slice(&bytes[8..SAMPLE]);
    (u64::from_le_bytes(head), tail)
}

/// What was ever written to a file: its holes are left out, and what is around them put together.
fn written(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = std::fs::File::open(path)?;
    let mut content = Vec::new();
    let mut at = 0;
    while let Ok(data) = rustix::fs::seek(&file, SeekFrom::Data(at)) {
        at = rustix::fs::seek(&file, SeekFrom::Hole(data))?;
        let from = content.len();
        content.resize(from + (at - data) as usize, 0);
        file.read_exact_at(&mut content[from..], data)?;
    }
    Ok(content)
}

/// All plain files below `root` but for those below `except`.
fn files_below(root: &Path, except: &[&Path]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
            let entry = entry?;
            let path = entry.path();
            if except.contains(&path.as_path()) {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_dir() {
                left.push(path);
            } else if kind.is_file() {
                files.push(path);
            }
        }
    }
    Ok(files)
}
