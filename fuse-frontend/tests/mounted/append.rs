//! `O_APPEND`: every record lands whole, after all others.
use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;

use vfs::InodeNo;

use crate::support::Gateway;

const RECORDS: usize = 150;

/// 64 bytes that name their writer, the last one a newline.
fn record(writer: usize, number: usize) -> String {
    format!("{:-<63}\n", format!("writer {writer} record {number} "))
}

#[test]
fn appenders_of_all_doors_never_overlap() {
    let Some(gateway) = Gateway::start() else { return };
    let path = gateway.path("log");
    fs::write(&path, "").expect("create");
    let ino = InodeNo(fs::metadata(&path).expect("stat").ino());
    std::thread::scope(|scope| {
        // Through the mount, each with a file of its own.
        for writer in 0..3 {
            let path = &path;
            scope.spawn(move || {
                let mut log = OpenOptions::new().append(true).open(path).expect("open");
                for number in 0..RECORDS {
                    log.write_all(record(writer, number).as_bytes()).expect("append");
                }
            });
        }
        // As another door does.
        let gateway = &gateway;
        scope.spawn(move || {
            gateway.runtime.block_on(async {
                for number in 0..RECORDS {
                    gateway
                        .vfs
                        .append(ino, record(3, number).into())
                        .await
                        .expect("append");
                }
            });
        });
    });
    let log = fs::read_to_string(&path).expect("read");
    let lines: Vec<_> = log.lines().collect();
    let distinct: BTreeSet<_> = lines.iter().copied().collect();
    let expected: BTreeSet<_> = (0..4)
        .flat_map(|writer| (0..RECORDS).map(move |number| record(writer, number).trim_end().to_string()))
        .collect();
    assert_eq!(lines.len(), 4 * RECORDS);
    assert!(distinct.iter().all(|line| expected.contains(*line)) && distinct.len() == expected.len());
    // Each writer's records are in its order.
    for writer in 0..4 {
        let own: Vec<_> = lines
            .iter()
            .filter(|line| line.starts_with(&format!("writer {writer} ")))
            .collect();
        let ordered: Vec<_> = (0..RECORDS).map(|number| record(writer, number)).collect();
        assert!(
            own.iter()
                .zip(&ordered)
                .all(|(have, want)| **have == want.trim_end())
        );
    }
}

#[test]
fn a_file_opened_for_append_ignores_the_offset() {
    use std::os::unix::fs::FileExt;
    let Some(gateway) = Gateway::start() else { return };
    let path = gateway.path("log");
    fs::write(&path, "first ").expect("write");
    let log = OpenOptions::new().append(true).open(&path).expect("open");
    log.write_all_at(b"second", 0).expect("write");
    assert_eq!(fs::read(&path).expect("read"), b"first second");
}
