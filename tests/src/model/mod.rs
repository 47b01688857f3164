//! All doors against one model.
//!
//! [`generator`] makes operations from a seed; [`driver`] carries them out on a real gateway through
//! its three doors, kills it, and takes miners away; [`reference`] says what must come of each. Every
//! answer and every byte is compared. A list that fails is [`shrink`]ed to a shorter one that fails.
pub mod driver;
pub mod generator;
pub mod operation;
pub mod outcome;
pub mod pair;
pub mod reference;
pub mod shrink;

use anyhow::{Context as _, Result, bail};

use self::driver::Driver;
use self::operation::{Blob, Event, Operation};
use self::outcome::Expected;
use self::reference::{Recovered, Reference};

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

/// What a run came to, for people to see that it did something.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Operations that were done.
    pub done: usize,
    /// Operations that were refused, as the model wants.
    pub refused: usize,
    /// Kills.
    pub kills: usize,
    /// Operations that a kill cut off before their answer.
    pub cut_off: usize,
    /// Objects that waited for a dead gateway, summed over its deaths. 0 of one gateway.
    pub waited: usize,
    /// What the kills undid.
    pub undone: Recovered,
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            done,
            refused,
            kills,
            cut_off,
            waited,
            undone,
        } = self;
        if *waited > 0 {
            write!(f, "{waited} objects waited for a dead gateway, ")?;
        }
        write!(
            f,
            "{done} operations done, {refused} refused, {kills} kills that cut off {cut_off} operations and undid {} changes of names and of {} files",
            undone.names, undone.files
        )
    }
}

/// Runs operations on a gateway of their own, in a new directory. The error says where gateway and
/// model part.
pub fn run(operations: &[Operation]) -> Result<Tally> {
    let mut driver = Driver::start()?;
    let mut model = Reference::default();
    let mut tally = Tally::default();
    for (index, operation) in operations.iter().enumerate() {
        match operation {
            Operation::Event(Event::Kill) => recover(&mut driver, &mut [&mut model], &mut tally),
            Operation::Event(Event::KillDuring { operation, micros }) => {
                let mut before = model.clone();
                let expected = model.apply(operation);
                let outcome = driver.execute_and_kill(operation, *micros)?;
                if expected.allows(&outcome) {
                    recover(&mut driver, &mut [&mut model], &mut tally)
                } else {
                    tally.cut_off += 1;
                    recover(&mut driver, &mut [&mut model, &mut before], &mut tally).inspect(|&happened| {
                        if happened == 1 {
                            model = before;
                        }
                    })
                }
            }
            operation => {
                let expected = model.apply(operation);
                let outcome = driver.execute(operation);
                if let Expected::Refused(_) = expected {
                    tally.refused += 1;
                } else {
                    tally.done += 1;
                }
                if expected.allows(&outcome) {
                    continue;
                }
                bail!(
                    "operation {index}, {operation:?}:\n  expected {expected:?}\n  got      {outcome:?}\n  {}{}",
                    expected.difference(&outcome),
                    driver.keep()
                );
            }
        }
        .with_context(|| format!("operation {index}, {operation:?}{}", driver.keep()))?;
    }
    driver.stop()?;
    Ok(tally)
}

/// Kills and restarts the gateway. Answers which of the models (the first, if several) goes on from
/// what is there then.
fn recover(driver: &mut Driver, models: &mut [&mut Reference], tally: &mut Tally) -> Result<usize> {
    tally.kills += 1;
    let seen = driver.kill()?;
    let mut reasons = Vec::new();
    for (index, model) in models.iter_mut().enumerate() {
        match model.recover(&seen) {
            Ok(recovered) => {
                tally.undone.names += recovered.names;
                tally.undone.files += recovered.files;
                return Ok(index);
            }
            Err(reason) => reasons.push(reason),
        }
    }
    bail!(
        "after the restart: {}",
        reasons.join("\n  or, if it did not happen: ")
    )
}
