//! Clients that take more than their share.
use s3_frontend::{ClientLimits, S3Config};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::Harness;

async fn start(clients: ClientLimits) -> Harness {
    let config = S3Config {
        clients,
        ..Harness::config()
    };
    Harness::start_with(config).await
}

#[tokio::test]
async fn requests_beyond_the_rate_of_an_address_are_told_to_slow_down() {
    let h = start(ClientLimits {
        requests_per_address: 1,
        ..ClientLimits::default()
    })
    .await;
    // However slow this machine is: one of many at once is too much.
    let mut refused = 0;
    for _ in 0..50 {
        let answer = h.client.get("/").send().await;
        if answer.status == 503 {
            assert!(answer.header("retry-after").parse::<u64>().unwrap() > 0);
            answer.expect_error(503, "SlowDown");
            refused += 1;
        } else {
            answer.expect(200);
        }
    }
    assert!(refused > 0);
}

#[tokio::test]
async fn the_rate_of_a_key_is_used_up_by_its_owner_alone() {
    let h = start(ClientLimits {
        requests_per_key: 1,
        ..ClientLimits::default()
    })
    .await;
    let mut forger = h.client.clone();
    forger.secret = "guessed".into();
    for _ in 0..50 {
        forger
            .get("/")
            .send()
            .await
            .expect_error(403, "SignatureDoesNotMatch");
    }
    h.client.get("/").send().await.expect(200);
    let mut refused = 0;
    for _ in 0..50 {
        refused += usize::from(h.client.get("/").send().await.status == 503);
    }
    assert!(refused > 0);
    let mut other = h.client.clone();
    (other.access, other.secret) = ("OTHERKEY".into(), "other".into());
    other.get("/").send().await.expect(200);
}

#[tokio::test]
async fn connections_beyond_the_limit_of_an_address_are_told_and_closed() {
    let h = start(ClientLimits {
        connections_per_address: 2,
        ..ClientLimits::default()
    })
    .await;
    let address = h.server.address();
    let request = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        held.push(stream);
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(
        answer.contains("SlowDown") && answer.contains("retry-after: "),
        "{answer}"
    );
    drop(held);
    // Room comes back with the connections that go.
    loop {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut answer = [0; 12];
        // Some may be closed without a word until the door has seen the others go.
        if stream.write_all(request).await.is_ok()
            && stream.read_exact(&mut answer).await.is_ok()
            && &answer == b"HTTP/1.1 200"
        {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
