//! Changes of a file's content that are in memory only.
//!
//! A layer is a set of ranges over the stored content: data, or zeroes (a hole to be). It also
//! carries the size after the changes. Truncation is a change like any other: zeroes from the new
//! end to infinity, and the size.
//!
//! Another gateway may change the stored content under a layer. Bytes that were written somewhere stay
//! there; a layer to which nothing was done but appending belongs behind the end, wherever that is when it
//! is stored.
use std::collections::BTreeMap;
use std::ops::Range;

use store::CHUNK_MAX;

use crate::Timestamp;

const BLOCK: u64 = CHUNK_MAX as u64;
/// What a piece takes beside its data, in bytes: its place in the map.
const PIECE: u64 = 64;

/// A changed range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// These bytes. Never crosses a multiple of [`CHUNK_MAX`].
    Data(Vec<u8>),
    /// That many zeroes.
    Zero(u64),
}

impl Piece {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Data(data) => data.len() as u64,
            Self::Zero(len) => *len,
        }
    }

    /// A copy of a part of it.
    fn part(&self, range: Range<u64>) -> Self {
        match self {
            Self::Data(data) => Self::Data(data[range.start as usize..range.end as usize].to_vec()),
            Self::Zero(_) => Self::Zero(range.end - range.start),
        }
    }

    /// Shortens to `len` and answers the rest.
    fn split_off(&mut self, len: u64) -> Self {
        match self {
            Self::Data(data) => Self::Data(data.split_off(len as usize)),
            Self::Zero(whole) => {
                let rest = *whole - len;
                *whole = len;
                Self::Zero(rest)
            }
        }
    }
}

/// What the changes of a flush do to the file, in order: each range once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// New bytes ([`Layer::data`]), to become one chunk: at most [`CHUNK_MAX`].
    Data(Range<u64>),
    /// A hole.
    Zero(Range<u64>),
}

/// Changes over the stored content.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layer {
    pieces: BTreeMap<u64, Piece>,
    /// Bytes of data held.
    bytes: u64,
    /// Size of the file after the changes, over the size that it had when the first of them came.
    pub size: u64,
    /// End of the last byte that the changes put there; 0: none.
    end: u64,
    /// The size was set, not only grown to hold what was written.
    sized: bool,
    /// Size that the first change found, as long as all changes append.
    appends_to: Option<u64>,
    /// When the last of them came, unless set to something else since.
    pub mtime: Timestamp,
    /// When the last of them came.
    pub ctime: Timestamp,
}

impl Layer {
    /// No changes yet, over a file of `size` bytes.
    pub(crate) fn over(size: u64) -> Self {
        Self {
            size,
            appends_to: Some(size),
            ..Self::default()
        }
    }

    /// Memory that it takes, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes + PIECE * self.pieces.len() as u64
    }

    /// The most that `len` bytes of data take, in bytes.
    pub(crate) const fn most(len: u64) -> u64 {
        len + PIECE * (len / BLOCK + 2)
    }

    /// Bytes of data held.
    pub(crate) fn data_bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes `data` at `offset`; the size grows as needed.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        let end = offset + data.len() as u64;
        // Growing to it ends an append, too.
        self.grow(end);
        if self.overwrite(offset, data) || self.extend(offset, data) {
            return;
        }
        self.clear(offset..end);
        let (mut at, mut rest) = (offset, data);
        while !rest.is_empty() {
            let room = (BLOCK - at % BLOCK) as usize;
            let (piece, later) = rest.split_at(room.min(rest.len()));
            self.bytes += piece.len() as u64;
            self.pieces.insert(at, Piece::Data(piece.to_vec()));
            at += piece.len() as u64;
            rest = later;
        }
    }

    /// Writes `data` at the end; answers where that is.
    pub(crate) fn append(&mut self, data: &[u8]) -> u64 {
        let (offset, appends_to) = (self.size, self.appends_to);
        self.write(offset, data);
        self.appends_to = appends_to;
        offset
    }

    /// Makes the range zero. The size stays.
    pub(crate) fn zero(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        self.appends_to = None;
        self.clear(range.clone());
        self.pieces
            .insert(range.start, Piece::Zero(range.end - range.start));
    }

    /// Makes the file at least so long.
    pub(crate) fn grow(&mut self, end: u64) {
        self.size = self.size.max(end);
        self.end = self.end.max(end);
        self.appends_to = None;
    }

    /// Sets the size. What lay beyond a smaller one is gone for good.
    pub(crate) fn truncate(&mut self, size: u64) {
        if size < self.size {
            self.zero(size..u64::MAX);
        }
        self.size = size;
        self.sized = true;
        self.appends_to = None;
    }

    /// Whether the size was set.
    pub(crate) fn is_sized(&self) -> bool {
        self.sized
    }

    /// Size of the file after the changes, when it is `stored` bytes long without them: another gateway
    /// may have changed that since they came. A size that was set holds; else the file is as long as
    /// either needs.
    pub(crate) fn size_over(&self, stored: u64) -> u64 {
        if self.sized {
            self.size
        } else if let Some(base) = self.appends_to {
            stored + (self.size - base)
        } else {
            stored.max(self.end)
        }
    }

    /// Where a change at `offset` goes in a file of `stored` bytes.
    pub(crate) fn offset_over(&self, stored: u64, offset: u64) -> u64 {
        self.appends_to
            .map_or(offset, |base| offset.saturating_sub(base).saturating_add(stored))
    }

    /// As [`Self::pieces_in`], over a file of `stored` bytes.
    pub(crate) fn pieces_over(&self, stored: u64, range: &Range<u64>) -> Vec<(u64, Piece)> {
        let Some(base) = self.appends_to.filter(|base| *base != stored) else {
            return self.pieces_in(range);
        };
        let back = |at: u64| at.saturating_add(base).saturating_sub(stored);
        let mut pieces = self.pieces_in(&(back(range.start)..back(range.end)));
        for (offset, _) in &mut pieces {
            *offset = self.offset_over(stored, *offset);
        }
        pieces
    }

    /// Within one piece: the common case of rewriting a block.
    fn overwrite(&mut self, offset: u64, data: &[u8]) -> bool {
        if let Some((&start, Piece::Data(piece))) = self.pieces.range_mut(..=offset).next_back() {
            let at = (offset - start) as usize;
            if at < piece.len() && data.len() <= piece.len() - at {
                piece[at..at + data.len()].copy_from_slice(data);
                return true;
            }
        }
        false
    }

    /// Right behind a piece, in the same block, over nothing: the common case of small appends.
    fn extend(&mut self, offset: u64, data: &[u8]) -> bool {
        let end = offset + data.len() as u64;
        if offset.is_multiple_of(BLOCK) || offset / BLOCK != (end - 1) / BLOCK {
            return false;
        }
        if self.pieces.range(offset..end).next().is_some() {
            return false;
        }
        if let Some((&start, Piece::Data(piece))) = self.pieces.range_mut(..offset).next_back()
            && start + piece.len() as u64 == offset
        {
            piece.extend_from_slice(data);
            self.bytes += data.len() as u64;
            return true;
        }
        false
    }

    /// Forgets what is known about the range.
    fn clear(&mut self, range: Range<u64>) {
        if let Some((&start, piece)) = self.pieces.range_mut(..range.start).next_back() {
            let end = start + piece.len();
            if end > range.start {
                let mut rest = piece.split_off(range.start - start);
                let rest_bytes = |piece: &Piece| {
                    if let Piece::Data(data) = piece {
                        data.len() as u64
                    } else {
                        0
                    }
                };
                self.bytes -= rest_bytes(&rest);
                if end > range.end {
                    let tail = rest.split_off(range.end - range.start);
                    self.bytes += rest_bytes(&tail);
                    self.pieces.insert(range.end, tail);
                }
            }
        }
        let inside: Vec<u64> = self
            .pieces
            .range(range.clone())
            .map(|(&start, _)| start)
            .collect();
        for start in inside {
            let Some(mut piece) = self.pieces.remove(&start) else {
                continue;
            };
            if let Piece::Data(data) = &piece {
                self.bytes -= data.len() as u64;
            }
            if start + piece.len() > range.end {
                let tail = piece.split_off(range.end - start);
                if let Piece::Data(data) = &tail {
                    self.bytes += data.len() as u64;
                }
                self.pieces.insert(range.end, tail);
            }
        }
    }

    /// Copies of the pieces that touch `range`, cut to it, in order.
    pub(crate) fn pieces_in(&self, range: &Range<u64>) -> Vec<(u64, Piece)> {
        let mut found = Vec::new();
        if range.is_empty() {
            return found;
        }
        let first = self
            .pieces
            .range(..=range.start)
            .next_back()
            .filter(|(start, piece)| *start + piece.len() > range.start)
            .map_or(range.start, |(&start, _)| start);
        for (&start, piece) in self.pieces.range(first..range.end) {
            let from = start.max(range.start);
            let to = (start + piece.len()).min(range.end);
            found.push((from, piece.part(from - start..to - start)));
        }
        found
    }

    /// What it says about the bytes from `at` on: a copy of the first piece that ends behind `at`, cut
    /// to `at..end`, and where it begins; `None` when it says nothing about that range.
    pub(crate) fn next_in(&self, at: u64, end: u64) -> Option<(u64, Piece)> {
        let first = self
            .pieces
            .range(..=at)
            .next_back()
            .filter(|(start, piece)| *start + piece.len() > at)
            .map_or(at, |(&start, _)| start);
        let (&start, piece) = self.pieces.range(first..end).next()?;
        let (from, to) = (start.max(at), (start + piece.len()).min(end));
        Some((from, piece.part(from - start..to - start)))
    }

    /// The changes, with data gathered into chunks: neighbours within one aligned block are one
    /// chunk, and nothing is read to fill gaps.
    pub(crate) fn changes(&self) -> impl Iterator<Item = Change> + '_ {
        let mut pieces = self.pieces.iter().peekable();
        std::iter::from_fn(move || {
            let (&offset, piece) = pieces.next()?;
            let mut end = offset + piece.len();
            if matches!(piece, Piece::Zero(_)) {
                return Some(Change::Zero(offset..end));
            }
            while let Some((&next, Piece::Data(more))) = pieces.peek().copied()
                && next == end
                && next / BLOCK == offset / BLOCK
            {
                end += more.len() as u64;
                pieces.next();
            }
            Some(Change::Data(offset..end))
        })
    }

    /// A copy of the data of a change.
    pub(crate) fn data(&self, range: &Range<u64>) -> Vec<u8> {
        let mut data = Vec::with_capacity((range.end - range.start) as usize);
        for (_, piece) in self.pieces.range(range.clone()) {
            if let Piece::Data(piece) = piece {
                data.extend_from_slice(piece);
            }
        }
        data
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// Applies random changes to a layer and to plain bytes; both must agree in every view.
    #[test]
    fn a_layer_is_what_plain_bytes_would_be() {
        for seed in 0..60 {
            let mut random = StdRng::seed_from_u64(seed);
            let span = if seed % 2 == 0 { 4_000 } else { 3 * BLOCK };
            let mut layer = Layer::default();
            // `None`: the layer says nothing about the byte.
            let mut model: Vec<Option<u8>> = Vec::new();
            model.resize(span as usize * 2, None);
            for _ in 0..120 {
                let offset = random.random_range(0..span);
                let len = random.random_range(1..span / 8);
                let (from, to) = (offset as usize, (offset + len) as usize);
                match random.random_range(0..10) {
                    0 => {
                        layer.zero(offset..offset + len);
                        model[from..to].fill(Some(0));
                    }
                    1 => {
                        if offset < layer.size {
                            model[from..].fill(Some(0));
                        }
                        layer.truncate(offset);
                        assert_eq!(layer.size, offset);
                    }
                    _ => {
                        let data: Vec<u8> = (0..len).map(|_| random.random()).collect();
                        layer.write(offset, &data);
                        for (byte, slot) in data.iter().zip(&mut model[from..to]) {
                            *slot = Some(*byte);
                        }
                    }
                }
                let held: u64 = layer
                    .pieces
                    .values()
                    .map(|piece| {
                        if let Piece::Data(data) = piece {
                            data.len() as u64
                        } else {
                            0
                        }
                    })
                    .sum();
                assert_eq!(layer.data_bytes(), held);
                assert_eq!(layer.bytes(), held + PIECE * layer.pieces.len() as u64);
            }
            let mut seen = vec![None; model.len()];
            for (start, piece) in layer.pieces_in(&(0..model.len() as u64)) {
                let start = start as usize;
                match piece {
                    Piece::Data(data) => {
                        assert!(start as u64 / BLOCK == (start as u64 + data.len() as u64 - 1) / BLOCK);
                        for (at, byte) in data.into_iter().enumerate() {
                            seen[start + at] = Some(byte);
                        }
                    }
                    Piece::Zero(len) => seen[start..start + len as usize].fill(Some(0)),
                }
            }
            assert!(seen == model, "seed {seed}");
            let mut flushed = vec![None; model.len()];
            let mut last = 0;
            for change in layer.changes() {
                match change {
                    Change::Data(range) => {
                        let (offset, data) = (range.start, layer.data(&range));
                        assert_eq!(data.len() as u64, range.end - range.start);
                        assert!(offset >= last && data.len() <= CHUNK_MAX && !data.is_empty());
                        last = offset + data.len() as u64;
                        for (at, byte) in data.into_iter().enumerate() {
                            flushed[offset as usize + at] = Some(byte);
                        }
                    }
                    Change::Zero(range) => {
                        assert!(range.start >= last);
                        last = range.end;
                        let end = range.end.min(model.len() as u64) as usize;
                        flushed[range.start as usize..end].fill(Some(0));
                    }
                }
            }
            assert!(flushed == model, "seed {seed}");
        }
    }

    #[test]
    fn small_appends_share_one_piece() {
        let mut layer = Layer::default();
        for at in 0..10_000 {
            layer.write(at * 10, b"0123456789");
        }
        assert_eq!(layer.pieces.len(), 1);
        assert_eq!(layer.size, 100_000);
    }

    #[test]
    fn holes_take_memory_too() {
        let mut layer = Layer::over(1 << 40);
        for number in 0..10_000 {
            layer.zero(number * 8192..number * 8192 + 4096);
        }
        assert_eq!((layer.bytes(), layer.data_bytes()), (10_000 * PIECE, 0));
        layer.truncate(0);
        assert_eq!(layer.bytes(), PIECE);
        // Data takes no more than was set aside for it.
        for (offset, len) in [(0, 1), (BLOCK - 1, 2), (1, 3 * BLOCK as usize), (7, CHUNK_MAX)] {
            let mut layer = Layer::default();
            layer.write(offset, &vec![1; len]);
            assert!(layer.bytes() <= Layer::most(len as u64), "{offset} {len}");
        }
    }
}
