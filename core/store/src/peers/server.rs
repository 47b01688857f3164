//! Answering other gateways.
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::key::fingerprint;
use super::{ANSWER, CANNOT, CONNECT, HERE, NOT_HERE};
use crate::inner::Inner;
use crate::members::rows;
use crate::{ChunkId, Result};

/// Connections at a time; others wait to be accepted.
const CONNECTIONS: usize = 64;
/// A connection on which nothing is asked for this long is closed.
const IDLE: Duration = Duration::from_secs(60);
/// Pause after the listener failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Answers whoever connects, until the store closes.
pub(crate) async fn serve(inner: Weak<Inner>, listener: TcpListener, acceptor: TlsAcceptor) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "another gateway cannot connect");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Some(open) = inner.upgrade() else { return };
        let (inner, acceptor) = (inner.clone(), acceptor.clone());
        let stop = open.stop.clone();
        open.tasks.spawn(async move {
            let _place = place;
            let talking = talk(&inner, stream, &acceptor);
            if let Some(Err(error)) = stop.run_until_cancelled(talking).await {
                tracing::debug!(%error, "a connection of another gateway ended");
            }
        });
    }
}

fn late() -> std::io::Error {
    std::io::ErrorKind::TimedOut.into()
}

async fn talk(inner: &Weak<Inner>, stream: TcpStream, acceptor: &TlsAcceptor) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let accepting = tokio::time::timeout(CONNECT, acceptor.accept(stream));
    let mut stream = accepting.await.map_err(|_| late())??;
    loop {
        let asked = tokio::time::timeout(IDLE, stream.read_u64());
        let chunk = ChunkId(asked.await.map_err(|_| late())??);
        let Some(inner) = inner.upgrade() else {
            return Ok(());
        };
        // Asked each time: a connection must not outlive the membership of who made it.
        let allowed = is_member(&inner, &stream).await;
        let (kind, frame) = match allowed {
            Ok(true) => frame(inner, chunk).await,
            Ok(false) => return Err(std::io::ErrorKind::PermissionDenied.into()),
            Err(_) => (CANNOT, None),
        };
        let answering = async {
            let frame = frame.as_deref().unwrap_or_default();
            stream.write_u8(kind).await?;
            stream.write_u32(frame.len() as u32).await?;
            stream.write_all(frame).await?;
            stream.flush().await
        };
        tokio::time::timeout(ANSWER, answering)
            .await
            .map_err(|_| late())??;
    }
}

/// Whether the other side has the key of a member that lives.
async fn is_member(inner: &Arc<Inner>, stream: &TlsStream<TcpStream>) -> Result<bool> {
    let Some([key, ..]) = stream.get_ref().1.peer_certificates() else {
        return Ok(false);
    };
    let (shown, meta) = (fingerprint(key), inner.meta.clone());
    tokio::task::spawn_blocking(move || {
        let members = rows::all(&*meta.snapshot()?)?;
        Ok(members.iter().any(|(_, row)| row.alive && row.key == shown))
    })
    .await
    .unwrap_or(Ok(false))
}

async fn frame(inner: Arc<Inner>, chunk: ChunkId) -> (u8, Option<bytes::Bytes>) {
    let found = tokio::task::spawn_blocking(move || inner.staging.frame(chunk)).await;
    match found {
        Ok(Ok(Some(frame))) => (HERE, Some(frame)),
        Ok(Ok(None) | Err(crate::Error::Elsewhere(_))) => (NOT_HERE, None),
        Ok(Err(error)) => {
            tracing::warn!(chunk = chunk.0, %error, "another gateway wants a chunk that cannot be read");
            (CANNOT, None)
        }
        Err(_) => (CANNOT, None),
    }
}
