//! Where a namespace lives: which engine, and where it keeps it.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{
    Engine, EngineKind, Error, FjallEngine, MetaConfig, PostgresConfig, PostgresEngine, Result, SledEngine,
    directory,
};

/// Engines, and their directories within a gateway's metadata directory.
const FJALL: &str = "fjall";
const SLED: &str = "sled";
const POSTGRES: &str = "postgres";

/// A place for a namespace.
#[derive(Clone, Debug)]
pub enum Place {
    /// An engine of this process, in a directory.
    Directory(MetaConfig),
    /// A database that several gateways may share.
    Database {
        /// The database.
        config: Box<PostgresConfig>,
        /// Directory for what this gateway remembers of it, made if absent.
        path: PathBuf,
    },
}

impl Place {
    /// What people call it.
    pub fn name(&self) -> String {
        match self {
            Self::Directory(config) => match config.engine {
                EngineKind::Fjall => format!("fjall in {}", config.path.display()),
                EngineKind::Sled => format!("sled in {}", config.path.display()),
            },
            Self::Database { config, .. } => format!(
                "postgres, schema {} of database {} at {}",
                config.schema,
                config.database,
                config.hosts.join(", ")
            ),
        }
    }

    /// What engines keep on this machine in a gateway's metadata directory `path`, by their names: those
    /// that were opened there at least once. Empty when there is no such directory.
    pub fn engines_in(path: &Path) -> Vec<&'static str> {
        // Of a database there is a file, which says which one it is.
        let directories = [FJALL, SLED, POSTGRES].into_iter();
        directories.filter(|name| path.join(name).exists()).collect()
    }

    /// The name of its engine.
    pub const fn engine(&self) -> &'static str {
        match self {
            Self::Directory(config) => match config.engine {
                EngineKind::Fjall => FJALL,
                EngineKind::Sled => SLED,
            },
            Self::Database { .. } => POSTGRES,
        }
    }

    /// The directory on this machine that belongs to it.
    fn directory(&self) -> &Path {
        match self {
            Self::Directory(config) => &config.path,
            Self::Database { path, .. } => path,
        }
    }

    /// The file that notes which commits were acknowledged.
    pub(crate) fn guard(&self) -> PathBuf {
        // One for each engine: a counter of one says nothing about the other.
        self.directory().join(match self {
            Self::Directory(MetaConfig {
                engine: EngineKind::Sled,
                ..
            }) => "guard-sled",
            _ => "guard",
        })
    }

    /// Opens the bare engine.
    pub(crate) fn open(&self) -> Result<Arc<dyn Engine>> {
        let path = self.directory();
        directory::make(path).map_err(|error| Error::Engine(format!("{}: {error}", path.display())))?;
        Ok(match self {
            Self::Directory(config) => match config.engine {
                EngineKind::Fjall => Arc::new(FjallEngine::open(&path.join(FJALL), config.cache_bytes)?),
                EngineKind::Sled => Arc::new(SledEngine::open(&path.join(SLED), config.cache_bytes)?),
            },
            Self::Database { config, path } => Arc::new(PostgresEngine::open(config, &path.join(POSTGRES))?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Meta;

    #[test]
    fn a_directory_says_which_engines_were_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("meta");
        assert!(Place::engines_in(&path).is_empty());
        for (engine, there) in [
            (EngineKind::Sled, vec!["sled"]),
            (EngineKind::Fjall, vec!["fjall", "sled"]),
        ] {
            let place = Place::Directory(MetaConfig {
                engine,
                path: path.clone(),
                cache_bytes: 8 << 20,
            });
            drop(Meta::at(&place).unwrap());
            assert_eq!(Place::engines_in(&path), there);
            assert!(there.contains(&place.engine()));
        }
        // What is kept of a database is a file.
        std::fs::write(path.join("postgres"), b"which").unwrap();
        assert_eq!(Place::engines_in(&path), ["fjall", "sled", "postgres"]);
    }
}
