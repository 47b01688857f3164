//! The file of a form, streamed within the size that its policy allows.
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream as _;
use hyper::body::{Body, Frame};

use crate::layer::{BodyFault, BodyFaults};

/// The bytes of the file. It ends with a fault where its size is not allowed, so that nothing is stored.
pub(crate) struct FileBody {
    file: multer::Field<'static>,
    _form: multer::Multipart<'static>,
    size: RangeInclusive<u64>,
    seen: u64,
    faults: Arc<BodyFaults>,
}

impl FileBody {
    /// `file`, which is read from `form`.
    pub(crate) fn new(
        form: multer::Multipart<'static>,
        file: multer::Field<'static>,
        size: RangeInclusive<u64>,
        faults: Arc<BodyFaults>,
    ) -> Self {
        Self {
            file,
            _form: form,
            size,
            seen: 0,
            faults,
        }
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let this = &mut *self;
        let Poll::Ready(piece) = Pin::new(&mut this.file).poll_next(cx) else {
            return Poll::Pending;
        };
        let fault = match piece {
            Some(Ok(piece)) => {
                this.seen += piece.len() as u64;
                if this.seen <= *this.size.end() {
                    return Poll::Ready(Some(Ok(Frame::data(piece))));
                }
                BodyFault::FileTooLarge
            }
            None if this.seen >= *this.size.start() => return Poll::Ready(None),
            None => BodyFault::FileTooSmall,
            // A fault of the connection is recorded already and stays the first.
            Some(Err(_)) => BodyFault::Connection,
        };
        Poll::Ready(Some(Err(this.faults.record(fault))))
    }
}
