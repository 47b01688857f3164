//! Mounts of two gateways on one namespace.
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, Flock, FlockArg, fcntl};

use crate::support::{Gateway, bytes};

/// How long something may take that takes a moment.
const PATIENCE: Duration = Duration::from_secs(30);

fn open(path: &Path) -> File {
    let file = OpenOptions::new().read(true).write(true).open(path);
    file.expect("open")
}

/// A record lock of some bytes, as fcntl(2) takes it.
fn range(kind: i32, start: i64, len: i64) -> libc::flock {
    libc::flock {
        l_type: kind as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: start,
        l_len: len,
        l_pid: 0,
    }
}

/// Takes or gives back a record lock, without waiting.
fn set(file: &File, kind: i32, start: i64, len: i64) -> nix::Result<()> {
    fcntl(file.as_fd(), FcntlArg::F_SETLK(&range(kind, start, len))).map(drop)
}

/// Answers whether the process has ended by then.
fn ends(child: &mut Child, patience: Duration) -> bool {
    let give_up = Instant::now() + patience;
    while child.try_wait().expect("wait").is_none() {
        if Instant::now() > give_up {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}

#[test]
fn a_closed_file_reads_the_same_through_the_other_mount() {
    let Some([one, two]) = Gateway::two() else { return };
    for round in 0..5 {
        let (writer, reader) = if round % 2 == 0 {
            (&one, &two)
        } else {
            (&two, &one)
        };
        let data = bytes(round, 10_000 + round as usize);
        fs::write(writer.path("f"), &data).expect("write");
        assert_eq!(fs::read(reader.path("f")).expect("read"), data, "round {round}");
        // The same size as before: only its times tell that it changed.
        let other = bytes(100 + round, data.len());
        let mut file = open(&writer.path("f"));
        file.write_all(&other).expect("write");
        drop(file);
        assert_eq!(fs::read(reader.path("f")).expect("read"), other, "round {round}");
        fs::rename(reader.path("f"), reader.path("g")).expect("rename");
        assert!(fs::metadata(writer.path("f")).is_err());
        fs::rename(writer.path("g"), writer.path("f")).expect("rename");
    }
}

#[test]
fn record_locks_hold_across_mounts_byte_by_byte() {
    let Some([one, two]) = Gateway::two() else { return };
    fs::write(one.path("f"), "0123456789").expect("write");
    let (at_one, at_two) = (open(&one.path("f")), open(&two.path("f")));
    set(&at_one, libc::F_WRLCK, 0, 10).expect("lock");
    assert_eq!(set(&at_two, libc::F_RDLCK, 9, 1), Err(Errno::EAGAIN));
    set(&at_two, libc::F_WRLCK, 10, 0).expect("what lies behind is free");
    let mut found = range(libc::F_WRLCK, 5, 10);
    fcntl(at_two.as_fd(), FcntlArg::F_GETLK(&mut found)).expect("ask");
    assert_eq!(
        (i32::from(found.l_type), found.l_start, found.l_len),
        (libc::F_WRLCK, 0, 10)
    );
    set(&at_one, libc::F_UNLCK, 2, 3).expect("unlock");
    set(&at_two, libc::F_WRLCK, 2, 3).expect("lock what was given back");
    assert_eq!(set(&at_two, libc::F_RDLCK, 2, 4), Err(Errno::EAGAIN));
    // Closing any descriptor of the file ends the process's locks through that mount.
    drop(open(&one.path("f")));
    set(&at_two, libc::F_WRLCK, 0, 0).expect("lock all");
}

#[test]
fn who_waits_for_a_lock_gets_it_with_what_was_written_under_it() {
    let Some([one, two]) = Gateway::two() else { return };
    fs::write(one.path("f"), "before").expect("write");
    let (mut at_one, mut at_two) = (open(&one.path("f")), open(&two.path("f")));
    set(&at_one, libc::F_WRLCK, 0, 0).expect("lock");
    let waiting = thread::spawn(move || {
        fcntl(at_two.as_fd(), FcntlArg::F_SETLKW(&range(libc::F_WRLCK, 0, 0))).expect("wait");
        let mut text = String::new();
        at_two.seek(SeekFrom::Start(0)).expect("seek");
        at_two.read_to_string(&mut text).expect("read");
        text
    });
    at_one.write_all(b"during").expect("write");
    thread::sleep(Duration::from_millis(300));
    assert!(!waiting.is_finished(), "two have one lock");
    set(&at_one, libc::F_UNLCK, 0, 0).expect("unlock");
    assert_eq!(waiting.join().expect("the waiter"), "during");
}

#[test]
fn who_waits_for_a_lock_can_be_killed_and_leaves_nothing() {
    let Some([one, two]) = Gateway::two() else { return };
    fs::write(one.path("f"), "").expect("write");
    let held = Flock::lock(open(&one.path("f")), FlockArg::LockExclusive).expect("lock");
    let waits = || -> Child {
        let mut command = Command::new("flock");
        command.arg("--exclusive").arg(two.path("f")).arg("true");
        command.stdin(Stdio::null()).spawn().expect("flock(1)")
    };
    let (mut killed, mut asked, mut patient) = (waits(), waits(), waits());
    assert!(
        !ends(&mut killed, Duration::from_millis(500)),
        "two have one lock"
    );
    killed.kill().expect("kill");
    assert!(ends(&mut killed, PATIENCE), "it hangs");
    let pid = nix::unistd::Pid::from_raw(asked.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("signal");
    assert!(ends(&mut asked, PATIENCE), "it hangs");
    assert!(patient.try_wait().expect("wait").is_none());
    drop(held);
    assert!(ends(&mut patient, PATIENCE), "it waits for nobody");
    assert!(patient.wait().expect("wait").success());
    drop(Flock::lock(open(&one.path("f")), FlockArg::LockExclusiveNonblock).expect("it is free"));
}
