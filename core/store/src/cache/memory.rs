//! Plaintext of whole chunks, in memory, with the key domain it was sealed in: when that is
//! destroyed, its plaintext goes, too.
use bytes::Bytes;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use crate::{CHUNK_MAX, ChunkId, DomainId};

/// What an entry costs beside its bytes: key, domain and handle, the tables' share, and what an
/// allocator adds.
const ENTRY: u64 = 160;
/// Expected size of a chunk, for sizing the tables.
const TYPICAL: u64 = 64 << 10;
/// Fewer bytes than this in a shard, and one large chunk would push out everything else.
const SHARD_MIN: u64 = 16 * CHUNK_MAX as u64;

/// Plaintext of a chunk, and where its key belongs.
#[derive(Clone, Debug)]
pub(crate) struct Plain {
    /// Its key domain.
    pub domain: DomainId,
    /// All of its bytes.
    pub bytes: Bytes,
}

#[derive(Clone)]
struct Bytewise;

impl Weighter<ChunkId, Plain> for Bytewise {
    fn weight(&self, _: &ChunkId, plain: &Plain) -> u64 {
        plain.bytes.len() as u64 + ENTRY
    }
}

/// The memory cache.
pub(crate) struct MemoryCache {
    cache: Cache<ChunkId, Plain, Bytewise>,
}

impl MemoryCache {
    /// Holds at most `budget` bytes.
    pub(crate) fn new(budget: u64) -> Self {
        let shards = (budget / SHARD_MIN).clamp(1, 16) as usize;
        let options = OptionsBuilder::new()
            .estimated_items_capacity((budget / TYPICAL).max(16) as usize)
            .weight_capacity(budget)
            .shards(shards)
            .build()
            .expect("all required options are set");
        let cache = Cache::with_options(
            options,
            Bytewise,
            DefaultHashBuilder::default(),
            DefaultLifecycle::default(),
        );
        Self { cache }
    }

    /// The plaintext of `chunk`, if it is here.
    pub(crate) fn get(&self, chunk: ChunkId) -> Option<Plain> {
        self.cache.get(&chunk)
    }

    /// Whether `chunk` is here; does not count as a use.
    pub(crate) fn contains(&self, chunk: ChunkId) -> bool {
        self.cache.contains_key(&chunk)
    }

    /// Keeps `plain`, which must own its bytes alone, or the budget does not hold.
    pub(crate) fn insert(&self, chunk: ChunkId, plain: Plain) {
        self.cache.insert(chunk, plain);
    }

    /// Forgets what belongs to `domain`. Looks at everything that is here.
    pub(crate) fn forget(&self, domain: DomainId) {
        self.cache.retain(|_, plain| plain.domain != domain);
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        self.cache.clear();
    }

    /// Bytes here, and how many may be.
    pub(crate) fn usage(&self) -> (u64, u64) {
        (self.cache.weight(), self.cache.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(domain: u64, bytes: impl Into<Bytes>) -> Plain {
        Plain {
            domain: DomainId(domain),
            bytes: bytes.into(),
        }
    }

    #[test]
    fn stays_in_its_budget() {
        for budget in [0, 1 << 20, 64 << 20] {
            let cache = MemoryCache::new(budget);
            for chunk in 0..2000u64 {
                let len = if chunk % 3 == 0 { CHUNK_MAX } else { 5000 };
                cache.insert(ChunkId(chunk), plain(1, vec![chunk as u8; len]));
                assert!(cache.usage().0 <= budget, "{:?}", cache.usage());
            }
            if budget > 0 {
                assert!(cache.usage().0 > budget / 2, "the budget is used");
            }
            cache.clear();
            assert_eq!(cache.usage().0, 0);
        }
    }

    #[test]
    fn gives_back_what_was_put() {
        let cache = MemoryCache::new(4 << 20);
        cache.insert(ChunkId(1), plain(7, &b"one"[..]));
        let found = cache.get(ChunkId(1)).unwrap();
        assert_eq!(
            (found.domain, found.bytes),
            (DomainId(7), Bytes::from_static(b"one"))
        );
        assert!(cache.contains(ChunkId(1)) && !cache.contains(ChunkId(2)));
        assert!(cache.get(ChunkId(2)).is_none());
    }

    #[test]
    fn forgets_one_domain() {
        let cache = MemoryCache::new(4 << 20);
        for chunk in 0..100 {
            cache.insert(ChunkId(chunk), plain(chunk % 2, vec![0; 100]));
        }
        cache.forget(DomainId(0));
        for chunk in 0..100 {
            assert_eq!(cache.contains(ChunkId(chunk)), chunk % 2 == 1);
        }
    }
}
