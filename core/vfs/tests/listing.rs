//! Listings against plain sorted keys.
#![allow(clippy::unwrap_used, clippy::panic, clippy::large_stack_arrays)] // tests
mod namespace;

use std::collections::BTreeSet;

use namespace::Namespace;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use vfs::object::Commit;
use vfs::{ListPage, ListRequest, Precondition};

/// Objects, rolled-up prefixes, and where to go on.
type Page = (Vec<Vec<u8>>, Vec<Vec<u8>>, Option<Vec<u8>>);

/// What a listing must answer, by looking at every key.
fn expected(keys: &BTreeSet<Vec<u8>>, request: &ListRequest) -> Page {
    let (mut objects, mut prefixes, mut last) = (Vec::new(), Vec::<Vec<u8>>::new(), None);
    let after = request.start_after.clone().unwrap_or_default();
    for key in keys.iter().filter(|key| key.starts_with(&request.prefix)) {
        let rest = &key[request.prefix.len()..];
        let rolled = request.delimiter.as_ref().and_then(|delimiter| {
            let at = rest
                .windows(delimiter.len())
                .position(|window| window == &delimiter[..])?;
            Some(key[..request.prefix.len() + at + delimiter.len()].to_vec())
        });
        let entry = rolled.clone().unwrap_or_else(|| key.clone());
        if entry <= after || prefixes.last() == rolled.as_ref() && rolled.is_some() {
            continue;
        }
        if objects.len() + prefixes.len() == request.max {
            return (objects, prefixes, last);
        }
        last = Some(entry.clone());
        if rolled.is_some() {
            prefixes.push(entry);
        } else {
            objects.push(entry);
        }
    }
    (objects, prefixes, None)
}

fn random_text(random: &mut StdRng, most: usize) -> Vec<u8> {
    let len = random.random_range(0..=most);
    (0..len)
        .map(|_| b"ab/-.0\xff"[random.random_range(0..7)])
        .collect()
}

fn seen(page: ListPage) -> Page {
    (
        page.objects.into_iter().map(|info| info.key).collect(),
        page.prefixes,
        page.next,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_agree_with_sorted_keys() {
    let n = Namespace::new().await;
    n.bucket("b").await;
    let mut random = StdRng::seed_from_u64(7);
    let mut keys = BTreeSet::new();
    for round in 0..6 {
        for _ in 0..40 {
            let key = random_text(&mut random, 7);
            if key.is_empty() {
                continue;
            }
            if random.random_bool(0.8) {
                n.put_as("b", &key, b"", Commit::default()).await.unwrap();
                keys.insert(key);
            } else {
                let there = n
                    .vfs
                    .delete_object("b", &key, Precondition::default())
                    .await
                    .unwrap();
                assert_eq!(there, keys.remove(&key));
            }
        }
        for _ in 0..250 {
            let delimiter = match random.random_range(0..5) {
                0 => None,
                1 => Some(vec![b"a-\xff"[random.random_range(0..3)]]),
                2 => Some(b"/a".to_vec()),
                _ => Some(b"/".to_vec()),
            };
            let request = ListRequest {
                prefix: random_text(&mut random, 3),
                delimiter,
                start_after: random.random_bool(0.5).then(|| random_text(&mut random, 5)),
                max: random.random_range(1..12),
            };
            let page = seen(n.list("b", request.clone()).await);
            assert_eq!(
                page,
                expected(&keys, &request),
                "round {round}, {request:?}, keys {keys:?}"
            );
        }
        // Page after page gives everything once.
        let mut request = ListRequest {
            delimiter: Some(b"/".to_vec()),
            max: 3,
            ..ListRequest::default()
        };
        let mut all = (Vec::new(), Vec::new());
        loop {
            let page = seen(n.list("b", request.clone()).await);
            all.0.extend(page.0);
            all.1.extend(page.1);
            match page.2 {
                Some(next) => request.start_after = Some(next),
                None => break,
            }
        }
        let whole = expected(
            &keys,
            &ListRequest {
                max: usize::MAX,
                start_after: None,
                ..request
            },
        );
        assert_eq!(all, (whole.0, whole.1));
    }
    let none = n
        .list(
            "b",
            ListRequest {
                max: 0,
                ..ListRequest::default()
            },
        )
        .await;
    assert_eq!(seen(none), (Vec::new(), Vec::new(), None));
}

/// In a mount the shadowed file's name depends on a row that may lie far behind its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_beside_a_directory_of_its_name_is_shown_whatever_lies_between() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    for key in ["a", "a!", "a-", "a/x", "b", "b/x", "c", "c!", "d/x", "e"] {
        n.put("b", key, b"x").await.unwrap();
    }
    let shown = [
        ".cess~file~a",
        "a!",
        "a-",
        "a",
        ".cess~file~b",
        "b",
        "c",
        "c!",
        "d",
        "e",
    ];
    // Whatever ends a page.
    for max in 1..=shown.len() {
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let page = n.vfs.readdir(bucket, after, max).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.position.clone());
            names.extend(page.into_iter().map(|entry| entry.name));
        }
        assert_eq!(
            names,
            shown.map(|name| name.as_bytes().to_vec()),
            "pages of {max}"
        );
    }
}
