//! Colors for terminals.

use std::{env, io::IsTerminal};

use redlock_core::Severity;

/// The colors of one output stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    /// Enables colors if the stream is a terminal, unless the user says otherwise: <https://no-color.org>.
    pub(crate) fn of(stream: &impl IsTerminal) -> Self {
        let no_color = env::var_os("NO_COLOR").is_some_and(|no| !no.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { on: stream.is_terminal() && !no_color && !dumb }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    pub(crate) fn severity(self, severity: Severity) -> String {
        let code = match severity {
            Severity::Error => "1;31",
            Severity::Warning => "1;33",
            Severity::Notice => "1;36",
        };
        self.with(code, &severity.to_string())
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_painted_or_left_as_it_is() {
        let (on, off) = (Paint { on: true }, Paint { on: false });
        assert_eq!(on.severity(Severity::Warning), "\x1b[1;33mwarning\x1b[0m");
        assert_eq!((on.bad("x"), on.good("x")), ("\x1b[31mx\x1b[0m".into(), "\x1b[32mx\x1b[0m".into()));
        for plain in [off.bold("x"), off.dim("x"), off.good("x"), off.bad("x")] {
            assert_eq!(plain, "x");
        }
        assert_eq!(off.severity(Severity::Error), "error");
    }

    #[test]
    fn what_is_no_terminal_has_no_colours() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(!Paint::of(&file).on);
    }
}
