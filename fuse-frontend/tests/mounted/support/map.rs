//! Memory maps held by a process of their own.
//!
//! A thread that faults on a mapped page may hold the lock of its address space until the page is
//! there. Were the mount served by the same process, serving it could need that very lock, to
//! allocate memory; so these tests map files in a child: this test program again, running only
//! [`client`], which does what it is told line by line.
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::syscalls::SharedMap;

/// The file that the child maps, and how many bytes of it.
const FILE: &str = "MAP_CLIENT_FILE";
const LEN: &str = "MAP_CLIENT_LEN";
/// Begins the child's answers; the test harness writes lines of its own.
const MARK: &str = "map> ";

/// A shared mapping in another process. Dropping it unmaps.
pub(crate) struct Map {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Map {
    /// Maps the first `len` bytes of a file.
    pub(crate) fn shared(path: &Path, len: usize) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args([
                "support::map::client",
                "--exact",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(FILE, path)
            .env(LEN, len.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the child");
        let commands = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        let mut map = Self {
            child,
            commands,
            answers,
        };
        assert_eq!(map.answer(), "ready");
        map
    }

    fn tell(&mut self, command: &str) -> String {
        let commands = self.commands.as_mut().expect("open until dropped");
        writeln!(commands, "{command}")
            .and_then(|()| commands.flush())
            .expect("the child listens");
        self.answer()
    }

    fn answer(&mut self) -> String {
        loop {
            let mut line = String::new();
            let len = self.answers.read_line(&mut line).expect("the child answers");
            assert_ne!(len, 0, "the child ended");
            // The harness may have begun the line.
            if let Some((_, answer)) = line.trim_end().split_once(MARK) {
                return answer.to_string();
            }
        }
    }

    /// Bytes out of the map.
    pub(crate) fn read(&mut self, offset: usize, len: usize) -> Vec<u8> {
        from_hex(&self.tell(&format!("read {offset} {len}")))
    }

    /// Bytes into the map.
    pub(crate) fn write(&mut self, offset: usize, data: &[u8]) {
        assert_eq!(self.tell(&format!("write {offset} {}", to_hex(data))), "ok");
    }

    /// msync(2).
    pub(crate) fn sync(&mut self) {
        assert_eq!(self.tell("sync"), "ok");
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.child.wait();
    }
}

fn to_hex(data: &[u8]) -> String {
    use std::fmt::Write as _;
    data.iter()
        .fold(String::with_capacity(data.len() * 2), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a hexadecimal digit") as u8;
    hex.as_bytes()
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

/// The child.
#[test]
#[ignore = "started by the tests that map files"]
fn client() {
    let (Some(path), Some(len)) = (std::env::var_os(FILE), std::env::var(LEN).ok()) else {
        eprintln!("SKIPPED: not started by a test");
        return;
    };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .expect("open");
    let map = SharedMap::new(&file, len.parse().expect("a length")).expect("mmap");
    drop(file);
    println!("{MARK}ready");
    for line in std::io::stdin().lines() {
        let line = line.expect("text");
        let words: Vec<_> = line.split(' ').collect();
        let number = |at: usize| -> usize { words[at].parse().expect("a number") };
        match words[0] {
            "read" => println!("{MARK}{}", to_hex(&map.read(number(1), number(2)))),
            "write" => {
                map.write(number(1), &from_hex(words[2]));
                println!("{MARK}ok");
            }
            "sync" => {
                map.sync().expect("msync");
                println!("{MARK}ok");
            }
            other => unreachable!("{other}"),
        }
    }
}
