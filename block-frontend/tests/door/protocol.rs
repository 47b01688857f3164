//! The protocol, spoken by the crate's own client and by hand, against disks in memory.
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::memory::{Fault, GRAIN, Memory};
use block_frontend::client::{Client, Handshake};
use block_frontend::proto::constants::{
    Errno, GREETING_MAGIC, allocation, command, command_flag, export_flag, option_code, option_reply,
};
use block_frontend::proto::option::{Greeting, Info, InfoRequest, OptionHeader};
use block_frontend::proto::reply::{Descriptor, SimpleReply};
use block_frontend::proto::request::Request;
use block_frontend::session::{IN_FLIGHT_REQUESTS, MAX_PAYLOAD};
use block_frontend::{Error, NbdConfig, NbdServer};
use bytes::{Bytes, BytesMut};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MIB: usize = 1 << 20;

fn memory() -> Memory {
    Memory::new(&[
        (b"vm/root", 4 * MIB, 512),
        (b"vm/odd \xff%", 1000, 1),
        (b"vm/big", 40 * MIB, 4096),
    ])
}

fn errno<T>(result: Result<T, Error>) -> Errno {
    match result {
        Err(Error::Failed { errno, .. }) => errno,
        Err(other) => panic!("not a reply: {other}"),
        Ok(_) => panic!("should fail"),
    }
}

fn refusal<T>(result: Result<T, Error>) -> u32 {
    match result {
        Err(Error::OptionRefused { code, .. }) => code,
        Err(other) => panic!("not a refusal: {other}"),
        Ok(_) => panic!("should be refused"),
    }
}

/// Waits, for a bounded time, until nobody is attached.
async fn detached(memory: &Memory, name: &[u8]) {
    for _ in 0..500 {
        if memory.disk(name).attached.load(Ordering::SeqCst) == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("still attached");
}

#[tokio::test]
async fn options() {
    let memory = memory();
    let (_server, address) = memory.serve().await;
    let mut handshake = Handshake::tcp(address).await.unwrap();

    let names: Vec<_> = handshake
        .list()
        .await
        .unwrap()
        .into_iter()
        .map(|export| export.name)
        .collect();
    assert_eq!(names, ["vm/big", "vm/odd %FF%25", "vm/root"]);

    let infos = handshake.info(b"vm/odd %FF%25").await.unwrap();
    assert!(
        infos
            .iter()
            .any(|info| matches!(info, Info::Export { size: 1000, .. }))
    );
    assert!(infos.contains(&Info::BlockSize {
        min: 1,
        preferred: 4096,
        max: MAX_PAYLOAD
    }));
    let infos = handshake.info(b"vm/root").await.unwrap();
    assert!(infos.contains(&Info::Name(Bytes::from_static(b"vm/root"))));
    assert!(infos.contains(&Info::Description(Bytes::from_static(b"a disk in memory"))));
    assert!(infos.contains(&Info::BlockSize {
        min: 512,
        preferred: 4096,
        max: MAX_PAYLOAD
    }));

    assert_eq!(
        refusal(handshake.info(b"vm/none").await),
        option_reply::ERR_UNKNOWN
    );
    assert_eq!(refusal(handshake.info(b"").await), option_reply::ERR_UNKNOWN);
    for unknown in [
        option_code::STARTTLS,
        option_code::EXTENDED_HEADERS,
        4,
        99,
        u32::MAX,
    ] {
        assert_eq!(
            refusal(handshake.option(unknown, b"data").await),
            option_reply::ERR_UNSUP
        );
    }
    for strict in [
        option_code::LIST,
        option_code::STRUCTURED_REPLY,
        option_code::INFO,
        option_code::GO,
    ] {
        assert_eq!(
            refusal(handshake.option(strict, b"xyz").await),
            option_reply::ERR_INVALID
        );
    }
    assert_eq!(
        refusal(handshake.allocation(b"vm/root").await),
        option_reply::ERR_INVALID
    );
    let long = vec![0; 3 * MIB];
    assert_eq!(
        refusal(handshake.option(option_code::INFO, &long).await),
        option_reply::ERR_TOO_BIG
    );

    handshake.structured_replies().await.unwrap();
    handshake.allocation(b"vm/root").await.unwrap();
    assert_eq!(
        refusal(handshake.allocation(b"vm/none").await),
        option_reply::ERR_UNKNOWN
    );
    let client = handshake.go(b"vm/root").await.unwrap();
    assert_eq!(client.size(), 4 * MIB as u64);
    assert_ne!(client.flags() & export_flag::CAN_MULTI_CONN, 0);
    assert_ne!(client.flags() & export_flag::SEND_DF, 0);
    assert_eq!(memory.disk(b"vm/root").attached.load(Ordering::SeqCst), 1);
    client.disconnect().await.unwrap();
    detached(&memory, b"vm/root").await;
}

#[tokio::test]
async fn an_export_that_cannot_be_attached_is_refused_and_the_handshake_goes_on() {
    let memory = memory();
    let (_server, address) = memory.serve().await;
    *memory.disk(b"vm/root").fault.lock() = Fault::Broken;
    let handshake = Handshake::tcp(address).await.unwrap();
    assert_eq!(refusal(handshake.go(b"vm/root").await), option_reply::ERR_POLICY);
    let old = Handshake::tcp(address).await.unwrap();
    assert!(
        old.export_name(b"vm/root").await.is_err(),
        "closed: this option knows no refusal"
    );
    assert_eq!(memory.disk(b"vm/root").attached.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_old_way_in_pads_and_serves() {
    let memory = memory();
    let (_server, address) = memory.serve().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut greeting = [0; Greeting::SIZE];
    stream.read_exact(&mut greeting).await.unwrap();
    assert_eq!(greeting[..8], GREETING_MAGIC.to_be_bytes());
    let mut out = BytesMut::new();
    out.extend_from_slice(&[0; 4]);
    OptionHeader {
        option: option_code::EXPORT_NAME,
        len: 7,
    }
    .encode(&mut out);
    out.extend_from_slice(b"vm/root");
    Request {
        flags: 0,
        command: command::READ,
        cookie: 5,
        offset: 0,
        len: 4,
    }
    .encode(&mut out);
    stream.write_all(&out).await.unwrap();
    let mut answer = vec![0; 8 + 2 + 124 + SimpleReply::SIZE + 4];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[..8], (4 * MIB as u64).to_be_bytes());
    assert!(answer[10..134].iter().all(|byte| *byte == 0));
    assert_eq!(
        SimpleReply::decode(&answer[134..150]),
        Ok(SimpleReply { error: 0, cookie: 5 })
    );
}

/// Random requests against a byte array, with and without structured replies.
async fn requests_match_a_model(structured: bool, seed: u64) {
    let memory = memory();
    let (_server, address) = memory.serve().await;
    let mut handshake = Handshake::tcp(address).await.unwrap();
    if structured {
        handshake.structured_replies().await.unwrap();
        handshake.allocation(b"vm/root").await.unwrap();
    }
    let mut client = handshake.go(b"vm/root").await.unwrap();
    let size = client.size();
    let mut model = vec![0_u8; size as usize];
    let mut random = StdRng::seed_from_u64(seed);
    for step in 0..400 {
        let offset = random.random_range(0..size);
        let most = if random.random_bool(0.2) {
            3 * MIB as u64
        } else {
            9000
        };
        let len = random.random_range(0..=most.min(size - offset));
        let range = offset as usize..(offset + len) as usize;
        match random.random_range(0..8) {
            0..=2 => {
                let mut data = vec![0; len as usize];
                random.fill_bytes(&mut data);
                client
                    .write(offset, &data, random.random_bool(0.1))
                    .await
                    .unwrap();
                model[range].copy_from_slice(&data);
            }
            3 => {
                client
                    .trim(offset, len as u32, random.random_bool(0.1))
                    .await
                    .unwrap();
                model[range].fill(0);
            }
            4 => {
                let flags = [
                    0,
                    command_flag::NO_HOLE,
                    command_flag::FAST_ZERO,
                    command_flag::FUA,
                ];
                client
                    .write_zeroes(offset, len as u32, flags[random.random_range(0..4)])
                    .await
                    .unwrap();
                model[range].fill(0);
            }
            5 if structured && len > 0 => {
                let runs = client.block_status(offset, len as u32).await.unwrap();
                let mut at = offset;
                for run in runs {
                    let to = at + u64::from(run.len);
                    if run.status & allocation::ZERO != 0 {
                        assert!(
                            model[at as usize..to as usize].iter().all(|byte| *byte == 0),
                            "step {step}"
                        );
                    }
                    at = to;
                }
                assert!(at > offset && at <= offset + len, "step {step}");
            }
            6 => client.flush().await.unwrap(),
            _ => {
                let read = client.read(offset, len as u32).await.unwrap();
                assert!(
                    read == model[range],
                    "step {step}: {len} bytes at {offset} differ"
                );
            }
        }
    }
    assert!(*memory.disk(b"vm/root").bytes.lock() == model);
}

#[tokio::test]
async fn requests_match_a_model_with_simple_replies() {
    requests_match_a_model(false, 1).await;
}

#[tokio::test]
async fn requests_match_a_model_with_structured_replies() {
    requests_match_a_model(true, 2).await;
}

#[tokio::test]
async fn holes_are_told() {
    let memory = memory();
    let (_server, address) = memory.serve().await;
    let mut client = Client::attach(address, b"vm/root").await.unwrap();
    let data = vec![7; MIB];
    client.write(MIB as u64, &data, false).await.unwrap();
    let (zero, full) = (allocation::HOLE | allocation::ZERO, 0);
    let runs = client.block_status(0, 4 * MIB as u32).await.unwrap();
    // The memory disk tells one extent per grain, so the reply ends before the range does.
    assert_eq!(
        runs[0],
        Descriptor {
            len: 1024 * GRAIN as u32 + GRAIN as u32,
            status: zero
        }
    );
    let runs = client.block_status(MIB as u64 - 1024, 2048).await.unwrap();
    assert_eq!(
        runs,
        [
            Descriptor {
                len: 1024,
                status: zero
            },
            Descriptor {
                len: 1024,
                status: full
            }
        ]
    );
    let read = client.read(MIB as u64 - 100_000, 200_000).await.unwrap();
    assert!(read[..100_000].iter().all(|byte| *byte == 0) && read[100_000..].iter().all(|byte| *byte == 7));
}

#[tokio::test]
async fn fua_and_flush_flush_and_cache_reads() {
    let memory = memory();
    let (_server, address) = memory.serve().await;
    let mut client = Client::attach(address, b"vm/root").await.unwrap();
    let disk = memory.disk(b"vm/root");
    let flushes = || disk.flushes.load(Ordering::SeqCst);
    client.write(0, b"x", false).await.unwrap();
    assert_eq!(flushes(), 0);
    client.write(0, b"x", true).await.unwrap();
    assert_eq!(flushes(), 1);
    client.write_zeroes(0, 512, command_flag::FUA).await.unwrap();
    client.trim(0, 512, true).await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(flushes(), 4);
    let before = disk.read.load(Ordering::SeqCst);
    client.cache(100, 3 * MIB as u32).await.unwrap();
    assert_eq!(disk.read.load(Ordering::SeqCst) - before, 3 * MIB as u64);
}

#[tokio::test]
async fn senseless_requests_are_answered_and_the_session_goes_on() {
    let memory = memory();
    let (_server, address) = memory.serve().await;
    for structured in [false, true] {
        let mut handshake = Handshake::tcp(address).await.unwrap();
        if structured {
            handshake.structured_replies().await.unwrap();
        }
        let mut client = handshake.go(b"vm/big").await.unwrap();
        let size = client.size();
        assert_eq!(errno(client.read(size, 1).await), Errno::Inval);
        assert_eq!(errno(client.read(u64::MAX, 100).await), Errno::Inval);
        assert_eq!(errno(client.write(size - 1, b"ab", false).await), Errno::NoSpc);
        assert_eq!(
            errno(client.write(0, &vec![1; MAX_PAYLOAD as usize + 1], false).await),
            Errno::Inval
        );
        assert_eq!(errno(client.trim(size, 1, false).await), Errno::Inval);
        assert_eq!(errno(client.write_zeroes(size, 1, 0).await), Errno::NoSpc);
        let both = command_flag::FAST_ZERO | command_flag::NO_HOLE;
        assert_eq!(errno(client.write_zeroes(0, 1, both).await), Errno::NotSup);
        assert_eq!(errno(client.write_zeroes(0, 1, 1 << 15).await), Errno::Inval);
        assert_eq!(
            errno(client.block_status(0, 1).await),
            Errno::Inval,
            "not agreed on"
        );
        client
            .write(0, &vec![1; MAX_PAYLOAD as usize], false)
            .await
            .unwrap();
        assert_eq!(
            client.read(0, MAX_PAYLOAD).await.unwrap(),
            vec![1; MAX_PAYLOAD as usize]
        );
    }
}

#[tokio::test]
async fn faults_below_are_errors_of_the_request_alone() {
    let memory = memory();
    let (_server, address) = memory.serve().await;
    let mut client = Client::attach(address, b"vm/root").await.unwrap();
    let fault = |fault| *memory.disk(b"vm/root").fault.lock() = fault;
    fault(Fault::Broken);
    assert_eq!(errno(client.read(0, 10).await), Errno::Io);
    match client.write(0, b"x", false).await {
        Err(Error::Failed {
            errno: Errno::Io,
            message,
        }) => {
            assert!(!message.is_empty() && !message.contains("secret"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(errno(client.flush().await), Errno::Io);
    fault(Fault::Slow(5));
    client.write(0, b"y", true).await.unwrap();
    assert_eq!(&client.read(0, 1).await.unwrap()[..], b"y");
}

#[tokio::test]
async fn a_file_cut_short_reads_as_zeroes() {
    let memory = memory();
    let (_server, address) = memory.serve().await;
    let mut client = Client::attach(address, b"vm/root").await.unwrap();
    client.write(0, &vec![9; 300_000], false).await.unwrap();
    memory.disk(b"vm/root").bytes.lock().truncate(1000);
    let read = client.read(0, 300_000).await.unwrap();
    assert!(read[..1000].iter().all(|byte| *byte == 9) && read[1000..].iter().all(|byte| *byte == 0));
    let read = client.read(500_000, 100).await.unwrap();
    assert_eq!(read, vec![0; 100]);
}

/// A raw connection in transmission, simple replies.
pub async fn raw(address: std::net::SocketAddr, name: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut out = BytesMut::new();
    out.extend_from_slice(&3_u32.to_be_bytes());
    OptionHeader {
        option: option_code::EXPORT_NAME,
        len: name.len() as u32,
    }
    .encode(&mut out);
    out.extend_from_slice(name);
    stream.write_all(&out).await.unwrap();
    let mut answer = [0; Greeting::SIZE + 10];
    stream.read_exact(&mut answer).await.unwrap();
    stream
}

#[tokio::test]
async fn requests_in_flight_are_answered_each_under_its_cookie() {
    let memory = memory();
    let (_server, address) = memory.serve().await;
    let stream = raw(address, b"vm/big").await;
    let (mut reader, mut writer) = stream.into_split();
    const COUNT: u64 = 300;
    let sent = tokio::spawn(async move {
        for cookie in 0..COUNT {
            let mut out = BytesMut::new();
            let len = 8192;
            Request {
                flags: 0,
                command: command::WRITE,
                cookie,
                offset: cookie * 8192,
                len,
            }
            .encode(&mut out);
            out.extend_from_slice(&vec![cookie as u8; 8192]);
            writer.write_all(&out).await.unwrap();
        }
        writer
    });
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..COUNT {
        let mut reply = [0; SimpleReply::SIZE];
        reader.read_exact(&mut reply).await.unwrap();
        let reply = SimpleReply::decode(&reply).unwrap();
        assert_eq!(reply.error, 0);
        assert!(seen.insert(reply.cookie));
    }
    assert_eq!(seen.len() as u64, COUNT);
    drop(sent.await.unwrap());
    let bytes = memory.disk(b"vm/big").bytes.lock();
    for cookie in 0..COUNT as usize {
        assert!(
            bytes[cookie * 8192..(cookie + 1) * 8192]
                .iter()
                .all(|byte| *byte == cookie as u8)
        );
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_not_served_without_bound() {
    let memory = memory();
    let (_server, address) = memory.serve().await;
    let mut greedy = raw(address, b"vm/big").await;
    let mut out = BytesMut::new();
    for cookie in 0..40 {
        Request {
            flags: 0,
            command: command::READ,
            cookie,
            offset: 0,
            len: MAX_PAYLOAD,
        }
        .encode(&mut out);
    }
    greedy.write_all(&out).await.unwrap();
    // Another connection works meanwhile, long after the greedy one has reached its bound.
    let mut client = Client::attach(address, b"vm/root").await.unwrap();
    for _ in 0..50 {
        client.write(0, &vec![1; 100_000], false).await.unwrap();
        client.read(0, 100_000).await.unwrap();
    }
    let read = memory.disk(b"vm/big").read.load(Ordering::SeqCst);
    assert!(
        read <= 3 * u64::from(MAX_PAYLOAD),
        "{read} bytes were read for a client that takes none"
    );
    drop(greedy);
    detached(&memory, b"vm/big").await;
}

#[tokio::test]
async fn stuck_requests_take_places_and_nobody_elses() {
    let memory = memory();
    let (_server, address) = memory.serve().await;
    let mut stuck = raw(address, b"vm/big").await;
    *memory.disk(b"vm/big").fault.lock() = Fault::Stuck;
    let mut out = BytesMut::new();
    for cookie in 0..IN_FLIGHT_REQUESTS as u64 * 3 {
        Request {
            flags: 0,
            command: command::FLUSH,
            cookie,
            offset: 0,
            len: 0,
        }
        .encode(&mut out);
    }
    stuck.write_all(&out).await.unwrap();
    let mut client = Client::attach(address, b"vm/root").await.unwrap();
    client.write(0, b"works", true).await.unwrap();
}

/// Garbage in every state ends at most its own connection.
#[tokio::test]
async fn garbage() {
    let memory = memory();
    let (_server, address) = memory.serve().await;
    let mut witness = Client::attach(address, b"vm/root").await.unwrap();
    let mut random = StdRng::seed_from_u64(3);
    for round in 0..60 {
        let mut out = BytesMut::new();
        let depth = round % 4;
        if depth >= 1 {
            out.extend_from_slice(&3_u32.to_be_bytes());
        }
        if depth == 2 {
            // A true option header, then garbage as its data and behind it.
            let option = random.random_range(0..13);
            OptionHeader {
                option,
                len: random.random_range(0..200),
            }
            .encode(&mut out);
        }
        if depth == 3 {
            let mut data = BytesMut::new();
            InfoRequest {
                name: Bytes::from_static(b"vm/odd %FF%25"),
                wanted: vec![],
            }
            .encode(&mut data);
            OptionHeader {
                option: option_code::GO,
                len: data.len() as u32,
            }
            .encode(&mut out);
            out.extend_from_slice(&data);
            if random.random_bool(0.5) {
                // A true magic, then garbage numbers.
                out.extend_from_slice(&0x2560_9513_u32.to_be_bytes());
            }
        }
        let mut garbage = vec![0; random.random_range(1..2000)];
        random.fill_bytes(&mut garbage);
        out.extend_from_slice(&garbage);
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The server may close in the middle of this.
        let _ = stream.write_all(&out).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
        assert!(
            closed.is_ok(),
            "round {round}: the server neither refuses nor closes"
        );
        witness.write(round, &[round as u8], false).await.unwrap();
    }
    let read = witness.read(0, 60).await.unwrap();
    assert_eq!(read, (0..60).collect::<Vec<u8>>());
    detached(&memory, b"vm/odd \xff%").await;
}

#[tokio::test]
async fn a_write_far_too_large_ends_its_connection() {
    let memory = memory();
    let (_server, address) = memory.serve().await;
    let mut stream = raw(address, b"vm/root").await;
    let mut out = BytesMut::new();
    Request {
        flags: 0,
        command: command::WRITE,
        cookie: 1,
        offset: 0,
        len: u32::MAX,
    }
    .encode(&mut out);
    stream.write_all(&out).await.unwrap();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest))
        .await
        .unwrap();
    assert!(rest.is_empty());
    detached(&memory, b"vm/root").await;
}

#[tokio::test]
async fn a_client_that_vanishes_in_the_middle_is_let_go() {
    let memory = memory();
    let (_server, address) = memory.serve().await;
    let mut stream = raw(address, b"vm/root").await;
    let mut out = BytesMut::new();
    Request {
        flags: 0,
        command: command::WRITE,
        cookie: 1,
        offset: 0,
        len: 1000,
    }
    .encode(&mut out);
    out.extend_from_slice(&[1; 999]);
    stream.write_all(&out).await.unwrap();
    drop(stream);
    detached(&memory, b"vm/root").await;
    assert_eq!(
        memory.disk(b"vm/root").bytes.lock()[0],
        0,
        "half a write is no write"
    );
}

#[tokio::test]
async fn shutdown_answers_what_it_took_and_then_closes() {
    let memory = memory();
    let (server, address) = memory.serve().await;
    let mut client = Client::attach(address, b"vm/root").await.unwrap();
    client.write(0, b"before", false).await.unwrap();
    let idle = Handshake::tcp(address).await.unwrap();
    server.shutdown(Duration::from_secs(20)).await;
    assert!(client.write(0, b"after!", false).await.is_err());
    assert!(idle.go(b"vm/root").await.is_err());
    assert!(TcpStream::connect(address).await.is_err());
    detached(&memory, b"vm/root").await;
    assert_eq!(&memory.disk(b"vm/root").bytes.lock()[..6], b"before");
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever() {
    let memory = memory();
    let (server, address) = memory.serve().await;
    let mut stream = raw(address, b"vm/root").await;
    *memory.disk(b"vm/root").fault.lock() = Fault::Stuck;
    let mut out = BytesMut::new();
    Request {
        flags: 0,
        command: command::FLUSH,
        cookie: 1,
        offset: 0,
        len: 0,
    }
    .encode(&mut out);
    stream.write_all(&out).await.unwrap();
    tokio::time::timeout(
        Duration::from_secs(30),
        server.shutdown(Duration::from_millis(100)),
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn the_unix_socket_serves_and_goes() {
    let memory = memory();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nbd.sock");
    let config = NbdConfig {
        listen: None,
        unix: Some(path.clone()),
    };
    let server = NbdServer::start_on(config, |_| memory.clone()).await.unwrap();
    assert_eq!(server.address(), None);
    let mut client = Handshake::unix(&path)
        .await
        .unwrap()
        .go(b"vm/root")
        .await
        .unwrap();
    client.write(0, b"unix", true).await.unwrap();
    assert_eq!(&client.read(0, 4).await.unwrap()[..], b"unix");
    server.shutdown(Duration::from_secs(20)).await;
    assert!(!path.exists());
}
