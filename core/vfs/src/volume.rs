//! Volumes and exports: the block view of a regular file.
use crate::{Export, InodeNo, Result, Vfs, VolumeInfo};

impl Vfs {
    /// Makes a volume `bucket/key` of `size` bytes, all hole. `sector` is 512 or 4096.
    pub async fn create_volume(
        &self,
        path: &str,
        size: u64,
        sector: u32,
        description: &str,
    ) -> Result<VolumeInfo> {
        let _ = (path, size, sector, description);
        todo!()
    }
    /// All volumes.
    pub async fn volumes(&self) -> Result<Vec<VolumeInfo>> {
        todo!()
    }
    /// Changes the size; shrinking needs `shrink`.
    pub async fn resize_volume(&self, path: &str, size: u64, shrink: bool) -> Result<VolumeInfo> {
        let _ = (path, size, shrink);
        todo!()
    }
    /// Removes a volume. `Busy` while attached.
    pub async fn delete_volume(&self, path: &str) -> Result<()> {
        let _ = path;
        todo!()
    }
    /// Finds what an export name (`bucket/key`, already percent-decoded) serves. Any regular file can be exported.
    pub async fn export(&self, name: &[u8]) -> Result<Export> {
        let _ = name;
        todo!()
    }
    /// Marks the inode attached (keeps it alive, makes `delete_volume` refuse) until [`Self::detach`].
    pub async fn attach(&self, ino: InodeNo) -> Result<()> {
        let _ = ino;
        todo!()
    }
    /// Undoes one [`Self::attach`].
    pub async fn detach(&self, ino: InodeNo) -> Result<()> {
        let _ = ino;
        todo!()
    }
}
