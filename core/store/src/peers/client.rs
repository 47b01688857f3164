//! Asking other gateways.
use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::key::{Fingerprint, PeerKey};
use super::{ANSWER, CONNECT, HERE, NOT_HERE, tls};
use crate::frame::FRAME_MAX;
use crate::{ChunkId, Error, Result};

/// Connections to one gateway that are kept for the next requests.
const KEPT: usize = 8;

type Stream = TlsStream<TcpStream>;

/// Who is asked, and where.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Peer {
    /// `host:port`.
    pub address: String,
    /// Fingerprint of its key.
    pub key: Fingerprint,
}

/// Connections to other gateways.
pub(crate) struct Peers {
    key: PeerKey,
    idle: Mutex<HashMap<Peer, Vec<Stream>>>,
}

impl Peers {
    /// Of the gateway with `key`.
    pub(crate) fn new(key: PeerKey) -> Self {
        Self {
            key,
            idle: Mutex::default(),
        }
    }

    /// What accepts connections of others.
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor> {
        let config = tls::server(&self.key).map_err(|error| Error::Disk(format!("TLS: {error}")))?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// The frame of `chunk` from the staging of `peer`, not authenticated yet; `None` when it is not there
    /// (any more). The error says why it cannot be had, for the operator.
    pub(crate) async fn frame(&self, peer: &Peer, chunk: ChunkId) -> Result<Option<Bytes>, String> {
        // A connection that was kept may have been closed meanwhile: then a fresh one decides.
        let kept = self.idle.lock().get_mut(peer).and_then(Vec::pop);
        if let Some(stream) = kept
            && let Ok(answer) = self.ask(peer, stream, chunk).await
        {
            return answer;
        }
        let stream = tokio::time::timeout(CONNECT, self.connect(peer)).await;
        let stream = stream
            .map_err(|_| "no connection in time".to_owned())?
            .map_err(|error| error.to_string())?;
        let answer = self.ask(peer, stream, chunk).await;
        answer.map_err(|error| error.to_string())?
    }

    async fn connect(&self, peer: &Peer) -> std::io::Result<Stream> {
        let config = tls::client(&self.key, peer.key).map_err(std::io::Error::other)?;
        let stream = TcpStream::connect(&peer.address).await?;
        stream.set_nodelay(true)?;
        // No name is looked at: the key says who it is.
        let name = ServerName::try_from("gateway").map_err(std::io::Error::other)?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// Asks once. The outer error is the connection's, the inner one the other gateway's.
    async fn ask(
        &self,
        peer: &Peer,
        mut stream: Stream,
        chunk: ChunkId,
    ) -> std::io::Result<Result<Option<Bytes>, String>> {
        let asking = async {
            stream.write_u64(chunk.0).await?;
            stream.flush().await?;
            let kind = stream.read_u8().await?;
            let len = stream.read_u32().await? as usize;
            if len > FRAME_MAX {
                return Err(std::io::Error::other("it answers with more than a frame"));
            }
            let mut frame = vec![0; len];
            stream.read_exact(&mut frame).await?;
            Ok((kind, frame))
        };
        let answer = tokio::time::timeout(ANSWER, asking).await;
        let (kind, frame) = answer.map_err(|_| std::io::Error::other("no answer in time"))??;
        {
            let mut idle = self.idle.lock();
            let kept = idle.entry(peer.clone()).or_default();
            if kept.len() < KEPT {
                kept.push(stream);
            }
        }
        Ok(match kind {
            HERE => Ok(Some(frame.into())),
            NOT_HERE => Ok(None),
            _ => Err("it cannot read it from its disk now".to_owned()),
        })
    }
}
