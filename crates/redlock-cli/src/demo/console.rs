//! Standard output: lines, a block below them that is drawn again and again on a terminal, and colours.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
};

/// Standard output. That it is closed is no error: the demo goes on to its end, and its exit code tells.
#[derive(Debug)]
pub(crate) struct Console {
    live: bool,
    colours: bool,
    /// How many lines the block has that is on the terminal now.
    block: usize,
}

impl Console {
    pub(crate) fn of_stdout() -> Self {
        let live = io::stdout().is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb");
        // https://no-color.org
        let colours = live && env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
        Self { live, colours, block: 0 }
    }

    /// Whether a block can be drawn again.
    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    /// Writes a line for good.
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

    /// What erases the block.
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
