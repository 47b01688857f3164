//! The one writer of a connection: sends replies as they come, many in one system call.
use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::UnboundedReceiver;

use super::reply::Reply;
use super::{Held, STALL_TIMEOUT};

/// Replies taken from the queue at once.
const BATCH: usize = 32;

/// Slices given to one system call.
const SLICES: usize = 64;

/// Sends replies until nobody can hand in any more. What a reply holds is given back once it is sent.
pub async fn write_replies<W: AsyncWrite + Unpin>(
    mut writer: W,
    mut queue: UnboundedReceiver<(Reply, Held)>,
) -> io::Result<()> {
    let mut batch = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        let mut held = Vec::with_capacity(batch.len());
        let mut bytes = VecDeque::new();
        for (reply, holds) in batch.drain(..) {
            bytes.extend(reply.0);
            held.push(holds);
        }
        write_all(&mut writer, bytes).await?;
    }
    // The peer may have closed already; everything it waited for has been sent.
    let _ = writer.shutdown().await;
    Ok(())
}

async fn write_all<W: AsyncWrite + Unpin>(writer: &mut W, mut bytes: VecDeque<Bytes>) -> io::Result<()> {
    bytes.retain(|piece| !piece.is_empty());
    while !bytes.is_empty() {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(&bytes) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        let write = writer.write_vectored(&slices[..count]);
        let mut written = tokio::time::timeout(STALL_TIMEOUT, write)
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the client does not read its replies"))??;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while written > 0 {
            let Some(first) = bytes.front_mut() else { break };
            let step = written.min(first.len());
            first.advance(step);
            written -= step;
            if first.is_empty() {
                bytes.pop_front();
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn many_pieces_arrive_in_order() {
        let (mut near, mut far) = tokio::io::duplex(1000);
        let pieces: VecDeque<_> = (0..500_u32)
            .map(|n| Bytes::from(vec![n as u8; (n % 37) as usize * 11]))
            .collect();
        let expected: Vec<u8> = pieces.iter().flatten().copied().collect();
        let sent = tokio::spawn(async move { write_all(&mut near, pieces).await });
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.unwrap();
        sent.await.unwrap().unwrap();
        assert_eq!(read, expected);
    }
}
