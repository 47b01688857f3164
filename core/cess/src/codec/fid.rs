//! The two rules by which clients of the network name a file. Chain and miners check neither.

use aws_lc_rs::digest::{Context, SHA256};

use crate::Hash;

/// FID by the Merkle rule (go-sdk, DeOSS): the rule this gateway writes.
///
/// Leaves are the raw segment digests; a level is the digests of pairs, an odd last node is paired
/// with itself, and even a single leaf goes through one such round. No segments name no file: the
/// answer then is the digest of nothing.
pub fn fid_merkle(segments: &[Hash]) -> Hash {
    let mut level: Vec<Hash> = segments.to_vec();
    loop {
        level = level
            .chunks(2)
            .map(|pair| digest([&pair[0], &pair[pair.len() - 1]]))
            .collect();
        match level[..] {
            [] => return digest([]),
            [root] => return root,
            _ => {}
        }
    }
}

/// FID by the flat rule (CD2N retriever): accepted when reading.
///
/// The digest of all segment digests one after the other.
pub fn fid_flat(segments: &[Hash]) -> Hash {
    digest(segments)
}

fn digest<'a>(parts: impl IntoIterator<Item = &'a Hash>) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&part.0);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    Hash(out)
}
