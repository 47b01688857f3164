//! Standard output and standard error, which whoever reads them may close: `cess-gateway status | head`.
//!
//! The macros of the standard library of these names end the program with a panic then. Those of this
//! module take their place in the whole program and go on without a word: what a command does matters
//! more than who still reads what it says. Any other failure to write standard output (a full disk behind
//! a file) is told at the end by [`failure`], once.
use std::fmt;
use std::io::{self, Write};
use std::sync::OnceLock;

/// Why standard output takes nothing any more.
static CLOSED: OnceLock<io::Error> = OnceLock::new();

/// Writes to `out` unless an earlier write failed.
fn write_to(out: &mut impl Write, closed: &OnceLock<io::Error>, text: fmt::Arguments<'_>) {
    if closed.get().is_some() {
        return;
    }
    if let Err(error) = out.write_fmt(text).and_then(|()| out.flush()) {
        // Somebody else may have failed at the same time.
        let _ = closed.set(error);
    }
}

/// What is worth telling of a failure: that nobody reads on is not.
fn telling(closed: &OnceLock<io::Error>) -> Option<&io::Error> {
    closed
        .get()
        .filter(|error| error.kind() != io::ErrorKind::BrokenPipe)
}

/// Writes to standard output.
pub fn write(text: fmt::Arguments<'_>) {
    write_to(&mut io::stdout().lock(), &CLOSED, text);
}

/// Writes to standard error; nobody can be told if that fails.
pub fn write_error(text: fmt::Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(text);
}

/// Why something that was to be written to standard output was not, unless nobody wanted to read it.
pub fn failure() -> Option<&'static io::Error> {
    telling(&CLOSED)
}

/// Writes to standard output.
macro_rules! print {
    ($($text:tt)*) => {
        $crate::output::write(format_args!($($text)*))
    };
}

/// Writes a line to standard output.
macro_rules! println {
    ($($text:tt)*) => {
        $crate::output::write(format_args!("{}\n", format_args!($($text)*)))
    };
}

/// Writes a line to standard error.
macro_rules! eprintln {
    ($($text:tt)*) => {
        $crate::output::write_error(format_args!("{}\n", format_args!($($text)*)))
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_what_matters_is_told() {
        let closed = OnceLock::new();
        write_to(
            &mut Broken(io::ErrorKind::BrokenPipe),
            &closed,
            format_args!("text"),
        );
        assert!(closed.get().is_some() && telling(&closed).is_none());
        let full = OnceLock::new();
        let mut out = Vec::new();
        write_to(&mut out, &full, format_args!("{} and ", "one"));
        write_to(
            &mut Broken(io::ErrorKind::StorageFull),
            &full,
            format_args!("text"),
        );
        write_to(&mut out, &full, format_args!("nothing after a failure"));
        assert_eq!(out, b"one and ");
        assert_eq!(
            telling(&full).map(io::Error::kind),
            Some(io::ErrorKind::StorageFull)
        );
    }
}
