//! Snapshots as exports.
use block_frontend::Error;
use block_frontend::client::{Client, Handshake};
use block_frontend::proto::constants::{Errno, export_flag};

use crate::namespace::{MIB, open, serve};

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_a_read_only_export() {
    let dir = tempfile::tempdir().unwrap();
    let vfs = open(dir.path()).await;
    vfs.create_bucket("vm").await.unwrap();
    vfs.create_volume("vm/root", 8 * MIB, 4096, "the root disk")
        .await
        .unwrap();
    let (_server, address) = serve(&vfs).await;
    let mut live = Client::attach(address, b"vm/root").await.unwrap();
    assert_eq!(live.flags() & export_flag::READ_ONLY, 0);
    live.write(4096, &[1; 8192], false).await.unwrap();
    // Neither flushed nor synced: it was answered.
    vfs.create_snapshot("vm/root", "clean").await.unwrap();
    live.write(0, &[2; 16384], true).await.unwrap();

    let mut then = Client::attach(address, b"vm/root@clean").await.unwrap();
    assert_ne!(then.flags() & export_flag::READ_ONLY, 0);
    assert_eq!(then.size(), 8 * MIB);
    let data = then.read(0, 16384).await.unwrap();
    assert!(data[..4096] == [0; 4096] && data[4096..12288] == [1; 8192] && data[12288..] == [0; 4096]);
    let refused = [
        then.write(0, &[3; 512], false).await,
        then.trim(0, 4096, false).await,
        then.write_zeroes(0, 4096, 0).await,
    ];
    for refused in refused {
        assert!(
            matches!(
                refused,
                Err(Error::Failed {
                    errno: Errno::Perm,
                    ..
                })
            ),
            "{refused:?}"
        );
    }
    then.flush().await.unwrap();
    assert_eq!(live.read(0, 16384).await.unwrap()[..], [2; 16384]);
    let listed = Handshake::tcp(address).await.unwrap().list().await.unwrap();
    assert_eq!(listed.len(), 1, "snapshots are not listed");
    vfs.delete_snapshot("vm/root", "clean").await.unwrap();
    assert!(then.read(0, 512).await.is_err());
    assert!(Client::attach(address, b"vm/root@clean").await.is_err());
}
