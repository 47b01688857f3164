//! What FLUSH and FUA stand for. There is no network behind the door: nothing rises above staged.
use block_frontend::Error;
use block_frontend::client::Client;
use block_frontend::proto::constants::Errno;
use vfs::{InodeNo, Level};

use crate::namespace::{MIB, open, serve};

fn refused(result: Result<(), Error>) {
    assert!(
        matches!(result, Err(Error::Failed { errno: Errno::Io, .. })),
        "{result:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn flush_and_fua_stand_for_the_level_of_the_export() {
    let dir = tempfile::tempdir().unwrap();
    let vfs = open(dir.path()).await;
    let bucket = vfs.create_bucket("vm").await.unwrap().ino;
    let volume = vfs.create_volume("vm/disk", MIB, 512, "").await.unwrap();
    let export = InodeNo(volume.ino);
    let (_server, address) = serve(&vfs).await;
    let mut client = Client::attach(address, b"vm/disk").await.unwrap();
    client.write(0, &[1; 512], true).await.unwrap();
    client.flush().await.unwrap();
    for asked in [export, bucket] {
        vfs.set_ack(asked, Some(Level::Placed)).await.unwrap();
        refused(client.write(0, &[2; 512], true).await);
        refused(client.flush().await);
        // Without a promise there is nothing to wait for.
        client.write(512, &[3; 512], false).await.unwrap();
        vfs.set_ack(asked, None).await.unwrap();
        client.flush().await.unwrap();
    }
    let (_strict, address) = serve(&vfs.demanding(Some(Level::Verified), None)).await;
    let mut strict = Client::attach(address, b"vm/disk").await.unwrap();
    refused(strict.flush().await);
    assert_eq!(&strict.read(0, 512).await.unwrap()[..], [2; 512]);
    client.flush().await.unwrap();
}
