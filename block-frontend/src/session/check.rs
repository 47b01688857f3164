//! From the numbers of a request to a command that makes sense on this export, or the error that the
//! specification has for it.
use crate::proto::constants::{Errno, command as code, command_flag};
use crate::proto::request::Request;

use super::MAX_PAYLOAD;

/// What a session may be asked.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the export.
    pub size: u64,
    /// Structured replies were agreed on.
    pub structured: bool,
    /// `base:allocation` was chosen.
    pub allocation: bool,
}

/// A request whose range and flags have been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Reads; `whole` asks for one piece.
    Read { offset: u64, len: u32, whole: bool },
    /// Writes the payload.
    Write { offset: u64, len: u32, fua: bool },
    /// Makes answered writes durable.
    Flush,
    /// Frees a range.
    Trim { offset: u64, len: u32, fua: bool },
    /// Brings a range near.
    Cache { offset: u64, len: u32 },
    /// Zeroes a range; `allocate` wants it to take space, `fast` wants it fast or not at all.
    WriteZeroes {
        offset: u64,
        len: u32,
        fua: bool,
        allocate: bool,
        fast: bool,
    },
    /// Tells data from holes; `one` is content with the first run.
    BlockStatus { offset: u64, len: u32, one: bool },
}

impl Command {
    /// Bytes of payload that it holds in memory at once, in its request or its reply.
    pub fn payload(&self) -> u32 {
        match self {
            Self::Read { len, .. } | Self::Write { len, .. } => *len,
            Self::WriteZeroes {
                len, allocate: true, ..
            }
            | Self::Cache { len, .. } => (*len).min(super::command::PIECE),
            Self::Flush | Self::Trim { .. } | Self::WriteZeroes { .. } | Self::BlockStatus { .. } => 0,
        }
    }

    /// Whether it changes bytes, or says that changes are durable.
    pub fn is_change(&self) -> bool {
        match self {
            Self::Write { .. } | Self::Flush | Self::Trim { .. } | Self::WriteZeroes { .. } => true,
            Self::Read { .. } | Self::Cache { .. } | Self::BlockStatus { .. } => false,
        }
    }

    /// Whether a flush belongs to it, after everything else.
    pub fn is_flushed(&self) -> bool {
        match self {
            Self::Flush => true,
            Self::Write { fua, .. } | Self::Trim { fua, .. } | Self::WriteZeroes { fua, .. } => *fua,
            Self::Read { .. } | Self::Cache { .. } | Self::BlockStatus { .. } => false,
        }
    }
}

/// Checks a request. A range beyond the end is `NoSpc` for what would write there and `Inval` for
/// the rest.
pub fn check(request: &Request, limits: &Limits) -> Result<Command, Errno> {
    let Request {
        offset, len, flags, ..
    } = *request;
    let has = |flag: u16| flags & flag != 0;
    // Clients set FUA on requests that write nothing, too; it says nothing there.
    let only = |allowed: u16| {
        if flags & !(allowed | command_flag::FUA) == 0 {
            Ok(())
        } else {
            Err(Errno::Inval)
        }
    };
    let inside = |beyond: Errno| match offset.checked_add(u64::from(len)) {
        Some(end) if end <= limits.size => Ok(()),
        _ => Err(beyond),
    };
    let small = || {
        if len <= MAX_PAYLOAD {
            Ok(())
        } else {
            Err(Errno::Inval)
        }
    };
    let fua = has(command_flag::FUA);
    match request.command {
        code::READ => {
            only(if limits.structured { command_flag::DF } else { 0 })?;
            small()?;
            inside(Errno::Inval)?;
            Ok(Command::Read {
                offset,
                len,
                whole: has(command_flag::DF),
            })
        }
        code::WRITE => {
            only(0)?;
            small()?;
            inside(Errno::NoSpc)?;
            Ok(Command::Write { offset, len, fua })
        }
        code::FLUSH => {
            only(0)?;
            Ok(Command::Flush)
        }
        code::TRIM => {
            only(0)?;
            inside(Errno::Inval)?;
            Ok(Command::Trim { offset, len, fua })
        }
        code::CACHE => {
            only(0)?;
            inside(Errno::Inval)?;
            Ok(Command::Cache { offset, len })
        }
        code::WRITE_ZEROES => {
            only(command_flag::NO_HOLE | command_flag::FAST_ZERO)?;
            inside(Errno::NoSpc)?;
            let allocate = has(command_flag::NO_HOLE);
            Ok(Command::WriteZeroes {
                offset,
                len,
                fua,
                allocate,
                fast: has(command_flag::FAST_ZERO),
            })
        }
        code::BLOCK_STATUS => {
            only(command_flag::REQ_ONE)?;
            if !limits.allocation || len == 0 {
                return Err(Errno::Inval);
            }
            inside(Errno::Inval)?;
            Ok(Command::BlockStatus {
                offset,
                len,
                one: has(command_flag::REQ_ONE),
            })
        }
        _ => Err(Errno::Inval),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        size: 1 << 30,
        structured: true,
        allocation: true,
    };

    fn request(command: u16, offset: u64, len: u32) -> Request {
        Request {
            flags: 0,
            command,
            cookie: 0,
            offset,
            len,
        }
    }

    #[test]
    fn beyond_the_end() {
        for (command, errno) in [
            (code::READ, Errno::Inval),
            (code::WRITE, Errno::NoSpc),
            (code::TRIM, Errno::Inval),
            (code::CACHE, Errno::Inval),
            (code::WRITE_ZEROES, Errno::NoSpc),
            (code::BLOCK_STATUS, Errno::Inval),
        ] {
            for offset in [LIMITS.size, LIMITS.size - 511, u64::MAX, u64::MAX - 100] {
                assert_eq!(
                    check(&request(command, offset, 512), &LIMITS),
                    Err(errno),
                    "{command} {offset}"
                );
            }
            assert!(
                check(&request(command, LIMITS.size - 512, 512), &LIMITS).is_ok(),
                "{command}"
            );
        }
    }

    #[test]
    fn flags_belong_to_their_commands() {
        let with = |command, flags| {
            check(
                &Request {
                    flags,
                    ..request(command, 0, 512)
                },
                &LIMITS,
            )
        };
        assert_eq!(with(code::WRITE, command_flag::DF), Err(Errno::Inval));
        assert_eq!(with(code::READ, command_flag::NO_HOLE), Err(Errno::Inval));
        assert_eq!(with(code::FLUSH, 1 << 9), Err(Errno::Inval));
        assert_eq!(with(code::FLUSH, command_flag::FUA), Ok(Command::Flush));
        assert_eq!(
            with(code::WRITE_ZEROES, command_flag::FAST_ZERO | command_flag::FUA),
            Ok(Command::WriteZeroes {
                offset: 0,
                len: 512,
                fua: true,
                allocate: false,
                fast: true
            })
        );
        let plain = Limits {
            structured: false,
            allocation: false,
            ..LIMITS
        };
        let whole = Request {
            flags: command_flag::DF,
            ..request(code::READ, 0, 512)
        };
        assert_eq!(check(&whole, &plain), Err(Errno::Inval));
        assert_eq!(
            check(&request(code::BLOCK_STATUS, 0, 512), &plain),
            Err(Errno::Inval)
        );
    }

    #[test]
    fn sizes() {
        for command in [code::READ, code::WRITE] {
            assert_eq!(
                check(&request(command, 0, MAX_PAYLOAD + 1), &LIMITS),
                Err(Errno::Inval)
            );
            assert!(check(&request(command, 0, MAX_PAYLOAD), &LIMITS).is_ok());
            assert!(check(&request(command, 0, 0), &LIMITS).is_ok());
        }
        assert!(check(&request(code::TRIM, 0, 1 << 30), &LIMITS).is_ok());
        assert_eq!(
            check(&request(code::BLOCK_STATUS, 0, 0), &LIMITS),
            Err(Errno::Inval)
        );
    }

    proptest! {
        #[test]
        fn nothing_gets_past_the_end(flags: u16, command: u16, offset: u64, len: u32, size: u64) {
            let limits = Limits { size, ..LIMITS };
            let checked = check(&Request { flags, command, cookie: 0, offset, len }, &limits);
            if let Ok(command) = checked {
                prop_assert!(command.payload() <= MAX_PAYLOAD);
                if command != Command::Flush {
                    prop_assert!(u128::from(offset) + u128::from(len) <= u128::from(size));
                }
            }
        }
    }
}
