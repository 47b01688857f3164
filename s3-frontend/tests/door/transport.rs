//! Connections that break, lie, talk rubbish or outlive the door.
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::Harness;

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// Head of a signed PUT that announces `length` bytes.
fn head(h: &Harness, key: &str, length: usize) -> String {
    let signed = h
        .client
        .put(&format!("/bucket/{key}"))
        .payload("UNSIGNED-PAYLOAD")
        .sign();
    let headers: String = signed
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    format!("PUT /bucket/{key} HTTP/1.1\r\n{headers}content-length: {length}\r\n\r\n")
}

#[tokio::test]
async fn a_truncated_body_stores_nothing() {
    let h = Harness::with_bucket("bucket").await;
    let mut stream = TcpStream::connect(h.server.address()).await.unwrap();
    stream.write_all(head(&h, "cut", 1000).as_bytes()).await.unwrap();
    stream.write_all(&[7; 600]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer))
        .await
        .unwrap();
    assert!(!answer.contains("200 OK"), "{answer}");
    h.client.head("/bucket/cut").send().await.expect(404);

    // Cut while it replaces an object: the old one stays.
    h.client.put("/bucket/kept").body("old").send().await.expect(200);
    let mut stream = TcpStream::connect(h.server.address()).await.unwrap();
    stream.write_all(head(&h, "kept", 1000).as_bytes()).await.unwrap();
    stream.write_all(&[7; 999]).await.unwrap();
    drop(stream);
    assert_eq!(
        h.client.get("/bucket/kept").send().await.expect(200).text(),
        "old"
    );
}

#[tokio::test]
async fn absurd_lengths_are_refused_before_a_byte_is_read() {
    let h = Harness::with_bucket("bucket").await;
    for (length, code) in [
        ("5368709121", "EntityTooLarge"),
        ("9223372036854775807", "EntityTooLarge"),
    ] {
        let mut stream = TcpStream::connect(h.server.address()).await.unwrap();
        let head = head(&h, "k", 0).replace("content-length: 0", &format!("content-length: {length}"));
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let len = tokio::time::timeout(PATIENCE, stream.read(&mut answer))
            .await
            .unwrap()
            .unwrap();
        let answer = String::from_utf8_lossy(&answer[..len]).into_owned();
        assert!(answer.contains(code), "{answer}");
    }
    let no_length = head(&h, "k", 0).replace("content-length: 0", "transfer-encoding: chunked");
    let mut stream = TcpStream::connect(h.server.address()).await.unwrap();
    stream
        .write_all(format!("{no_length}1\r\nx\r\n0\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = vec![0; 4096];
    let len = tokio::time::timeout(PATIENCE, stream.read(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(String::from_utf8_lossy(&answer[..len]).contains("MissingContentLength"));
    h.client.head("/bucket/k").send().await.expect(404);
}

/// botocore keeps the status of a final answer that came instead of `100` for its next request on
/// the connection, and then reads that one's answer wrongly (an upload after an empty file).
#[tokio::test]
async fn a_final_answer_instead_of_100_ends_the_connection() {
    let h = Harness::with_bucket("bucket").await;
    for (path, length, status) in [("bucket", 0, "200 OK"), ("nowhere", 9, "404 Not Found")] {
        let signed = h
            .client
            .put(&format!("/{path}/k"))
            .payload("UNSIGNED-PAYLOAD")
            .sign();
        let headers: String = signed
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let head = format!(
            "PUT /{path}/k HTTP/1.1\r\n{headers}content-length: {length}\r\nexpect: 100-continue\r\n\r\n"
        );
        let mut stream = TcpStream::connect(h.server.address()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer))
            .await
            .unwrap()
            .unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
    }
    // One that was asked for its body keeps the connection.
    let expecting = head(&h, "k", 3).replace("\r\n\r\n", "\r\nexpect: 100-continue\r\n\r\n");
    let mut stream = TcpStream::connect(h.server.address()).await.unwrap();
    stream.write_all(expecting.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let mut len = stream.read(&mut answer).await.unwrap();
    assert_eq!(&answer[..len], b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc").await.unwrap();
    len = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..len]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(!answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn rubbish_does_not_disturb_the_door() {
    let h = Harness::with_bucket("bucket").await;
    for rubbish in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"GET\r\n\r\n",
        b"\0\0\0\0",
        b"GET /\xff HTTP/9.9\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(h.server.address()).await.unwrap();
        stream.write_all(rubbish).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .unwrap();
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{rubbish:?}");
    }
    for target in [
        "/bucket/%FF",
        "/bucket/%ZZ",
        "/bucket?list-type=2&max-keys=many",
        "/%2e%2e%2fetc",
    ] {
        let answer = h.client.get(target).send().await;
        assert!(
            (400..500).contains(&answer.status),
            "{target}: {} {}",
            answer.status,
            answer.text()
        );
    }
    let patch = h.client.request(reqwest::Method::PATCH, "/bucket/k").send().await;
    assert!(patch.status == 405 || patch.status == 501, "{}", patch.text());
    h.client.head("/bucket").send().await.expect(200);
}

#[tokio::test]
async fn http2_is_spoken() {
    let h = Harness::with_bucket("bucket").await;
    h.client.put("/bucket/k").body("two").send().await.expect(200);
    let http = reqwest::Client::builder()
        .no_proxy()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let mut request = http.get(format!("{}/bucket/k", h.client.endpoint));
    for (name, value) in h.client.get("/bucket/k").sign().headers {
        if name != "host" {
            request = request.header(name, value);
        }
    }
    let answer = request.send().await.unwrap();
    assert_eq!(
        (answer.version(), answer.status().as_u16()),
        (reqwest::Version::HTTP_2, 200)
    );
    assert_eq!(answer.text().await.unwrap(), "two");
}

#[tokio::test]
async fn shutdown_finishes_what_is_under_way() {
    let h = Harness::with_bucket("bucket").await;
    let address = h.server.address();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head(&h, "late", 10).as_bytes()).await.unwrap();
    stream.write_all(b"01234").await.unwrap();
    // The request is under way once the door has answered another one after it.
    h.client.head("/bucket").send().await.expect(200);
    let vfs = h.vfs.clone();
    let down = tokio::spawn(h.server.shutdown(PATIENCE));
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    stream.write_all(b"56789").await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    tokio::time::timeout(PATIENCE, down).await.unwrap().unwrap();
    assert_eq!(vfs.head_object("bucket", b"late").await.unwrap().size, 10);
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever() {
    let h = Harness::with_bucket("bucket").await;
    let mut stream = TcpStream::connect(h.server.address()).await.unwrap();
    stream.write_all(head(&h, "never", 10).as_bytes()).await.unwrap();
    h.client.head("/bucket").send().await.expect(200);
    let down = h.server.shutdown(Duration::from_millis(50));
    tokio::time::timeout(PATIENCE, down).await.unwrap();
    assert!(matches!(
        h.vfs.head_object("bucket", b"never").await,
        Err(vfs::Error::NotFound)
    ));
}
