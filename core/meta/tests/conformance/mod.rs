//! What every engine must do, as functions over a [`Subject`]: a way to make an empty store and to open
//! it. An engine's test file implements that and calls the groups; nothing here knows which
//! engine it is.
use std::ops::Bound::{Excluded, Included};
use std::path::Path;
use std::sync::Arc;

use meta::{Engine, Read};

pub mod backup;
pub mod directory;
pub mod feed;
pub mod files;
pub mod isolation;
pub mod kill;
pub mod load;
pub mod rows;

/// A store of the engine that is tested.
pub trait Subject: Sized {
    /// Whether the engine reports a conflict only where there is one. A database that locks pages of its
    /// index reports more.
    const EXACT: bool;

    /// An empty store. `None`, said aloud, when this machine lacks what it takes.
    fn new() -> Option<Self>;
    /// The store that [`Self::place`] of another process describes.
    fn at(place: &str) -> Self;
    /// What [`Self::at`] takes.
    fn place(&self) -> String;
    /// Opens it. The one before must be closed.
    fn open(&self) -> Arc<dyn Engine>;
    /// A directory of its own on this machine.
    fn directory(&self) -> &Path;
}

/// A check and what it shows.
pub type Check<S> = (&'static str, fn(&S));

/// Runs each check on an empty store.
pub fn run<S: Subject>(checks: &[Check<S>]) {
    for (name, check) in checks {
        let Some(store) = S::new() else { return };
        eprintln!("{name}");
        check(&store);
    }
}

pub fn set(engine: &dyn Engine, rows: &[(&str, &str)]) {
    let mut tx = engine.begin().unwrap();
    for (key, value) in rows {
        tx.put(key.as_bytes(), value.as_bytes()).unwrap();
    }
    tx.commit().unwrap();
}

pub fn get(view: &(impl Read + ?Sized), key: &str) -> Option<String> {
    view.get(key.as_bytes())
        .unwrap()
        .map(|value| String::from_utf8(value).unwrap())
}

pub fn keys(view: &(impl Read + ?Sized), from: &str, to: &str, reverse: bool) -> Vec<String> {
    view.range(Included(from.as_bytes()), Excluded(to.as_bytes()), reverse)
        .unwrap()
        .map(|row| String::from_utf8(row.unwrap().0).unwrap())
        .collect()
}

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
