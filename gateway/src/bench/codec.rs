//! What sealing, erasure coding and hashing cost per core, as multiples of the bare calls.
use std::time::Duration;

use anyhow::{Result, ensure};
use cess::Hash;
use cess::codec::{self, PARITY_FRAGMENTS, SEGMENT_SIZE};

use super::{Line, noise, repeat};

/// Measures on this thread.
pub fn measure(time: Duration) -> Result<Vec<Line>> {
    let segment = noise(6, SEGMENT_SIZE);
    let mut parity = vec![0; PARITY_FRAGMENTS * codec::FRAGMENT_SIZE];
    let mut lines = Vec::new();

    let chunk = &segment[..store::CHUNK_MAX];
    let bare = bytes_per_second(time, chunk.len(), bare_seal(chunk)?)?;
    let mut seal = store::measure::seal(chunk)?;
    let ours = bytes_per_second(time, chunk.len(), || {
        std::hint::black_box(seal());
        Ok(())
    })?;
    lines.push(compared("seal 256 KiB", chunk.len(), ours, Some(bare)));
    lines.push(compared("  AES-256-GCM alone", chunk.len(), bare, None));

    let bare = bytes_per_second(time, SEGMENT_SIZE, bare_erasure(&segment)?)?;
    let ours = bytes_per_second(time, SEGMENT_SIZE, || Ok(codec::encode(&segment, &mut parity)?))?;
    lines.push(compared(
        "erasure code 32 MiB, 4 + 8",
        SEGMENT_SIZE,
        ours,
        Some(bare),
    ));
    lines.push(compared("  reed-solomon-erasure", SEGMENT_SIZE, bare, None));

    let hashed = SEGMENT_SIZE + 3 * SEGMENT_SIZE;
    let bare = bytes_per_second(time, SEGMENT_SIZE, || {
        std::hint::black_box(Hash::of(&segment));
        Ok(())
    })?;
    let ours = bytes_per_second(time, hashed, || {
        std::hint::black_box(codec::hash_segment(&segment, &parity));
        Ok(())
    })?;
    lines.push(compared(
        "hash a segment and its fragments",
        hashed,
        ours,
        Some(bare),
    ));
    lines.push(compared("  SHA-256 alone", SEGMENT_SIZE, bare, None));
    Ok(lines)
}

fn bytes_per_second(time: Duration, len: usize, mut operation: impl FnMut() -> Result<()>) -> Result<f64> {
    let (samples, elapsed) = repeat(time, |_| operation())?;
    let line = samples.line(String::new(), elapsed, len as u64);
    Ok(line.per_second * len as f64)
}

fn compared(name: &str, len: usize, bytes_per_second: f64, bare: Option<f64>) -> Line {
    Line {
        bytes_per_second: Some(bytes_per_second),
        ratio: bare.map(|bare| bytes_per_second / bare),
        ..Line::named(name, bytes_per_second / len as f64)
    }
}

fn bare_seal(chunk: &[u8]) -> Result<impl FnMut() -> Result<()>> {
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    let key = UnboundKey::new(&AES_256_GCM, &[7; 32]).map_err(|_| anyhow::anyhow!("no AES-256-GCM"))?;
    let key = LessSafeKey::new(key);
    let mut buffer = chunk.to_vec();
    Ok(move || {
        let nonce = Nonce::assume_unique_for_key([1; 12]);
        key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut buffer)
            .map(|tag| drop(std::hint::black_box(tag)))
            .map_err(|_| anyhow::anyhow!("sealing failed"))
    })
}

fn bare_erasure(segment: &[u8]) -> Result<impl FnMut() -> Result<()>> {
    let coder = reed_solomon_erasure::galois_8::ReedSolomon::new(4, 8)?;
    let mut shards: Vec<Vec<u8>> = segment.chunks(codec::FRAGMENT_SIZE).map(<[u8]>::to_vec).collect();
    shards.resize_with(codec::FRAGMENTS, || vec![0; codec::FRAGMENT_SIZE]);
    ensure!(shards.len() == codec::FRAGMENTS, "a segment has twelve fragments");
    Ok(move || Ok(coder.encode(&mut shards)?))
}
