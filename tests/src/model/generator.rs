//! Makes operations from a seed.
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::operation::{
    BUCKETS, Blob, BlockOperation, Condition, Event, FileOperation, ObjectOperation, Operation, Place,
    RenameHow, SLOTS, XATTRS,
};

/// Components are few, so that operations meet: on the same file, and on names of which one is the
/// directory of another.
const PATHS: [&str; 13] = [
    "a", "b", "c", "d", "a/b", "a/c", "b/a", "b/c", "a/b/c", "a/b/d", "b/c/a", "c/c/c", "d.txt",
];
/// Names that only symlinks have: no other operation walks through them.
const SYMLINKS: [&str; 2] = ["ln0", "ln1"];
/// Prefixes to list.
const PREFIXES: [&str; 8] = ["", "", "a", "a/", "a/b", "b/c/", "d", "x"];

/// How far into a file operations reach, in bytes.
const REACH: u64 = 600 << 10;
/// Operations before a kill that meet on one file.
const BURST: usize = 10;
/// A kill in the middle of an operation comes at most two to the power of this many microseconds
/// after its begin. Operations take from a tenth of a millisecond to several.
const KILL_POWER: u32 = 12;
/// Most miners that are dead at a time: any 4 of a pack's 12 must do.
const MOST_DEAD: usize = 8;

/// Makes `count` operations, `kills` of which are kills.
pub fn operations(seed: u64, count: usize, kills: usize) -> Vec<Operation> {
    let mut generator = Generator {
        random: StdRng::seed_from_u64(seed),
        focus: None,
    };
    let mut operations = Vec::with_capacity(count);
    let stretch = count / (kills + 1);
    for index in 0..count {
        // The last operations before a kill meet on one file: what a crash may undo is young, and what
        // it may not has just been synced.
        let to_kill = (stretch > 0 && index / stretch < kills).then(|| stretch - 1 - index % stretch);
        generator.focus = match to_kill {
            Some(BURST) => Some(generator.place()),
            Some(0..BURST) => generator.focus,
            _ => None,
        };
        let kill = stretch > 0 && index % stretch == stretch - 1 && index / stretch < kills;
        operations.push(if kill {
            Operation::Event(generator.kill())
        } else {
            generator.operation()
        });
    }
    operations
}

struct Generator {
    random: StdRng,
    /// The file that operations meet on before a kill.
    focus: Option<Place>,
}

impl Generator {
    fn operation(&mut self) -> Operation {
        if let Some(at) = self.focus.clone()
            && self.random.random_bool(0.9)
        {
            return self.burst(at);
        }
        match self.random.random_range(0..1000) {
            0..340 => Operation::Object(self.object()),
            340..760 => Operation::File(self.file()),
            760..985 => Operation::Block(self.block()),
            _ => Operation::Event(self.event()),
        }
    }

    /// Writes and syncs of one file, through two doors.
    fn burst(&mut self, at: Place) -> Operation {
        use BlockOperation as B;
        use FileOperation as F;
        let (slot, offset, body) = (0, self.offset(), self.blob());
        match self.random.random_range(0..100) {
            0..12 => Operation::File(F::Create { at }),
            12..32 => Operation::File(F::Write { at, offset, body }),
            32..38 => Operation::File(F::Append { at, body }),
            38..42 => Operation::File(F::Truncate { at, len: offset }),
            42..60 => Operation::File(F::Fsync { at }),
            60..70 => Operation::Block(B::Attach { slot, at }),
            70..90 => {
                let fua = self.random.random_bool(0.3);
                Operation::Block(B::Write {
                    slot,
                    offset,
                    body,
                    fua,
                })
            }
            _ => Operation::Block(B::Flush { slot }),
        }
    }

    fn kill(&mut self) -> Event {
        if self.random.random_bool(0.3) {
            return Event::Kill;
        }
        loop {
            let operation = self.operation();
            // A batch is many changes, each for itself; an attachment does not outlive the gateway.
            let is_one_change = !matches!(
                operation,
                Operation::Event(_)
                    | Operation::Object(ObjectOperation::DeleteMany { .. })
                    | Operation::Block(BlockOperation::Attach { .. } | BlockOperation::Detach { .. })
            );
            if is_one_change {
                let power = self.random.random_range(4..=KILL_POWER);
                let micros = self.random.random_range(0..1 << power);
                return Event::KillDuring {
                    operation: Box::new(operation),
                    micros,
                };
            }
        }
    }

    fn object(&mut self) -> ObjectOperation {
        use ObjectOperation as O;
        let at = self.place();
        match self.random.random_range(0..1000) {
            0..300 => {
                let condition = match self.random.random_range(0..20) {
                    0 | 1 => Condition::Absent,
                    2 => Condition::Present,
                    3 => Condition::Never,
                    _ => Condition::None,
                };
                let tag = self.random.random_bool(0.3).then(|| self.random.random());
                O::Put {
                    at,
                    body: self.blob(),
                    tag,
                    condition,
                }
            }
            300..480 => {
                let range = self.random.random_bool(0.4).then(|| {
                    let from = self.offset();
                    (from, from + self.random.random_range(0..200_000))
                });
                O::Get { at, range }
            }
            480..560 => O::Head { at },
            560..680 => O::Delete { at },
            680..710 => {
                let count = self.random.random_range(1..5);
                let paths = (0..count).map(|_| self.path()).collect();
                O::DeleteMany {
                    bucket: at.bucket,
                    paths,
                }
            }
            710..800 => {
                let to = self.place();
                if to == at {
                    O::Head { at }
                } else {
                    O::Copy { from: at, to }
                }
            }
            800..930 => O::List {
                bucket: at.bucket,
                prefix: (*self.pick(&PREFIXES)).to_owned(),
                delimiter: self.random.random(),
                version: self.random.random_range(1..=2),
                page: *self.pick(&[1, 2, 3, 1000]),
            },
            930..938 => O::Multipart {
                at,
                first: self.random.random(),
                last: self.blob(),
            },
            938..948 => O::AbortMultipart {
                at,
                part: self.blob(),
            },
            948..978 => O::PutDirectory { at },
            _ => O::DeleteDirectory { at },
        }
    }

    fn file(&mut self) -> FileOperation {
        use FileOperation as F;
        if self.random.random_bool(0.04) {
            let bucket = self.bucket();
            let mut link = || Place {
                bucket,
                path: (*self.pick(&SYMLINKS)).to_owned(),
            };
            let (at, to) = (link(), link());
            return match self.random.random_range(0..5) {
                0 | 1 => F::Symlink {
                    at,
                    target: self.path(),
                },
                2 => F::Readlink { at },
                3 => F::Unlink { at },
                _ => F::Rename {
                    from: at,
                    to,
                    how: RenameHow::Replace,
                },
            };
        }
        let at = self.place();
        match self.random.random_range(0..1000) {
            0..90 => F::Create { at },
            90..250 => F::Write {
                at,
                offset: self.offset(),
                body: self.blob(),
            },
            250..310 => F::Append {
                at,
                body: self.blob(),
            },
            310..450 => F::Read {
                at,
                offset: self.offset(),
                len: self.random.random_range(1..300_000),
            },
            450..500 => F::Truncate {
                at,
                len: self.offset(),
            },
            500..540 => F::Punch {
                at,
                offset: self.offset(),
                len: self.random.random_range(1..200_000),
            },
            540..640 => {
                let to = self.place_near(&at);
                let how = *self.pick(&[
                    RenameHow::Replace,
                    RenameHow::Replace,
                    RenameHow::Replace,
                    RenameHow::NoReplace,
                    RenameHow::Exchange,
                ]);
                F::Rename { from: at, to, how }
            }
            640..680 => {
                let to = self.place_near(&at);
                F::Link { from: at, to }
            }
            680..730 => F::Unlink { at },
            730..770 => F::Mkdir { at },
            770..800 => F::Rmdir { at },
            800..850 => {
                let path = self.path();
                let path = if self.random.random_bool(0.4) {
                    String::new()
                } else {
                    path
                };
                F::Readdir {
                    at: Place {
                        bucket: at.bucket,
                        path,
                    },
                }
            }
            850..875 => {
                let len = self.random.random_range(1..200);
                F::SetXattr {
                    at,
                    name: self.xattr(),
                    value: Blob {
                        seed: self.random.random(),
                        len,
                    },
                }
            }
            875..895 => F::GetXattr {
                at,
                name: self.xattr(),
            },
            895..905 => F::RemoveXattr {
                at,
                name: self.xattr(),
            },
            905..915 => F::ListXattr { at },
            915..965 => F::Stat { at },
            _ => F::Fsync { at },
        }
    }

    fn block(&mut self) -> BlockOperation {
        use BlockOperation as B;
        let slot = self.random.random_range(0..SLOTS);
        let offset = self.random.random();
        let fua = self.random.random_bool(0.1);
        let len = self.random.random_range(1..150_000);
        match self.random.random_range(0..1000) {
            0..130 => B::Attach {
                slot,
                at: self.place(),
            },
            130..420 => B::Read { slot, offset, len },
            420..750 => B::Write {
                slot,
                offset,
                body: self.blob(),
                fua,
            },
            750..830 => B::Zero {
                slot,
                offset,
                len,
                allocate: self.random.random(),
                fua,
            },
            830..900 => B::Trim {
                slot,
                offset,
                len,
                fua,
            },
            900..970 => B::Flush { slot },
            _ => B::Detach { slot },
        }
    }

    fn event(&mut self) -> Event {
        match self.random.random_range(0..100) {
            0..25 => Event::Dead {
                first: self.random.random_range(0..12),
                count: self.random.random_range(1..=MOST_DEAD),
            },
            25..50 => Event::Heal,
            50..85 => Event::DropCaches,
            85..92 => Event::Flush { level: "staged" },
            92..97 => Event::Flush { level: "placed" },
            _ => Event::Flush { level: "verified" },
        }
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        from.choose(&mut self.random)
            .expect("the lists above are not empty")
    }

    fn bucket(&mut self) -> usize {
        // Mostly one, so that operations meet.
        usize::from(self.random.random_bool(0.25)) % BUCKETS.len()
    }

    fn path(&mut self) -> String {
        (*self.pick(&PATHS)).to_owned()
    }

    fn place(&mut self) -> Place {
        Place {
            bucket: self.bucket(),
            path: self.path(),
        }
    }

    /// Mostly in the same bucket.
    fn place_near(&mut self, other: &Place) -> Place {
        let bucket = if self.random.random_bool(0.9) {
            other.bucket
        } else {
            self.bucket()
        };
        Place {
            bucket,
            path: self.path(),
        }
    }

    fn xattr(&mut self) -> usize {
        self.random.random_range(0..XATTRS.len())
    }

    fn offset(&mut self) -> u64 {
        match self.random.random_range(0..4) {
            0 => 0,
            1 => self.random.random_range(0..5000),
            // Around the border of a chunk.
            2 => (256 << 10) - 10 + self.random.random_range(0..20),
            _ => self.random.random_range(0..REACH),
        }
    }

    fn blob(&mut self) -> Blob {
        let len = match self.random.random_range(0..20) {
            0 => 1,
            1..12 => self.random.random_range(1..5000),
            12..18 => self.random.random_range(5000..70_000),
            _ => self.random.random_range(200_000..700_000),
        };
        Blob {
            seed: self.random.random(),
            len,
        }
    }
}
