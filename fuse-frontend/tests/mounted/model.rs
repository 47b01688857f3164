//! Random operations on one file through the mount, against a vector of bytes.
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;

use nix::fcntl::{FallocateFlags, fallocate};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

use crate::support::syscalls::copy_range;
use crate::support::{Gateway, Map};

/// Longest file, over several chunks.
const MAX: usize = 1 << 20;
const OPERATIONS: usize = 250;

fn open(gateway: &Gateway) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(gateway.path("file"))
        .expect("open")
}

fn random_bytes(random: &mut StdRng, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    random.fill_bytes(&mut bytes);
    bytes
}

/// One range within `limit`, mostly short.
fn range(random: &mut StdRng, limit: usize) -> (usize, usize) {
    let at = random.random_range(0..limit);
    let most = if random.random_bool(0.7) { 10_000 } else { 400_000 };
    (at, random.random_range(1..=most.min(limit - at)))
}

/// One operation on both; answers what it was, for the message.
fn step(gateway: &Gateway, file: &mut File, model: &mut Vec<u8>, random: &mut StdRng) -> String {
    let keep = FallocateFlags::FALLOC_FL_KEEP_SIZE;
    match random.random_range(0..12) {
        0..=2 => {
            let (at, len) = range(random, MAX);
            let data = random_bytes(random, len);
            file.write_all_at(&data, at as u64).expect("write");
            if model.len() < at + len {
                model.resize(at + len, 0);
            }
            model[at..at + len].copy_from_slice(&data);
            format!("write {len} at {at}")
        }
        3 => {
            let size = random.random_range(0..MAX);
            file.set_len(size as u64).expect("truncate");
            model.resize(size, 0);
            format!("truncate to {size}")
        }
        4 => {
            let (at, len) = range(random, MAX);
            fallocate(
                &*file,
                FallocateFlags::FALLOC_FL_PUNCH_HOLE | keep,
                at as i64,
                len as i64,
            )
            .expect("punch");
            let end = (at + len).min(model.len());
            if at < end {
                model[at..end].fill(0);
            }
            format!("punch {len} at {at}")
        }
        5 => {
            let (at, len) = range(random, MAX);
            fallocate(
                &*file,
                FallocateFlags::FALLOC_FL_ZERO_RANGE,
                at as i64,
                len as i64,
            )
            .expect("zero");
            if model.len() < at + len {
                model.resize(at + len, 0);
            }
            model[at..at + len].fill(0);
            format!("zero {len} at {at}")
        }
        6 if !model.is_empty() => {
            let (at, len) = range(random, model.len());
            let data = random_bytes(random, len);
            let mut map = Map::shared(&gateway.path("file"), model.len());
            map.write(at, &data);
            if random.random_bool(0.5) {
                map.sync();
            }
            model[at..at + len].copy_from_slice(&data);
            format!("map {len} at {at}")
        }
        7 if model.len() > 2 => {
            let (from, len) = range(random, model.len() / 2);
            let to = random.random_range(from + len..MAX);
            let len = len.min(MAX - to);
            let mut done = 0;
            while done < len {
                let (source, target) = ((from + done) as i64, (to + done) as i64);
                done += copy_range(file, source, file, target, len - done).expect("copy");
            }
            if model.len() < to + len {
                model.resize(to + len, 0);
            }
            model.copy_within(from..from + len, to);
            format!("copy {len} from {from} to {to}")
        }
        8 if model.len() < MAX => {
            let len = random.random_range(1..5000);
            let data = random_bytes(random, len);
            let mut appender = OpenOptions::new()
                .append(true)
                .open(gateway.path("file"))
                .expect("open");
            appender.write_all(&data).expect("append");
            model.extend_from_slice(&data);
            format!("append {len}")
        }
        9 => {
            file.sync_all().expect("fsync");
            "fsync".into()
        }
        10 => {
            *file = open(gateway);
            "reopen".into()
        }
        _ if !model.is_empty() => {
            let (at, len) = range(random, model.len());
            let mut read = vec![0; len];
            file.read_exact_at(&mut read, at as u64).expect("read");
            assert!(read == model[at..at + len], "{len} bytes at {at} differ");
            format!("read {len} at {at}")
        }
        _ => "nothing".into(),
    }
}

fn run(seed: u64) {
    let Some(gateway) = Gateway::start() else { return };
    File::create(gateway.path("file")).expect("create");
    let mut file = open(&gateway);
    let mut model = Vec::new();
    let mut random = StdRng::seed_from_u64(seed);
    let mut history = Vec::new();
    for number in 0..OPERATIONS {
        history.push(step(&gateway, &mut file, &mut model, &mut random));
        if number % 10 == 9 {
            let read = fs::read(gateway.path("file")).expect("read");
            let tail = &history[history.len().saturating_sub(10)..];
            assert_eq!(
                read.len(),
                model.len(),
                "seed {seed}, operation {number}: {tail:?}"
            );
            let differs = read.iter().zip(&model).position(|(have, want)| have != want);
            assert_eq!(
                differs, None,
                "first byte that differs; seed {seed}, operation {number}: {tail:?}"
            );
        }
    }
}

#[test]
fn a_file_equals_its_model_seed_1() {
    run(1);
}

#[test]
fn a_file_equals_its_model_seed_2() {
    run(2);
}

#[test]
fn a_file_equals_its_model_seed_3() {
    run(3);
}
