//! The floor: an s3s server that checks signatures, takes bodies and throws them away, and answers
//! GETs from memory. A process of its own with one worker, so that it shares nothing with the clients.
use std::process::Stdio;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures::StreamExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use s3s::auth::SimpleAuth;
use s3s::dto::{
    CreateBucketInput, CreateBucketOutput, ETag, GetObjectInput, GetObjectOutput, PutObjectInput,
    PutObjectOutput, StreamingBlob,
};
use s3s::service::S3ServiceBuilder;
use s3s::{Body, S3, S3Request, S3Response, S3Result, s3_error};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use crate::bench::{S3 as Reach, noise};

const ACCESS_KEY: &str = "BARE";
/// No secret: it guards nothing.
const SECRET_KEY: &str = "bare";
const REGION: &str = "us-east-1";

/// The server, running.
pub(super) struct Bare {
    /// How to reach it.
    pub(super) s3: Reach,
    child: Child,
}

impl Bare {
    /// Starts it.
    pub(super) async fn start() -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["bench", "--bare-s3"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the bare server")?;
        let stdout = child.stdout.take().context("the bare server has no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).await?;
        let s3 = Reach {
            endpoint: line.trim().to_owned(),
            region: REGION.to_owned(),
            access_key: ACCESS_KEY.to_owned(),
            secret_key: SECRET_KEY.to_owned(),
        };
        Ok(Self { s3, child })
    }

    /// Its process.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Ends it.
    pub(super) async fn stop(mut self) -> Result<()> {
        self.child.kill().await.context("cannot end the bare server")
    }
}

/// Serves until it is killed; prints its endpoint first.
pub async fn serve() -> Result<()> {
    // One worker is what there is to compare with.
    tokio::task::spawn_blocking(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(serve_here())
    })
    .await?
}

async fn serve_here() -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("http://{}", listener.local_addr()?);
    let mut builder = S3ServiceBuilder::new(Memory::default());
    builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    let service = builder.build();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = service.clone();
        tokio::spawn(async move {
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            // A client that hangs up is done.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Objects by their length: their key says it.
#[derive(Default)]
struct Memory {
    bodies: parking_lot::Mutex<std::collections::HashMap<usize, Bytes>>,
}

impl Memory {
    fn body(&self, len: usize) -> Bytes {
        let mut bodies = self.bodies.lock();
        bodies.entry(len).or_insert_with(|| noise(1, len).into()).clone()
    }
}

#[async_trait::async_trait]
impl S3 for Memory {
    async fn create_bucket(
        &self,
        _: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        Ok(S3Response::new(CreateBucketOutput::default()))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        if let Some(mut body) = request.input.body {
            while let Some(piece) = body.next().await {
                piece.map_err(|_| s3_error!(IncompleteBody))?;
            }
        }
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(ETag::Strong("0".repeat(32))),
            ..PutObjectOutput::default()
        }))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let len = request
            .input
            .key
            .split('/')
            .nth(1)
            .and_then(|len| len.parse().ok());
        let body = self.body(len.ok_or_else(|| s3_error!(NoSuchKey))?);
        Ok(S3Response::new(GetObjectOutput {
            content_length: i64::try_from(body.len()).ok(),
            body: Some(StreamingBlob::from(Body::from(body))),
            e_tag: Some(ETag::Strong("0".repeat(32))),
            ..GetObjectOutput::default()
        }))
    }
}
