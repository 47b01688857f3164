//! Whole-product tests: the real program, real clients, real faults.
//!
//! - [`product`]: one `cess-gateway dev` as a child process, killed and restarted at will.
//! - [`process`]: a program of this workspace as a child process.
//! - [`operator`]: a gateway as an operator has it, from a configuration file.
//! - [`tools`]: the clients that the machine has; a test says aloud which one it lacks.
//! - [`model`]: all doors against one model.
//! - [`s3`]: a small S3 client.
//! - [`siege`]: a gateway under load and under fault.
//! - [`disk`]: a disk that loses power, fills up and fails.
//! - [`leftovers`]: sealed bytes that the gateway's disk should not hold any more.
//! - [`census`]: everything below a directory, inode by inode.
//! - [`picture`]: what a namespace shows through doors and commands, to compare.
//! - [`content`]: bytes that are cheap to make and to recognise.
pub mod census;
pub mod content;
pub mod disk;
pub mod leftovers;
pub mod model;
pub mod operator;
pub mod picture;
pub mod process;
pub mod product;
pub mod s3;
pub mod siege;
pub mod tools;
