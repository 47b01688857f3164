//! docs/COMPATIBILITY.md says what the lists of `tests/s3-suite` say.
use std::collections::BTreeMap;
use std::path::Path;

const LISTS: [&str; 3] = ["works", "not-yet", "will-not"];

/// Reason by function.
#[allow(clippy::unwrap_used)] // part of a test
fn list(name: &str) -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("s3-suite/{name}.txt"));
    let text = std::fs::read_to_string(path).unwrap();
    let entries: Vec<(String, String)> = text
        .lines()
        .map(|line| line.split_once(": ").unwrap_or((line, "")))
        .map(|(function, reason)| (function.to_owned(), reason.to_owned()))
        .collect();
    let count = entries.len();
    let listed: BTreeMap<_, _> = entries.into_iter().collect();
    assert_eq!(listed.len(), count, "{name} names a function twice");
    listed
}

#[test]
fn every_function_is_in_one_list_and_what_does_not_work_has_a_reason() {
    let mut homes = BTreeMap::new();
    for name in LISTS {
        for (function, reason) in list(name) {
            assert_eq!(
                reason.is_empty(),
                name == "works",
                "{function} in {name}: {reason:?}"
            );
            if let Some(other) = homes.insert(function.clone(), name) {
                panic!("{function} is in {other} and in {name}");
            }
        }
    }
    assert!(homes.keys().all(|function| {
        function.starts_with("test_s3::test_") || function.starts_with("test_headers::test_")
    }));
}

#[test]
fn the_page_counts_what_the_lists_hold() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/COMPATIBILITY.md");
    let page = std::fs::read_to_string(page).unwrap();
    let lists = LISTS.map(list);
    let count = |start: &str| {
        lists
            .each_ref()
            .map(|list| list.keys().filter(|f| f.starts_with(start)).count())
    };
    for (row, start) in [
        ("`test_s3.py`", "test_s3::"),
        ("`test_headers.py`", "test_headers::"),
        ("together", ""),
    ] {
        let counts = count(start);
        let all: usize = counts.iter().sum();
        let [works, not_yet, will_not] = counts;
        let line = format!("| {row} | {works} | {not_yet} | {will_not} | {all} |");
        assert!(
            page.contains(&line),
            "tests/s3-suite/run --docs writes the page anew: {line}"
        );
    }
}
