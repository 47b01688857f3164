//! The house keeps its order: who may use whom, and no file that has grown too long.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Who may use whom, inside the workspace. Tests may use everything.
const MAY_USE: [(&str, &[&str]); 10] = [
    ("cess", &[]),
    ("meta", &[]),
    ("store", &["meta", "cess"]),
    ("vfs", &["store", "meta"]),
    ("access", &["vfs"]),
    ("s3-frontend", &["access", "vfs"]),
    ("fuse-frontend", &["vfs"]),
    ("block-frontend", &["vfs"]),
    ("cess-devnet", &["cess"]),
    (
        "cess-gateway",
        &[
            "s3-frontend",
            "fuse-frontend",
            "block-frontend",
            "access",
            "vfs",
            "store",
            "meta",
            "cess",
            "cess-devnet",
        ],
    ),
];

/// The crate of these tests.
const TESTS: &str = "product-tests";

/// Longest source file, in lines.
const LONGEST: usize = 800;

#[test]
fn crates_use_only_what_the_design_allows() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let members: BTreeSet<_> = metadata
        .packages
        .iter()
        .map(|package| package.name.to_string())
        .collect();
    let known: BTreeSet<_> = MAY_USE
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .chain([TESTS.to_owned()])
        .collect();
    assert_eq!(members, known, "every crate has its place in the table above");
    for package in &metadata.packages {
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == package.name.as_str()) else {
            continue;
        };
        for dependency in &package.dependencies {
            let inside = members.contains(&dependency.name);
            if inside && dependency.kind != DependencyKind::Development {
                assert!(
                    allowed.contains(&dependency.name.as_str()),
                    "{} must not use {}",
                    package.name,
                    dependency.name
                );
            }
        }
    }
}

#[test]
fn no_source_file_is_too_long() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    collect(root, &mut files);
    assert!(files.len() > 50, "the sources were not found");
    let long: Vec<_> = files
        .into_iter()
        .map(|file| (std::fs::read_to_string(&file).unwrap().lines().count(), file))
        .filter(|(lines, _)| *lines > LONGEST)
        .collect();
    assert!(long.is_empty(), "more than {LONGEST} lines: {long:?}");
}

#[allow(clippy::unwrap_used)] // part of a test
fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
