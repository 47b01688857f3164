//! The tree, and every operation on it.
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::content::Content;
use super::trouble::{Request, Trouble};

/// The root directory.
pub const ROOT: u64 = 1;
/// Names are safe without a sync after this time: a journal is committed now and then.
const NAMES_AGE: Duration = Duration::from_secs(5);
/// Bytes are safe without a sync after this time: the kernel writes old pages back.
const BYTES_AGE: Duration = Duration::from_secs(15);
/// One write in so many makes the kernel write a page back.
const WRITE_BACK: u32 = 8;

type Result<T> = std::result::Result<T, Errno>;

/// What makes names safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// A sync of their directory alone.
    Strict,
    /// Any sync: there is one journal for all names.
    Journal,
}

/// One change of names in a directory: all of it happens, or nothing.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) number: u64,
    at: Instant,
    names: Vec<(OsString, Option<u64>)>,
}

/// A directory.
#[derive(Clone, Default)]
pub(super) struct Directory {
    now: BTreeMap<OsString, u64>,
    safe: BTreeMap<OsString, u64>,
    /// What leads from `safe` to `now`.
    pub(super) changes: Vec<Change>,
}

/// What an inode is.
#[derive(Clone)]
pub(super) enum Kind {
    File(Content),
    Directory(Directory),
}

#[derive(Clone)]
pub(super) struct Inode {
    pub(super) kind: Kind,
    /// Where it was last seen, from the root.
    pub(super) path: PathBuf,
    pub(super) mode: u32,
    opens: u64,
    dirty_since: Option<Instant>,
}

/// What `stat` shows.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Attributes {
    pub inode: u64,
    pub directory: bool,
    pub size: u64,
    pub space: u64,
    pub mode: u32,
}

/// A file system in memory.
pub struct Volume {
    pub(super) inodes: BTreeMap<u64, Inode>,
    pub(super) names: Names,
    /// Number of the last change of names, and of the last that a journal made safe.
    pub(super) changes: u64,
    pub(super) journaled: u64,
    pub(super) troubles: Vec<Trouble>,
    /// The power is off.
    pub(super) off: bool,
    next: u64,
    random: SmallRng,
    aged: Instant,
}

impl Directory {
    fn change(&mut self, number: u64, names: Vec<(OsString, Option<u64>)>) {
        apply(&mut self.now, &names);
        self.changes.push(Change {
            number,
            at: Instant::now(),
            names,
        });
    }

    /// Makes the first `count` changes safe.
    fn settle(&mut self, count: usize) {
        for change in self.changes.drain(..count) {
            apply(&mut self.safe, &change.names);
        }
    }

    /// What it holds when only the first `count` changes happened.
    pub(super) fn after(&self, count: usize) -> BTreeMap<OsString, u64> {
        let mut names = self.safe.clone();
        for change in &self.changes[..count] {
            apply(&mut names, &change.names);
        }
        names
    }

    /// A directory with these names, all of them safe.
    pub(super) fn settled(names: BTreeMap<OsString, u64>) -> Self {
        Self {
            now: names.clone(),
            safe: names,
            changes: Vec::new(),
        }
    }
}

fn apply(to: &mut BTreeMap<OsString, u64>, names: &[(OsString, Option<u64>)]) {
    for (name, inode) in names {
        match inode {
            Some(inode) => {
                to.insert(name.clone(), *inode);
            }
            None => {
                to.remove(name);
            }
        }
    }
}

impl Inode {
    pub(super) fn new(kind: Kind, path: PathBuf, mode: u32) -> Self {
        Self {
            kind,
            path,
            mode,
            opens: 0,
            dirty_since: None,
        }
    }
}

impl Volume {
    /// An empty one.
    pub fn new(names: Names, seed: u64) -> Self {
        let root = Inode::new(Kind::Directory(Directory::default()), PathBuf::new(), 0o755);
        Self::of(BTreeMap::from([(ROOT, root)]), names, seed)
    }

    pub(super) fn of(inodes: BTreeMap<u64, Inode>, names: Names, seed: u64) -> Self {
        Self {
            next: inodes.keys().next_back().map_or(ROOT, |last| *last) + 1,
            inodes,
            names,
            changes: 0,
            journaled: 0,
            troubles: Vec::new(),
            off: false,
            random: SmallRng::seed_from_u64(seed),
            aged: Instant::now(),
        }
    }

    /// Bytes that the files at and below `path` take.
    pub fn used(&self, path: &Path) -> u64 {
        let reachable = self.reachable(false);
        self.inodes
            .iter()
            .filter(|(number, inode)| inode.path.starts_with(path) && reachable.contains(number))
            .map(|(_, inode)| match &inode.kind {
                Kind::File(content) => content.space(),
                Kind::Directory(_) => 0,
            })
            .sum()
    }

    /// Every request begins here.
    fn admit(&mut self, inode: u64, request: Request) -> Result<()> {
        if self.off {
            return Err(Errno::EIO);
        }
        self.age();
        if self.troubles.is_empty() {
            return Ok(());
        }
        let path = self.inodes.get(&inode).ok_or(Errno::ENOENT)?.path.clone();
        for trouble in &self.troubles {
            if let Some(errno) = trouble.stops(request, &path, |below| self.used(below)) {
                return Err(errno);
            }
        }
        Ok(())
    }

    /// What a kernel does by itself when nobody asks it to.
    fn age(&mut self) {
        if self.aged.elapsed() < Duration::from_secs(1) {
            return;
        }
        self.aged = Instant::now();
        for inode in self.inodes.values_mut() {
            match &mut inode.kind {
                Kind::Directory(directory) => {
                    let old = directory
                        .changes
                        .iter()
                        .take_while(|change| change.at.elapsed() > NAMES_AGE);
                    let old = old.count();
                    directory.settle(old);
                }
                Kind::File(content) => {
                    if inode.dirty_since.is_some_and(|since| since.elapsed() > BYTES_AGE) {
                        content.sync();
                        inode.dirty_since = None;
                    }
                }
            }
        }
        self.sweep();
    }

    /// Forgets inodes that nothing leads to, before or after a cut.
    fn sweep(&mut self) {
        let reachable = self.reachable(true);
        self.inodes
            .retain(|number, inode| inode.opens > 0 || reachable.contains(number));
    }

    /// Inodes that names lead to now, and also those that they led to or may lead to after a cut.
    fn reachable(&self, ever: bool) -> BTreeSet<u64> {
        let mut found = BTreeSet::from([ROOT]);
        for inode in self.inodes.values() {
            let Kind::Directory(directory) = &inode.kind else {
                continue;
            };
            found.extend(directory.now.values());
            if ever {
                found.extend(directory.safe.values());
                let changed = directory.changes.iter().flat_map(|change| &change.names);
                found.extend(changed.filter_map(|(_, inode)| *inode));
            }
        }
        found
    }

    fn inode(&self, number: u64) -> Result<&Inode> {
        self.inodes.get(&number).ok_or(Errno::ENOENT)
    }

    fn directory(&mut self, number: u64) -> Result<&mut Directory> {
        match &mut self.inodes.get_mut(&number).ok_or(Errno::ENOENT)?.kind {
            Kind::Directory(directory) => Ok(directory),
            Kind::File(_) => Err(Errno::ENOTDIR),
        }
    }

    fn change(&mut self, parent: u64, names: Vec<(OsString, Option<u64>)>) -> Result<()> {
        self.changes += 1;
        let number = self.changes;
        self.directory(parent)?.change(number, names);
        Ok(())
    }

    /// The inode under a name.
    pub fn lookup(&mut self, parent: u64, name: &OsStr) -> Result<Attributes> {
        self.admit(parent, Request::Read)?;
        let found = self.directory(parent)?.now.get(name).copied();
        self.attributes(found.ok_or(Errno::ENOENT)?)
    }

    /// What `stat` shows.
    pub fn attributes(&self, number: u64) -> Result<Attributes> {
        if self.off {
            return Err(Errno::EIO);
        }
        let inode = self.inode(number)?;
        let (directory, size, space) = match &inode.kind {
            Kind::Directory(_) => (true, 0, 0),
            Kind::File(content) => (false, content.size(), content.space()),
        };
        Ok(Attributes {
            inode: number,
            directory,
            size,
            space,
            mode: inode.mode,
        })
    }

    /// Names and inodes of a directory.
    pub fn list(&mut self, number: u64) -> Result<Vec<(OsString, Attributes)>> {
        self.admit(number, Request::Read)?;
        let names = self.directory(number)?.now.clone();
        names
            .into_iter()
            .map(|(name, inode)| Ok((name, self.attributes(inode)?)))
            .collect()
    }

    /// Makes a file or a directory.
    pub fn make(&mut self, parent: u64, name: &OsStr, directory: bool, mode: u32) -> Result<Attributes> {
        self.admit(parent, Request::Write(4096))?;
        if self.directory(parent)?.now.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        let number = self.next;
        self.next += 1;
        let path = self.inode(parent)?.path.join(name);
        let kind = if directory {
            Kind::Directory(Directory::default())
        } else {
            Kind::File(Content::default())
        };
        self.inodes.insert(number, Inode::new(kind, path, mode & 0o7777));
        self.change(parent, vec![(name.to_owned(), Some(number))])?;
        self.attributes(number)
    }

    /// Removes a name; a directory must be empty.
    pub fn remove(&mut self, parent: u64, name: &OsStr, directory: bool) -> Result<()> {
        self.admit(parent, Request::Write(0))?;
        let found = self
            .directory(parent)?
            .now
            .get(name)
            .copied()
            .ok_or(Errno::ENOENT)?;
        match (&self.inode(found)?.kind, directory) {
            (Kind::Directory(_), false) => return Err(Errno::EISDIR),
            (Kind::File(_), true) => return Err(Errno::ENOTDIR),
            (Kind::Directory(inside), true) if !inside.now.is_empty() => return Err(Errno::ENOTEMPTY),
            _ => {}
        }
        self.change(parent, vec![(name.to_owned(), None)])
    }

    /// Renames within a directory; what has the new name goes. Nothing of a gateway moves between
    /// directories, so that is refused.
    pub fn rename(&mut self, parent: u64, from: &OsStr, new_parent: u64, to: &OsStr) -> Result<()> {
        self.admit(parent, Request::Write(0))?;
        if parent != new_parent {
            return Err(Errno::EXDEV);
        }
        let moved = self
            .directory(parent)?
            .now
            .get(from)
            .copied()
            .ok_or(Errno::ENOENT)?;
        let path = self.inode(parent)?.path.join(to);
        if let Some(inode) = self.inodes.get_mut(&moved) {
            inode.path = path;
        }
        self.change(
            parent,
            vec![(from.to_owned(), None), (to.to_owned(), Some(moved))],
        )
    }

    /// Somebody has it open.
    pub fn open(&mut self, number: u64) -> Result<()> {
        self.admit(number, Request::Read)?;
        self.inodes.get_mut(&number).ok_or(Errno::ENOENT)?.opens += 1;
        Ok(())
    }

    /// Somebody has it open no more.
    pub fn release(&mut self, number: u64) {
        if let Some(inode) = self.inodes.get_mut(&number) {
            inode.opens = inode.opens.saturating_sub(1);
        }
    }

    fn file(&mut self, number: u64) -> Result<&mut Content> {
        match &mut self.inodes.get_mut(&number).ok_or(Errno::ENOENT)?.kind {
            Kind::File(content) => Ok(content),
            Kind::Directory(_) => Err(Errno::EISDIR),
        }
    }

    fn touched(&mut self, number: u64) {
        if let Some(inode) = self.inodes.get_mut(&number) {
            inode.dirty_since.get_or_insert_with(Instant::now);
        }
    }

    /// Bytes of a file.
    pub fn read(&mut self, number: u64, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.admit(number, Request::Read)?;
        Ok(self.file(number)?.read(offset, len))
    }

    /// Changes bytes of a file.
    pub fn write(&mut self, number: u64, offset: u64, data: &[u8]) -> Result<()> {
        self.admit(number, Request::Write(data.len() as u64))?;
        self.file(number)?.write(offset, data);
        self.touched(number);
        if self.random.random_range(0..WRITE_BACK) == 0 {
            let mut random = self.random.clone();
            self.file(number)?.write_back_one(&mut random);
            self.random = random;
        }
        Ok(())
    }

    /// Changes the length of a file.
    pub fn resize(&mut self, number: u64, size: u64) -> Result<()> {
        self.admit(number, Request::Write(0))?;
        self.file(number)?.resize(size);
        self.touched(number);
        Ok(())
    }

    /// Takes a range of a file away, which then reads as zeroes.
    pub fn punch(&mut self, number: u64, offset: u64, len: u64) -> Result<()> {
        self.admit(number, Request::Write(0))?;
        self.file(number)?.punch(offset, len);
        self.touched(number);
        Ok(())
    }

    /// Changes permission bits.
    pub fn set_mode(&mut self, number: u64, mode: u32) -> Result<()> {
        self.admit(number, Request::Write(0))?;
        self.inodes.get_mut(&number).ok_or(Errno::ENOENT)?.mode = mode & 0o7777;
        Ok(())
    }

    /// Makes a file, or the names of a directory, safe.
    pub fn sync(&mut self, number: u64) -> Result<()> {
        if let Err(errno) = self.admit(number, Request::Sync) {
            if !self.off
                && let Ok(content) = self.file(number)
            {
                content.forget_dirt();
            }
            return Err(errno);
        }
        match &mut self.inodes.get_mut(&number).ok_or(Errno::ENOENT)?.kind {
            Kind::File(content) => content.sync(),
            Kind::Directory(directory) => directory.settle(directory.changes.len()),
        }
        if let Some(inode) = self.inodes.get_mut(&number) {
            inode.dirty_since = None;
        }
        if self.names == Names::Journal {
            self.journaled = self.changes;
            for inode in self.inodes.values_mut() {
                if let Kind::Directory(directory) = &mut inode.kind {
                    directory.settle(directory.changes.len());
                }
            }
        }
        Ok(())
    }
}
