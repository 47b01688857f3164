//! What can be wrong with a miner.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::error::Error;

/// A fault, or the end of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Connections are reset; no reports.
    Dead,
    /// Every answer waits this long.
    Slow(Duration),
    /// Bits flip in what is read.
    Corrupt,
    /// What was reported is gone, and goes in future as soon as it is reported.
    Forget,
    /// Fragments are accepted and reported, and thrown away.
    Lie,
    /// No space: nothing is accepted, and the chain shows none.
    Full,
    /// No fault any more. What was forgotten stays lost.
    Heal,
}

impl FromStr for Fault {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Ok(match text {
            "dead" => Self::Dead,
            "corrupt" => Self::Corrupt,
            "forget" => Self::Forget,
            "lie" => Self::Lie,
            "full" => Self::Full,
            "heal" => Self::Heal,
            _ => {
                let millis = text.strip_prefix("slow:").and_then(|millis| millis.parse().ok());
                Self::Slow(Duration::from_millis(millis.ok_or_else(|| {
                    Error::Invalid(format!(
                        "fault {text:?}: expected dead, slow:MS, corrupt, forget, lie, full or heal"
                    ))
                })?))
            }
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dead => f.write_str("dead"),
            Self::Slow(delay) => write!(f, "slow:{}", delay.as_millis()),
            Self::Corrupt => f.write_str("corrupt"),
            Self::Forget => f.write_str("forget"),
            Self::Lie => f.write_str("lie"),
            Self::Full => f.write_str("full"),
            Self::Heal => f.write_str("heal"),
        }
    }
}

/// The faults in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // Named after the faults.
pub struct Faults {
    pub dead: bool,
    pub slow: Duration,
    pub corrupt: bool,
    pub forget: bool,
    pub lie: bool,
    pub full: bool,
}

impl Faults {
    /// Adds a fault, or heals all.
    pub fn throw(&mut self, fault: Fault) {
        match fault {
            Fault::Dead => self.dead = true,
            Fault::Slow(delay) => self.slow = delay,
            Fault::Corrupt => self.corrupt = true,
            Fault::Forget => self.forget = true,
            Fault::Lie => self.lie = true,
            Fault::Full => self.full = true,
            Fault::Heal => *self = Self::default(),
        }
    }

    /// The faults by name.
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for (on, fault) in [
            (self.dead, Fault::Dead),
            (!self.slow.is_zero(), Fault::Slow(self.slow)),
            (self.corrupt, Fault::Corrupt),
            (self.forget, Fault::Forget),
            (self.lie, Fault::Lie),
            (self.full, Fault::Full),
        ] {
            if on {
                names.push(fault.to_string());
            }
        }
        names
    }
}

/// Flips one bit in the middle of every 64 KiB.
pub fn flip_bits(bytes: &mut [u8]) {
    for part in bytes.chunks_mut(64 << 10) {
        let middle = part.len() / 2;
        part[middle] ^= 0x10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_reads_as_it_is_written() {
        for text in ["dead", "slow:250", "corrupt", "forget", "lie", "full", "heal"] {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
        for text in ["", "slow", "slow:", "slow:x", "Dead", "slow:-1"] {
            assert!(text.parse::<Fault>().is_err(), "{text}");
        }
    }
}
