//! Standard output: lines, a block below them that is redrawn on a terminal, and colors.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
};

/// Standard output. If it is closed, that is not an error: the demo continues to its end, and the exit code shows the
/// result.
#[derive(Debug)]
pub(crate) struct Console {
    live: bool,
    colours: bool,
    /// The number of lines of the block that is on the terminal now.
    block: usize,
}

impl Console {
    pub(crate) fn of_stdout() -> Self {
        let live = io::stdout().is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb");
        // https://no-color.org
        let colours = live && env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
        Self { live, colours, block: 0 }
    }

    /// Returns whether a block can be redrawn.
    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    /// Writes a line that remains.
    pub(crate) fn line(&mut self, line: &str) {
        let erased = self.erased();
        write(&format!("{erased}{line}\n"));
    }

    /// Draws the block in place of the last one. Its lines are cut at the terminal's width.
    pub(crate) fn block(&mut self, lines: &[String]) {
        if self.live {
            let erased = self.erased();
            let lines_below: String = lines.iter().map(|line| format!("{line}\n")).collect();
            write(&format!("{erased}\x1b[?7l{lines_below}\x1b[?7h"));
            self.block = lines.len();
        }
    }

    /// Returns the escape sequence that erases the block.
    fn erased(&mut self) -> String {
        match std::mem::take(&mut self.block) {
            0 => String::new(),
            height => format!("\x1b[{height}A\x1b[J"),
        }
    }

    /// Writes an error to standard error.
    pub(crate) fn error(&mut self, error: &str) {
        let _ = writeln!(io::stderr(), "error: {error}");
    }

    pub(crate) fn bold(&self, text: &str) -> String {
        self.coloured("1", text)
    }

    pub(crate) fn dim(&self, text: &str) -> String {
        self.coloured("2", text)
    }

    pub(crate) fn good(&self, text: &str) -> String {
        self.coloured("32", text)
    }

    pub(crate) fn bad(&self, text: &str) -> String {
        self.coloured("31", text)
    }

    fn coloured(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn write(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
