//! What may be there after a crash.
use std::collections::BTreeMap;

use super::tree::{Id, Kind, Tree};
use super::{Reference, SLOTS};
use crate::model::operation::BUCKETS;
use crate::model::outcome::{Etag, differences};

/// What was found on the mount after a restart.
#[derive(Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Seen {
    Directory {
        xattrs: BTreeMap<String, Vec<u8>>,
        entries: BTreeMap<String, Seen>,
    },
    File {
        ino: u64,
        links: u64,
        xattrs: BTreeMap<String, Vec<u8>>,
        bytes: Vec<u8>,
    },
    Symlink {
        target: String,
    },
}

/// What a crash undid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Changes of names.
    pub names: usize,
    /// Files whose content is older than the last they had.
    pub files: usize,
}

/// Which file was found behind which inode, in which version.
type Choices = BTreeMap<Id, (u64, usize)>;

impl Reference {
    /// Finds out which of the allowed states the buckets are in, and goes on from there. The error
    /// says why it is none of them.
    pub fn recover(&mut self, seen: &[Seen; BUCKETS.len()]) -> Result<Recovered, String> {
        let recovered = self.go_back(seen)?;
        self.slots = [None; SLOTS];
        self.forget();
        Ok(recovered)
    }

    /// As [`Self::recover`], when one of several gateways crashed: what was attached at others is so
    /// still.
    pub fn recover_after(
        &mut self,
        gateway: usize,
        seen: &[Seen; BUCKETS.len()],
    ) -> Result<Recovered, String> {
        let recovered = self.go_back(seen)?;
        for slot in &mut self.slots {
            *slot = slot.filter(|attached| attached.gateway != gateway);
        }
        self.forget();
        Ok(recovered)
    }

    fn go_back(&mut self, seen: &[Seen; BUCKETS.len()]) -> Result<Recovered, String> {
        let mut reasons = Vec::new();
        let mut found = None;
        for (back, tree) in std::iter::once(&self.tree)
            .chain(self.undone.iter().rev())
            .enumerate()
        {
            let mut choices = Choices::new();
            let matched = seen.iter().enumerate().try_for_each(|(bucket, seen)| {
                self.compare(tree, bucket as Id, seen, BUCKETS[bucket], &mut choices)
            });
            match matched {
                Ok(()) => {
                    found = Some((back, tree.clone(), choices));
                    break;
                }
                Err(reason) => reasons.push(format!("{back} names back: {reason}")),
            }
        }
        let Some((back, tree, choices)) = found else {
            return Err(format!("no allowed state: {}", reasons.join("; ")));
        };
        let mut recovered = Recovered {
            names: back,
            files: 0,
        };
        self.tree = tree;
        self.undone.clear();
        for (id, (_, version)) in choices {
            if let Some(versions) = self.versions.get_mut(&id) {
                recovered.files += usize::from(version + 1 < versions.len());
                let mut kept = versions.swap_remove(version);
                if !versions.is_empty() {
                    // Content went back; whether the ETag did is the gateway's affair.
                    kept.etag = Etag::Unknown;
                }
                *versions = vec![kept];
            }
        }
        Ok(recovered)
    }

    fn compare(
        &self,
        tree: &Tree,
        id: Id,
        seen: &Seen,
        path: &str,
        choices: &mut Choices,
    ) -> Result<(), String> {
        let inode = tree.inode(id);
        match (&inode.kind, seen) {
            (Kind::Directory { .. }, Seen::Directory { xattrs, entries }) => {
                same(path, "attributes", &inode.xattrs, xattrs)?;
                let shown = tree.shown(id);
                same(
                    path,
                    "names",
                    &shown.keys().collect(),
                    &entries.keys().collect::<Vec<_>>(),
                )?;
                for ((name, child), seen) in shown.iter().zip(entries.values()) {
                    self.compare(tree, *child, seen, &format!("{path}/{name}"), choices)?;
                }
                Ok(())
            }
            (Kind::Symlink(model), Seen::Symlink { target }) => same(path, "targets", model, target),
            (
                Kind::File,
                Seen::File {
                    ino,
                    links,
                    xattrs,
                    bytes,
                },
            ) => {
                same(path, "attributes", &inode.xattrs, xattrs)?;
                same(path, "links", &inode.links, links)?;
                let versions = &self.versions[&id];
                let version = versions.iter().rposition(|version| *version.bytes == *bytes);
                let Some(version) = version else {
                    let against: Vec<_> = versions
                        .iter()
                        .map(|version| differences(&version.bytes, bytes))
                        .collect();
                    return Err(format!(
                        "{path}: {} bytes are none of its {} allowed versions, durable one first: {against:?}",
                        bytes.len(),
                        versions.len()
                    ));
                };
                let (other, _) = *choices.entry(id).or_insert((*ino, version));
                same(path, "inodes of two names of one file", &other, ino)
            }
            _ => Err(format!("{path}: another kind of inode")),
        }
    }
}

fn same<T: PartialEq + std::fmt::Debug>(path: &str, what: &str, model: &T, seen: &T) -> Result<(), String> {
    if model == seen {
        Ok(())
    } else {
        Err(format!("{path}: {what} are {seen:?}, not {model:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::operation::{Blob, FileOperation as F, Operation, Place};

    fn at(path: &str) -> Place {
        Place {
            bucket: 0,
            path: path.to_owned(),
        }
    }

    fn apply(model: &mut Reference, operation: F) {
        model.apply(&Operation::File(operation));
    }

    fn file(bytes: &[u8]) -> Seen {
        Seen::File {
            ino: 5,
            links: 1,
            xattrs: BTreeMap::new(),
            bytes: bytes.to_vec(),
        }
    }

    fn directory(entries: Vec<(&str, Seen)>) -> Seen {
        let entries = entries
            .into_iter()
            .map(|(name, seen)| (name.to_owned(), seen))
            .collect();
        Seen::Directory {
            xattrs: BTreeMap::new(),
            entries,
        }
    }

    /// A file made and synced, then written to, a second file made, and written to.
    fn model() -> (Reference, Vec<u8>, Vec<u8>) {
        let mut model = Reference::default();
        let (one, two) = (Blob { seed: 1, len: 10 }, Blob { seed: 2, len: 10 });
        apply(&mut model, F::Create { at: at("a") });
        apply(
            &mut model,
            F::Write {
                at: at("a"),
                offset: 0,
                body: one,
            },
        );
        apply(&mut model, F::Fsync { at: at("a") });
        apply(
            &mut model,
            F::Write {
                at: at("a"),
                offset: 0,
                body: two,
            },
        );
        apply(&mut model, F::Create { at: at("b") });
        apply(
            &mut model,
            F::Write {
                at: at("b"),
                offset: 0,
                body: two,
            },
        );
        (model, one.bytes(), two.bytes())
    }

    fn allowed(entries: Vec<(&str, Seen)>) -> bool {
        let (mut model, ..) = model();
        model.recover(&[directory(entries), directory(vec![])]).is_ok()
    }

    #[test]
    fn only_states_since_the_last_sync_are_allowed() {
        let (_, one, two) = model();
        assert!(allowed(vec![("a", file(&one))]));
        assert!(allowed(vec![("a", file(&two))]));
        assert!(allowed(vec![("a", file(&two)), ("b", file(b""))]));
        assert!(allowed(vec![("a", file(&one)), ("b", file(&two))]));
        assert!(!allowed(vec![]), "synced names do not go");
        assert!(!allowed(vec![("a", file(b""))]), "synced content does not go");
        assert!(!allowed(vec![("b", file(&two))]));
        assert!(
            !allowed(vec![("a", file(&[&one[..5], &two[5..]].concat()))]),
            "half a write is no version"
        );
    }

    #[test]
    fn the_model_goes_on_from_what_was_found() {
        let (mut model, one, _) = model();
        let found = [directory(vec![("a", file(&one))]), directory(vec![])];
        model.recover(&found).unwrap();
        model.recover(&found).unwrap();
        let newer = [
            directory(vec![("a", file(&one)), ("b", file(b""))]),
            directory(vec![]),
        ];
        assert!(model.recover(&newer).is_err(), "what was gone stays gone");
    }

    #[test]
    fn it_is_told_what_was_undone() {
        let (mut model, one, _) = model();
        let found = [directory(vec![("a", file(&one))]), directory(vec![])];
        assert_eq!(model.recover(&found), Ok(Recovered { names: 1, files: 1 }));
    }
}
