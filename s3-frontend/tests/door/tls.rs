//! TLS: both versions of HTTP, beside a plain listener and alone, and certificates that change.
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use s3_frontend::{S3Config, TlsConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, crypto, version};

use crate::client::{Client, Request};
use crate::harness::{ACCESS, Harness, REGION, SECRET};

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Makes a certificate in `dir` and gives it back.
fn renew(dir: &Path) -> CertificateDer<'static> {
    let made =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "s3.test".to_owned()]).unwrap();
    let key = dir.join("key.pem");
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&key, private).unwrap();
    std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    made.cert.der().clone()
}

fn config(dir: &Path, listen: Option<SocketAddr>) -> S3Config {
    S3Config {
        tls: Some(TlsConfig {
            listen,
            certificate: dir.join("cert.pem"),
            key: dir.join("key.pem"),
        }),
        ..Harness::config()
    }
}

fn https(certificate: &CertificateDer<'static>, address: SocketAddr) -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .resolve("localhost", address)
        .tls_certs_only([reqwest::Certificate::from_der(certificate).unwrap()])
        .build()
        .unwrap()
}

/// Sends `request` to `address` as `https://localhost`.
async fn send(
    http: &reqwest::Client,
    address: SocketAddr,
    make: impl Fn(&Client) -> Request,
) -> Result<reqwest::Response, reqwest::Error> {
    let client = Client::new(
        &format!("http://localhost:{}", address.port()),
        ACCESS,
        SECRET,
        REGION,
    );
    let request = make(&client);
    let mut sent = http.request(
        request.method(),
        format!("https://localhost:{}{}", address.port(), request.target()),
    );
    for (name, value) in request.sign().headers {
        if name != "host" {
            sent = sent.header(name, value);
        }
    }
    sent.body(request.into_body()).send().await
}

#[tokio::test]
async fn both_listeners_serve_the_same_namespace() {
    let dir = tempfile::tempdir().unwrap();
    let certificate = renew(dir.path());
    let h = Harness::start_with(config(dir.path(), Some(LOOPBACK))).await;
    let address = h.server.tls_address().unwrap();
    assert_ne!(address, h.server.address());
    h.client.put("/bucket").send().await.expect(200);
    let http = https(&certificate, address);
    let body = vec![7; 300_000];
    let put = send(&http, address, |c| c.put("/bucket/k").body(body.clone()))
        .await
        .unwrap();
    assert_eq!(
        (put.version(), put.status().as_u16()),
        (reqwest::Version::HTTP_2, 200)
    );
    let plain = h.client.get("/bucket/k").send().await.expect(200);
    assert!(plain.body == body);

    let old = reqwest::Client::builder()
        .no_proxy()
        .http1_only()
        .resolve("localhost", address)
        .tls_certs_only([reqwest::Certificate::from_der(&certificate).unwrap()])
        .build()
        .unwrap();
    let get = send(&old, address, |c| c.get("/bucket/k")).await.unwrap();
    assert_eq!(
        (get.version(), get.status().as_u16()),
        (reqwest::Version::HTTP_11, 200)
    );
    assert!(get.bytes().await.unwrap() == body);
}

#[tokio::test]
async fn without_a_second_address_the_one_listener_speaks_tls_alone() {
    let dir = tempfile::tempdir().unwrap();
    let certificate = renew(dir.path());
    let h = Harness::start_with(config(dir.path(), None)).await;
    let address = h.server.address();
    assert_eq!(h.server.tls_address(), Some(address));
    let http = https(&certificate, address);
    let made = send(&http, address, |c| c.put("/bucket")).await.unwrap();
    assert_eq!(made.status().as_u16(), 200);
    // Plain HTTP is not answered.
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, plain.read_to_end(&mut answer))
        .await
        .unwrap();
    assert!(!answer.starts_with(b"HTTP"));
}

async fn handshake(
    address: SocketAddr,
    certificate: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

#[tokio::test]
async fn certificates_change_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let first = renew(dir.path());
    let h = Harness::start_with(config(dir.path(), None)).await;
    let address = h.server.address();
    for protocol in [&[&version::TLS12], &[&version::TLS13]] {
        handshake(address, &first, protocol).await.unwrap();
    }
    let open = handshake(address, &first, &[&version::TLS13]).await.unwrap();

    // Half of a pair: the old certificate stays, and the door says so.
    let view = h.server.certificate().unwrap();
    let before = view.status();
    std::fs::write(dir.path().join("cert.pem"), "-----BEGIN CERTIFICATE-----\n").unwrap();
    until(|| view.status().error.is_some()).await;
    assert_eq!(view.status().fingerprint, before.fingerprint);
    handshake(address, &first, &[&version::TLS13]).await.unwrap();

    let second = renew(dir.path());
    until(|| view.status().error.is_none()).await;
    handshake(address, &second, &[&version::TLS13]).await.unwrap();
    handshake(address, &first, &[&version::TLS13]).await.unwrap_err();
    // A connection from before goes on.
    let (mut reader, mut writer) = tokio::io::split(open);
    writer
        .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, reader.read_to_end(&mut answer))
        .await
        .unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

async fn until(done: impl Fn() -> bool) {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
}

#[tokio::test]
async fn a_door_with_an_unusable_certificate_does_not_open() {
    let dir = tempfile::tempdir().unwrap();
    renew(dir.path());
    let key = std::fs::read_to_string(dir.path().join("key.pem")).unwrap();
    renew(dir.path());
    std::fs::write(dir.path().join("key.pem"), key).unwrap();
    let h = Harness::start().await;
    let Err(error) = s3_frontend::S3Server::start(config(dir.path(), None), h.vfs.clone()).await else {
        panic!("a key that does not fit was taken");
    };
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn shutdown_finishes_http2_streams_and_says_goodbye() {
    let dir = tempfile::tempdir().unwrap();
    let certificate = renew(dir.path());
    let h = Harness::start_with(config(dir.path(), Some(LOOPBACK))).await;
    let address = h.server.tls_address().unwrap();
    h.client.put("/bucket").send().await.expect(200);
    let http = https(&certificate, address);
    let (feed, fed) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
    let stream = futures::stream::unfold(fed, async |mut fed| Some((fed.recv().await?, fed)));
    let client = Client::new(
        &format!("http://localhost:{}", address.port()),
        ACCESS,
        SECRET,
        REGION,
    );
    let signed = client.put("/bucket/late").payload("UNSIGNED-PAYLOAD").sign();
    let mut put = http.put(format!("https://localhost:{}/bucket/late", address.port()));
    for (name, value) in signed.headers {
        if name != "host" {
            put = put.header(name, value);
        }
    }
    let put = put
        .header("content-length", "10")
        .body(reqwest::Body::wrap_stream(stream));
    let put = tokio::spawn(put.send());
    feed.send(Ok(b"01234".to_vec())).await.unwrap();
    // The stream is under way once another one of the connection was answered.
    let head = send(&http, address, |c| c.head("/bucket")).await.unwrap();
    assert_eq!(head.version(), reqwest::Version::HTTP_2);
    let vfs = h.vfs.clone();
    let down = tokio::spawn(h.server.shutdown(PATIENCE));
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    feed.send(Ok(b"56789".to_vec())).await.unwrap();
    drop(feed);
    let answer = tokio::time::timeout(PATIENCE, put)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    tokio::time::timeout(PATIENCE, down).await.unwrap().unwrap();
    assert_eq!(vfs.head_object("bucket", b"late").await.unwrap().size, 10);
}
