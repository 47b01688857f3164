//! Flushes that take long, as they do where FLUSH and FUA stand for more than `staged`.
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use block_frontend::Error;
use block_frontend::client::Client;
use block_frontend::proto::constants::{Errno, command, command_flag};
use block_frontend::proto::reply::SimpleReply;
use block_frontend::proto::request::Request;
use block_frontend::session::{
    IN_FLIGHT_BYTES, IN_FLIGHT_REQUESTS, MAX_PAYLOAD, RUNNING_FLUSHES, WAITING_FLUSHES,
};
use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::memory::Memory;
use super::protocol::raw;

const LONG: Duration = Duration::from_secs(60);

async fn serve() -> (Memory, block_frontend::NbdServer, SocketAddr) {
    let memory = Memory::new(&[(b"vm/disk", 2 * MAX_PAYLOAD as usize, 512)]);
    let (server, address) = memory.serve().await;
    (memory, server, address)
}

fn request(command: u16, flags: u16, cookie: u64, len: u32) -> Request {
    Request {
        flags,
        command,
        cookie,
        offset: 0,
        len,
    }
}

async fn send(stream: &mut TcpStream, requests: impl IntoIterator<Item = Request>) {
    let mut out = BytesMut::new();
    for request in requests {
        request.encode(&mut out);
        if request.command == command::WRITE {
            out.put_bytes(7, request.len as usize);
        }
    }
    tokio::time::timeout(LONG, stream.write_all(&out))
        .await
        .expect("the door still reads requests")
        .unwrap();
}

/// The cookie of the next reply, which must be a success; `payload` bytes follow it.
async fn answered(stream: &mut TcpStream, payload: usize) -> u64 {
    let mut reply = vec![0; SimpleReply::SIZE + payload];
    tokio::time::timeout(LONG, stream.read_exact(&mut reply))
        .await
        .expect("there is a reply")
        .unwrap();
    let reply = SimpleReply::decode(&reply[..SimpleReply::SIZE]).unwrap();
    assert_eq!(reply.error, 0);
    reply.cookie
}

#[tokio::test]
async fn requests_that_wait_for_a_flush_hold_up_neither_reads_nor_writes() {
    let (memory, _server, address) = serve().await;
    let disk = memory.disk(b"vm/disk");
    disk.flushes_wait.send_replace(true);
    let mut stream = raw(address, b"vm/disk").await;
    // More of them than there are places for other requests, and more bytes than may be in flight.
    let flushes = 3 * IN_FLIGHT_REQUESTS as u64;
    send(
        &mut stream,
        (0..flushes).map(|cookie| request(command::FLUSH, 0, cookie, 0)),
    )
    .await;
    let large = u64::from(IN_FLIGHT_BYTES / MAX_PAYLOAD + 1);
    for cookie in flushes..flushes + large {
        let write = request(command::WRITE, command_flag::FUA, cookie, MAX_PAYLOAD);
        send(&mut stream, [write]).await;
    }
    for cookie in 10_000..10_100 {
        send(&mut stream, [request(command::WRITE, 0, cookie, 512)]).await;
        assert_eq!(answered(&mut stream, 0).await, cookie);
        send(&mut stream, [request(command::READ, 0, cookie, 512)]).await;
        assert_eq!(answered(&mut stream, 512).await, cookie);
    }
    assert_eq!(
        disk.begun.load(Ordering::SeqCst),
        RUNNING_FLUSHES as u64,
        "no more at a time, however many wait"
    );
    disk.flushes_wait.send_replace(false);
    let mut seen = BTreeSet::new();
    for _ in 0..flushes + large {
        assert!(seen.insert(answered(&mut stream, 0).await));
    }
    assert_eq!(seen, (0..flushes + large).collect());
    assert!(
        disk.flushes.load(Ordering::SeqCst) < 20,
        "those that waited shared one"
    );
}

#[tokio::test]
async fn a_flush_that_has_begun_is_joined_by_nobody() {
    let (memory, _server, address) = serve().await;
    let disk = memory.disk(b"vm/disk");
    let mut client = Client::attach(address, b"vm/disk").await.unwrap();
    for round in 1..=3 {
        // Each comes after the answer to a write: it has to begin after that.
        client.write(0, &[round; 512], false).await.unwrap();
        client.flush().await.unwrap();
        assert_eq!(disk.flushes.load(Ordering::SeqCst), u64::from(round));
    }
    disk.flushes_wait.send_replace(true);
    let mut stream = raw(address, b"vm/disk").await;
    for cookie in 0..RUNNING_FLUSHES as u64 {
        send(&mut stream, [request(command::FLUSH, 0, cookie, 0)]).await;
        let deadline = tokio::time::Instant::now() + LONG;
        while disk.begun.load(Ordering::SeqCst) < 4 + cookie {
            assert!(
                tokio::time::Instant::now() < deadline,
                "flush {cookie} joined another"
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    disk.flushes_wait.send_replace(false);
    for _ in 0..RUNNING_FLUSHES {
        answered(&mut stream, 0).await;
    }
}

#[tokio::test]
async fn flushes_beyond_every_place_are_answered_all_the_same() {
    let (memory, _server, address) = serve().await;
    let disk = memory.disk(b"vm/disk");
    disk.flushes_wait.send_replace(true);
    let mut stream = raw(address, b"vm/disk").await;
    let flushes = 2 * (WAITING_FLUSHES + IN_FLIGHT_REQUESTS) as u64;
    send(
        &mut stream,
        (0..flushes).map(|cookie| request(command::FLUSH, 0, cookie, 0)),
    )
    .await;
    // Another connection does not notice.
    let mut client = Client::attach(address, b"vm/disk").await.unwrap();
    client.write(0, b"works", false).await.unwrap();
    disk.flushes_wait.send_replace(false);
    let mut seen = BTreeSet::new();
    for _ in 0..flushes {
        assert!(seen.insert(answered(&mut stream, 0).await));
    }
    client.flush().await.unwrap();
}

/// Whichever flush is told, every connection to the export learns of it.
#[tokio::test]
async fn a_lost_write_leaves_the_export_read_only_until_it_is_connected_anew() {
    let (memory, _server, address) = serve().await;
    let disk = memory.disk(b"vm/disk");
    let mut connections = Vec::new();
    for _ in 0..3 {
        connections.push(Client::attach(address, b"vm/disk").await.unwrap());
    }
    for (number, client) in (0..).zip(&mut connections) {
        client.write(number * 512, &[7; 512], false).await.unwrap();
        client.flush().await.unwrap();
    }
    disk.lost.store(3, Ordering::SeqCst);
    let is_error = |done: Result<(), Error>| match done {
        Err(Error::Failed { errno, .. }) => assert_eq!(errno, Errno::Io),
        done => panic!("{done:?}"),
    };
    is_error(connections[1].write(0, &[8; 512], true).await);
    for client in &mut connections {
        is_error(client.flush().await);
        is_error(client.write(0, &[9; 512], false).await);
        is_error(client.trim(0, 512, false).await);
        is_error(client.write_zeroes(0, 512, 0).await);
        assert_eq!(client.read(512, 512).await.unwrap()[..], [7; 512]);
    }
    assert_eq!(disk.bytes.lock()[..512], [8; 512], "nothing was written since");
    // Who connects anew is not told what the others know.
    let deadline = tokio::time::Instant::now() + LONG;
    while disk.lost.load(Ordering::SeqCst) > 0 {
        assert!(tokio::time::Instant::now() < deadline, "it is still to be told");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut anew = Client::attach(address, b"vm/disk").await.unwrap();
    anew.write(0, &[9; 512], true).await.unwrap();
    anew.flush().await.unwrap();
    is_error(connections[0].flush().await);
}
