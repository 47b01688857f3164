//! Stores of engines that keep them in a directory.
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use meta::Engine;

use super::Subject;

/// An engine that keeps its store in a directory.
pub trait Embedded {
    /// Opens the store below a directory.
    fn open(path: &Path) -> Arc<dyn Engine>;
}

/// A directory with such a store in it.
pub struct Directory<E> {
    path: PathBuf,
    // Removed at the end, unless it is another process's.
    _own: Option<tempfile::TempDir>,
    engine: PhantomData<E>,
}

impl<E: Embedded> Subject for Directory<E> {
    const EXACT: bool = true;

    fn new() -> Option<Self> {
        let own = tempfile::tempdir().unwrap();
        Some(Self {
            path: own.path().to_owned(),
            _own: Some(own),
            engine: PhantomData,
        })
    }

    fn at(place: &str) -> Self {
        Self {
            path: place.into(),
            _own: None,
            engine: PhantomData,
        }
    }

    fn place(&self) -> String {
        self.path.to_str().unwrap().to_owned()
    }

    fn open(&self) -> Arc<dyn Engine> {
        E::open(&self.path)
    }

    fn directory(&self) -> &Path {
        &self.path
    }
}
