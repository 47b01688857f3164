//! MD5 (RFC 1321) of several bodies at once.
//!
//! Every ETag of a single PUT is an MD5, and MD5 is the slowest thing that happens to a byte on its way
//! in: each of its steps waits for the one before, so a core does 0.7 GB/s and idles. Steps of
//! different bodies do not wait for each other. [`compress`] does up to [`LANES`] bodies in turns,
//! which takes hardly longer than one of them; [`workers`] brings together what is under way.
mod compress;
pub(crate) mod workers;

pub(crate) use compress::LANES;
use compress::{BLOCK, State, compress};

/// State of an empty message.
const EMPTY: State = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// The MD5 of what came so far.
#[derive(Clone, Debug)]
pub(crate) struct Md5 {
    state: State,
    /// Bytes that came.
    length: u64,
    /// The last of them, less than a block except while it is being worked on.
    tail: [u8; BLOCK],
    filled: usize,
}

impl Md5 {
    /// Of nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            state: EMPTY,
            length: 0,
            tail: [0; BLOCK],
            filled: 0,
        }
    }

    /// Takes the next bytes, here and now.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        let mut input = Input::new(std::mem::replace(self, Self::new()), bytes);
        while input.ready() {
            advance(&mut [&mut input]);
        }
        *self = input.md5;
    }

    /// The digest of all that came.
    pub(crate) fn finish(mut self) -> [u8; 16] {
        let bits = self.length.wrapping_mul(8);
        let used = self.filled + 1 + size_of::<u64>();
        let zeroes = used.next_multiple_of(BLOCK) - used;
        let mut padding = vec![0x80];
        padding.resize(1 + zeroes, 0);
        padding.extend_from_slice(&bits.to_le_bytes());
        self.update(&padding);
        let mut digest = [0; 16];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(self.state) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        digest
    }
}

/// Bytes that go into an MD5.
struct Input<B> {
    md5: Md5,
    bytes: B,
    taken: usize,
}

impl<B: AsRef<[u8]>> Input<B> {
    fn new(mut md5: Md5, bytes: B) -> Self {
        md5.length = md5.length.wrapping_add(bytes.as_ref().len() as u64);
        Self { md5, bytes, taken: 0 }
    }

    /// Whether there is a whole block to do. What is less than one goes to the tail.
    fn ready(&mut self) -> bool {
        let rest = self.bytes.as_ref().get(self.taken..).unwrap_or_default();
        if self.md5.filled == BLOCK || (self.md5.filled == 0 && rest.len() >= BLOCK) {
            return true;
        }
        let more = rest.len().min(BLOCK - self.md5.filled);
        self.md5.tail[self.md5.filled..][..more].copy_from_slice(&rest[..more]);
        self.md5.filled += more;
        self.taken += more;
        self.md5.filled == BLOCK
    }

    /// The whole blocks that lie one after the other.
    fn blocks(&self) -> &[u8] {
        if self.md5.filled == BLOCK {
            return &self.md5.tail;
        }
        let rest = self.bytes.as_ref().get(self.taken..).unwrap_or_default();
        &rest[..rest.len() - rest.len() % BLOCK]
    }

    fn done(&mut self, state: State, blocks: usize) {
        self.md5.state = state;
        if self.md5.filled == BLOCK {
            self.md5.filled = 0;
        } else {
            self.taken += blocks * BLOCK;
        }
    }
}

/// Most blocks that inputs go on by at a time: 16 KiB, so that others can join soon.
const STRIDE: usize = 256;

/// Goes on with up to [`LANES`] inputs that are ready, all by the same number of blocks.
fn advance<B: AsRef<[u8]>>(inputs: &mut [&mut Input<B>]) {
    let least = inputs.iter().map(|input| input.blocks().len() / BLOCK).min();
    let blocks = least.unwrap_or_default().min(STRIDE);
    let mut states: Vec<State> = inputs.iter().map(|input| input.md5.state).collect();
    let runs: Vec<&[u8]> = inputs
        .iter()
        .map(|input| &input.blocks()[..blocks * BLOCK])
        .collect();
    compress(&mut states, &runs);
    for (input, state) in inputs.iter_mut().zip(states) {
        input.done(state, blocks);
    }
}

#[cfg(test)]
mod tests {
    use md5::Digest as _;
    use proptest::prelude::*;

    use super::*;

    fn expected(bytes: &[u8]) -> [u8; 16] {
        md5::Md5::digest(bytes).into()
    }

    #[test]
    fn the_test_suite_of_the_rfc() {
        for (text, digest) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("a", "0cc175b9c0f1b6a831c399e269772661"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            ("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"),
            (
                "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                "57edf4a22be3c955ac49da2e2107b67a",
            ),
        ] {
            let mut md5 = Md5::new();
            md5.update(text.as_bytes());
            assert_eq!(hex::encode(md5.finish()), digest, "{text}");
        }
    }

    #[test]
    fn every_length_around_the_blocks() {
        let bytes: Vec<u8> = (0..400).map(|i| (i * 7 % 251) as u8).collect();
        for len in 0..bytes.len() {
            let mut md5 = Md5::new();
            md5.update(&bytes[..len]);
            assert_eq!(md5.finish(), expected(&bytes[..len]), "{len}");
        }
    }

    proptest! {
        /// However bodies are cut, and whoever else is under way.
        #[test]
        fn bodies_side_by_side_do_not_touch_each_other(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 1..=LANES),
            cuts in prop::collection::vec(1_usize..300, 1..20),
        ) {
            let mut md5s: Vec<Md5> = bodies.iter().map(|_| Md5::new()).collect();
            let mut at = vec![0; bodies.len()];
            let mut cut = cuts.iter().cycle();
            while at.iter().zip(&bodies).any(|(at, body)| *at < body.len()) {
                let mut inputs: Vec<Input<&[u8]>> = Vec::new();
                for ((md5, body), at) in md5s.drain(..).zip(&bodies).zip(&mut at) {
                    let end = (*at + cut.next().copied().unwrap_or(1)).min(body.len());
                    inputs.push(Input::new(md5, &body[*at..end]));
                    *at = end;
                }
                loop {
                    let mut ready: Vec<&mut Input<&[u8]>> =
                        inputs.iter_mut().filter_map(|input| input.ready().then_some(input)).collect();
                    if ready.is_empty() {
                        break;
                    }
                    advance(&mut ready);
                }
                md5s = inputs.into_iter().map(|input| input.md5).collect();
            }
            for (md5, body) in md5s.into_iter().zip(&bodies) {
                prop_assert_eq!(md5.finish(), expected(body));
            }
        }
    }
}
