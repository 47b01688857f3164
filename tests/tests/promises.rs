//! What the documents promise is held by tests that exist.
//!
//! A test is named by the file that it is in and its own name, each in backquotes, the file first and
//! on the same line. Other tests of the same file may follow.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Documents that name tests.
const DOCUMENTS: [&str; 5] = [
    "ARCHITECTURE.md",
    "FORMAT.md",
    "OPERATIONS.md",
    "PERFORMANCE.md",
    "SEMANTICS.md",
];

/// A name with as many underscores is a test, wherever it stands.
const A_SENTENCE: usize = 3;

/// Names of tests, and the files that they are in.
type Tests = BTreeMap<String, BTreeSet<String>>;

#[test]
fn every_test_that_a_document_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut tests = Tests::new();
    collect(root, root, &mut tests);
    assert!(tests.len() > 500, "the sources were not found");
    let (mut named, mut wrong) = (0, Vec::new());
    for document in DOCUMENTS {
        let text = std::fs::read_to_string(root.join("docs").join(document)).unwrap();
        for (number, line) in (1..).zip(text.lines()) {
            for claim in claims(line) {
                let (holds, what) = match &claim {
                    Claim::File(file) => (root.join(file).is_file(), (*file).to_owned()),
                    Claim::Test { name, file } => {
                        named += 1;
                        let files = tests.get(*name);
                        let holds = files.is_some_and(|files| file.is_none_or(|file| files.contains(file)));
                        (holds, format!("{} {name}", file.unwrap_or("any file:")))
                    }
                };
                if !holds {
                    wrong.push(format!("docs/{document}:{number}: {what}"));
                }
            }
        }
    }
    assert!(named > 150, "the names were not found");
    assert!(wrong.is_empty(), "there is no\n{}", wrong.join("\n"));
}

/// What a line says that there is.
#[derive(Debug, PartialEq, Eq)]
enum Claim<'a> {
    File(&'a str),
    Test { name: &'a str, file: Option<&'a str> },
}

fn is_source(name: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "rs")
}

fn claims(line: &str) -> Vec<Claim<'_>> {
    let mut file = None;
    let quoted = line.split('`').skip(1).step_by(2);
    quoted
        .filter_map(|text| {
            if is_source(text) && text.contains('/') {
                file = Some(text);
                return Some(Claim::File(text));
            }
            let underscores = text.matches('_').count();
            let is_name = text
                .chars()
                .all(|c| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit());
            let least = if file.is_some() { 1 } else { A_SENTENCE };
            (is_name && underscores >= least).then_some(Claim::Test { name: text, file })
        })
        .collect()
}

/// Tests of all source files below `dir`; files are named from `root`.
#[allow(clippy::unwrap_used)] // part of a test
fn collect(root: &Path, dir: &Path, tests: &mut Tests) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                collect(root, &path, tests);
            }
        } else if is_source(&name) {
            let file = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            for test in tests_in(&std::fs::read_to_string(&path).unwrap()) {
                tests.entry(test.to_owned()).or_default().insert(file.clone());
            }
        }
    }
}

/// Names of the functions under a `#[test]` or `#[tokio::test]`.
fn tests_in(source: &str) -> Vec<&str> {
    let mut marked = false;
    let mut found = Vec::new();
    for line in source.lines().map(str::trim) {
        marked |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        let function = line.trim_start_matches("pub ").trim_start_matches("async ");
        if let Some(rest) = function.strip_prefix("fn ") {
            let end = rest.find(['(', '<']).unwrap_or(rest.len());
            if std::mem::take(&mut marked) {
                found.push(&rest[..end]);
            }
        }
    }
    found
}

#[test]
fn claims_are_found_in_prose_and_tables() {
    assert_eq!(
        claims("holds (`a/b.rs` `it_holds`, `so_it_does`) after `store.pack_age` `pause`"),
        [
            Claim::File("a/b.rs"),
            Claim::Test {
                name: "it_holds",
                file: Some("a/b.rs")
            },
            Claim::Test {
                name: "so_it_does",
                file: Some("a/b.rs")
            },
        ]
    );
    assert!(claims("`copy_file_range` and `repair_below`").is_empty());
    assert_eq!(
        claims("| `what_is_lost_is_found` |"),
        [Claim::Test {
            name: "what_is_lost_is_found",
            file: None
        }]
    );
}

#[test]
fn tests_are_told_from_other_functions() {
    let source = "fn other() {}\n#[test]\nfn one() {}\n    #[tokio::test(flavor = \"x\")]\n    \
                  pub async fn two() {}\nfn more() {}";
    assert_eq!(tests_in(source), ["one", "two"]);
}
