//! What is left after a cut.
use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::content::Mood;
use super::volume::{Directory, Inode, Kind, Names, ROOT, Volume};

/// A disk at the moment when its power went. Any number of images can be drawn from it.
pub struct Cut {
    volume: Volume,
}

impl Cut {
    /// Of a volume to which nothing happens any more.
    pub(super) fn of(volume: Volume) -> Self {
        Self { volume }
    }

    /// One state that the disk may be found in; the same for the same seed.
    pub fn image(&self, seed: u64) -> Volume {
        let mut random = SmallRng::seed_from_u64(seed);
        // Half of the images are extreme: those find most.
        let mood = match random.random_range(0..8) {
            0..=1 => Mood::Nothing,
            2 => Mood::Everything,
            3 => Mood::Some(9),
            4 => Mood::Some(1),
            _ => Mood::Some(5),
        };
        let volume = &self.volume;
        // With a journal, names are lost from one moment on; without, in each directory apart.
        let journal = random.random_range(volume.journaled..=volume.changes);
        let mut tree = BTreeMap::new();
        let mut found = BTreeSet::from([ROOT]);
        for (number, inode) in &volume.inodes {
            let Kind::Directory(directory) = &inode.kind else {
                continue;
            };
            let kept = match (volume.names, mood) {
                (_, Mood::Nothing) => 0,
                (_, Mood::Everything) => directory.changes.len(),
                (Names::Strict, Mood::Some(_)) => random.random_range(0..=directory.changes.len()),
                (Names::Journal, Mood::Some(_)) => directory
                    .changes
                    .partition_point(|change| change.number <= journal),
            };
            let names = directory.after(kept);
            found.extend(names.values());
            tree.insert(*number, names);
        }
        let mut inodes = BTreeMap::new();
        for (number, inode) in &volume.inodes {
            if !found.contains(number) {
                continue;
            }
            let kind = match &inode.kind {
                Kind::Directory(_) => {
                    let names = tree.remove(number).unwrap_or_default();
                    // A name whose inode is long gone was never safe.
                    let names = names
                        .into_iter()
                        .filter(|(_, inode)| volume.inodes.contains_key(inode))
                        .collect();
                    Kind::Directory(Directory::settled(names))
                }
                Kind::File(content) => Kind::File(content.after_cut(mood, &mut random)),
            };
            inodes.insert(*number, Inode::new(kind, inode.path.clone(), inode.mode));
        }
        set_paths(&mut inodes);
        Volume::of(inodes, volume.names, seed)
    }
}

/// Names may have gone back to older ones.
fn set_paths(inodes: &mut BTreeMap<u64, Inode>) {
    let mut open = vec![ROOT];
    while let Some(number) = open.pop() {
        let Some(inode) = inodes.get(&number) else {
            continue;
        };
        let Kind::Directory(directory) = &inode.kind else {
            continue;
        };
        let children: Vec<_> = directory
            .after(0)
            .into_iter()
            .map(|(name, child)| (inode.path.join(name), child))
            .collect();
        for (path, child) in children {
            if let Some(inode) = inodes.get_mut(&child) {
                inode.path = path;
                open.push(child);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn names(volume: &mut Volume) -> Vec<String> {
        let listed = volume.list(ROOT).unwrap();
        listed
            .into_iter()
            .map(|(name, _)| name.to_string_lossy().into_owned())
            .collect()
    }

    fn images(volume: Volume) -> impl Iterator<Item = Volume> {
        let cut = Cut::of(volume);
        (0..200).map(move |seed| cut.image(seed))
    }

    /// A file `new` written and synced beside a safe `old`, then renamed over it.
    fn replaced(kind: Names) -> Volume {
        let mut volume = Volume::new(kind, 1);
        let old = volume.make(ROOT, OsStr::new("file"), false, 0o600).unwrap();
        volume.write(old.inode, 0, b"old").unwrap();
        volume.sync(old.inode).unwrap();
        volume.sync(ROOT).unwrap();
        let new = volume.make(ROOT, OsStr::new("file.new"), false, 0o600).unwrap();
        volume.write(new.inode, 0, b"new").unwrap();
        volume.sync(new.inode).unwrap();
        volume
            .rename(ROOT, OsStr::new("file.new"), ROOT, OsStr::new("file"))
            .unwrap();
        volume
    }

    #[test]
    fn a_rename_happens_whole_or_not_at_all() {
        for kind in [Names::Strict, Names::Journal] {
            let mut seen = BTreeSet::new();
            for mut image in images(replaced(kind)) {
                let file = image.lookup(ROOT, OsStr::new("file")).unwrap();
                let bytes = image.read(file.inode, 0, 10).unwrap();
                seen.insert((bytes, names(&mut image).len()));
            }
            let mut expected = BTreeSet::from([(b"old".to_vec(), 2), (b"new".to_vec(), 1)]);
            if kind == Names::Strict {
                // The new file was synced, but its directory was not.
                expected.insert((b"old".to_vec(), 1));
            }
            assert_eq!(seen, expected, "{kind:?}");
        }
    }

    #[test]
    fn a_synced_directory_keeps_its_names() {
        let mut volume = replaced(Names::Strict);
        volume.sync(ROOT).unwrap();
        for mut image in images(volume) {
            assert_eq!(names(&mut image), ["file"]);
            let file = image.lookup(ROOT, OsStr::new("file")).unwrap();
            assert_eq!(image.read(file.inode, 0, 10).unwrap(), b"new");
        }
    }

    #[test]
    fn a_deleted_file_may_come_back_with_its_safe_bytes() {
        let mut volume = replaced(Names::Strict);
        volume.sync(ROOT).unwrap();
        volume.remove(ROOT, OsStr::new("file"), false).unwrap();
        let mut came_back = 0;
        for mut image in images(volume) {
            if let Ok(file) = image.lookup(ROOT, OsStr::new("file")) {
                assert_eq!(image.read(file.inode, 0, 10).unwrap(), b"new");
                came_back += 1;
            }
        }
        assert!((1..200).contains(&came_back), "{came_back} of 200");
    }
}
