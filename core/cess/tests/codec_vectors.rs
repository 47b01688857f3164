//! The codec against the published vectors: whole files, from plaintext to FID, and the FID trees.
#![allow(clippy::unwrap_used)]

use cess::Hash;
use cess::codec::cipher::{self, PLAINTEXT_SIZE};
use cess::codec::{
    FRAGMENT_SIZE, FRAGMENTS, PARITY_FRAGMENTS, SEGMENT_SIZE, SegmentHashes, ZERO_FRAGMENT, decode, encode,
    fid_flat, fid_merkle, hash_segment, reconstruct_fragment,
};

struct Vector {
    plaintext: Hash,
    segments: Vec<SegmentHashes>,
    merkle: Hash,
    flat: Hash,
}

/// Reads one vector out of `codec_vectors.txt`.
fn vector(name: &str) -> Vector {
    let text = include_str!("codec_vectors.txt");
    let mut vector = Vector {
        plaintext: Hash::default(),
        segments: Vec::new(),
        merkle: Hash::default(),
        flat: Hash::default(),
    };
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .skip_while(|line| *line != format!("vector {name}"))
        .skip(1)
        .take_while(|line| !line.starts_with("vector"));
    for line in lines {
        let (word, value) = line.split_once(' ').unwrap();
        let hash = if value == "ZERO" {
            ZERO_FRAGMENT
        } else {
            value.parse().unwrap()
        };
        match word {
            "plaintext" => vector.plaintext = hash,
            "segment" => vector.segments.push(SegmentHashes {
                segment: hash,
                fragments: [Hash::default(); FRAGMENTS],
            }),
            "fid-merkle" => vector.merkle = hash,
            "fid-flat" => vector.flat = hash,
            fragment => {
                let number: usize = fragment.strip_prefix('f').unwrap().parse().unwrap();
                vector.segments.last_mut().unwrap().fragments[number - 1] = hash;
            }
        }
    }
    assert!(!vector.segments.is_empty(), "no vector {name}");
    vector
}

/// The plaintext that the larger vectors use.
fn pattern(length: u64) -> Vec<u8> {
    (0..length)
        .map(|i| ((i * 131) ^ (i >> 11) ^ (i >> 19)) as u8)
        .collect()
}

/// The parity of a segment, as one buffer.
fn parity_of(segment: &[u8]) -> Vec<u8> {
    let mut parity = vec![0xEE; PARITY_FRAGMENTS * FRAGMENT_SIZE];
    encode(segment, &mut parity).unwrap();
    parity
}

/// Plaintext to padded segments.
fn segments_of(plaintext: &[u8], cipher: Option<&[u8]>) -> Vec<Vec<u8>> {
    let piece_size = if cipher.is_some() {
        PLAINTEXT_SIZE
    } else {
        SEGMENT_SIZE
    };
    plaintext
        .chunks(piece_size)
        .map(|piece| {
            let mut segment = piece.to_vec();
            segment.resize(piece_size, 0);
            match cipher {
                Some(cipher) => cipher::encrypt(cipher, &segment).unwrap(),
                None => segment,
            }
        })
        .collect()
}

fn check(name: &str, plaintext: &[u8], cipher: Option<&[u8]>) {
    let vector = vector(name);
    assert_eq!(Hash::of(plaintext), vector.plaintext, "{name}: plaintext");
    let segments = segments_of(plaintext, cipher);
    assert_eq!(segments.len(), vector.segments.len(), "{name}: segments");
    for (segment, expected) in segments.iter().zip(&vector.segments) {
        let hashes = hash_segment(segment, &parity_of(segment));
        assert_eq!(hashes, *expected, "{name}");
        assert_eq!(Hash::of(segment), expected.segment, "{name}");
    }
    let names: Vec<Hash> = vector.segments.iter().map(|hashes| hashes.segment).collect();
    assert_eq!(fid_merkle(&names), vector.merkle, "{name}: Merkle rule");
    assert_eq!(fid_flat(&names), vector.flat, "{name}: flat rule");

    if let Some(cipher) = cipher {
        let mut back: Vec<u8> = segments
            .iter()
            .flat_map(|segment| cipher::decrypt(cipher, segment).unwrap())
            .collect();
        back.truncate(plaintext.len());
        assert!(back == plaintext, "{name}: decrypting gives the plaintext");
    }
}

#[test]
fn v1_one_byte() {
    check("V1", b"a", None);
}

#[test]
fn v2_zeros() {
    check("V2", &vec![0; 1 << 20], None);
}

#[test]
fn v3_counting_bytes() {
    check(
        "V3",
        &(0..1 << 20).map(|i: u32| i as u8).collect::<Vec<u8>>(),
        None,
    );
}

#[test]
fn v4_two_segments() {
    check("V4", &pattern(33 << 20), None);
}

#[test]
fn v5_three_segments_that_share_fragments() {
    check("V5", &pattern(65 << 20), None);
}

#[test]
fn v6_one_byte_encrypted() {
    check("V6", b"a", Some(b"123456"));
}

#[test]
fn v7_two_segments_encrypted() {
    check("V7", &pattern(33 << 20), Some(b"123456"));
}

/// The reference SDK fails on a file that holds the same segment twice.
#[test]
fn a_segment_may_occur_twice() {
    let vector = vector("V1");
    let name = vector.segments[0].segment;
    let segments = segments_of(b"a", None);
    let twice = [
        hash_segment(&segments[0], &parity_of(&segments[0])),
        vector.segments[0].clone(),
    ];
    assert_eq!(twice[0], twice[1]);
    let fid = fid_merkle(&[name, name]);
    assert_eq!(fid, Hash::of(&[name.0, name.0].concat()));
    assert_eq!(fid, fid_flat(&[name, name]));
    assert_eq!(fid, vector.merkle, "one segment is paired with itself");
}

#[test]
fn any_four_whole_fragments_give_the_segment_back() {
    let segment = pattern(SEGMENT_SIZE as u64);
    let parity = parity_of(&segment);
    let fragments: Vec<&[u8]> = segment
        .chunks_exact(FRAGMENT_SIZE)
        .chain(parity.chunks_exact(FRAGMENT_SIZE))
        .collect();
    for four in [[0, 1, 2, 3], [8, 9, 10, 11], [4, 0, 11, 2]] {
        let given: Vec<(usize, &[u8])> = four.iter().map(|index| (*index, fragments[*index])).collect();
        assert!(decode(&given).unwrap() == segment, "{four:?}");
        assert!(
            reconstruct_fragment(&given, 7).unwrap() == fragments[7],
            "{four:?}"
        );
    }
}

#[test]
fn fid_trees() {
    let vectors = [
        (
            "d3e4747fcb39b878da66ca9dca3d9e76d227fa8ec4639ba6dd7d233567368152",
            "67050eeb5f95abf57449d92629dcf69f80c26247e207ad006a862d1e4e6498ff",
        ),
        (
            "b9b10a1bc77d2a241d120324db7f3b81b2edb67eb8e9cf02af9c95d30329aef5",
            "b9b10a1bc77d2a241d120324db7f3b81b2edb67eb8e9cf02af9c95d30329aef5",
        ),
        (
            "4fe118c5cf4ea0fe9bd2f32fd29d788899e889a539f1850554a8b5c828c64dd4",
            "029127303515f4740d7747ddfd071aba6a0e37b6f46fb6dd268a3d99d22e3732",
        ),
        (
            "c478fead0c89b79540638f844c8819d9a4281763af9272c7f3968776b6052345",
            "42587d8457bcd05838112685729f501a37cdb661f7933df1651726421afcd7ce",
        ),
        (
            "ac099a1ac20c81168ed2e93ca53f8c5e951f9f35741067df028577319aa0dea0",
            "bd4d8503ad8b07ddc121c8d723693c5d6b1d034691e94ce6d231c7f383f50d93",
        ),
        (
            "c8820058e5b32675460d44ef9e0f5e890ebaccc9dcea763491555ed2302af914",
            "dac88c5a91b5ffc42a257cdfda026daeb0309d0a3026108ee0ed18611adb28aa",
        ),
        (
            "6d42403472e18dd06c2de8021501ab86d79dec1ab4212f3aef48031ea9bb6a88",
            "58d9f66f71cddbac291bd070c82e7bd2f8478beade0fa94019b40245ee4dd9cf",
        ),
    ];
    for (index, (merkle, flat)) in vectors.into_iter().enumerate() {
        let leaves: Vec<Hash> = (0..=index).map(|i| Hash::of(i.to_string().as_bytes())).collect();
        assert_eq!(fid_merkle(&leaves).to_string(), merkle, "{} leaves", index + 1);
        assert_eq!(fid_flat(&leaves).to_string(), flat, "{} leaves", index + 1);
    }
}
