//! All doors against one model.
//!
//! [`generator`] makes operations from a seed; [`driver`] carries them out on a real gateway through
//! its three doors, kills it, and takes miners away; [`reference`] says what must come of each. Every
//! answer and every byte is compared. A list that fails is [`shrink`]ed to a shorter one that fails.
pub mod driver;
pub mod generator;
pub mod operation;
pub mod outcome;
pub mod reference;
pub mod shrink;

use anyhow::{Result, bail};

use self::driver::Driver;
use self::operation::{Blob, Event, Operation};
use self::reference::Reference;

/// Length in bytes of the first part of a multipart upload: the least that S3 allows.
pub const MULTIPART_FIRST: usize = 5 << 20;

/// The value of `x-amz-meta-tag` for a number.
pub fn tag_value(tag: u8) -> String {
    format!("tag {tag}")
}

/// The value of an extended attribute. Text, because S3 shows one of them in a header.
pub fn xattr_value(value: Blob) -> Vec<u8> {
    hex::encode(value.bytes()).into_bytes()
}

/// Runs operations on a gateway of their own, in a new directory. The error says where gateway and
/// model part.
pub fn run(operations: &[Operation]) -> Result<()> {
    let mut driver = Driver::start()?;
    let mut model = Reference::default();
    for (index, operation) in operations.iter().enumerate() {
        if let Operation::Event(Event::Kill) = operation {
            let seen = driver.kill()?;
            if let Err(reason) = model.recover(&seen) {
                bail!("operation {index}, after the restart: {reason}{}", driver.keep());
            }
            continue;
        }
        let expected = model.apply(operation);
        let outcome = driver.execute(operation);
        if !expected.allows(&outcome) {
            bail!(
                "operation {index}, {operation:?}:\n  expected {expected:?}\n  got      {outcome:?}\n  {}{}",
                expected.difference(&outcome),
                driver.keep()
            );
        }
    }
    driver.stop()
}
