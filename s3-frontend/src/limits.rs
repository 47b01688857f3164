//! Every limit of this door, with its reason.
use std::time::Duration;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Largest body of one PutObject, UploadPart or CopyObject (AWS limit).
pub(crate) const MAX_SINGLE_PUT: u64 = 5 * GIB;
/// Smallest part of a multipart upload, the last one excepted (AWS limit).
pub(crate) const MIN_PART: u64 = 5 * MIB;
/// Highest part number (AWS limit).
pub(crate) const MAX_PARTS: i32 = 10_000;
/// Most entries of a listing page (AWS limit).
pub(crate) const MAX_PAGE: usize = 1_000;
/// Most buckets of a ListBuckets page (AWS limit).
pub(crate) const MAX_BUCKET_PAGE: usize = 10_000;
/// Most keys of one DeleteObjects (AWS limit).
pub(crate) const MAX_DELETE: usize = 1_000;
/// Bytes of all user metadata names and values together (AWS limit).
pub(crate) const MAX_USER_METADATA: usize = 2 * KIB as usize;
/// Largest XML request body: 10,000 parts with checksums fit.
pub(crate) const MAX_XML_BODY: usize = 8 * MIB as usize;
/// Bytes of all fields of a form before its file (AWS limit).
pub(crate) const MAX_FORM_FIELDS: usize = 20 * KIB as usize;
/// Largest signed aws-chunked chunk: it is held in memory until its signature is checked.
pub(crate) const MAX_SIGNED_CHUNK: u64 = 16 * MIB;
/// Unsigned aws-chunked chunks are cut into pieces of this size, so that none is held whole.
pub(crate) const UNSIGNED_CHUNK_PIECE: u64 = 256 * KIB;
/// Longest validity of a presigned URL (AWS limit).
pub(crate) const MAX_PRESIGN_SECONDS: u64 = 7 * 24 * 3600;
/// Bytes of a request's target and headers together: three times the largest that AWS takes, since
/// session tokens and presigned URLs are long.
pub(crate) const MAX_HEAD: usize = 24 * KIB as usize;
/// Time a client has to send a request's headers.
pub(crate) const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest pause between two pieces of a request body.
pub(crate) const BODY_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of an answer that wait for an HTTP/2 client to open its window, per stream.
pub(crate) const H2_SEND_BUFFER: usize = 64 << 10;
/// HTTP/2 streams of one connection. Each may hold some 2 MiB of an object that is read ahead.
pub(crate) const MAX_H2_STREAMS: u32 = 100;
/// HTTP/2 streams that a client may reset before they are looked at: more is an attack on the gateway's
/// time ("rapid reset").
pub(crate) const MAX_H2_RESETS: usize = 32;
/// HTTP/2 streams of one connection that the gateway may have to reset because of errors in them.
pub(crate) const MAX_H2_ERRORS: usize = 256;
/// Longest wait for a client to take more of an answer.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest time that a connection stays open without a request; HTTP/1 has [`HEADER_TIMEOUT`] for it.
pub(crate) const UNUSED_TIMEOUT: Duration = Duration::from_secs(300);
