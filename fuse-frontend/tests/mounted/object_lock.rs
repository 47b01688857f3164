//! What an object lock holds is kept from a mount.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use vfs::{BucketLock, Governance, Retention, RetentionMode, Timestamp, Versioning};

use crate::support::syscalls::setxattr;
use crate::support::{Gateway, errno};

#[test]
fn what_is_held_is_not_permitted_to_change() {
    let Some(gateway) = Gateway::start() else { return };
    fs::create_dir(gateway.path("dir")).expect("mkdir");
    let path = gateway.path("dir/held");
    fs::write(&path, "content").expect("write");
    let bucket = gateway
        .bucket
        .file_name()
        .expect("a name")
        .to_str()
        .expect("UTF-8")
        .to_owned();
    let vfs = gateway.vfs.clone();
    let version = gateway.runtime.block_on(async {
        let enabled = Some(Versioning::Enabled);
        vfs.set_versioning(&bucket, enabled).await.expect("versioning");
        vfs.set_object_lock(&bucket, BucketLock::default())
            .await
            .expect("a lock");
        let until = vfs::wall_clock() + Duration::from_hours(1);
        let retention = Retention {
            mode: RetentionMode::Compliance,
            until: Timestamp(until.as_nanos() as i64),
        };
        let held = vfs
            .set_retention(&bucket, b"dir/held", None, Some(retention), Governance::Binds)
            .await;
        held.expect("a retention").version.expect("a version")
    });
    // Writing, truncating, moving, linking, and what S3 shows of it.
    assert_eq!(errno(fs::write(&path, "other")), libc::EPERM);
    let open = fs::OpenOptions::new().append(true).open(&path).expect("open");
    assert_eq!(errno(std::io::Write::write(&mut &open, b"more")), libc::EPERM);
    assert_eq!(errno(open.set_len(1)), libc::EPERM);
    assert_eq!(errno(fs::rename(&path, gateway.path("moved"))), libc::EPERM);
    assert_eq!(
        errno(fs::rename(gateway.path("dir"), gateway.path("moved"))),
        libc::EPERM
    );
    assert_eq!(errno(fs::hard_link(&path, gateway.path("link"))), libc::EPERM);
    assert_eq!(errno(setxattr(&path, "user.s3.meta.a", b"b", 0)), libc::EPERM);
    assert_eq!(fs::read(&path).expect("read"), b"content");
    // Who may use it can change; and deleting it leaves the version.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
    fs::remove_file(&path).expect("unlink");
    assert!(!path.exists());
    gateway.runtime.block_on(async {
        let found = vfs.get_version(&bucket, b"dir/held", version).await;
        assert!(matches!(found, Ok(vfs::FoundVersion::Object(_))));
    });
}
