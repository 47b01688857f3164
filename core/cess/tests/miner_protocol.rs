//! The miner client against a server that answers as miners do, their quirks included, and against
//! servers that misbehave.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Multipart, State};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::{get, put};
use bytes::Bytes;
use cess::codec::{FRAGMENT_SIZE, ZERO_FRAGMENT};
use cess::miner::MinerClient;
use cess::{AccountId, Error, Hash};
use parking_lot::Mutex;
use subxt_signer::sr25519::{Keypair, PublicKey, Signature, dev, verify};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const FID: Hash = Hash([7; 32]);

#[derive(Default)]
struct Miner {
    fragments: Mutex<HashMap<Hash, Bytes>>,
    messages: Mutex<Vec<String>>,
    uploads: Mutex<Vec<usize>>,
}

fn json(status: StatusCode, code: i64, message: &str) -> Response<Body> {
    let body = format!(r#"{{"code":{code},"msg":"{message}","data":null}}"#);
    Response::builder()
        .status(status)
        .header("content-type", "application/json; charset=utf-8")
        .body(Body::from(body))
        .unwrap()
}

impl Miner {
    /// The fragment asked for, or the answer to a bad signature.
    fn authorise(&self, headers: &HeaderMap) -> Result<Hash, Box<Response<Body>>> {
        let header = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
        let (account, prefix) = AccountId::from_ss58(&header("Account")).unwrap();
        assert_eq!(prefix, 11330);
        let message = header("Message");
        let signature: [u8; 64] = hex::decode(header("Signature")).unwrap().try_into().unwrap();
        assert_eq!(header("Fid"), FID.to_string());
        assert!(message.is_ascii() && !message.is_empty());
        if !verify(&Signature(signature), message.as_bytes(), &PublicKey(account.0)) {
            return Err(Box::new(json(StatusCode::FORBIDDEN, 403, "invalid signature")));
        }
        self.messages.lock().push(message);
        Ok(header("Fragment").parse().unwrap())
    }
}

async fn receive(State(miner): State<Arc<Miner>>, headers: HeaderMap, mut form: Multipart) -> Response<Body> {
    let fragment = match miner.authorise(&headers) {
        Ok(fragment) => fragment,
        Err(answer) => return *answer,
    };
    let part = form.next_field().await.unwrap().unwrap();
    assert_eq!(part.name(), Some("file"));
    assert_eq!(part.file_name(), Some(fragment.to_string().as_str()));
    let bytes = part.bytes().await.unwrap();
    miner.uploads.lock().push(bytes.len());
    if fragment == ZERO_FRAGMENT {
        miner
            .fragments
            .lock()
            .insert(fragment, Bytes::from(vec![0; FRAGMENT_SIZE]));
    } else if bytes.len() != FRAGMENT_SIZE {
        return json(StatusCode::OK, 400, "the fragment size is wrong");
    } else if Hash::of(&bytes) != fragment {
        return json(StatusCode::OK, 400, "the fragment hash is wrong");
    } else {
        miner.fragments.lock().insert(fragment, bytes);
    }
    json(StatusCode::OK, 200, "ok")
}

async fn serve(State(miner): State<Arc<Miner>>, headers: HeaderMap) -> Response<Body> {
    let fragment = match miner.authorise(&headers) {
        Ok(fragment) => fragment,
        Err(answer) => return *answer,
    };
    let Some(bytes) = miner.fragments.lock().get(&fragment).cloned() else {
        return json(StatusCode::OK, 404, "not found");
    };
    let Some(range) = headers.get("Range") else {
        return Response::new(Body::from(bytes));
    };
    let range = range.to_str().unwrap().strip_prefix("bytes=").unwrap();
    let Some((range, _total)) = range.split_once('/') else {
        return json(StatusCode::OK, 416, "invalid range");
    };
    let (start, end) = range.split_once('-').unwrap();
    let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
    Response::builder()
        .status(StatusCode::PARTIAL_CONTENT)
        .header("content-type", "application/octet-stream")
        .body(Body::from(bytes.slice(start..end)))
        .unwrap()
}

async fn status() -> Response<Body> {
    Response::new(Body::from(
        r#"{"code":200,"msg":"ok","data":{"signature_acc":"cXminer","state":"positive"}}"#,
    ))
}

async fn miner() -> (Arc<Miner>, String) {
    let miner = Arc::new(Miner::default());
    let router = Router::new()
        .route("/fragment", put(receive).get(serve))
        .route("/status", get(status))
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::clone(&miner));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (miner, endpoint)
}

/// A server that reads `reads` bytes of one request after the other, writes `answer` and closes.
async fn rude(reads: usize, answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = vec![0; reads];
            let _ = socket.read(&mut request).await;
            let _ = socket.write_all(&answer).await;
        }
    });
    endpoint
}

fn client() -> MinerClient {
    MinerClient::new(dev::alice(), Duration::from_secs(20)).unwrap()
}

fn fragment() -> (Hash, Bytes) {
    let bytes: Vec<u8> = (0..FRAGMENT_SIZE as u32)
        .map(|i| (i.wrapping_mul(77) >> 5) as u8)
        .collect();
    (Hash::of(&bytes), Bytes::from(bytes))
}

fn answer(body: &[u8], content_type: &str) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn a_fragment_goes_out_and_comes_back_whole_and_in_ranges() {
    let (miner, endpoint) = miner().await;
    let client = client();
    let (hash, bytes) = fragment();
    client.put(&endpoint, FID, hash, bytes.clone()).await.unwrap();
    assert_eq!(client.get(&endpoint, FID, hash).await.unwrap(), bytes);
    let size = FRAGMENT_SIZE as u32;
    for range in [0..1, 0..0, 5..70_000, size - 3..size, size..size, 0..size] {
        let part = client
            .get_range(&endpoint, FID, hash, range.clone())
            .await
            .unwrap();
        assert!(
            part == bytes[range.start as usize..range.end as usize],
            "{range:?}"
        );
    }
    let messages = miner.messages.lock().clone();
    let distinct: std::collections::BTreeSet<_> = messages.iter().collect();
    assert_eq!(
        distinct.len(),
        messages.len(),
        "every request has a message of its own"
    );
    assert_eq!(client.status(&endpoint).await.unwrap(), "cXminer");
}

#[tokio::test]
async fn a_zero_fragment_is_not_transferred() {
    let (miner, endpoint) = miner().await;
    let client = client();
    let zeros = Bytes::from(vec![0; FRAGMENT_SIZE]);
    client
        .put(&endpoint, FID, ZERO_FRAGMENT, zeros.clone())
        .await
        .unwrap();
    client
        .put(&endpoint, FID, ZERO_FRAGMENT, Bytes::new())
        .await
        .unwrap();
    assert_eq!(*miner.uploads.lock(), [0, 0]);
    assert_eq!(client.get(&endpoint, FID, ZERO_FRAGMENT).await.unwrap(), zeros);
}

#[tokio::test]
async fn errors_behind_status_200_are_errors() {
    let (_miner, endpoint) = miner().await;
    let client = client();
    let (hash, bytes) = fragment();
    for result in [
        client.get(&endpoint, FID, hash).await.map(|_| ()),
        client.get_range(&endpoint, FID, hash, 0..100).await.map(|_| ()),
    ] {
        match result {
            Err(Error::Miner { code: 404, message }) => assert_eq!(message, "not found"),
            other => panic!("{other:?}"),
        }
    }
    match client.put(&endpoint, FID, Hash([1; 32]), bytes).await {
        Err(Error::Miner { code: 400, message }) => assert_eq!(message, "the fragment hash is wrong"),
        other => panic!("{other:?}"),
    }
}

/// The error of a miner can be as long as what was asked for.
#[tokio::test]
async fn an_error_of_the_right_length_is_not_content() {
    let body = br#"{"code":500,"msg":"system error","data":null}"#;
    let endpoint = rude(4096, answer(body, "application/json; charset=utf-8")).await;
    let result = client()
        .get_range(&endpoint, FID, Hash([1; 32]), 0..body.len() as u32)
        .await;
    assert!(
        matches!(result, Err(Error::Miner { code: 500, .. })),
        "{result:?}"
    );
}

#[tokio::test]
async fn bytes_that_are_short_long_or_altered_are_corrupt() {
    let (hash, bytes) = fragment();
    let client = client();
    let octets = "application/octet-stream";
    let mut altered = bytes.to_vec();
    altered[4_000_000] ^= 1;
    for body in [&bytes[..1000], &altered, &[&bytes[..], b"x"].concat()] {
        let endpoint = rude(4096, answer(body, octets)).await;
        let result = client.get(&endpoint, FID, hash).await;
        assert!(
            matches!(result, Err(Error::Corrupt(_))),
            "{} bytes: {result:?}",
            body.len()
        );
    }
    let endpoint = rude(4096, answer(b"only this", octets)).await;
    let result = client.get_range(&endpoint, FID, hash, 0..100).await;
    assert!(matches!(result, Err(Error::Corrupt(_))), "{result:?}");
}

#[tokio::test]
async fn answers_without_end_are_cut_off() {
    let endless = [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; 1 << 20]].concat();
    let endpoint = rude(4096, endless).await;
    let client = client();
    let result = client.get_range(&endpoint, FID, Hash([1; 32]), 0..100).await;
    assert!(
        matches!(result, Err(Error::Corrupt(_) | Error::Unreachable(_))),
        "{result:?}"
    );
    let result = client.status(&endpoint).await;
    assert!(
        matches!(result, Err(Error::Corrupt(_) | Error::Unreachable(_))),
        "{result:?}"
    );
}

#[tokio::test]
async fn what_is_no_answer_of_a_miner_is_an_error() {
    let client = client();
    for text in [
        "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 3\r\n\r\nbad",
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        "not http at all",
        "",
    ] {
        let endpoint = rude(4096, text.as_bytes().to_vec()).await;
        let result = client.get_range(&endpoint, FID, Hash([1; 32]), 0..100).await;
        assert!(
            matches!(
                result,
                Err(Error::Miner { .. } | Error::Corrupt(_) | Error::Unreachable(_))
            ),
            "{text}: {result:?}"
        );
        assert!(client.status(&endpoint).await.is_err(), "{text}");
    }
}

/// A miner that has a fragment says so and closes without reading the upload.
#[tokio::test]
async fn an_upload_that_is_cut_off_because_the_miner_has_it_succeeds() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = [0; 512];
            let count = socket.read(&mut head).await.unwrap();
            if head[..count].starts_with(b"GET") {
                let _ = socket.write_all(&answer(b"x", "application/octet-stream")).await;
                let _ = socket.shutdown().await;
            }
            // Dropping the socket with unread input resets the connection.
        }
    });
    let (hash, bytes) = fragment();
    client().put(&endpoint, FID, hash, bytes).await.unwrap();
}

#[tokio::test]
async fn a_dead_or_silent_miner_is_unreachable_in_time() {
    let (hash, bytes) = fragment();
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_endpoint = silent.local_addr().unwrap().to_string();
    let client = MinerClient::new(dev::bob(), Duration::from_millis(300)).unwrap();
    for endpoint in [closed, silent_endpoint] {
        for result in [
            client.get(&endpoint, FID, hash).await.map(|_| ()),
            client.put(&endpoint, FID, hash, bytes.clone()).await,
            client.status(&endpoint).await.map(|_| ()),
        ] {
            assert!(matches!(result, Err(Error::Unreachable(_))), "{result:?}");
        }
    }
}

#[tokio::test]
async fn bad_arguments_are_refused_before_anything_is_sent() {
    let client = client();
    let size = FRAGMENT_SIZE as u32;
    for result in [
        client
            .put("127.0.0.1:1", FID, Hash([1; 32]), Bytes::from_static(b"short"))
            .await,
        client
            .get_range("127.0.0.1:1", FID, FID, 0..size + 1)
            .await
            .map(|_| ()),
        client
            .get_range("127.0.0.1:1", FID, FID, std::ops::Range { start: 2, end: 1 })
            .await
            .map(|_| ()),
        client.get("ftp://127.0.0.1:1", FID, FID).await.map(|_| ()),
        client.get("", FID, FID).await.map(|_| ()),
    ] {
        assert!(matches!(result, Err(Error::Invalid(_))), "{result:?}");
    }
}

#[tokio::test]
async fn the_key_is_not_shown() {
    let secret = [0x5A; 32];
    let key = Keypair::from_secret_key(secret).unwrap();
    let client = MinerClient::new(key, Duration::from_secs(1)).unwrap();
    let shown = format!("{client:?}");
    assert!(
        shown.contains("cX") && !shown.to_lowercase().contains("5a5a5a5a"),
        "{shown}"
    );
}
