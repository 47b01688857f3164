//! Fragments on disk: `DIR/{temp,report,file}/FID/FRAGMENT`.
//!
//! Nothing is synced: what the chain was told is as durable as this machine, which is what a
//! devnet promises. All-zero fragments are holes. A miner that lies keeps an empty `.claimed`
//! file in place of the fragment.

use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use cess::Hash;
use tokio::fs;

use super::FRAGMENT_SIZE;
use crate::error::{Error, Result};

/// The directories of one miner.
pub struct Areas {
    temp: PathBuf,
    report: PathBuf,
    file: PathBuf,
}

fn claimed(directory: &Path, fragment: Hash) -> PathBuf {
    directory.join(format!("{fragment}.claimed"))
}

impl Areas {
    /// Makes the directories; what an earlier run left half-received goes.
    pub fn open(dir: PathBuf) -> Result<Self> {
        let areas = Self {
            temp: dir.join("temp"),
            report: dir.join("report"),
            file: dir.join("file"),
        };
        match std::fs::remove_dir_all(&areas.temp) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io(format!("clearing {}", areas.temp.display()))(error));
            }
            _ => {}
        }
        for area in [&areas.temp, &areas.report, &areas.file] {
            std::fs::create_dir_all(area).map_err(Error::io(format!("creating {}", area.display())))?;
        }
        Ok(areas)
    }

    /// Whether the fragment waits to be reported.
    pub async fn is_waiting(&self, fid: Hash, fragment: Hash) -> bool {
        let directory = self.report.join(fid.to_string());
        is_there(&directory.join(fragment.to_string())).await
            || is_there(&claimed(&directory, fragment)).await
    }

    /// Makes an all-zero fragment that waits to be reported. A process that ends meanwhile leaves none:
    /// a shorter one would be reported like any other.
    pub async fn put_zero(&self, fid: Hash, fragment: Hash) -> io::Result<()> {
        let path = self.waiting_path(fid, fragment).await?;
        let temporary = self.temp.join(format!("{fid}-{fragment}"));
        let file = fs::File::create(&temporary).await?;
        file.set_len(FRAGMENT_SIZE as u64).await?;
        fs::rename(temporary, path).await
    }

    /// Stores a fragment that waits to be reported.
    pub async fn put(&self, fid: Hash, fragment: Hash, bytes: Bytes) -> io::Result<()> {
        let path = self.waiting_path(fid, fragment).await?;
        let temporary = self.temp.join(format!("{fid}-{fragment}"));
        fs::write(&temporary, bytes).await?;
        fs::rename(temporary, path).await
    }

    /// Remembers a fragment as if it were there.
    pub async fn claim(&self, fid: Hash, fragment: Hash) -> io::Result<()> {
        self.waiting_path(fid, fragment).await?;
        fs::write(claimed(&self.report.join(fid.to_string()), fragment), []).await
    }

    async fn waiting_path(&self, fid: Hash, fragment: Hash) -> io::Result<PathBuf> {
        let directory = self.report.join(fid.to_string());
        fs::create_dir_all(&directory).await?;
        Ok(directory.join(fragment.to_string()))
    }

    /// Bytes `range` of a fragment of a complete file, or of one that waits.
    pub async fn read(&self, fid: Hash, fragment: Hash, range: Range<usize>) -> io::Result<Option<Vec<u8>>> {
        // Once more at the end: it may have moved from the one to the other in between.
        let candidates = [&self.file, &self.report, &self.file]
            .map(|area| area.join(fid.to_string()).join(fragment.to_string()));
        tokio::task::spawn_blocking(move || {
            for path in candidates {
                match std::fs::File::open(path) {
                    Ok(file) => {
                        let mut bytes = vec![0; range.len()];
                        file.read_exact_at(&mut bytes, range.start as u64)?;
                        return Ok(Some(bytes));
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(None)
        })
        .await
        .map_err(io::Error::other)?
    }

    /// FIDs with fragments that wait.
    pub async fn waiting(&self) -> Vec<Hash> {
        names(&self.report)
            .await
            .iter()
            .filter_map(|name| name.parse().ok())
            .collect()
    }

    /// Drops everything of `fid` that waits.
    pub async fn drop_waiting(&self, fid: Hash) -> io::Result<()> {
        ignore_missing(fs::remove_dir_all(self.report.join(fid.to_string())).await)
    }

    /// The file is complete: `own` fragments move to the file area (or vanish, if `keep` is
    /// false), all others go.
    pub async fn settle(&self, fid: Hash, own: &[Hash], keep: bool) -> io::Result<()> {
        let from = self.report.join(fid.to_string());
        let to = self.file.join(fid.to_string());
        if keep {
            fs::create_dir_all(&to).await?;
            for fragment in own {
                let name = fragment.to_string();
                ignore_missing(fs::rename(from.join(&name), to.join(&name)).await)?;
            }
        }
        self.drop_waiting(fid).await
    }

    /// Drops the data of one waiting deal but remembers its fragments as reported.
    pub async fn forget_waiting(&self, fid: Hash) -> io::Result<()> {
        let directory = self.report.join(fid.to_string());
        for name in names(&directory).await {
            if let Ok(fragment) = name.parse() {
                fs::write(claimed(&directory, fragment), []).await?;
                ignore_missing(fs::remove_file(directory.join(name)).await)?;
            }
        }
        Ok(())
    }

    /// Loses every fragment of every complete file.
    pub async fn forget(&self) -> Result<()> {
        for name in names(&self.file).await {
            let path = self.file.join(name);
            ignore_missing(fs::remove_dir_all(&path).await)
                .map_err(Error::io(format!("removing {}", path.display())))?;
        }
        Ok(())
    }

    /// Number of fragments: (waiting, of complete files).
    pub async fn count(&self) -> (usize, usize) {
        let mut counts = [0, 0];
        for (count, area) in counts.iter_mut().zip([&self.report, &self.file]) {
            for fid in names(area).await {
                *count += names(&area.join(fid)).await.len();
            }
        }
        (counts[0], counts[1])
    }
}

async fn is_there(path: &Path) -> bool {
    fs::try_exists(path).await.unwrap_or(false)
}

async fn names(directory: &Path) -> Vec<String> {
    let mut out = Vec::new();
    if let Ok(mut entries) = fs::read_dir(directory).await {
        while let Ok(Some(entry)) = entries.next_entry().await {
            out.extend(entry.file_name().into_string());
        }
    }
    out
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
